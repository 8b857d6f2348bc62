"""Bits that each latent of l8-photo takes in its blob: -log2 of its symbol's probability in its table (PMF)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from latent8.file_format.hyperprior_coding import MAX_SYMBOL

ZOOM = 4  # latents per hyper-latent, both ways


def bits_per_position(
    coded: Iterable[tuple[np.ndarray, np.ndarray]], bits_of: np.ndarray, size: tuple[int, ...]
) -> np.ndarray:
    """Bits at each position of the latents, summed over channels: float32 [h, w].

    coded: pairs of symbols, int8 [C, h, w], or [C, ceil(h / 4), ceil(w / 4)] for hyper-latents, and for each symbol the
    number of its probability table, a row of `bits_of`. bits_of: bits of the symbols -127 ... 127 under each table,
    float32 [n, 255]. size: (h, w). The bits of a hyper-latent are shared out evenly over the positions that it covers.
    """
    total = np.zeros(size, np.float32)
    for symbols, tables in coded:
        bits = np.zeros(symbols.shape[1:], np.float32)
        for channel, table in zip(symbols, tables, strict=True):  # no float copy of all channels at once
            bits += bits_of[table, channel.astype(np.int16) + MAX_SYMBOL]
        total += bits if bits.shape == total.shape else _shared_out(bits, size)
    return total


def _shared_out(bits: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Share [k, l] out over [h, w]: each cell evenly over the positions that it covers, fewer at the far edges."""
    rows, columns = (_covered(n) for n in size)
    evenly = bits / (rows[:, None] * columns)
    return evenly.repeat(rows, axis=0).repeat(columns, axis=1)


def _covered(size: int) -> np.ndarray:
    """Number of positions that each hyper-latent along a side covers; their sum is `size`."""
    covered = np.full(math.ceil(size / ZOOM), ZOOM)
    covered[-1] = size - ZOOM * (len(covered) - 1)
    return covered
