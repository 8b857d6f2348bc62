"""Baselines for comparison, WebP, AVIF and JPEG XL: a picture in the same number of bytes, and over all qualities.

JPEG XL is there where the package pillow-jxl-plugin is.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from latent8.evaluation.metrics import psnr, ssim

# Pillow's name and encoder settings: WebP's default effort; AVIF and JPEG XL at speeds that a web page can wait for.
_BASELINES: dict[str, tuple[str, dict[str, int]]] = {
    "WebP": ("WEBP", {"method": 4}),
    "AVIF": ("AVIF", {"speed": 7}),  # 0 slow ... 10 fast
    "JPEG XL": ("JXL", {"effort": 4}),  # 1 fast ... 9 slow
}
CURVE_QUALITIES = {
    "WebP": (1, 10, 30, 50, 70, 85),
    "AVIF": (10, 25, 40, 50, 60, 70),
    "JPEG XL": (10, 30, 50, 70, 85),
}
_TRIES = 7  # of a bisection of 0 ... 100


@dataclass(frozen=True)
class Baseline:
    """`image` is None where even the lowest quality needs more than the bytes allowed; `n_bytes` is then that, or 0
    where the format cannot hold the picture."""

    name: str
    quality: int
    n_bytes: int
    image: Image.Image | None
    psnr_db: float = 0.0
    ssim: float = 0.0


@cache
def names() -> tuple[str, ...]:
    """The codecs that there are here."""
    try:
        import pillow_jxl  # noqa: F401, which makes it known to Pillow
    except ImportError:
        return "WebP", "AVIF"
    return "WebP", "AVIF", "JPEG XL"


class Search:
    """The best quality of one codec with which a whole file fits into `n_bytes`, for uint8 [H, W, 3].

    `steps` does the work; `file` is then its bytes, empty where none fits, and `quality` the one it has. `next_larger`:
    bytes at the next quality, or where none fits at the lowest; 0 where there is none.
    """

    def __init__(self, name: str, rgb: np.ndarray, n_bytes: int):
        self.name, self.file, self.quality, self.next_larger = name, b"", 0, 0
        self._image, self.n_bytes = Image.fromarray(rgb), n_bytes

    def steps(self) -> Iterator[float]:
        """The share that is done, 0 ... 1, before each try."""
        low, high, tries = 0, 100, 0
        while low <= high:  # bisection: file size rises with quality
            yield tries / _TRIES
            tries += 1
            quality = (low + high) // 2
            data = saved(self._image, self.name, quality)
            if not data:
                return
            if len(data) <= self.n_bytes:
                self.file, self.quality, low = data, quality, quality + 1
            else:
                self.next_larger, high = len(data), quality - 1


def at_most(n_bytes: int, rgb: np.ndarray) -> list[Baseline]:
    """The best quality of each baseline that fits into `n_bytes`, for uint8 [H, W, 3]; whole files are counted."""
    return [_best(Search(name, rgb, n_bytes), rgb) for name in names()]


def saved(image: Image.Image, name: str, quality: int) -> bytes:
    """A file of one of `names()`; empty where the format cannot hold the picture: WebP stops at 16383 pixels a side."""
    buffer = io.BytesIO()
    pillows_name, options = _BASELINES[name]
    try:
        image.save(buffer, pillows_name, quality=quality, **options)
    except (OSError, ValueError):
        return b""
    return buffer.getvalue()


def pixels(file: bytes) -> np.ndarray:
    """Pixels of a picture file, uint8 [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def _best(search: Search, rgb: np.ndarray) -> Baseline:
    for _ in search.steps():
        pass
    if not search.file:
        return Baseline(search.name, 0, search.next_larger, None)
    found = pixels(search.file)
    image = Image.fromarray(found)
    return Baseline(search.name, search.quality, len(search.file), image, psnr(rgb, found), ssim(rgb, found))
