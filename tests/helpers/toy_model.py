"""A kind of model and a coding of payloads from outside of latent8: boxes of 8 x 8 pixels, deflated."""

from __future__ import annotations

import zlib

import numpy as np

from latent8.errors import BlobError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.zoo import kinds, registry
from latent8.zoo.settings import Settings


class Boxes:
    """Latents [3, h, w] are the mean colours of boxes, in [0, 1]."""

    weights_hash, default_realism, bytes_per_pixel, max_bytes, device = b"boxy", None, 30, 1 << 30, "cpu"

    def __init__(self, *_: object):
        pass

    def encode_pixels(self, rgb: np.ndarray, progress=None) -> np.ndarray:
        rows, columns, _ = rgb.shape
        boxes = rgb.reshape(rows // 8, 8, columns // 8, 8, 3).mean(axis=(1, 3))
        return (boxes / 255).transpose(2, 0, 1).astype(np.float32)

    def decode_latents(self, latents, quality=None, realism=None, *, legacy_range=False, progress=None) -> np.ndarray:
        return np.rint(255 * latents.transpose(1, 2, 0)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)


class Deflated(Coding):
    id, name = 200, "deflated"

    def encode(self, latents: np.ndarray, settings: Settings, header: Header, alpha_png=b"", chunks=()) -> Encoded:
        payload = zlib.compress(header.quantiser.quantise(latents).tobytes())
        return Encoded(header, self.id, payload, alpha_png, chunks)

    def symbols(self, encoded: Encoded) -> Symbols:
        shape = encoded.latent_shape
        try:
            data = zlib.decompressobj().decompress(encoded.payload, int(np.prod(shape)))
            values = np.frombuffer(data, np.uint8).reshape(shape)
        except (zlib.error, ValueError):
            raise BlobError("The blob is damaged: its latents cannot be inflated.") from None
        return Symbols(values, encoded.header.quantiser.dequantise(values))

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        if np.prod(header.latent_shape) > 1032 * len(payload):  # deflate's highest ratio
            raise BlobError("The blob is not valid: so few bytes cannot hold its latents.")


KIND = kinds.Kind("Boxes", "tests.helpers.toy_model:Boxes", "", codings=(Deflated.id,))
MODEL = registry.Model(60000, "toy", KIND, "", True, "toy", 3, 8, 0.0, 1.0, 0.0, "MIT", "boxes of 8 x 8 pixels")


def register() -> None:
    codings.register(Deflated), kinds.register(KIND), registry.register(MODEL)
