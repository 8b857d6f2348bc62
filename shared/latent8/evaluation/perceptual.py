"""A metric of how alike pictures look that needs a package of its own."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
from PIL import Image


def has_ssimulacra2() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("ssimulacra2") is not None


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA2 of two pictures, uint8 [H, W, 3], the first of them the original.

    100 for equal ones, 90 for no visible loss, 50 for medium quality, below 0 for very low; it takes a second or so for
    each half megapixel. That of the package of this name, whose blur treats the edges of a picture otherwise than the
    reference does. Raises ImportError without the package.
    """
    from ssimulacra2 import compute_ssimulacra2

    files = io.BytesIO(), io.BytesIO()
    for rgb, file in zip((a, b), files, strict=True):
        Image.fromarray(rgb).save(file, "PPM")
    return float(compute_ssimulacra2(*files))
