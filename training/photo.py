"""The task of training l8-photo: its bits and every reading of them, at all rate levels at once.

Each crop draws a level t and is charged bits per pixel + lambda(t) 255^2 MSE (Balle et al., 2018) and what else counts
at realism 0.5, see `training.distortion`. Losses of different levels are brought to one size by lambda(t) ^ -1/2. As
Minnen and Singh (2020) found best, bits are counted with uniform noise in place of rounding, and the synthesis sees
latents rounded as the codec does, gradients passing straight through.

For half of the crops the synthesis is trained at other realisms as well, with no say in the bits: bits for the squared
error alone lose more to the eye, at every realism, than they gain in PSNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latent8.l8_photo.dct import STRIDE
from latent8.l8_photo.layers import (
    MAX_SYMBOL,
    N_LEVELS,
    N_SCALES,
    PASSES,
    Hyperprior,
    Synthesis,
    standard_deviation,
)
from latent8.l8_photo.model import LOWEST_LEVEL
from latent8.l8_photo.quantisation import dequantised, inverse_lambdas, rdo_quantised, residual_gain
from training.distortion import Distortion, decibels, relative_size, trade
from training.lpips import LPIPS
from training.task import Architecture, Figures, Task

# Shares of the learning rate, by the first part of a parameter's name that is found. The DCTs are good as they are;
# scale indices range over 0 ... 63, and have far to go.
SHARES = {
    ".linear.": 0.02,
    "hyper_scale.": 50.0,
    "scale.third.": 10.0,
    "scale_contexts.": 5.0,
    "readings.": 3.0,
    ".rows": 3.0,
    "reconstruction_shift": 3.0,
    "": 1.0,
}
MIDDLE_REALISM = 0.5  # the reading that the bits are trained for
BitsSaved = Callable[[Tensor, Tensor, Tensor], Tensor]


class PhotoTask(Task):
    """Without the networks of LPIPS their parts of the loss are left out. device: of the networks, and of training."""

    columns: tuple[str, ...] = (
        "psnr_db",
        "psnr_faithful_db",
        "psnr_vivid_db",
        "bpp",
        "hyper_bpp",
        "lpips",
        "wasserstein",
        "ms_ssim",
        "ssimulacra2",
    )
    multiple = 64

    def __init__(self, alexnet: LPIPS | None, vgg16: LPIPS | None, device: torch.device | str = "cpu"):
        self.distortion = Distortion(alexnet, vgg16).to(device)

    @property
    def architecture(self) -> Architecture:
        return {"model": "l8-photo"}

    def new_model(self) -> nn.Module:
        lambdas = trade(torch.arange(N_LEVELS, dtype=torch.float32))
        # The uniform step at which one more bit lowers lambda 255^2 MSE by as much as it costs: with D = step^2 / 12
        # for each of 3 coefficients a pixel, dD/dR = -2 ln 2 D.
        steps = (18 / (lambdas * 255**2 * math.log(2))).sqrt()
        return Hyperprior(log_gains=-steps.log())

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        return photo_optimisers(model, rate)

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, Figures]:
        """[B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        assert isinstance(model, Hyperprior)
        level = drawn_levels(len(photos), photos.device)
        coded = latents(model, photos, level)
        bits, hyper_bits = bits_per_pixel(model, coded, level)
        synthesis: Synthesis = model.synthesis
        middle = torch.full_like(level, MIDDLE_REALISM)
        output = synthesis(coded.y, level, middle)
        loss, figures = self.distortion(output, photos, level, middle, self.perceptual)
        loss = ((bits + hyper_bits + loss) / relative_size(level)).mean()
        figures = {**figures, "bpp": (bits + hyper_bits).detach().mean(), "hyper_bpp": hyper_bits.detach().mean()}
        others, their_figures = self.others(synthesis, *(x[: math.ceil(len(x) / 2)] for x in (coded.y, photos, level)))
        figures.update(their_figures)
        return loss + others, {name: figures.get(name, math.nan) for name in self.columns}

    def others(
        self, synthesis: Synthesis, y: Tensor, photos: Tensor, level: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of readings at other realisms, which do not change the latents y; figures.

        The last third of the crops is read at realism 0, the first at 1, the rest between.
        """
        third = len(level) // 3
        vivid, between = slice(third), slice(max(1, len(level) - max(1, third)))
        realism = torch.rand_like(level)
        realism[vivid] = 1.0
        realism[between.stop :] = 0.0
        output = synthesis(y.detach(), level, realism).float()
        parts = output[between], photos[between], level[between], realism[between]
        distortions, _ = self.distortion(*parts, self.perceptual)
        rest = slice(between.stop, None)
        squared, figures = self.distortion.faithful(output[rest], photos[rest], level[rest])
        loss = (torch.cat([distortions, squared]) / relative_size(level)).mean()
        errors = (output[vivid] - photos[vivid]).detach().square().mean((1, 2, 3))
        return loss, {"psnr_faithful_db": figures["psnr_db"], "psnr_vivid_db": decibels(errors)}

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        """Originals; at a low and at a high level, the most faithful and the most vivid reading."""
        assert isinstance(model, Hyperprior)
        rows = [photos]
        for t in (1.5, 4.5):
            level = torch.full((len(photos),), t, device=photos.device)
            y = latents(model, photos, level, self.bits_saved).y
            rows += [model.synthesis(y, level, torch.full_like(level, realism)) for realism in (0.0, 1.0)]
        return rows

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, Hyperprior)
        return model.analysis(photos)

    def bits_saved(self, n: Tensor, scale: Tensor, level: Tensor) -> Tensor:
        """Bits by which symbols n - 1 are cheaper than n, for RDOQ, see `latents`."""
        return bits_assumed(n, scale, level)


def photo_optimisers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Optimisers of all parameters that ask for gradients, with the SHARES of the learning rate."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = next(share for part, share in SHARES.items() if part in f".{name}")
            groups.setdefault(share, []).append(parameter)
    settings: list[dict[str, Any]] = [{"params": group, "share": share} for share, group in groups.items()]
    return [torch.optim.Adam(settings, rate, betas=(0.9, 0.99), fused=True)]


def drawn_levels(count: int, device: torch.device | str = "cpu") -> Tensor:
    """[count] in [LOWEST_LEVEL, N_LEVELS - 1]."""
    return LOWEST_LEVEL + torch.rand(count, device=device) * (N_LEVELS - 1 - LOWEST_LEVEL)


def bits_per_pixel(model: Hyperprior, coded: Coded, level: Tensor) -> tuple[Tensor, Tensor]:
    """Of the latents and of the hyper-latents, [B] each, counted with noise in place of rounding."""
    n_pixels = STRIDE**2 * coded.y.shape[-2] * coded.y.shape[-1]
    hyper_scale = model.hyper_scale(level).expand_as(coded.z)
    return n_bits(noisy(coded.residual), coded.scale) / n_pixels, n_bits(noisy(coded.z), hyper_scale) / n_pixels


class Coded(NamedTuple):
    y: Tensor  # latents as the synthesis gets them
    residual: Tensor  # latents before quantisation, in steps, less their predicted means
    scale: Tensor  # scale index of each residual
    z: Tensor  # hyper-latents before rounding


def latents(model: Hyperprior, photos: Tensor, level: Tensor, bits_saved: BitsSaved | None = None) -> Coded:
    """Pictures [B, 3, S, S], levels [B] -> what the codec makes of them.

    bits_saved: symbols n, their scale indices, levels [B] -> bits by which n - 1 is cheaper than n, for RDOQ;
    by default by the distributions of the scale indices.
    """
    log_gain = model.log_gain(level)
    v, gain = (model.analysis(photos) * log_gain.exp()).float(), residual_gain(log_gain)
    with torch.autocast(v.device.type, enabled=False):  # the codec runs what follows in float32
        return _coded(model, v, gain, level, bits_saved or bits_assumed)


def _coded(model: Hyperprior, v: Tensor, gain: Tensor, level: Tensor, bits_saved: BitsSaved) -> Coded:
    """Code latents in steps, v [B, 240, h, w]. gain: r, see `quantisation.residual_gain`."""
    z = model.hyper_analysis(v)
    z_rounded = rounded(z)
    mean, scale = model.mean(z_rounded, level), model.scale(z_rounded, level)
    q = torch.zeros_like(v)
    for number, phases in enumerate(PASSES):
        mask = torch.zeros(v.shape[-2:], dtype=torch.bool, device=v.device)
        for row, column in phases:
            mask[row::2, column::2] = True
        if number:
            mean = torch.where(mask, mean + model.mean_contexts[number - 1](q, level), mean)
            scale = torch.where(mask, scale + model.scale_contexts[number - 1](q.abs(), level), scale)
        q = torch.where(mask, rounded_as_coded(gain * (v - mean), scale, level, bits_saved), q)
    index = scale.detach().nan_to_num().clamp(0, N_SCALES - 1).round().long()
    shift = model.reconstruction_shift.gather(0, index.flatten()).view_as(index)  # the gradient of [index] is slow
    y = dequantised(q, mean, shift, gain) * model.log_inverse_gain(level).exp()
    return Coded(y, gain * (v - mean), scale, z)


def rounded(x: Tensor) -> Tensor:
    """Round. Gradients pass the rounding, but not the clipping: there they would ask for larger gains."""
    x = x.clamp(-MAX_SYMBOL, MAX_SYMBOL)
    return x + (x.round() - x).detach()


def rounded_as_coded(residual: Tensor, scale: Tensor, level: Tensor, bits_saved: BitsSaved) -> Tensor:
    """Quantise as the codec does (RDOQ); gradients pass as in `rounded`."""
    x = residual.clamp(-MAX_SYMBOL, MAX_SYMBOL)
    with torch.no_grad():
        change = rdo_quantised(x, lambda n: bits_saved(n, scale, level), inverse_lambdas_on(x.device)) - x
    return x + change


@cache
def inverse_lambdas_on(device: torch.device) -> Tensor:
    """`inverse_lambdas`, copied to a device once: each copy would wait for a GPU."""
    return inverse_lambdas().to(device)


def bits_assumed(n: Tensor, scale: Tensor, level: Tensor) -> Tensor:
    """Bits by which n - 1 is cheaper than n, by the logistic distributions of the scale indices."""
    return bits_of(n, scale) - bits_of(n - 1, scale)


def noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x) - 0.5


def n_bits(x: Tensor, scale: Tensor) -> Tensor:
    """Bits of x [B, C, h, w] under the logistic distributions of these scale indices: [B]."""
    return bits_of(x, scale).sum((1, 2, 3))


def bits_of(x: Tensor, scale: Tensor) -> Tensor:
    """Bits of each x under a logistic distribution of mean 0, over an interval of length 1."""
    inside = scale.clamp(0, N_SCALES - 1)
    deviation = standard_deviation(inside + 0.01 * (scale - inside))  # a little beyond, so that gradients lead back
    steepness = math.pi / math.sqrt(3) / deviation
    # log(sigmoid(a) - sigmoid(b)), in a form that keeps its digits in the tails
    upper, lower = (0.5 - x.abs()) * steepness, (-0.5 - x.abs()) * steepness
    log_p = nn.functional.logsigmoid(upper) + nn.functional.logsigmoid(-lower) + torch.log(-torch.expm1(-steepness))
    return -log_p / math.log(2)
