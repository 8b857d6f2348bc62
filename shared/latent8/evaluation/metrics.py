"""Distances of a reconstruction from the original. Pictures are uint8 [H, W, 3], sRGB, of the same shape.

All functions raise ValueError for pictures of different shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def mse(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared error over all values, in units of 1/255 squared."""
    _same_shape(a, b)
    total = 0.0
    for rows_a, rows_b in zip(_strips(a), _strips(b), strict=True):  # no float copy of a whole large picture
        total += float(np.square(rows_a.astype(np.float32) - rows_b).sum(dtype=np.float64))
    return total / a.size


def mae(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute error over all values, in units of 1/255."""
    _same_shape(a, b)
    return (
        sum(float(np.abs(x.astype(np.int16) - y).sum()) for x, y in zip(_strips(a), _strips(b), strict=True)) / a.size
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE); infinite for equal pictures."""
    error = mse(a, b)
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(a: np.ndarray, b: np.ndarray, progress: Callable[[float], object] | None = None) -> float:
    """Structural similarity of the luma, 1 for equal pictures. progress: called with the share that is done, 0 ... 1.

    It is the mean over all windows that lie inside, see latent8/evaluation/ssim.py. Pictures with a side under 11
    pixels are extended to it by repeating their edge.
    """
    import torch

    from latent8.evaluation.ssim import WINDOW, similarities

    _same_shape(a, b)

    def luma(picture: np.ndarray) -> torch.Tensor:
        weighted = picture @ np.array([0.299, 0.587, 0.114])  # Rec. 601
        padded = np.pad(weighted, [(0, max(0, WINDOW - side)) for side in weighted.shape], mode="edge")
        return torch.from_numpy(padded)[None, None]

    total, count, rows = 0.0, 0, 512
    with torch.inference_mode():
        for top in range(0, max(1, a.shape[0] - WINDOW + 1), rows):  # strips of windows, so that memory stays bounded
            strip = slice(top, top + rows + WINDOW - 1)
            luminance, rest = similarities(luma(a[strip]), luma(b[strip]))
            total, count = total + float((luminance * rest).sum()), count + rest.numel()
            if progress:
                progress(min(1.0, (top + rows) / a.shape[0]))
    return total / count


def _strips(picture: np.ndarray, rows: int = 256) -> list[np.ndarray]:
    return [picture[top : top + rows] for top in range(0, len(picture), rows)]


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
