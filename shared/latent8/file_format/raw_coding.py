"""Payload of coding 0: one byte for each symbol.

offset  size       field
0       C x h x w  symbols 0 ... top of the quantiser, in [C, h, w] order
"""

from __future__ import annotations

import math

import numpy as np

from latent8.errors import BlobError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.extension import Chunk
from latent8.zoo.settings import Settings


class RawCoding(Coding):
    """Symbols stored as they are, for latents that entropy coding does not make smaller."""

    id = codings.RAW
    name = "raw"

    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        symbols = header.quantiser.quantise(latents)
        return Encoded(header, self.id, symbols.tobytes(), alpha_png, chunks)

    def symbols(self, encoded: Encoded) -> Symbols:
        quantiser = encoded.header.quantiser
        symbols = np.frombuffer(encoded.payload, np.uint8).reshape(encoded.header.latent_shape)
        if symbols.max() >= quantiser.levels:
            raise BlobError("The blob is damaged: a latent lies outside its range. Encode the picture again.")
        return Symbols(symbols, quantiser.dequantise(symbols))

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        n_symbols = math.prod(header.latent_shape)
        if len(payload) != n_symbols:
            raise BlobError(
                f"The blob is not valid: it states {len(payload)} bytes of latents where {n_symbols} belong."
            )
