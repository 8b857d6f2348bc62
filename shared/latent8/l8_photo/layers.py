"""The layers of l8-photo: a mean-scale hyperprior on a learned DCT, with a three-pass context model.

         +------------+  y  +--------+  v          +-----+     +-------+  z          z  +-----+
    x ->-| DCT +  g_a |-->--| * gain |-->--+--->---| h_a |-->--| round |-->--: FP :-->--| h_s |
         +------------+     +--------+     |       +-----+     +-------+                +-----+
                                           |                                               |
                                           v                                               v mean, s
                                  +-----------------+    mean, s   +-----------------------------+
                                  | RDOQ of         |------<-------| + contexts                  |
                                  | r * (v - mean)  |              | (passes 2 and 3)            |-<-+
                                  +-----------------+              +-----------------------------+   |
                                           | q                         | s              | mean, s      |
                                           :                           v                |              |
                                        CP : --<-- PMF number s --<----+                |              |
                                           :                                            |              |
                                           | q                                          |              |
                                           +---->--- symbols of earlier passes --->-----)-------->-----+
                                           |                                            |
                                           v                                            |
                                  +-----------------+              mean, s              |
                                  | dequantise      |-----------------<-----------------+
                                  +-----------------+
         +------------+  y' +---------+    | v'
   x' -<-| IDCT + g_s |--<--| * gain' |--<-+
         +------------+     +---------+

    FP = range coder, a fixed probability table (PMF) for each channel of z
    CP = range coder, a probability table chosen for each symbol of q by its scale index s

    x, x'      [B, 3, H, W]          pictures, RGB in [0, 1], sides multiples of 16
    y, v, q    [B, 240, H/16, W/16]  latents; v is y in quantisation steps, q whole numbers in [-127, 127]
    z          [B, 64, H/64, W/64]   hyper-latents, whole numbers in [-127, 127]; sides rounded up
    mean, s    as q                  predicted mean of v, and scale index: s = 0 ... 63 stands for the standard
                                     deviation sigma(s) of r (v - mean), see `standard_deviation`

    y = DCT(x) + g_a(x)              v = gain(level) y       z = round(h_a(v))
    mean, s = h_s(z) + contexts(q)   q = RDOQ(r (v - mean))
    v' = (q - sign(q) shift(s)) / r + mean                   y' = gain'(level) v'       x' = IDCT(y') + g_s(y')

Hyperprior: Balle et al., "Variational image compression with a scale hyperprior" (2018); the means: Minnen et al.,
"Joint autoregressive and hierarchical priors for learned image compression" (2018). The two h_s, one for the mean and
one for s, share no weights.

Transforms: DCT is that of 16 x 16 pixels after an orthonormal luma/chroma transform, its lowest 192 luma and 2 x 24
chroma coefficients, as a 1x1 convolution that is trained on. The networks g_a and g_s start at zero.

Contexts: q is coded in three passes, see PASSES. To mean and s of the second and the third, a network adds what it
predicts from symbols of earlier passes, after He et al., "Checkerboard context model for efficient learned image
compression" (2021).

Quantisation: RDOQ, rate-distortion-optimised quantisation, takes the nearest whole number, or the next one towards
zero where that saves enough bits, see quantisation.py. Values that round to a number other than 0 lie nearer to 0 than
that number on average, the more so the smaller sigma is: the shift brings them back. r is 1 but for three channels
at high rates, see quantisation.py.

Rate: `level`, the rate level, is a real number from 0 (small files) to N_LEVELS - 1. What depends on it is interpolated
between learned values at whole levels, and extrapolated below 0 to still smaller files.

Realism: one bitstream has several readings, after Agustsson et al., "Multi-realism image compression with a conditional
generator" (2023). IDCT and g_s also take `realism`, from 0, faithful, to 1, vivid.

This module imports torch alone; probabilities that decide on the bits are frozen as integers in model.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from latent8.l8_photo.dct import N_CHROMA, N_LUMA, STRIDE, dct_basis

HYPER_STRIDE = 64  # pixels per hyper-latent
N_LATENTS, N_HYPER = N_LUMA + 2 * N_CHROMA, 64
N_LEVELS = 8  # whole rate levels, at which what depends on the rate is learned
REALISMS = (0.0, 0.5, 1.0)  # evenly spaced values at which what depends on the realism is learned
WIDTHS = (64, 128, 192)  # channels of g_a at 1/4, 1/8, 1/16 size; g_s mirrors it
ANALYSIS_BLOCKS, SYNTHESIS_BLOCKS = (2, 5, 5), (3, 3, 3)  # residual blocks of g_a and g_s at each size, in their order
ENDS = 4 + ANALYSIS_BLOCKS[0], 6 + sum(ANALYSIS_BLOCKS[:2])  # where the layers of g_a at 1/4 and at 1/8 size end
HYPER_WIDTH, CONTEXT_WIDTH = 96, 80
# (Row, column) parities of the positions that each pass codes. A position of the second pass then has known neighbours
# at its four corners, one of the third pass at its four sides.
PASSES = (((0, 0),), ((1, 1),), ((0, 1), (1, 0)))
# (Row, column), in a window of 3 x 3, of the neighbours that are known in the second and in the third pass.
NEIGHBOURS = (((0, 0), (0, 2), (2, 0), (2, 2)), ((0, 1), (1, 0), (1, 2), (2, 1)))
MAX_SYMBOL = 127  # symbols q and z are whole numbers in [-127, 127]

# Standard deviations sigma that the scale indices stand for, evenly spaced in their logarithm.
N_SCALES, MIN_SCALE, MAX_SCALE = 64, 0.11, 64.0
LOG_SCALE_STEP = math.log(MAX_SCALE / MIN_SCALE) / (N_SCALES - 1)


class ResidualBlock(nn.Module):
    """Residual block of two 3x3 convolutions: [B, n, h, w] -> [B, n, h, w]; the identity before training."""

    def __init__(self, n: int):
        super().__init__()
        self.first = nn.Conv2d(n, n, 3, padding=1)
        self.second = nn.Conv2d(n, n, 3, padding=1)
        _start_at_zero(self.second)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """Features -> features. shift: [B, n, 1, 1], added behind the first convolution."""
        inner = self.first(x)
        if shift is not None:
            inner = inner.add_(shift)
        return self.second(inner.relu_()).add_(x)


class Analysis(nn.Module):
    """DCT + g_a: pictures [B, 3, H, W] in [0, 1], sides multiples of 16 -> latents y [B, 240, H/16, W/16]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3 * STRIDE**2, N_LATENTS, 1)
        with torch.no_grad():
            self.linear.weight.copy_(dct_basis()[:, :, None, None])
            self.linear.bias.zero_()  # type: ignore[union-attr]
        layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, WIDTHS[0], 3, padding=1)]
        for stage, (width, n_blocks) in enumerate(zip(WIDTHS, ANALYSIS_BLOCKS, strict=True)):
            if stage:
                layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * WIDTHS[stage - 1], width, 1)]
            layers += [ResidualBlock(width) for _ in range(n_blocks)]
        last = nn.Conv2d(WIDTHS[-1], N_LATENTS, 3, padding=1)
        _start_at_zero(last)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        coefficients, features = self.quarter(x)
        return coefficients + self.sixteenth(self.eighth(features))

    # The layers at each size, which large pictures run through one after another.

    def quarter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> DCT coefficients [B, 240, H/16, W/16] and features of g_a [B, 128, H/8, W/8]."""
        x = x - 0.5
        return self.linear(nn.functional.pixel_unshuffle(x, STRIDE)), self.correction[: ENDS[0]](x)

    def eighth(self, features: Tensor) -> Tensor:
        """Features of `quarter` -> features [B, 192, H/16, W/16]."""
        return self.correction[ENDS[0] : ENDS[1]](features)

    def sixteenth(self, features: Tensor) -> Tensor:
        """Features of `eighth` -> g_a(x), [B, 240, H/16, W/16]."""
        return self.correction[ENDS[1] :](features)


class Synthesis(nn.Module):
    """IDCT + g_s: latents [B, 240, h, w], rate levels [B], realism [B] -> pictures [B, 3, 16 h, 16 w] in about [0, 1].

    readings: whether the synthesis depends on the realism. Without, and before training, every realism gives the same
    picture.
    """

    def __init__(self, readings: bool = True) -> None:
        super().__init__()
        self.linear = nn.Conv2d(N_LATENTS, 3 * STRIDE**2, 1)
        with torch.no_grad():
            self.linear.weight.copy_(dct_basis().T[:, :, None, None])
            self.linear.bias.fill_(0.5)  # type: ignore[union-attr]
        widths, blocks = WIDTHS[::-1], SYNTHESIS_BLOCKS
        self.entries = nn.ModuleList([nn.Conv2d(N_LATENTS, widths[0], 3, padding=1)])
        for before, width in pairwise(widths):
            self.entries.append(nn.Sequential(nn.Conv2d(before, 4 * width, 1), nn.PixelShuffle(2)))
        self.conditions = nn.ModuleList(LevelTable(width) for width in widths)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(n))) for width, n in zip(widths, blocks, strict=True)
        )
        last = nn.Conv2d(widths[-1], 48, 3, padding=1)
        _start_at_zero(last)
        self.exit = nn.Sequential(last, nn.PixelShuffle(4))
        self.readings = Readings(widths, blocks) if readings else None

    def forward(self, y: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        return self.quarter(self.eighth(self.sixteenth(y, level, realism), level, realism), y, level, realism)

    def sixteenth(self, y: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        """Latents -> features [B, 192, h, w]."""
        return self._stage(0, self._read(y, level, realism), level, realism)

    def eighth(self, features: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        """Features of `sixteenth` -> features [B, 128, 2 h, 2 w]."""
        return self._stage(1, features, level, realism)

    def quarter(self, features: Tensor, y: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        """Features of `eighth`, and latents -> pictures [B, 3, 16 h, 16 w]."""
        coarse = nn.functional.pixel_shuffle(self.linear(self._read(y, level, realism)), STRIDE)
        return coarse + self.exit(self._stage(2, features, level, realism))

    def _read(self, y: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        if self.readings is None:
            return y
        return y * (1 + self.readings.gain(level, realism)).to(y.dtype)

    def _stage(self, number: int, x: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        condition = self.conditions[number](level)
        if self.readings is None:
            return self.stages[number](self.entries[number](x) + condition.to(x.dtype))
        entry, *shifts = (table.to(x.dtype) for table in self.readings.of_stage(number, level, realism))
        features = self.entries[number](x) + (condition.to(x.dtype) + entry)
        blocks = self.stages[number]
        assert isinstance(blocks, nn.Sequential)
        for block, shift in zip(blocks, shifts, strict=True):
            features = block(features, shift)
        return features


class Readings(nn.Module):
    """Conditions of a synthesis on the realism; all are 0 before training.

    `gain` scales the latents. Each stage has one condition that is added to its input, and one inside each residual
    block. widths, blocks: channels and residual blocks of each stage, the coarsest first.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.gain = RealismTable(N_LATENTS)
        self.stages = nn.ModuleList(
            nn.ModuleList(RealismTable(width) for _ in range(1 + n)) for width, n in zip(widths, blocks, strict=True)
        )

    def of_stage(self, number: int, level: Tensor, realism: Tensor) -> list[Tensor]:
        """Conditions of a stage, [B, n, 1, 1] each: that of its input, then those of its blocks."""
        tables = self.stages[number]
        assert isinstance(tables, nn.ModuleList)
        return [table(level, realism) for table in tables]


