"""`ancestor`: the vector of the system that latent8 comes from, for its evaluation alone.

Of a crop of 512 x 512 pixels it takes the latents [4, 64, 64] of a tiny autoencoder, and keeps the mean over the rows:
each channel's profile along the columns.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from latent8 import read_latents
from latent8.errors import ModelError
from latent8.library.vectors.base import opaque, unit
from latent8.pool import CodecPool

SIDE = 512  # pixels


class AncestorEmbedder:
    """With TAESD, as it was, where that can be had; else with l8-tiny, of the same shape. model: which of them."""

    name, dimensions, hash = "ancestor", 256, ""

    def __init__(self, pool: CodecPool):
        try:
            self._codec = pool.codec("taesd")
        except ModelError:
            self._codec = pool.codec("l8-tiny")
        self.model = self._codec.model.name

    def view(self, blob: bytes, pool: CodecPool) -> Image.Image:
        return opaque(pool.decode(blob))

    def vector(self, image: Image.Image) -> np.ndarray:
        square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
        return unit(read_latents(self._codec.encode(square)).values.mean(1).ravel())
