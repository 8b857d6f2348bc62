"""Similarity of pictures of one channel, window by window, from which SSIM and MS-SSIM are made.

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian windows of 11 x
11 with sigma 1.5, K1 = 0.01, K2 = 0.03.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two terms of SSIM at each window that lies inside: luminance, and contrast times structure, [B, 1, H-10, W-10].

    x, y: [B, 1, H, W] in [0, 255]. SSIM is the product of the two.
    """
    mean_x, mean_y, xx, yy, xy = _smooth(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    variances = xx - mean_x**2 + yy - mean_y**2
    covariance = xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


def _smooth(x: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
