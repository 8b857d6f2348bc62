"""Pictures as files, and opened as latent8 opens them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from latent8.errors import PictureError
from latent8.pictures.intake import Picture, open_picture

LIMIT = 1_000_000


def file_of(image: Image.Image | np.ndarray, picture_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def opened(source) -> Picture:
    return open_picture(source, LIMIT)


def refusal(source, max_pixels: int = LIMIT) -> str:
    with pytest.raises(PictureError) as found:
        open_picture(source, max_pixels)
    return str(found.value)


def quadrants() -> np.ndarray:
    """48 x 32, another colour in each quarter: no two of the eight orientations look alike."""
    picture = np.empty((32, 48, 3), np.uint8)
    picture[:16, :24], picture[:16, 24:] = (220, 30, 40), (40, 200, 60)
    picture[16:, :24], picture[16:, 24:] = (50, 60, 210), (230, 210, 70)
    return picture
