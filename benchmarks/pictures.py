"""Pictures that benchmarks draw, and compare."""

from __future__ import annotations

import numpy as np
from PIL import Image


def drawn(random: np.random.Generator, width: int, height: int, cells: tuple[int, int]) -> Image.Image:
    """Smooth, from so many random colours down and across, with some grain, as photos are."""
    coarse = Image.fromarray(random.integers(0, 256, (*cells, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-8, 9, (height, width, 1), dtype=np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def near(found: bytes, wanted: bytes) -> bool:
    """Whether all pixels are within one level, as another number of threads may round another way."""
    if len(found) != len(wanted):
        return False
    a, b = (np.frombuffer(values, np.uint8).astype(np.int16) for values in (found, wanted))
    return bool(np.abs(a - b).max() <= 1)
