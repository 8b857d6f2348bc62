"""The task of training l8-photo: rate and distortion at all rate levels at once.

Each crop draws a level t in [0, N_LEVELS - 1] and is charged bits per pixel + lambda(t) 255^2 MSE (Balle et al.,
2018), where MSE has those of the pictures at 1/4 and 1/8 size added, since eyes see coarse errors better than fine
ones, plus 1 - MS-SSIM of the luma and LPIPS where they have a weight. Losses of different levels are brought to one
size by lambda(t) ^ -1/2. LPIPS counts for lambda(t) ^ -1/4 beside the rest: it matters most at low rates, and at high
rates costs PSNR for no gain to the eye. As Minnen and Singh (2020) found best, bits are counted with uniform noise in
place of rounding, and the synthesis sees latents rounded as the codec does, gradients passing straight through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latent8.l8_photo.layers import (
    MAX_SYMBOL,
    N_LEVELS,
    N_SCALES,
    PASSES,
    Hyperprior,
    Synthesis,
    standard_deviation,
)
from latent8.l8_photo.quantisation import dequantised, inverse_lambdas, rdo_quantised, residual_gain
from training import ms_ssim
from training.lpips import LPIPS
from training.task import Architecture, Task

LOWEST_LAMBDA, HIGHEST_LAMBDA = 0.00012, 0.063  # lambda at the first and at the last rate level
MIDDLE_LAMBDA = math.sqrt(LOWEST_LAMBDA * HIGHEST_LAMBDA)
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
BitsSaved = Callable[[Tensor, Tensor, Tensor], Tensor]
COARSE_WEIGHT = 2.0  # weight of the squared errors at 1/4 and at 1/8 size


class PhotoTask(Task):
    columns = ("psnr_db", "bpp", "hyper_bpp", "lpips", "ms_ssim")
    multiple = 64

    def __init__(self, lpips: LPIPS | None, lpips_weight: float, ms_ssim_weight: float = 0.0):
        self.lpips, self.lpips_weight, self.ms_ssim_weight = lpips, lpips_weight, ms_ssim_weight

    @property
    def architecture(self) -> Architecture:
        return {"model": "l8-photo"}

    def new_model(self) -> nn.Module:
        lambdas = trade(torch.arange(N_LEVELS, dtype=torch.float32))
        # The uniform step at which one more bit lowers lambda 255^2 MSE by as much as it costs: with D = step^2 / 12
        # for each of 3 coefficients a pixel, dD/dR = -2 ln 2 D.
        steps = (18 / (lambdas * 255**2 * math.log(2))).sqrt()
        model = Hyperprior(log_gains=-steps.log())
        assert model.synthesis.readings is not None
        model.synthesis.readings.requires_grad_(False)  # this trains realism 0; `ReadingsTask` trains the others
        return model

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        return photo_optimisers(model, rate)

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, float]]:
        """[B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        level = torch.rand(len(photos), device=photos.device) * (N_LEVELS - 1)
        output, bits, hyper_bits = forward(model, photos, level)
        n_pixels = photos.shape[-1] * photos.shape[-2]
        error = output.float() - photos
        quarter, eighth = (nn.functional.avg_pool2d(error, size) for size in (4, 8))
        mse, *coarse = (e.square().mean((1, 2, 3)) for e in (error, quarter, eighth))
        lambdas = trade(level)
        loss = (bits + hyper_bits) / n_pixels + lambdas * 255**2 * (mse + COARSE_WEIGHT * sum(coarse))
        relative = (lambdas / MIDDLE_LAMBDA).sqrt()
        perceptual = structural = math.nan
        if self.ms_ssim_weight:
            ours, theirs = (255 * ms_ssim.luma(x.float()) for x in (output, photos))
            similarity = ms_ssim.similarity(ours, theirs, floor=0.01)
            loss = loss + self.ms_ssim_weight * relative * (1 - similarity)
            structural = similarity.mean().item()
        if self.lpips and self.perceptual:
            distance = self.lpips(*enlarged(*shifted(output, photos)))
            loss = loss + self.lpips_weight * relative.sqrt() * distance
            perceptual = distance.mean().item()
        figures = {
            "psnr_db": -10 * mse.clamp_min(1e-10).log10().mean().item(),
            "bpp": (bits + hyper_bits).mean().item() / n_pixels,
            "hyper_bpp": hyper_bits.mean().item() / n_pixels,
            "lpips": perceptual,
            "ms_ssim": structural,
        }
        return (loss / relative).mean(), figures

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        """Originals, reconstructions at a low and a high level."""
        rows = [photos]
        for t in (1.5, 4.5):
            rows.append(forward(model, photos, torch.full((len(photos),), t, device=photos.device))[0])
        return rows

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, Hyperprior)
        return model.analysis(photos)


def photo_optimisers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Optimisers of all parameters that ask for gradients, with the SHARES of the learning rate."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = next(share for part, share in SHARES.items() if part in f".{name}")
            groups.setdefault(share, []).append(parameter)
    settings: list[dict[str, Any]] = [{"params": group, "share": share} for share, group in groups.items()]
    return [torch.optim.Adam(settings, rate, betas=(0.9, 0.99), fused=True)]


def shifted(*pictures: Tensor) -> list[Tensor]:
    """Cut the same few rows and columns off all pictures, drawn anew each time.

    AlexNet samples every fourth pixel. Were these always the same, the synthesis, which also works on a grid of four,
    would learn to please those alone, and draw a dotted pattern.
    """
    top, left = torch.randint(0, 4, (2,)).tolist()
    return [picture[..., top:, left:] for picture in pictures]


def enlarged(*pictures: Tensor) -> list[Tensor]:
    """Enlarge all pictures by the same factor of 1 to 2, drawn anew each time.

    A picture is looked at from near and far; and what pleases AlexNet at one size alone, as dots and ringing may, does
    not at the others.
    """
    factor = 2 ** torch.rand(()).item()
    return [nn.functional.interpolate(picture, scale_factor=factor, mode="bilinear") for picture in pictures]


def trade(level: Tensor) -> Tensor:
    """lambda(level): weight of a unit of 255^2 MSE, in bits per pixel, [B]."""
    return LOWEST_LAMBDA * (HIGHEST_LAMBDA / LOWEST_LAMBDA) ** (level / (N_LEVELS - 1))


def forward(
    model: nn.Module, photos: Tensor, level: Tensor, realism: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures [B, 3, S, S], levels [B], realism [B], by default 0 -> reconstructions, bits of the latents [B], bits of
    the hyper-latents [B].
    """
    assert isinstance(model, Hyperprior)
    coded = latents(model, photos, level)
    hyper_scale = model.hyper_scale(level).expand_as(coded.z)
    synthesis: Synthesis = model.synthesis
    output = synthesis(coded.y, level, torch.zeros_like(level) if realism is None else realism)
    return output, n_bits(noisy(coded.residual), coded.scale), n_bits(noisy(coded.z), hyper_scale)


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
    shift = model.reconstruction_shift[scale.detach().nan_to_num().clamp(0, N_SCALES - 1).round().long()]
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
        inverse_lambda = inverse_lambdas().to(x.device)
        change = rdo_quantised(x, lambda n: bits_saved(n, scale, level), inverse_lambda) - x
    return x + change


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
