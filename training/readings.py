"""What is particular to training the synthesis of l8-photo alone: one bitstream, read faithfully or vividly.

All that decides on the bits stays as it is, so no blob changes. Each crop draws a level and a realism, and the realism
says what counts, see `WEIGHTS`: at 0 the squared error alone; at 1 a quarter of it, LPIPS (AlexNet), the Wasserstein
distortion, and the absolute error at small sizes, which holds colours and brightness; at 0.5 the loss that a single
reading is trained with, and some Wasserstein distortion. Levels are weighed as in `training.photo`. After Agustsson et
al., "Multi-realism image compression with a conditional generator" (2023), without its discriminator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import LOWEST_LEVEL, N_BANDS
from training import ms_ssim
from training.lpips import LPIPS
from training.photo import COARSE_WEIGHT, MIDDLE_LAMBDA, enlarged, latents, photo_optimisers, shifted, trade
from training.task import Architecture, Task
from training.wasserstein import wasserstein_distortion
from training.weights import bundled_tables

WEIGHTS = {  # at the realisms that tables are learned at, 0, 0.5 and 1; between them they are interpolated
    "squared error": (1.0, 1.0, 0.25),
    "coarse squared error": (0.0, COARSE_WEIGHT, 0.0),
    "coarse absolute error": (0.0, 0.0, 5.0),
    "ms_ssim": (0.0, 3.0, 0.0),
    "lpips": (0.0, 0.8, 2.5),
    "wasserstein": (0.0, 0.3, 1.0),
}
WASSERSTEIN_EVERY, WASSERSTEIN_SIDE = 2, 128  # steps, pixels: VGG16 takes most of the time


class ReadingsTask(Task):
    """`tables`: a folder of weights whose entropy tables say how latents are rounded.

    Without the networks of LPIPS their parts of the loss are left out. only_tables: train the tables of the realism
    alone, all else of the synthesis stays; they have no say at realism 0, which is then not drawn.
    """

    columns = ("psnr_db", "psnr_vivid_db", "lpips", "wasserstein", "ms_ssim")
    multiple = 64

    def __init__(self, tables: Path, alexnet: LPIPS | None, vgg16: LPIPS | None, only_tables: bool = False):
        self.alexnet, self.vgg16, self.only_tables = alexnet, vgg16, only_tables
        counts = bundled_tables(tables).double()
        costs = -(counts / counts.sum(-1, keepdim=True)).log2()
        self._saved = costs.diff(dim=-1, prepend=costs[..., :1]).float()  # [bands, scales, symbols]
        self._step = 0

    @property
    def architecture(self) -> Architecture:
        return {"model": "l8-photo"}

    def new_model(self) -> nn.Module:
        model = hp.Hyperprior().requires_grad_(False)
        trained = model.synthesis.readings if self.only_tables else model.synthesis
        assert trained is not None
        trained.requires_grad_(True)
        return model

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        return photo_optimisers(model, rate)

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, float]]:
        """[B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        assert isinstance(model, hp.Hyperprior)
        self._step += 1
        level = LOWEST_LEVEL + torch.rand(len(photos), device=photos.device) * (hp.N_LEVELS - 1 - LOWEST_LEVEL)
        realism = drawn_realism(len(photos), hp.REALISMS[1:] if self.only_tables else hp.REALISMS).to(photos.device)
        with torch.no_grad():
            y = latents(model, photos, level, self.bits_saved).y
        synthesis: hp.Synthesis = model.synthesis
        output = synthesis(y, level, realism).float()

        error = output - photos
        mse = error.square().mean((1, 2, 3))
        relative = (trade(level) / MIDDLE_LAMBDA).sqrt()
        loss = trade(level) * 255**2 * mse * weight("squared error", realism)
        vivid = realism > 0
        means = {"psnr_db": decibels(mse[~vivid]), "psnr_vivid_db": decibels(mse[realism == 1])}
        if vivid.any():
            parts = self.perceptual_loss(output[vivid], photos[vivid], realism[vivid], relative[vivid], means)
            loss = loss.index_add(0, vivid.nonzero().flatten(), parts)
        return (loss / relative).mean(), {name: means.get(name, math.nan) for name in self.columns}

    def perceptual_loss(
        self, output: Tensor, photos: Tensor, realism: Tensor, relative: Tensor, figures: dict[str, float]
    ) -> Tensor:
        """What counts beside the squared error, [B]; adds to the figures."""
        quarter, eighth, sixteenth = (nn.functional.avg_pool2d(output - photos, size) for size in (4, 8, 16))
        squared = sum(e.square().mean((1, 2, 3)) for e in (quarter, eighth))
        absolute = sum(e.abs().mean((1, 2, 3)) for e in (quarter, eighth, sixteenth))
        # a squared error counts in units of 255^2 lambda, see `trade`; lambda is relative^2 MIDDLE_LAMBDA
        loss = weight("coarse squared error", realism) * MIDDLE_LAMBDA * (255 * relative) ** 2 * squared
        loss = loss + weight("coarse absolute error", realism) * relative * absolute
        some = weight("ms_ssim", realism) > 0
        if some.any():
            ours, theirs = (255 * ms_ssim.luma(x[some]) for x in (output, photos))
            similarity = ms_ssim.similarity(ours, theirs, floor=0.01)
            part = (weight("ms_ssim", realism) * relative)[some] * (1 - similarity)
            loss = loss.index_add(0, some.nonzero().flatten(), part)
            figures["ms_ssim"] = similarity.mean().item()
        if self.alexnet:
            distance = self.alexnet(*enlarged(*shifted(output, photos)))
            loss = loss + weight("lpips", realism) * relative.sqrt() * distance
            figures["lpips"] = distance.mean().item()
        if self.vgg16 and self._step % WASSERSTEIN_EVERY == 0:
            distance = wasserstein_distortion(self.vgg16, *patch(WASSERSTEIN_SIDE, output, photos))
            loss = loss + WASSERSTEIN_EVERY * weight("wasserstein", realism) * relative.sqrt() * distance
            figures["wasserstein"] = distance.mean().item()
        return loss

    def bits_saved(self, n: Tensor, scale: Tensor, level: Tensor) -> Tensor:
        """What symbols n [B, C, h, w] cost more than n - 1, by the entropy tables."""
        band = level.round().long().clamp(0, N_BANDS - 1).view(-1, 1, 1, 1)
        index = scale.nan_to_num().clamp(0, hp.N_SCALES - 1).round().long()
        return self._saved.to(n.device)[band, index, n.long()]

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        """Originals; at a low and at a high level, the most faithful and the most vivid reading."""
        assert isinstance(model, hp.Hyperprior)
        rows = [photos]
        for t in (1.5, 4.5):
            level = torch.full((len(photos),), t, device=photos.device)
            y = latents(model, photos, level, self.bits_saved).y
            rows += [model.synthesis(y, level, torch.full_like(level, realism)) for realism in (0.0, 1.0)]
        return rows

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, hp.Hyperprior)
        return model.analysis(photos)


def weight(part: str, realism: Tensor) -> Tensor:
    """Of a part of the loss, at each realism [B]."""
    values = torch.tensor(WEIGHTS[part], device=realism.device)
    steps = realism * (len(values) - 1)
    below = steps.long().clamp(0, len(values) - 2)
    return values[below].lerp(values[below + 1], steps - below)


def patch(side: int, *pictures: Tensor) -> list[Tensor]:
    """The same square of all, drawn anew each time."""
    limits = pictures[0].shape[-2] - side + 1, pictures[0].shape[-1] - side + 1
    top, left = (int(torch.randint(0, limit, ())) for limit in limits)
    return [picture[..., top : top + side, left : left + side] for picture in pictures]


def drawn_realism(count: int, places: Sequence[float] = hp.REALISMS) -> Tensor:
    """[count]: these places, and now and then what lies between 0 and 1."""
    drawn = torch.tensor(places)[torch.randint(len(places), (count,))]
    return torch.where(torch.rand(count) < 0.15, torch.rand(count), drawn)


def decibels(mse: Tensor) -> float:
    """Mean PSNR of pictures with these squared errors; NaN of none."""
    return -10 * mse.clamp_min(1e-10).log10().mean().item() if len(mse) else math.nan
