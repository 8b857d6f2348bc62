"""LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018).

Weights come from a .npz written by ``python -m training.lpips_weights``. Development and training only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# ImageNet normalisation, given for pictures in [-1, 1] (constants of the LPIPS reference code)
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

# (stride, padding) of each convolution; "pool" before a convolution; the indices whose output is compared
Layer = str | tuple[int, int]
ALEXNET: tuple[list[Layer], set[int]] = (
    [(4, 2), "pool3", (1, 2), "pool3", (1, 1), (1, 1), (1, 1)],
    {0, 1, 2, 3, 4},
)
_THREE: list[Layer] = ["pool2", (1, 1), (1, 1), (1, 1)]
VGG16: tuple[list[Layer], set[int]] = (
    [(1, 1), (1, 1), "pool2", (1, 1), (1, 1), *_THREE, *_THREE, *_THREE],
    {1, 3, 6, 9, 12},
)


class LPIPS(nn.Module):
    """Distance of two pictures, [B, 3, H, W] in [0, 1] each -> [B], 0 for equal ones."""

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: str | Path):
        super().__init__()
        with np.load(weights, allow_pickle=False) as arrays:
            named = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
        n_convs = sum(name.startswith("conv") and name.endswith("weight") for name in named)
        self.layers, self.taps = {5: ALEXNET, 13: VGG16}[n_convs]
        for name, tensor in named.items():
            self.register_buffer(name.replace(".", "_"), tensor)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def features(self, x: Tensor) -> list[Tensor]:
        """Features that are compared: the outputs of five layers, each position's vector scaled to length 1."""
        return [_unit(tap) for tap in self.outputs(x)]

    def outputs(self, x: Tensor, count: int = 5) -> list[Tensor]:
        """Outputs of the first of these layers."""
        x = ((x * 2 - 1 - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        taps: list[Tensor] = []
        index = 0
        for layer in self.layers:
            if len(taps) == count:
                break
            if isinstance(layer, str):
                x = F.max_pool2d(x, kernel_size=int(layer[-1]), stride=2)
            else:
                stride, padding = layer
                weight, bias = getattr(self, f"conv{index}_weight"), getattr(self, f"conv{index}_bias")
                x = torch.relu(F.conv2d(x, weight, bias, stride, padding))
                if index in self.taps:
                    taps.append(x.float())
                index += 1
        return taps

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            features_b = self.features(b)
        return self.distance(self.features(a), features_b)

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Distance of two pictures from their features, which saves time where one picture is compared with many."""
        total = torch.zeros(len(a[0]), device=a[0].device)
        for index, (fa, fb) in enumerate(zip(a, b, strict=True)):
            head = getattr(self, f"head{index}").view(1, -1, 1, 1)
            total = total + ((fa - fb).square() * head).sum(1).mean((1, 2))
        return total


def _unit(features: Tensor) -> Tensor:
    """Scale each position's vector to length 1; the small term keeps the gradient finite at zero."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
