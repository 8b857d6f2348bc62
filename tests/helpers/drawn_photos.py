"""Photos drawn from a seed, a folder of them, and what is measured of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, 3], smooth with a little noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return (smooth + random.integers(-3, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos, large enough for crops of 64 after they are shrunk."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, suffix in enumerate(["png", "jpg", "webp"]):
        Image.fromarray(photo(160, 200, seed)).save(folder / f"photo{seed}.{suffix}", quality=95)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
