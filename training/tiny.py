"""The task of training l8-tiny: its loss and its grid of pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.lpips import LPIPS
from training.network import LATENT_MAGNITUDE, TinyAutoencoder
from training.optimiser import make_optimisers
from training.task import Architecture, Task

MSE_WEIGHT = 400.0  # about 1 at 26 dB, so that the LPIPS weight reads as a share


class TinyTask(Task):
    columns = ("psnr_db", "lpips", "latent_std")
    multiple = 8  # a crop's side must be one of it

    def __init__(self, lpips: LPIPS | None, lpips_weight: float):
        self.lpips, self.lpips_weight = lpips, lpips_weight

    @property
    def architecture(self) -> Architecture:
        return {"model": "l8-tiny"}

    def new_model(self) -> nn.Module:
        return TinyAutoencoder()

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        return make_optimisers(model, rate)

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Pictures [B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        output, z = model(photos)
        mse = (output.float() - photos).square().mean()
        outside = (z.float().abs() - LATENT_MAGNITUDE).relu().square().mean()  # the blob would clip these
        loss = MSE_WEIGHT * mse + 10 * outside
        perceptual = math.nan
        if self.lpips and self.perceptual:
            distance = self.lpips(output, photos).mean()
            loss = loss + self.lpips_weight * distance
            perceptual = distance.item()
        figures = {
            "psnr_db": -10 * math.log10(max(mse.item(), 1e-10)),
            "lpips": perceptual,
            "latent_std": z.float().std().item(),
        }
        return loss, figures

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        """Originals, latents (three of four channels as RGB) and reconstructions: [B, 3, S, S] in about [0, 1]."""
        output, z = model(photos)
        latents = (z.float() / (2 * LATENT_MAGNITUDE) + 0.5)[:, :3]
        return [photos, nn.functional.interpolate(latents, size=photos.shape[-2:]), output]

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        assert isinstance(model, TinyAutoencoder)
        return model.encoder(photos)
