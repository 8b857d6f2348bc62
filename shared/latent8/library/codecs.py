"""The codecs that a library encodes and decodes with, each loaded on first use and kept."""

from __future__ import annotations

from functools import cached_property
from threading import Lock

from PIL import Image

from latent8.codec import Codec
from latent8.file_format.reader import inspect
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.zoo.registry import model_with_id


class Codecs:
    """device: as for Codec."""

    def __init__(self, device: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS):
        self._device, self._max_pixels = device, max_pixels
        self._loaded: dict[str, Codec] = {}
        self._loading = Lock()

    @cached_property
    def encoder(self) -> Codec:
        return self.named("l8-photo")

    def named(self, model: str) -> Codec:
        with self._loading:
            if model not in self._loaded:
                self._loaded[model] = Codec(model, self._device, max_pixels=self._max_pixels)
            return self._loaded[model]

    def decode(self, blob: bytes) -> Image.Image:
        """Blob -> PIL image, RGB or RGBA, by the model that it names."""
        return self.named(model_with_id(inspect(blob).model_id).name).decode(blob)
