"""The layers of l8-photo: a transform codec with learned corrections and a mean-scale hyperprior.

After Balle et al., "Variational image compression with a scale hyperprior" (2018), and Minnen et al., "Joint
autoregressive and hierarchical priors for learned image compression" (2018). Pictures x are in [0, 1]; latents y
have 240 channels at 1/16 size, hyper-latents z 64 channels at 1/64 size:

    y = DCT(x) + g_a(x)      v = gain(level) y      z = round(h_a(v))
    mean, scale = h_s(z)     q = round(r (v - mean))    y' = ((q - sign(q) shift(scale)) / r + mean) / gain'(level)
    x' = IDCT(y') + g_s(y')

Rounding goes to the nearest whole number, or to the next one towards zero where that saves enough bits. q is coded in
three passes; to mean and scale of the second and third, contexts add what the symbols of the passes before foretell
(after He et al., "Checkerboard context model for efficient learned image compression", 2021). What rounds to a whole
number other than 0 lies nearer to 0 than that number in the mean, the more so the smaller its scale: hence the shift. r
is 1 but for three channels at high levels, see `residual_gain`.

DCT is that of 16 x 16 pixels after an orthonormal luma/chroma transform, its lowest 192 luma and 2 x 24 chroma
coefficients, as 1x1 convolutions that are learned on; g_a and g_s start at zero. `level` runs from 0 (small
files) to N_LEVELS - 1; what depends on it is interpolated between learned values at whole levels, and extrapolated to
still smaller files. One bitstream has several readings (after Agustsson et al., "Multi-realism image compression with a
conditional generator", 2023): g_s and IDCT also take `realism`, from 0, faithful, to 1, vivid.

This module needs torch alone, so that training does too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

STRIDE, HYPER_STRIDE = 16, 64  # pixels per latent and per hyper-latent
N_LUMA, N_CHROMA = 192, 24
N_LATENTS, N_HYPER = N_LUMA + 2 * N_CHROMA, 64
N_LEVELS = 8
REALISMS = (0.0, 0.5, 1.0)  # that tables are learned at, evenly spaced; between them they are interpolated
WIDTHS, N_BLOCKS = (64, 128, 192), (2, 3, 3)  # of g_a at 1/4, 1/8, 1/16 size; g_s is its mirror
ENDS = 4 + N_BLOCKS[0], 6 + N_BLOCKS[0] + N_BLOCKS[1]  # of the layers of g_a at 1/4 and at 1/8 size
HYPER_WIDTH, CONTEXT_WIDTH = 96, 80
# Latents are coded in passes, each of the rows and columns with these parities: then a position of the second pass has
# known neighbours at its corners, one of the third pass at its sides.
PASSES = (((0, 0),), ((1, 1),), ((0, 1), (1, 0)))
# Rows and columns, in a window of 3 x 3, of the neighbours that are known in the second and the third pass.
NEIGHBOURS = (((0, 0), (0, 2), (2, 0), (2, 2)), ((0, 1), (1, 0), (1, 2), (2, 1)))
COLOUR_MEANS = (0, N_LUMA, N_LUMA + N_CHROMA)  # latents, of luma and of both chromas
LARGEST_MEAN = 15.0  # of a colour over a block: its DCT coefficient is at most 16 sqrt(3) / 2, and g_a adds to it
MAX_SYMBOL = 127  # symbols q and z are whole numbers in [-127, 127]
# What a squared step of error in a latent is worth when it is rounded: of a high frequency, and how much more of a low
# one, whose loss eyes see sooner.
DISTORTION_BITS, MORE_DISTORTION_BITS = 18.0, 12.0

# Standard deviations that the scale stands for, evenly spaced in their logarithm.
N_SCALES, MIN_SCALE, MAX_SCALE = 64, 0.11, 64.0
LOG_SCALE_STEP = math.log(MAX_SCALE / MIN_SCALE) / (N_SCALES - 1)


class ResidualBlock(nn.Module):
    """[B, n, h, w] -> [B, n, h, w]; the identity when new."""

    def __init__(self, n: int):
        super().__init__()
        self.first = nn.Conv2d(n, n, 3, padding=1)
        self.second = nn.Conv2d(n, n, 3, padding=1)
        _start_at_zero(self.second)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """`shift`, [B, n, 1, 1], is added to what the first convolution gives."""
        inner = self.first(x)
        if shift is not None:
            inner = inner.add_(shift)
        return self.second(inner.relu_()).add_(x)


class Analysis(nn.Module):
    """Pictures [B, 3, H, W] in [0, 1], sides multiples of 16 -> latents [B, 240, H/16, W/16]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3 * STRIDE**2, N_LATENTS, 1)
        with torch.no_grad():
            self.linear.weight.copy_(dct_basis()[:, :, None, None])
            self.linear.bias.zero_()  # type: ignore[union-attr]
        layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, WIDTHS[0], 3, padding=1)]
        for stage, (width, n_blocks) in enumerate(zip(WIDTHS, N_BLOCKS, strict=True)):
            if stage:
                layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * WIDTHS[stage - 1], width, 1)]
            layers += [ResidualBlock(width) for _ in range(n_blocks)]
        last = nn.Conv2d(WIDTHS[-1], N_LATENTS, 3, padding=1)
        _start_at_zero(last)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        coefficients, features = self.quarter(x)
        return coefficients + self.sixteenth(self.eighth(features))

    # The layers of each size, for running them apart.

    def quarter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> DCT [B, 240, H/16, W/16], features [B, 128, H/8, W/8]."""
        x = x - 0.5
        return self.linear(nn.functional.pixel_unshuffle(x, STRIDE)), self.correction[: ENDS[0]](x)

    def eighth(self, features: Tensor) -> Tensor:
        """-> features [B, 192, H/16, W/16]."""
        return self.correction[ENDS[0] : ENDS[1]](features)

    def sixteenth(self, features: Tensor) -> Tensor:
        """-> what to add to the DCT."""
        return self.correction[ENDS[1] :](features)


class Synthesis(nn.Module):
    """Latents [B, 240, h, w], levels [B] and realism [B] -> pictures [B, 3, 16 h, 16 w] in about [0, 1].

    readings: whether it has tables for the realism; without them, or when new, every realism gives the same picture.
    """

    def __init__(self, readings: bool = True) -> None:
        super().__init__()
        self.linear = nn.Conv2d(N_LATENTS, 3 * STRIDE**2, 1)
        with torch.no_grad():
            self.linear.weight.copy_(dct_basis().T[:, :, None, None])
            self.linear.bias.fill_(0.5)  # type: ignore[union-attr]
        widths, blocks = WIDTHS[::-1], N_BLOCKS[::-1]
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
        """-> features [B, 128, 2 h, 2 w]."""
        return self._stage(1, features, level, realism)

    def quarter(self, features: Tensor, y: Tensor, level: Tensor, realism: Tensor) -> Tensor:
        """Features and latents -> pictures."""
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
    """What the realism changes in a synthesis of such widths and numbers of blocks: tables that are 0 when new.

    One scales the latents; of each stage, the first is added to what enters it, the others inside of its blocks.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.gain = RealismTable(N_LATENTS)
        self.stages = nn.ModuleList(
            nn.ModuleList(RealismTable(width) for _ in range(1 + n)) for width, n in zip(widths, blocks, strict=True)
        )

    def of_stage(self, number: int, level: Tensor, realism: Tensor) -> list[Tensor]:
        """What its tables give, [1, n, 1, 1] each."""
        tables = self.stages[number]
        assert isinstance(tables, nn.ModuleList)
        return [table(level, realism) for table in tables]


