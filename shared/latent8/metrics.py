"""How far a reconstruction is from the original. Pictures are uint8 [H, W, 3], sRGB."""

from __future__ import annotations

import math

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


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of the luma, 1 for equal pictures.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian window
    of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03; the mean over all windows that lie inside. Pictures with a
    side under 11 pixels are extended to it by repeating their edge.
    """
    import torch
    from torch.nn import functional as F

    _same_shape(a, b)
    offsets = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = window / window.sum()

    def smooth(x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, window.view(1, 1, 11, 1))
        return F.conv2d(x, window.view(1, 1, 1, 11))

    def luma(picture: np.ndarray) -> torch.Tensor:
        weighted = picture @ np.array([0.299, 0.587, 0.114])  # Rec. 601
        padded = np.pad(weighted, [(0, max(0, 11 - side)) for side in weighted.shape], mode="edge")
        return torch.from_numpy(padded)[None, None]

    total, count = 0.0, 0
    with torch.inference_mode():
        for top in range(0, max(1, a.shape[0] - 10), 512):  # strips of windows, so that memory stays bounded
            x, y = luma(a[top : top + 522]), luma(b[top : top + 522])
            mean_x, mean_y = smooth(x), smooth(y)
            variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
            covariance = smooth(x * y) - mean_x * mean_y
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
                (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
            )
            total, count = total + float(similarity.sum()), count + similarity.numel()
    return total / count


def _strips(picture: np.ndarray, rows: int = 256) -> list[np.ndarray]:
    return [picture[top : top + rows] for top in range(0, len(picture), rows)]


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
