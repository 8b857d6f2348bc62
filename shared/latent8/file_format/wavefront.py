"""The order in which codings of neighbours go through latents: in steps whose symbols do not depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np


def with_border_value(symbols: np.ndarray, levels: int) -> np.ndarray:
    """Flatten [C, h, w] to int32 [C, h w + 1]; the last cell of each row stands in for a missing neighbour."""
    border = np.full((len(symbols), 1), levels // 2, np.int32)
    return np.concatenate([symbols.reshape(len(symbols), -1).astype(np.int32), border], axis=1)


def neighbour_places(height: int, width: int) -> np.ndarray:
    """Index of W, N, NW, NE, WW and NN of each cell in a row of `with_border_value`: int32 [6, h w]."""
    cell = np.arange(height * width, dtype=np.int32).reshape(height, width)
    y, x = np.ogrid[:height, :width]
    left, above = cell - 1, cell - width
    west = np.where(x > 0, left, np.where(y > 0, above, height * width))
    north = np.where(y > 0, above, west)
    north_west = np.where(y == 0, west, np.where(x == 0, north, above - 1))
    north_east = np.where(y == 0, west, np.where(x == width - 1, north, above + 1))
    west_west = np.where(x > 1, cell - 2, west)
    north_north = np.where(y > 1, cell - 2 * width, north)
    found = [west, north, north_west, north_east, west_west, north_north]
    return np.stack(found).reshape(6, -1).astype(np.int32)


def steps_of(n_channels: int, height: int, width: int) -> np.ndarray:
    """Step of each symbol in [C, h, w] order: int32 [C h w]."""
    channel, y, x = np.ogrid[:n_channels, :height, :width]
    return (x + 2 * y + channel).astype(np.int32).ravel()


def runs(ordered: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give (start, stop) of each run of equal values."""
    edges = np.flatnonzero(np.diff(ordered)) + 1
    bounds = [0, *edges.tolist(), len(ordered)]
    return pairwise(bounds)