class HyperAnalysis(nn.Module):
    """Scaled latents [B, 240, h, w] -> hyper-latents before rounding [B, 64, ceil(h/4), ceil(w/4)]."""

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
    """Hyper-latents [B, 64, k, l] and levels [B] -> one value for each latent, [B, 240, 4 k, 4 l].

    Two of these give the means and the scales. Scales are in units of an index into the N_SCALES tables.
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


class OfNeighbours(nn.Module):
    """A 3x3 convolution of latents [B, 240, h, w] that sees four known neighbours: weight [n, 240, 4], bias [n]."""

    def __init__(self, n: int, number: int):
        super().__init__()
        self.places = [3 * row + column for row, column in NEIGHBOURS[number]]
        bound = (N_LATENTS * len(self.places)) ** -0.5  # as torch draws the weights of a new layer
        self.weight = nn.Parameter(torch.empty(n, N_LATENTS, len(self.places)).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, q: Tensor) -> Tensor:
        window = self.weight.new_zeros(*self.weight.shape[:2], 9)
        window[..., self.places] = self.weight
        return nn.functional.conv2d(q, window.unflatten(2, (3, 3)), self.bias, padding=1)


class Context(nn.Module):
    """What to add for pass 1 + number: symbols of earlier ones [B, 240, h, w], 0 elsewhere, and levels [B] -> as q."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.first = OfNeighbours(CONTEXT_WIDTH, number)
        self.condition = LevelTable(CONTEXT_WIDTH)
        self.second = nn.Conv2d(CONTEXT_WIDTH, N_LATENTS, 1)
        _start_at_zero(self.second)

    def forward(self, q: Tensor, level: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(q) + self.condition(level).to(q.dtype)))