class HyperAnalysis(nn.Module):
    """h_a: latents in steps, v [B, 240, h, w] -> hyper-latents before rounding [B, 64, ceil(h/4), ceil(w/4)]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(N_LATENTS, HYPER_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(HYPER_WIDTH, HYPER_WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(HYPER_WIDTH, N_HYPER, 3, stride=2, padding=1),
        )

    def forward(self, v: Tensor) -> Tensor:
        return self.layers(v)


class HyperSynthesis(nn.Module):
    """h_s: hyper-latents z [B, 64, k, l] and rate levels [B] -> one value for each latent, [B, 240, 4 k, 4 l].

    One of these predicts the means, in steps, another one the scale indices. start: value before training.
    """

    def __init__(self, start: float = 0.0):
        super().__init__()
        self.first = nn.Conv2d(N_HYPER, 4 * HYPER_WIDTH, 3, padding=1)
        self.condition = LevelTable(4 * HYPER_WIDTH)
        self.second = nn.Conv2d(HYPER_WIDTH, 4 * HYPER_WIDTH, 3, padding=1)
        self.third = nn.Conv2d(HYPER_WIDTH, N_LATENTS, 1)
        nn.init.constant_(self.third.bias, start)  # type: ignore[arg-type]

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        x = torch.relu(self.first(z) + self.condition(level).to(z.dtype))
        x = torch.relu(self.second(nn.functional.pixel_shuffle(x, 2)))
        return self.third(nn.functional.pixel_shuffle(x, 2))


class MaskedConvolution(nn.Module):
    """3x3 convolution of symbols that sees only the four neighbours known in a pass: [B, 240, h, w] -> [B, n, h, w].

    number: 0 for the second pass, 1 for the third. Weight [n, 240, 4], bias [n].
    """

    def __init__(self, n: int, number: int):
        super().__init__()
        self.places = [3 * row + column for row, column in NEIGHBOURS[number]]
        bound = (N_LATENTS * len(self.places)) ** -0.5  # as torch draws the weights of a new layer
        self.weight = nn.Parameter(torch.empty(n, N_LATENTS, len(self.places)).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, q: Tensor) -> Tensor:
        window = self.weight.new_zeros(*self.weight.shape[:2], 9)
        for number, place in enumerate(self.places):
            window[..., place] = self.weight[..., number]
        return nn.functional.conv2d(q, window.unflatten(2, (3, 3)), self.bias, padding=1)


class Context(nn.Module):
    """Context model of the second pass (number 0) or the third (number 1), for the scale indices.

    Magnitudes of the symbols of earlier passes, [B, 240, h, w], 0 where not known, and rate levels [B] -> what to add
    to the scale indices, [B, 240, h, w].
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.first = MaskedConvolution(CONTEXT_WIDTH, number)
        self.condition = LevelTable(CONTEXT_WIDTH)
        self.second = nn.Conv2d(CONTEXT_WIDTH, N_LATENTS, 1)
        _start_at_zero(self.second)

    def forward(self, q: Tensor, level: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(q) + self.condition(level).to(q.dtype)))


