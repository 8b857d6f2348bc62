"""LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018).

Weights come from a .npz written by ``python -m training.lpips_weights``. Development and training only.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.task import TrainingError

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


SMALLEST = 32  # pixels of a side: AlexNet has nothing left of smaller pictures


class LPIPS(nn.Module):
    """Distance of two pictures, [B, 3, H, W] in [0, 1] each -> [B], 0 for equal ones.

    Sides are at least `SMALLEST` pixels. Raises TrainingError for a file that holds no such weights.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: str | Path):
        super().__init__()
        named = _read(Path(weights))
        n_convs = sum(name.startswith("conv") and name.endswith("weight") for name in named)
        parts = {f"conv{index}.{part}" for index in range(n_convs) for part in ("weight", "bias")}
        if n_convs not in (5, 13) or set(named) != parts | {f"head{index}" for index in range(5)}:
            raise TrainingError(f"{weights} holds no weights of LPIPS: make them with training.lpips_weights.")
        self.layers, self.taps = ALEXNET if n_convs == 5 else VGG16
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


def _read(path: Path) -> dict[str, Tensor]:
    """Arrays of an .npz. Raises TrainingError for another file, OSError where there is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    except (ValueError, TypeError, AttributeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        raise TrainingError(f"{path} is no .npz of numbers: make it with training.lpips_weights.") from None


def _unit(features: Tensor) -> Tensor:
    """Scale each position's vector to length 1; the small term keeps the gradient finite at zero."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
