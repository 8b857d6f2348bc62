"""MS-SSIM (Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from latent8.evaluation.ssim import WINDOW, similarities

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of the five scales, full size first
MIN_SIDE = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # the smallest scale then holds one window


@torch.inference_mode()
def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity of the luma (Rec. 601) of two pictures, uint8 [H, W, 3]; 1 for equal ones.

    Raises ValueError for sides under MIN_SIDE, 161 pixels.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    if min(a.shape[:2]) < MIN_SIDE:
        raise ValueError(f"MS-SSIM needs pictures of {MIN_SIDE} pixels a side, not {a.shape[1]} x {a.shape[0]}")
    x, y = (torch.tensor(picture).permute(2, 0, 1)[None].double() for picture in (a, b))
    return similarity(luma(x), luma(y)).item()


def similarity(x: torch.Tensor, y: torch.Tensor, floor: float = 0.0) -> torch.Tensor:
    """MS-SSIM of pictures of one channel, [B, 1, H, W] in [0, 255] -> [B].

    Means are over the windows that lie inside. Each scale holds the averages of 2 x 2 values of the one above, whose
    last row or column is repeated where a side is odd. A mean below zero has no real power: those below `floor` count
    as `floor`, which is above zero where gradients are asked for.
    """
    product = x.new_ones(len(x))
    with torch.autocast(x.device.type, enabled=False):  # variances are small differences, which half precision loses
        for scale, weight in enumerate(WEIGHTS):
            if scale:
                x, y = halved(x), halved(y)
            luminance, contrast = similarities(x, y)
            last = scale == len(WEIGHTS) - 1
            mean = (luminance * contrast if last else contrast).mean((1, 2, 3))
            product = product * mean.clamp_min(floor) ** weight
    return product


def decibels(similarity: float) -> float:
    """MS-SSIM -> -10 log10(1 - MS-SSIM): values crowd below 1, and this spreads them."""
    return -10 * math.log10(1 - similarity) if similarity < 1 else math.inf


def luma(rgb: torch.Tensor) -> torch.Tensor:
    """Luma (Rec. 601) of RGB pictures: [B, 3, H, W] -> [B, 1, H, W]."""
    red, green, blue = rgb.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def halved(x: torch.Tensor) -> torch.Tensor:
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
