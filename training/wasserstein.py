"""A Wasserstein distortion on VGG16's features: pictures are alike where their textures are, wherever the grains lie.

After Qiu et al., "Wasserstein Distortion: Unifying Fidelity and Realism" (2024), and Balle et al., "Good, Cheap, and
Fast: Overfitted Image Compression with Wasserstein Distortion" (2025): features are compared by their means and
standard deviations around each place, which is the squared 2-Wasserstein distance of two normal distributions. Here the
windows are squares of one size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.lpips import LPIPS

WINDOW = 16  # pixels; a quarter of it lies between one window and the next
MEAN_SQUARES = (1.9, 6.5, 15.0)  # mean squares of relu1_2, relu2_2 and relu3_3 on photos, by which features are divided


def wasserstein_distortion(vgg: LPIPS, output: Tensor, photos: Tensor) -> Tensor:
    """Two batches of pictures, [B, 3, S, S] in [0, 1], S >= 16 -> [B]; gradients flow into the first."""
    count = len(MEAN_SQUARES)
    with torch.no_grad():
        wanted = vgg.outputs(photos, count)
    total = output.new_zeros(len(output))
    for number, (ours, theirs) in enumerate(zip(vgg.outputs(output, count), wanted, strict=True)):
        distance = of_normals(statistics(ours, WINDOW >> number), statistics(theirs, WINDOW >> number))
        total = total + distance / MEAN_SQUARES[number]
    return total


def statistics(features: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Features [B, C, h, w] -> mean and standard deviation in each window, [B, C, k, l]."""
    mean, squares = windowed(features, window), windowed(features.square(), window)
    variance = (squares - mean.square()).clamp_min(0)
    return mean, (variance + 1e-6).sqrt()  # the root's gradient stays finite


def windowed(x: Tensor, window: int) -> Tensor:
    """Means in windows that lie a quarter of them apart: those of 4 x 4 means of cells, which takes less time."""
    step = max(1, window // 4)
    return F.avg_pool2d(F.avg_pool2d(x, step), window // step, 1)


def of_normals(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Squared 2-Wasserstein distance of normal distributions with these means and deviations, averaged: [B]."""
    return sum(((x - y).square() for x, y in zip(a, b, strict=True)), start=torch.zeros(())).mean((1, 2, 3))
