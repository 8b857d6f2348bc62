"""What WebP and AVIF make of a picture, for comparison: in the same number of bytes, and over all qualities."""

from __future__ import annotations

import bisect
import io
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image

from latent8.evaluation.metrics import psnr, ssim

# Encoder settings: WebP's default effort; AVIF at a speed that a web page can wait for (0 slow ... 10 fast).
_BASELINES: dict[str, dict[str, int]] = {"WebP": {"method": 4}, "AVIF": {"speed": 7}}
_CURVE_QUALITIES = {"WebP": (1, 10, 30, 50, 70, 85), "AVIF": (10, 25, 40, 50, 60, 70)}


@dataclass(frozen=True)
class Baseline:
    """`image` is None where even the lowest quality needs more than the bytes allowed; `n_bytes` is then that."""

    name: str
    quality: int
    n_bytes: int
    image: Image.Image | None
    psnr_db: float = 0.0
    ssim: float = 0.0


def at_most(n_bytes: int, rgb: np.ndarray) -> list[Baseline]:
    """The best quality of each baseline that fits into `n_bytes`, for uint8 [H, W, 3]; whole files are counted."""
    image = Image.fromarray(rgb)
    return [_best(name, options, image, rgb, n_bytes) for name, options in _BASELINES.items()]


def curve(rgb: np.ndarray) -> list[tuple[str, int, int, float]]:
    """(name, quality, bytes, PSNR in dB) of each baseline at several qualities, for uint8 [H, W, 3]."""
    image = Image.fromarray(rgb)
    points = []
    for name, options in _BASELINES.items():
        for quality in _CURVE_QUALITIES[name]:
            data = _saved(image, name, quality, options)
            if data:
                points.append((name, quality, len(data), psnr(rgb, _pixels(data))))
    return points


def _saved(image: Image.Image, name: str, quality: int, options: dict[str, int]) -> bytes:
    """Empty where the format cannot hold the picture: WebP stops at 16383 pixels a side."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, name, quality=quality, **options)
    except (OSError, ValueError):
        return b""
    return buffer.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _best(name: str, options: dict[str, int], image: Image.Image, rgb: np.ndarray, n_bytes: int) -> Baseline:
    files: dict[int, bytes] = {}

    def size(quality: int) -> int:
        files[quality] = _saved(image, name, quality, options)
        return len(files[quality]) or sys.maxsize

    n_fitting = bisect.bisect_right(range(101), n_bytes, key=size)  # file size rises with quality
    if not n_fitting:
        return Baseline(name, 0, len(files[0]), None)
    quality = n_fitting - 1
    pixels = _pixels(files[quality])
    return Baseline(name, quality, len(files[quality]), Image.fromarray(pixels), psnr(rgb, pixels), ssim(rgb, pixels))
