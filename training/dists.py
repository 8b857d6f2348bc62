"""DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", 2020).

Weights of VGG16 come from a .npz written by ``python -m training.lpips_weights``, its own from one written by

    pip install --no-deps dists-pytorch==0.1
    python -m training.dists dists.npz

A judge alone: no training sees it. Pictures are compared at their own size.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.lpips import VGG16

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pictures in [0, 1]
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the picture and the five stages of VGG16
SMALL = 1e-6  # keeps similarities finite


class DISTS(nn.Module):
    """Distance of two pictures, [B, 3, H, W] in [0, 1] each -> [B]; 0 for equal ones."""

    window: Tensor
    mean: Tensor
    deviation: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, vgg16: str | Path, weights: str | Path):
        super().__init__()
        with np.load(vgg16, allow_pickle=False) as arrays:
            for index in range(len([layer for layer in VGG16[0] if not isinstance(layer, str)])):
                for part in ("weight", "bias"):
                    self.register_buffer(f"{part}{index}", torch.from_numpy(arrays[f"conv{index}.{part}"]).float())
        with np.load(weights, allow_pickle=False) as arrays:
            for name in ("alpha", "beta"):
                self.register_buffer(name, torch.from_numpy(arrays[name]).float())
        assert self.alpha.shape == self.beta.shape == (sum(CHANNELS),)
        hann = torch.tensor([0.5, 1.0, 0.5])
        self.register_buffer("window", torch.outer(hann, hann) / 4)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1))

    def features(self, x: Tensor) -> list[Tensor]:
        """The picture, and what each of the five stages gives."""
        found, index = [x], 0
        x = (x - self.mean) / self.deviation
        for layer in VGG16[0]:
            if isinstance(layer, str):
                x = self.pooled(x)
            else:
                x = torch.relu(F.conv2d(x, getattr(self, f"weight{index}"), getattr(self, f"bias{index}"), padding=1))
                if index in VGG16[1]:
                    found.append(x)
                index += 1
        return found

    def pooled(self, x: Tensor) -> Tensor:
        """Root of the mean square under a Hann window, at half size: unlike the maximum it makes no aliases."""
        channels = x.shape[1]
        window = self.window.expand(channels, 1, 3, 3)
        return (F.conv2d(x.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distance(self.features(a), self.features(b))

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Of two pictures' features, which saves time where one picture is compared with many."""
        total = (self.alpha.sum() + self.beta.sum()).double()
        alphas, betas = (w.double().split(CHANNELS) for w in (self.alpha, self.beta))
        similarity = torch.zeros(len(a[0]), dtype=torch.float64, device=a[0].device)
        for x, y, alpha, beta in zip(a, b, alphas, betas, strict=True):
            # channel by channel: numbers of double length then stay in a processor's cache
            for parts in zip(*(t.split(1, dim) for t, dim in ((x, 1), (y, 1), (alpha, 0), (beta, 0))), strict=True):
                similarity += _similarity(*parts) / total
        return (1 - similarity).float()


def _similarity(x: Tensor, y: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Of features [B, C, H, W] with weights [C]: [B], in float64."""
    x, y = x.double().flatten(2), y.double().flatten(2)
    mean_x, mean_y = x.mean(2), y.mean(2)
    covariance = (x * y).mean(2) - mean_x * mean_y
    variances = x.var(2, correction=0) + y.var(2, correction=0)
    texture = (2 * mean_x * mean_y + SMALL) / (mean_x.square() + mean_y.square() + SMALL)
    structure = (2 * covariance + SMALL) / (variances + SMALL)
    return (alpha * texture + beta * structure).sum(1)


def convert(checkpoint: Path) -> dict[str, np.ndarray]:
    """The package's weights.pt -> alpha and beta, [1475] each; reads tensors and nothing else from the file."""
    found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name: found[name].detach().flatten().numpy() for name in ("alpha", "beta")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="weights.pt; by default the installed package's")
    args = parser.parse_args()
    checkpoint = args.checkpoint
    if checkpoint is None:
        package = importlib.util.find_spec("DISTS_pytorch")
        if package is None or package.origin is None:
            parser.error("dists-pytorch is not installed: pip install --no-deps dists-pytorch==0.1")
        checkpoint = Path(package.origin).parent / "weights.pt"
    np.savez(args.output, allow_pickle=False, **convert(checkpoint))


if __name__ == "__main__":
    main()
