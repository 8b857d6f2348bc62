"""Limits of pictures and blobs, checked before anything is allocated."""

from __future__ import annotations

from latent8.errors import PictureError

MAX_SIDE, MAX_PIXELS = 1 << 20, 1 << 30

MAX_CHANNELS, MAX_STRIDE = 255, 64

DEFAULT_MAX_PIXELS = 100_000_000  # tiles keep this within 8 GB of memory; measured by benchmarks/memory.py

MIN_LATENTS = 1_000_000  # number of latents that is allowed under any limit of pixels


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError for a size over the limit of `max_pixels`, or over the sides that a blob can hold."""
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"The picture has a side of {max(width, height)} pixels, over {MAX_SIDE}: cut it up.")
    if width * height > max_pixels:
        megapixels = width * height / 1e6
        raise PictureError(
            f"The picture has {megapixels:.1f} megapixels ({width} x {height}), over the limit of "
            f"{max_pixels / 1e6:.1f}: shrink it, or raise the limit if there is memory for it."
        )
