"""What each latent of l8-photo costs in its blob: -log2 of the probability that its table gives it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from latent8.file_format.hyperprior_coding import MAX_SYMBOL

ZOOM = 4  # latents per hyper-latent, both ways


def bits_per_position(
    coded: Iterable[tuple[np.ndarray, np.ndarray]], bits_of: np.ndarray, size: tuple[int, ...]
) -> np.ndarray:
    """Symbols with the table of each -> bits at each position, summed over channels: float32 [h, w] for `size` (h, w).

    coded: pairs of int8 symbols [C, h, w], or [C, ceil(h / 4), ceil(w / 4)] for hyper-latents, and tables of the same
    shape, rows of `bits_of`, float32 [n, 255]. The bits of a hyper-latent are shared out evenly over the positions
    below it.
    """
    total = np.zeros(size, np.float32)
    for symbols, tables in coded:
        bits = np.zeros(symbols.shape[1:], np.float32)
        for channel, table in zip(symbols, tables, strict=True):  # no float copy of all channels at once
            bits += bits_of[table, channel.astype(np.int16) + MAX_SYMBOL]
        total += bits if bits.shape == total.shape else _shared_out(bits, size)
    return total


def _shared_out(bits: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """[k, l] -> [h, w]: each cell evenly over what it covers, which is less at the lower and right edge."""
    rows, columns = (_covered(n) for n in size)
    evenly = bits / (rows[:, None] * columns)
    return evenly.repeat(rows, axis=0).repeat(columns, axis=1)


def _covered(size: int) -> np.ndarray:
    """How many positions each hyper-latent along a side covers; their sum is `size`."""
    covered = np.full(math.ceil(size / ZOOM), ZOOM)
    covered[-1] = size - ZOOM * (len(covered) - 1)
    return covered
