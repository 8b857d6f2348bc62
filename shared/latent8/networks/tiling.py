"""Tiling of large pictures, with the same result as in one piece.

The receptive field of a convolutional network is bounded. A tile that is run with so much of its surroundings (the
halo), and then cropped, gives the same as the whole picture there, but for rounding. Nothing is blended. Tiles lie
on the grid of latents, so that both halves of the network divide the picture alike.

The receptive field of a network with attention or group normalisation is the whole picture, so its tiles are only
nearly the same; they are faded into each other over their halos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import nn


@dataclass(frozen=True)
class Demand:
    """Demand of one half of a network: how large a halo its results depend on, and how much memory it takes."""

    halo: int  # latents, on each side
    bytes_per_pixel: int  # for the largest activation and the few others that live at the same time
    faded: bool = False  # whether results depend on more than the halo


def demand(layers: nn.Module, stride: int, n_bytes: int, cell: float) -> Demand:
    """Demand of a transform, or of a part of one, found by walking its layers.

    stride: pixels per latent. n_bytes: bytes per number of an activation. cell: pixels between two neighbours in the
    input, 1 for a picture and `stride` for latents.
    """
    reach, largest = 0.0, 0.0
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            reach += cell * (layer.kernel_size[0] // 2)
            cell *= layer.stride[0]
            largest = max(largest, layer.out_channels / cell**2)
        elif isinstance(layer, nn.PixelUnshuffle):
            cell *= layer.downscale_factor
        elif isinstance(layer, nn.PixelShuffle):
            cell /= layer.upscale_factor
        elif isinstance(layer, nn.Upsample):
            cell /= float(layer.scale_factor)  # type: ignore[arg-type]
    return Demand(math.ceil(reach / stride), math.ceil(4 * n_bytes * largest))


@dataclass(frozen=True)
class Tile:
    """A tile, in rows and columns of latents: it is run on `outer`, which has the halo, and gives `inner`."""

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]

    def crop(self, scale: int) -> tuple[slice, slice]:
        """Place of the inner part within a result that has `scale` values per latent, both ways."""
        starts = [(i.start - o.start) * scale for i, o in zip(self.inner, self.outer, strict=True)]
        sizes = [(i.stop - i.start) * scale for i in self.inner]
        return slice(starts[0], starts[0] + sizes[0]), slice(starts[1], starts[1] + sizes[1])

    def fade(self, scale: int) -> np.ndarray:
        """Weight of the tile against the tiles above and to the left, which went before: [rows, columns] in (0, 1].

        It rises along those two sides through both halos, the tile's own and the neighbour's.
        """
        ramps = []
        for inner, outer in zip(self.inner, self.outer, strict=True):
            size, rise = (outer.stop - outer.start) * scale, 2 * (inner.start - outer.start) * scale
            ramps.append(np.minimum((np.arange(size) + 0.5) / rise, 1) if rise else np.ones(size))
        return np.multiply.outer(*ramps).astype(np.float32)


def tiles(rows: int, columns: int, wanted: Demand, stride: int, max_bytes: int) -> list[Tile]:
    """Tiles that cover [rows, columns] of latents, each run in about `max_bytes`; one tile where that is enough.

    They form the grid with the least work, halos included, among those whose tiles fit. stride: pixels per latent.
    """
    halo, area = wanted.halo, max_bytes // (wanted.bytes_per_pixel * stride**2)
    most = math.ceil(rows / max(halo, 1)), math.ceil(columns / max(halo, 1))  # never mostly halo
    grids = []
    for across in range(1, most[1] + 1):
        down = _least_parts(rows, area // _longest(columns, across, halo), halo)
        if down <= most[0]:
            grids.append(((rows + 2 * halo * (down - 1)) * (columns + 2 * halo * (across - 1)), down, across))
    _, down, across = min(grids, default=(0, *most))  # where memory is too short for any: the smallest tiles
    return [
        Tile((row, column), (_grown(row, halo, rows), _grown(column, halo, columns)))
        for row in _ranges(rows, down)
        for column in _ranges(columns, across)
    ]


def scaled(where: tuple[slice, slice], scale: int) -> tuple[slice, slice]:
    """Place in latents -> the same place where there are `scale` values per latent, as in pixels."""
    rows, columns = where
    return slice(rows.start * scale, rows.stop * scale), slice(columns.start * scale, columns.stop * scale)


def _ranges(size: int, count: int) -> list[slice]:
    """Divide 0 ... size into `count` parts of nearly equal length."""
    edges = [size * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _longest(size: int, count: int, halo: int) -> int:
    """Bound of the length of the longest of `count` parts, halos included; there are none at the two ends."""
    return min(size, math.ceil(size / count) + min(count - 1, 2) * halo)


def _least_parts(size: int, limit: int, halo: int) -> int:
    """Least number of parts that are no longer than `limit`, halos included; more than `size` if there is none."""
    for count in (1, 2):
        if _longest(size, count, halo) <= limit:
            return count
    return math.ceil(size / (limit - 2 * halo)) if limit > 2 * halo else size + 1


def _grown(part: slice, halo: int, size: int) -> slice:
    return slice(max(0, part.start - halo), min(size, part.stop + halo))
