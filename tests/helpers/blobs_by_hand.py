"""Blobs of format 1 byte by byte, and what they are refused with."""

from __future__ import annotations

import numpy as np
import pytest

from latent8.errors import BlobError
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.neighbour_coding import encoded_symbols
from latent8.file_format.quantiser import Quantiser
from latent8.pool import symbols_of

# A picture of 9 x 5 pixels, so latents of 4 x 1 x 2; symbols 0 to 7; 200 levels. From the field table, by hand.
GOLDEN_PLAIN = (
    b"\x89L8\n"  # magic
    b"\x01"  # version 1
    b"\x00"  # flags: neither stem nor alpha
    b"\x02\x01"  # model 258
    b"\xca\xfe\xba\xbe"  # weights
    b"\x09\x00\x00\x00"  # width 9
    b"\x05\x00\x00\x00"  # height 5
    b"\x04"  # channels 4
    b"\x08"  # stride 8
    b"\xc7"  # top 199
    b"\x00"  # coding 0
    b"\x00\xc2"  # low -3: sign 1, exponent 16 (bias 15), fraction 512 / 1024
    b"\x00\x3e"  # high 1.5: sign 0, exponent 15, fraction 512 / 1024
    b"\x08\x00\x00\x00"  # payload of 8 bytes
    b"\x00\x01\x02\x03\x04\x05\x06\x07"  # symbols
    b"\x1e\x6f\x64\x7d"  # checksum
)
# The same with a stem and an alpha plane, which this layer takes as it is.
GOLDEN_FULL = (
    b"\x89L8\n\x01"
    b"\x03"  # flags: stem and alpha
    b"\x02\x01\xca\xfe\xba\xbe\x09\x00\x00\x00\x05\x00\x00\x00\x04\x08\xc7\x00\x00\xc2\x00\x3e\x08\x00\x00\x00"
    b"\x04Z\xc3\xbcg"  # stem of 4 bytes: "Züg"
    b"\x03\x00\x00\x00PNG"  # alpha plane of 3 bytes
    b"\x00\x01\x02\x03\x04\x05\x06\x07"
    b"\xdf\x40\xd7\x23"
)


def packed(header: Header, symbols: np.ndarray, alpha: bytes = b"") -> bytes:
    """A blob of these symbols, coded without loss."""
    return encoded_symbols(symbols, header, alpha).to_bytes()


def unpacked(blob: bytes) -> tuple[Encoded, np.ndarray]:
    """What a blob says, and its symbols: uint8 [C, h, w]."""
    encoded = Encoded.parse(blob)
    return encoded, symbols_of(encoded).values


def header_of(width: int, height: int, levels: int = 256, stem: str | None = None, channels: int = 4) -> Header:
    return Header(
        model_id=1,
        weights=b"\xde\xad\xbe\xef",
        width=width,
        height=height,
        channels=channels,
        stride=8,
        quantiser=Quantiser(levels=levels),
        stem=stem,
    )


def refusal(blob: bytes) -> str:
    """The sentence that a blob is refused with; the header alone must be refused likewise."""
    with pytest.raises(BlobError) as found:
        unpacked(blob)
    with pytest.raises(BlobError) as found_in_header:
        Encoded.parse(blob)
    assert str(found.value) == str(found_in_header.value)
    return str(found.value)
