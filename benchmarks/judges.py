"""Judges of a decoded picture beside its original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from latent8.evaluation.metrics import psnr, ssim
from latent8.evaluation.perceptual import ssimulacra2
from training import evaluate as ev
from training.dists import DISTS
from training.lpips import LPIPS
from training.ms_ssim import ms_ssim

LOWER_IS_BETTER = ("lpips", "dists")  # beginnings of the names of such columns


@dataclass(frozen=True)
class Judges:
    """Beside PSNR, SSIM and MS-SSIM, which need nothing."""

    lpips: Mapping[str, LPIPS] = field(default_factory=dict)
    dists: DISTS | None = None
    ssimulacra2: bool = False


class Original:
    """A picture that many are compared with: networks look at it once."""

    @torch.inference_mode()
    def __init__(self, rgb: np.ndarray, judges: Judges):
        self.rgb, self.judges = rgb, judges
        self.features = {name: network.features(ev.unit(rgb, network)) for name, network in judges.lpips.items()}
        self.dists_features = judges.dists.features(ev.unit(rgb, judges.dists)) if judges.dists else []

    @torch.inference_mode()
    def distances(self, decoded: np.ndarray) -> ev.Row:
        row: ev.Row = {
            "psnr_db": psnr(self.rgb, decoded),
            "ssim": ssim(self.rgb, decoded),
            "ms_ssim": ms_ssim(self.rgb, decoded),
        }
        for name, network in self.judges.lpips.items():
            seen = network.features(ev.unit(decoded, network))
            row[name] = network.distance(self.features[name], seen).item()
        if dists := self.judges.dists:
            row["dists"] = dists.distance(dists.features(ev.unit(decoded, dists)), self.dists_features).item()
        if self.judges.ssimulacra2:
            row["ssimulacra2"] = ssimulacra2(self.rgb, decoded)
        return row
