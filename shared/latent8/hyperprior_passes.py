"""A picture's latents as l8-photo codes them: in passes, foretold by the hyper-latents and the passes before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent8 import hyperprior as hp
from latent8.photo_model import L8Photo, context_scales, hyper_scales, level_of, table_indices

BAND_POSITIONS = 4096  # that contexts look at together: bounds the memory of large pictures


class Passes:
    """Hyper-latents z, int8 [64, k, l]; symbols q, int8 [160, h, w], as far as they are known; means of the latents in
    steps, float32 [160, h, w].

    Begins with what z tells of all latents.
    """

    @torch.no_grad()
    def __init__(self, model: L8Photo, z: np.ndarray, quality: int, shape: tuple[int, int, int]):
        _, h, w = shape
        self._model, self.z, self.quality = model, z, quality
        self._level = torch.tensor([level_of(quality)])
        hyper_latents = torch.from_numpy(z)
        self.means: Tensor = model.mean(hyper_latents[None].float(), self._level)[0, :, :h, :w]
        self._scales = hyper_scales(model, hyper_latents, quality)[:, :h, :w]
        self.q = torch.zeros(shape, dtype=torch.int8)

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
