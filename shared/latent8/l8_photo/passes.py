"""A picture's latents as l8-photo codes them: in passes, foretold by the hyper-latents and the passes before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import L8Photo, context_scales, hyper_scales, level_of, table_indices
from latent8.networks.tiling import Demand, Tile, scaled, tiles

# Latents that are worked on together bound the memory of large pictures. These are the same on every machine.
BAND_POSITIONS = 4096  # by a context
TILE_POSITIONS = 16384  # by a network between latents and hyper-latents
TILE_HALO = 2  # hyper-latents that these networks see beyond their own


def hyper_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Of latents [240, h, w] -> of their hyper-latents, [64, ceil(h / 4), ceil(w / 4)]."""
    zoom = hp.HYPER_STRIDE // hp.STRIDE
    return hp.N_HYPER, math.ceil(shape[1] / zoom), math.ceil(shape[2] / zoom)


def hyper_tiles(rows: int, columns: int) -> list[Tile]:
    """Tiles of hyper-latents."""
    latents = hp.HYPER_STRIDE**2 // hp.STRIDE**2  # for each
    return tiles(rows, columns, Demand(TILE_HALO, latents), 1, TILE_POSITIONS)


def hyper_latents(model: L8Photo, y: Tensor, quality: int) -> Tensor:
    """Latents y [240, h, w] -> hyper-latents z, int8 [64, ceil(h / 4), ceil(w / 4)]."""
    level, zoom = torch.tensor([level_of(quality)]), hp.HYPER_STRIDE // hp.STRIDE
    gain = model.log_gain(level).exp()
    z = torch.empty(hyper_shape(y.shape), dtype=torch.int8)
    for tile in hyper_tiles(*z.shape[1:]):
        part = model.hyper_analysis(y[None, :, *scaled(tile.outer, zoom)] * gain)[0]
        z[:, *tile.inner] = part[:, *tile.crop(1)].round_().clamp_(-hp.MAX_SYMBOL, hp.MAX_SYMBOL).to(torch.int8)
    return z


class Passes:
    """Hyper-latents z, int8 [64, k, l]; symbols q, int8 [240, h, w], as far as they are known; means of the latents in
    steps, float32 [240, h, w].

    Begins with what z tells of all latents.
    """

    @torch.no_grad()
    def __init__(self, model: L8Photo, z: np.ndarray, quality: int, shape: tuple[int, int, int]):
        self._model, self.z, self.quality = model, z, quality
        self._level = torch.tensor([level_of(quality)])
        self.means = torch.empty(shape)
        self._scales = torch.empty(shape, dtype=torch.int16)
        self.q = torch.zeros(shape, dtype=torch.int8)
        zoom = hp.HYPER_STRIDE // hp.STRIDE
        for tile in hyper_tiles(*z.shape[1:]):
            part = torch.from_numpy(z[:, *tile.outer])
            here, there = (slice(None), *tile.crop(zoom)), (slice(None), *scaled(tile.inner, zoom))
            _, h, w = self.q[there].shape  # the last hyper-latents may reach beyond the latents
            self.means[there] = model.mean(part[None].float(), self._level)[0][here][:, :h, :w]
            self._scales[there] = hyper_scales(model, part, quality)[here][:, :h, :w]

    def in_order(self) -> Iterator[tuple[slice, slice, slice]]:
        """Places in q and means whose symbols come next: they must be known before the next places are asked for."""
        for number, phases in enumerate(hp.PASSES):
            if number:
                self._begin(number)
            for row, column in phases:
                yield slice(None), slice(row, None, 2), slice(column, None, 2)

    def tables(self, places: tuple[slice, ...] = ()) -> np.ndarray:
        """uint8 index of the probability table of each latent, at places that have been given."""
        return table_indices(self._scales[places]).numpy()

    @torch.no_grad()
    def _begin(self, number: int) -> None:
        """Add what the symbols of earlier passes tell of those of this one to their means and scales."""
        height, width = self.q.shape[1:]
        band = 2 * max(1, BAND_POSITIONS // (2 * width))  # rows
        for top in range(0, height, band):
            bottom = min(height, top + band)
            above, below = max(0, top - 1), min(height, bottom + 1)  # contexts see one row beyond
            q = self.q[:, above:below]
            means = self._model.mean_contexts[number - 1](q[None].float(), self._level)[0]
            framed = F.pad(q, (1, 1, int(above == top), int(below == bottom)))
            for row, column in hp.PASSES[number]:
                there = slice(top + row, bottom, 2), slice(column, None, 2)
                here = slice(top - above + row, bottom - above, 2), slice(column, None, 2)
                self.means[:, *there] += means[:, *here]
                scales = context_scales(self._model, number - 1, framed, self.quality, (row, column))
                self._scales[:, *there] += scales
