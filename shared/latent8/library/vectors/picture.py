"""`picture`: a vector from the features of a small network that was trained to tell 1,000 kinds of things apart.

EfficientNet-Lite0's last feature maps are averaged, their square roots taken, so that a few strong features do not
count for all, and projected by a matrix that was fitted on photos and edits of them (`training/library_vectors.py`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latent8.library.vectors.base import WEIGHTS, Projection, hash_of, opaque, unit

if TYPE_CHECKING:
    from latent8.library.efficientnet import EfficientNetLite0
    from latent8.pool import CodecPool

SIDE = 224  # pixels, both ways: the picture is squeezed into a square, so that all of it is seen
_NETWORK = WEIGHTS / "efficientnet-lite0" / "features.safetensors"
_PROJECTION = WEIGHTS / "library" / "picture-1.safetensors"


class PictureEmbedder:
    """See the module; the network is loaded when it is first needed."""

    def __init__(self) -> None:
        self._project = Projection(_PROJECTION)
        self.name, self.dimensions = "picture-1", self._project.dimensions
        self.hash = hash_of([_NETWORK, _PROJECTION], f"{SIDE} px, square roots of means")

    def view(self, blob: bytes, pool: CodecPool) -> Image.Image:
        return opaque(pool.decode(blob))

    def vector(self, image: Image.Image) -> np.ndarray:
        return unit(self._project(features(image)[None])[0])


def features(image: Image.Image) -> np.ndarray:
    """Picture of mode RGB -> float32 [1280], 0 ... 2.5."""
    import torch

    resized = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        maps = _network()(pixels.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3)).sqrt()[0].numpy()


@cache
def _network() -> EfficientNetLite0:
    from latent8.library.efficientnet import load_efficientnet

    return load_efficientnet(_NETWORK)
