"""The pool of loaded codecs, shared by all callers; symbols and latents of a blob, by the codec that they need."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from latent8.codec import Codec, as_model
from latent8.file_format import codings
from latent8.file_format.blob import Encoded
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.reader import Blob, inspect, model_of, require_decoder, require_size
from latent8.latents import Latents
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.zoo.registry import Model

if TYPE_CHECKING:
    import torch


class CodecPool:
    """A pool of loaded codecs, one for each model and device; the one unused for longest is dropped first.

    max_pixels: limit for pictures in and out, for all models or as a function of the model. most: number of codecs that
    are kept.
    """

    def __init__(
        self,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_pixels: int | Callable[[Model], int] = DEFAULT_MAX_PIXELS,
        most: int = 2,
    ):
        self._options, self._max_pixels, self._most = (device, dtype), max_pixels, most
        self._loaded: OrderedDict[tuple[Model, object], Codec] = OrderedDict()
        self._lock, self._loading = Lock(), dict[tuple[Model, object], Lock]()

    def codec(self, model: str | Model, device: str | torch.device | None = None) -> Codec:
        """The codec of a model, loaded if it is not in the pool. Raises ModelError where it cannot be loaded."""
        chosen, (default_device, dtype) = as_model(model), self._options
        key = chosen, device or default_device
        with self._lock:
            loading = self._loading.setdefault(key, Lock())
        with loading:  # so that one is loaded once, and others need not wait for it
            codec = self._loaded.get(key)
            if codec is None:
                codec = Codec(chosen, key[1], dtype, self._limit(chosen))
            with self._lock:
                self._loaded[key] = codec
                self._loaded.move_to_end(key)
                while len(self._loaded) > self._most:
                    self._loaded.popitem(last=False)
            return codec

    def decode(
        self,
        blob: Blob | Encoded | Latents,
        decoder: str | Model | None = None,
        *,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Image.Image:
        """Decode with the model that the blob names, or with another of its latent space; else as `Codec.decode`."""
        source = blob if isinstance(blob, (Encoded, Latents)) else inspect(blob)
        model = model_of(source) if decoder is None else as_model(decoder)
        require_decoder(source.header, model)  # before it is loaded
        require_size(source.header, self._limit(model))
        return self.codec(model, device).decode(source, **options)

    def _limit(self, model: Model) -> int:
        return self._max_pixels if isinstance(self._max_pixels, int) else self._max_pixels(model)


POOL = CodecPool()  # used by the functions at the top of the package


def symbols_of(encoded: Encoded, pool: CodecPool | None = None) -> Symbols:
    """Symbols in the payload. A model is loaded only for codings that need it, from `pool`, by default POOL.

    Raises BlobError for a payload that is damaged, ModelError for a model that cannot be loaded.
    """
    return _coding_of(encoded, pool).symbols(encoded)


def latents_of(encoded: Encoded, pool: CodecPool | None = None) -> np.ndarray:
    """Encoded picture -> latents, float32 [C, h, w]. Loads and raises as `symbols_of`."""
    return _coding_of(encoded, pool).decode(encoded)


def _coding_of(encoded: Encoded, pool: CodecPool | None) -> Coding:
    coding = codings.coding_with_id(encoded.coding)
    return coding((pool or POOL).codec(model_of(encoded)).network) if coding.needs_network else coding()
