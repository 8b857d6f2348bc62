"""Photos drawn from a seed."""

from __future__ import annotations

import numpy as np
from PIL import Image


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, 3], smooth with a little noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return (smooth + random.integers(-3, 4, smooth.shape)).clip(0, 255).astype(np.uint8)
