"""Samples of any depth -> 8 bits. What is white is said by the file, or follows from the type and the values.

Where the file does not say it (SMinSampleValue and SMaxSampleValue of TIFF, then Min- and MaxSampleValue), black is 0
and white is

    of unsigned integers of up to 16 bits: the greatest that they can hold;
    of others: the least of 1 (floating point alone), 255, 65,535 and the greatest of an integer type that is not below
    the picture's brightest values; but where those stay below a sixteenth of that, the brightest values themselves.

The brightest values are those that one in 200 exceeds (or equals), so that a hot pixel does not blacken a picture. A
floating-point picture may exceed 1, 255 or 65,535 by a quarter and still be meant by it. What is outside is clipped.
Where over one in 20 values is negative, black is the most negative value of the type, or, where they stay within a
sixteenth of the range, and in floating point, the value that one in 200 goes below.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

OUTLIERS, NEGATIVES, LEAST_PART, SLACK = 0.005, 0.05, 16, 1.25
_LOOKED_AT = 1_000_000  # values, at most, that decide what is white
_ROWS = 256  # that are scaled at a time


def to_8_bit(samples: np.ndarray, bits: int | None = None, stated: tuple[float, float] | None = None) -> np.ndarray:
    """[H, W] or [H, W, C] of any type -> uint8 of that shape. What is not finite becomes black.

    bits: of unsigned integers that do not fill their type. stated: black and white, by the file.
    """
    black, white = stated or value_range(samples, bits)
    result = np.empty(samples.shape, np.uint8)
    scale = 255 / (white - black)
    with np.errstate(all="ignore"):
        for top in range(0, len(samples), _ROWS):
            values = (samples[top : top + _ROWS].astype(np.float64) - black) * scale
            values[~np.isfinite(samples[top : top + _ROWS])] = 0
            result[top : top + _ROWS] = np.rint(values.clip(0, 255))
    return result


def value_range(samples: np.ndarray, bits: int | None = None) -> tuple[float, float]:
    """Black and white, by the rule above."""
    kind, item_bits = samples.dtype.kind, 8 * samples.dtype.itemsize
    if kind == "u" and (bits or item_bits) <= 16:
        return 0.0, float((1 << (bits or item_bits)) - 1)
    flat = samples.reshape(-1)
    looked_at = flat[:: max(1, flat.size // _LOOKED_AT)].astype(np.float64)
    looked_at = looked_at[np.isfinite(looked_at)]
    if not looked_at.size:
        return 0.0, 1.0
    low, high = np.quantile(looked_at, (OUTLIERS, 1 - OUTLIERS), method="lower")
    greatest = float(1 << (bits or item_bits) - (kind == "i")) - 1
    if (looked_at < 0).mean() > NEGATIVES:
        wide = kind == "i" and max(-low, high) * LEAST_PART >= greatest
        return (-greatest - 1, greatest) if wide else (float(low), float(max(high, low + 1e-30)))
    candidates = (1.0, 255.0, 65535.0) if kind == "f" else (*(w for w in (255.0, 65535.0) if w < greatest), greatest)
    slack = SLACK if kind == "f" else 1.0
    for white in candidates:
        if high <= slack * white:
            return 0.0, white if white == candidates[0] or high * LEAST_PART >= white else float(high)
    return 0.0, float(high)


def image_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey, and black and white -> mode L; others unchanged."""
    if image.mode == "1":
        return image.convert("L")
    if not image.mode.startswith("I") and image.mode != "F":
        return image
    return Image.fromarray(to_8_bit(np.asarray(image)))
