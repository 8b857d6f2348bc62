"""The three passes in which l8-photo codes latents, predicted from hyper-latents and from earlier passes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import L8Photo, context_scales, hyper_scales, level_of, table_indices
from latent8.machine.pauses import pause
from latent8.networks.tiling import Demand, Tile, scaled, tiles

# Positions of latents that are worked on together; bounds keep the memory of large pictures low. They are the same on
# every machine.
STRIP_POSITIONS = 4096  # in a strip of rows, for a context model
TILE_POSITIONS = 16384  # in a tile, for h_a and h_s
TILE_HALO = 2  # hyper-latents that h_a and h_s see beyond their own, on each side


def hyper_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Shape of latents [240, h, w] -> shape of their hyper-latents, [64, ceil(h / 4), ceil(w / 4)]."""
    zoom = hp.HYPER_STRIDE // hp.STRIDE
    return hp.N_HYPER, math.ceil(shape[1] / zoom), math.ceil(shape[2] / zoom)


def hyper_tiles(rows: int, columns: int) -> list[Tile]:
    """Tiles that cover [rows, columns] of hyper-latents, each of about TILE_POSITIONS latents."""
    latents = hp.HYPER_STRIDE**2 // hp.STRIDE**2  # for each
    return tiles(rows, columns, Demand(TILE_HALO, latents), 1, TILE_POSITIONS)


def hyper_latents(model: L8Photo, y: Tensor, quality: int) -> Tensor:
    """z = round(h_a(gain y)): latents y, float32 [240, h, w], at quality 1 ... 100 -> int8, see `hyper_shape`."""
    level, zoom = torch.tensor([level_of(quality)]), hp.HYPER_STRIDE // hp.STRIDE
    gain = model.log_gain(level).exp()
    z = torch.empty(hyper_shape(y.shape), dtype=torch.int8)
    for tile in hyper_tiles(*z.shape[1:]):
        part = model.hyper_analysis(y[None, :, *scaled(tile.outer, zoom)] * gain)[0]
        z[:, *tile.inner] = part[:, *tile.crop(1)].round_().clamp_(-hp.MAX_SYMBOL, hp.MAX_SYMBOL).to(torch.int8)
        pause()
    return z


class Passes:
    """State of coding one picture, the same in the encoder and the decoder: what is known, and what that predicts.

    z: hyper-latents, int8 [64, k, l]. q: symbols, int8 [240, h, w], 0 where not yet known. means: predicted latents in
    steps, float32 [240, h, w]. At first means and scale indices are those of the hyper-latents; `in_order` brings those
    of later passes up to date.

    shape: [240, h, w], that of the latents. quality: 1 ... 100.
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
            pause()

    def in_order(self) -> Iterator[tuple[slice, slice, slice]]:
        """Places in q and means whose symbols come next; the caller fills q there before it asks for the next."""
        for number, phases in enumerate(hp.PASSES):
            if number:
                self._begin(number)
            for row, column in phases:
                yield slice(None), slice(row, None, 2), slice(column, None, 2)

    def tables(self, places: tuple[slice, ...] = ()) -> np.ndarray:
        """Scale index of each latent, which names its probability table: uint8, at places that `in_order` has given."""
        return table_indices(self._scales[places]).numpy()

    @torch.no_grad()
    def _begin(self, number: int) -> None:
        """Add to the means and scale indices of a pass what its context models predict from earlier passes."""
        height, width = self.q.shape[1:]
        strip = 2 * max(1, STRIP_POSITIONS // (2 * width))  # rows
        for top in range(0, height, strip):
            bottom = min(height, top + strip)
            above, below = max(0, top - 1), min(height, bottom + 1)  # context models see one row beyond
            q = self.q[:, above:below]
            means = self._model.mean_contexts[number - 1](q[None].float(), self._level)[0]
            framed = F.pad(q, (1, 1, int(above == top), int(below == bottom)))
            for row, column in hp.PASSES[number]:
                there = slice(top + row, bottom, 2), slice(column, None, 2)
                here = slice(top - above + row, bottom - above, 2), slice(column, None, 2)
                self.means[:, *there] += means[:, *here]
                scales = context_scales(self._model, number - 1, framed, self.quality, (row, column))
                self._scales[:, *there] += scales
            pause()
