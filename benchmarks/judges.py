"""Judges of a decoded picture beside its original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.colorvideovdp import ColorVideoVDP
from latent8.evaluation.metrics import psnr, ssim
from latent8.evaluation.perceptual import ssimulacra2
from training import evaluate as ev
from training.dists import DISTS
from training.lpips import LPIPS
from training.ms_ssim import ms_ssim

LOWER_IS_BETTER = ("lpips", "dists")  # beginnings of the names of such columns
PERCEPTUAL = (*LOWER_IS_BETTER, "ssimulacra2", "cvvdp")  # of columns that are there only where they are asked for

# What the training of l8-photo saw of each, and so how far its figures may flatter
SEEN: dict[str, tuple[str, str]] = {  # by column: name, how
    "psnr_db": ("PSNR", "yes: squared error is in the loss"),
    "ssim": ("SSIM", "nearly: MS-SSIM is in it"),
    "ms_ssim": ("MS-SSIM", "yes: in the loss"),
    "lpips_alexnet": ("LPIPS (AlexNet)", "yes: in the loss"),
    "lpips_vgg16": ("LPIPS (VGG16)", "half: another distance of the same network's features is in the loss"),
    "dists": ("DISTS", "half: likewise"),
    "ssimulacra2": ("SSIMULACRA2", "yes, in a form that has gradients, from the weights of 1.0 on; never before"),
    "cvvdp_jod": ("ColorVideoVDP", "never"),
}


@dataclass(frozen=True)
class Judges:
    """Beside PSNR, SSIM and MS-SSIM, which need nothing. bfloat16: what the networks of LPIPS and DISTS run in."""

    lpips: Mapping[str, LPIPS] = field(default_factory=dict)
    dists: DISTS | None = None
    ssimulacra2: bool = False
    cvvdp: ColorVideoVDP | None = None
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
        if cvvdp := self.judges.cvvdp:
            row["cvvdp_jod"] = cvvdp(self.rgb, decoded)
        return row


def seen_in_training(columns: Sequence[str]) -> list[ev.Row]:
    """A row for each judge among the columns of a measurement."""
    return [
        {"judge": name, "seen in the training of l8-photo": how}
        for column, (name, how) in SEEN.items()
        if column in columns
    ]
