"""benchmarks/previews.py: what others make of a picture in as many bytes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from benchmarks.contenders import pillow_contender
from benchmarks.previews import QUALITIES, largest_that_fits, previews
from tests.helpers.drawn_photos import photo


def test_the_highest_quality_that_fits_is_taken() -> None:
    webp, picture = pillow_contender("WebP", QUALITIES), photo(64, 64)
    sizes = [len(webp.encode(picture, "", quality)) for quality in QUALITIES]
    for limit in (min(sizes), 600, max(sizes) + 1):
        file = largest_that_fits(webp, picture, limit)
        assert file is not None and len(file) <= limit
    assert largest_that_fits(webp, picture, max(sizes)) == webp.encode(picture, "", 100)
    assert largest_that_fits(webp, picture, min(sizes) - 1) is None


def test_small_files_are_of_smaller_pictures_enlarged_again() -> None:
    webp, picture = pillow_contender("WebP", QUALITIES), photo(128, 128)
    limit = len(webp.encode(picture, "", 1)) - 1
    found = list(previews(webp, picture, limit))
    assert 1 <= len(found) < 4  # not at its own size
    for decoded, n_bytes in found:
        assert decoded.shape == picture.shape and n_bytes <= limit
    blurred, _ = found[-1]
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((16, 16), Image.Resampling.LANCZOS).save(buffer, "PNG")
    small = np.asarray(Image.open(buffer).resize((128, 128), Image.Resampling.BICUBIC), float)
    assert np.abs(blurred - small).mean() < 12