class MeanContext(Context):
    """Context model for the means: as `Context`, but of signed symbols, and with a linear prediction added.

    The linear part predicts each channel from the same channel's neighbours.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.direct = nn.Conv2d(N_LATENTS, N_LATENTS, 3, padding=1, groups=N_LATENTS, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, q: Tensor, level: Tensor) -> Tensor:
        return super().forward(q, level) + self.direct(q)


class LevelTable(nn.Module):
    """Learned vector of each rate level: levels [B] -> [B, n, 1, 1], interpolated as by `at_levels`.

    start: values before training, [N_LEVELS, n]; 0 by default.
    """

    def __init__(self, n: int, start: Tensor | None = None):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(N_LEVELS, n) if start is None else start.clone())

    def forward(self, level: Tensor) -> Tensor:
        return at_levels(self.rows, level)[:, :, None, None]


class RealismTable(nn.Module):
    """Learned vector of each rate level and realism: levels [B], realism [B] in [0, 1] -> [B, n, 1, 1].

    It is learned at the REALISMS, and interpolated between them.
    """

    def __init__(self, n: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(N_LEVELS, len(REALISMS), n))

    def forward(self, level: Tensor, realism: Tensor) -> Tensor:
        steps = realism[:, None] * (len(REALISMS) - 1)
        numbers = torch.arange(len(REALISMS), device=realism.device)
        shares = (1 - (steps - numbers).abs()).clamp(min=0).to(self.rows.dtype)
        return (at_levels(self.rows, level) * shares[:, :, None]).sum(1)[:, :, None, None]


def at_levels(rows: Tensor, level: Tensor) -> Tensor:
    """Interpolate rows [N_LEVELS, ...] at rate levels [B] up to N_LEVELS - 1, extrapolate below 0: [B, ...]."""
    below = level.floor().clamp(0, N_LEVELS - 2)
    index = below.long()
    share = (level - below).to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    return torch.lerp(rows[index], rows[index + 1], share)


class Hyperprior(nn.Module):
    """All layers of l8-photo, as they are trained.

    log_gains: natural logarithms of the gains at whole rate levels before training, [N_LEVELS]; 0 by default.
    """

    def __init__(self, log_gains: Tensor | None = None):
        super().__init__()
        start = torch.zeros(N_LEVELS) if log_gains is None else log_gains
        rows = start[:, None].expand(N_LEVELS, N_LATENTS)
        self.analysis, self.synthesis = Analysis(), Synthesis(readings=True)
        self.log_gain, self.log_inverse_gain = LevelTable(N_LATENTS, rows), LevelTable(N_LATENTS, -rows)
        self.hyper_analysis = HyperAnalysis()
        self.mean, self.scale = HyperSynthesis(), HyperSynthesis(start=20.0)
        self.mean_contexts = nn.ModuleList(MeanContext(number) for number in range(len(NEIGHBOURS)))
        self.scale_contexts = nn.ModuleList(Context(number) for number in range(len(NEIGHBOURS)))
        self.hyper_scale = LevelTable(N_HYPER, torch.full((N_LEVELS, N_HYPER), 30.0))
        deviations = standard_deviation(torch.arange(N_SCALES))
        self.reconstruction_shift = nn.Parameter((0.07 / deviations).clamp(max=0.22))  # about right, then learned


def standard_deviation(scale: Tensor) -> Tensor:
    """Standard deviation sigma(s), in steps, of a scale index s, whole or fractional: 0.11 at 0, 64 at 63.

    0.11 and the spacing by logarithms are those of Balle's examples for TensorFlow Compression.
    """
    return MIN_SCALE * torch.exp(scale * LOG_SCALE_STEP)


def _start_at_zero(convolution: nn.Conv2d) -> None:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
