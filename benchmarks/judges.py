"""Judges of a decoded picture beside its original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from latent8.evaluation.metrics import psnr, ssim
from latent8.evaluation.perceptual import ssimulacra2
from training import evaluate as ev
from training.dists import DISTS
from training.lpips import LPIPS
from training.ms_ssim import ms_ssim

LOWER_IS_BETTER = ("lpips", "dists")  # beginnings of the names of such columns


@dataclass(frozen=True)
class Judges:
    """Beside PSNR, SSIM and MS-SSIM, which need nothing. bfloat16: what the networks of LPIPS and DISTS run in."""

    lpips: Mapping[str, LPIPS] = field(default_factory=dict)
    dists: DISTS | None = None
    ssimulacra2: bool = False
    bfloat16: bool = False


class Original:
    """A picture that many are compared with: networks look at it once."""

    @torch.inference_mode()
    def __init__(self, rgb: np.ndarray, judges: Judges):
        self.rgb, self.judges = rgb, judges
        self.features = {name: self.seen(rgb, network) for name, network in judges.lpips.items()}
        self.dists_features = self.seen(rgb, judges.dists) if judges.dists else []

    def seen(self, rgb: np.ndarray, network: LPIPS | DISTS) -> list[Tensor]:
        """Features of a picture."""
        pixels = ev.unit(rgb, network)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.judges.bfloat16):
            return [feature.float() for feature in network.features(pixels)]

    @torch.inference_mode()
    def distances(self, decoded: np.ndarray) -> ev.Row:
        row: ev.Row = {
            "psnr_db": psnr(self.rgb, decoded),
            "ssim": ssim(self.rgb, decoded),
            "ms_ssim": ms_ssim(self.rgb, decoded),
        }
        for name, network in self.judges.lpips.items():
            row[name] = network.distance(self.features[name], self.seen(decoded, network)).item()
        if dists := self.judges.dists:
            row["dists"] = dists.distance(self.seen(decoded, dists), self.dists_features).item()
        if self.judges.ssimulacra2:
            row["ssimulacra2"] = ssimulacra2(self.rgb, decoded)
        return row
