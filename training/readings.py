"""What is particular to training the synthesis of l8-photo alone: one bitstream, read faithfully or vividly.

All that decides on the bits stays as it is, so no blob changes. Each crop draws a level and a realism, and the realism
says what counts, see `training.distortion`.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import N_BANDS
from training.distortion import relative_size
from training.lpips import LPIPS
from training.photo import PhotoTask, drawn_levels, latents
from training.task import Figures
from training.weights import bundled_tables


class ReadingsTask(PhotoTask):
    """`tables`: a folder of weights whose entropy tables say how latents are rounded.

    Without the networks of LPIPS their parts of the loss are left out. only_tables: train the tables of the realism
    alone, all else of the synthesis stays.
    """

    columns = ("psnr_db", "lpips", "wasserstein", "ms_ssim", "ssimulacra2")

    def __init__(
        self,
        tables: Path,
        alexnet: LPIPS | None,
        vgg16: LPIPS | None,
        device: torch.device | str = "cpu",
        only_tables: bool = False,
    ):
        super().__init__(alexnet, vgg16, device)
        self.only_tables = only_tables
        counts = bundled_tables(tables).double()
        costs = -(counts / counts.sum(-1, keepdim=True)).log2()
        self._saved = costs.diff(dim=-1, prepend=costs[..., :1]).float()  # [bands, scales, symbols]

    def new_model(self) -> nn.Module:
        model = hp.Hyperprior().requires_grad_(False)
        trained = model.synthesis.readings if self.only_tables else model.synthesis
        assert trained is not None
        trained.requires_grad_(True)
        return model

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, Figures]:
        """[B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        assert isinstance(model, hp.Hyperprior)
        level = drawn_levels(len(photos), photos.device)
        realism = drawn_realism(len(photos)).to(level)
        with torch.no_grad():
            y = latents(model, photos, level, self.bits_saved).y
        synthesis: hp.Synthesis = model.synthesis
        output = synthesis(y, level, realism)
        loss, figures = self.distortion(output, photos, level, realism)
        return (loss / relative_size(level)).mean(), {name: figures.get(name, math.nan) for name in self.columns}

    def bits_saved(self, n: Tensor, scale: Tensor, level: Tensor) -> Tensor:
        """What symbols n [B, C, h, w] cost more than n - 1, by the entropy tables."""
        band = level.round().long().clamp(0, N_BANDS - 1).view(-1, 1, 1, 1)
        index = scale.nan_to_num().clamp(0, hp.N_SCALES - 1).round().long()
        return self._saved.to(n.device)[band, index, n.long()]


def drawn_realism(count: int) -> Tensor:
    """[count]: those at which tables are learned, and now and then what lies between 0 and 1."""
    drawn = torch.tensor(hp.REALISMS)[torch.randint(len(hp.REALISMS), (count,))]
    return torch.where(torch.rand(count) < 0.15, torch.rand(count), drawn)