class MeanContext(Context):
    """A context with a linear way past it: what a symbol's own channel at its neighbours foretells."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.direct = nn.Conv2d(N_LATENTS, N_LATENTS, 3, padding=1, groups=N_LATENTS, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, q: Tensor, level: Tensor) -> Tensor:
        return super().forward(q, level) + self.direct(q)


class LevelTable(nn.Module):
    """Levels [B] up to N_LEVELS - 1 -> [B, n, 1, 1], interpolated between learned rows, extrapolated below 0."""

    def __init__(self, n: int, start: Tensor | None = None):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(N_LEVELS, n) if start is None else start.clone())

    def forward(self, level: Tensor) -> Tensor:
        return at_levels(self.rows, level)[:, :, None, None]


class RealismTable(nn.Module):
    """Levels [B] and realism [B] in [0, 1] -> [B, n, 1, 1]: 0 for realism 0, else interpolated between learned rows."""

    def __init__(self, n: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(N_LEVELS, len(REALISMS) - 1, n))

    def forward(self, level: Tensor, realism: Tensor) -> Tensor:
        steps = realism[:, None] * (len(REALISMS) - 1)
        numbers = torch.arange(1, len(REALISMS), device=realism.device)
        shares = (1 - (steps - numbers).abs()).clamp(min=0).to(self.rows.dtype)
        return (at_levels(self.rows, level) * shares[:, :, None]).sum(1)[:, :, None, None]


def at_levels(rows: Tensor, level: Tensor) -> Tensor:
    """Rows [N_LEVELS, ...] and levels [B] up to N_LEVELS - 1 -> [B, ...], interpolated, extrapolated below 0."""
    below = level.floor().clamp(0, N_LEVELS - 2)
    index = below.long()
    share = (level - below).to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    return torch.lerp(rows[index], rows[index + 1], share)


class Hyperprior(nn.Module):
    """All layers of l8-photo. `log_gains`: natural logarithms of the gains at whole levels, [N_LEVELS]."""

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


def rounded_towards_zero(residual: Tensor, bits_saved: Callable[[Tensor], Tensor], worth: Tensor) -> Tensor:
    """Residuals v - mean in steps -> q: n, the nearest whole number, or the next one towards zero if that costs less.

    `bits_saved` gives for n >= 0, of the residuals' shape, how many bits less n - 1 costs. It adds a squared error of
    (r - n + 1)^2 - (r - n)^2 = 2 (r - n) + 1 steps, worth that many bits each, see `distortion_bits`. With the shift of
    `dequantised` it is a little more; to count that, at fewer bits each, gave the same pictures in as many bytes.
    """
    size = residual.abs()
    n = (size + 0.5).floor().clamp(max=MAX_SYMBOL)
    lower = (n > 0) & (2 * (size - n) + 1 < bits_saved(n) / worth)
    return (n - lower.to(n.dtype)) * residual.sign()


def distortion_bits() -> Tensor:
    """What a squared step of error is worth in each latent when it is rounded: [240, 1, 1]."""
    low = torch.tensor([math.exp(-(u * u + v * v) / 64) for _, u, v in frequencies_of_latents()])
    return (DISTORTION_BITS + MORE_DISTORTION_BITS * low)[:, None, None]


def residual_gain(log_gain: Tensor) -> Tensor:
    """Logarithms of the gains [B, 240, 1, 1] -> what residuals v - mean are multiplied by before they are rounded.

    1, but less for the means of colours where their steps are finer than symbols can count: they may be foretold to be
    at the other end of their range.
    """
    gain = torch.ones_like(log_gain)
    gain[:, COLOUR_MEANS] = (math.log(MAX_SYMBOL / LARGEST_MEAN) - log_gain[:, COLOUR_MEANS]).clamp(max=0).exp()
    return gain


def dequantised(q: Tensor, mean: Tensor, shift: Tensor, gain: Tensor) -> Tensor:
    """Symbols, means in steps, the shift that belongs to each symbol's scale, residual gains -> latents in steps."""
    return (q - q.sign() * shift) / gain + mean


def standard_deviation(scale: Tensor) -> Tensor:
    """Of the distribution that a scale index, whole or not, stands for."""
    return MIN_SCALE * torch.exp(scale * LOG_SCALE_STEP)


def frequencies_of_latents() -> list[tuple[int, int, int]]:
    """Of each latent: the colour, 0 for luma, and how many half waves it has downwards and across in 16 pixels."""
    low_first = sorted((u * u + v * v, u, v) for u in range(STRIDE) for v in range(STRIDE))
    counts = enumerate((N_LUMA, N_CHROMA, N_CHROMA))
    return [(colour, u, v) for colour, count in counts for _, u, v in low_first[:count]]


def dct_basis() -> Tensor:
    """[240, 768]: orthonormal rows on PixelUnshuffle(16) of RGB, low frequencies first; luma, then both chromas."""
    n = torch.arange(STRIDE, dtype=torch.float64)
    dct = torch.cos(math.pi * (n + 0.5) * n[:, None] / STRIDE) * math.sqrt(2 / STRIDE)
    dct[0] /= math.sqrt(2)
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    rows = [torch.einsum("c,y,x->cyx", colours[c], dct[u], dct[v]) for c, u, v in frequencies_of_latents()]
    return torch.stack(rows).flatten(1).float()


def _start_at_zero(convolution: nn.Conv2d) -> None:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
