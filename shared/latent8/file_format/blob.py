"""The .l8 blob: a header, an optional file stem and alpha plane, the latents, a checksum.

All integers are unsigned and little-endian; float16 is IEEE 754 binary16. Sizes are in bytes.

    offset  size  field      legal values          meaning
    0       4     magic      89 4C 38 0A           0x89 "L8" line feed: marks the format, shows text-mode damage
    4       1     version    1                     format version
    5       1     flags      bits 0 and 1          bit 0: file stem present; bit 1: alpha plane present
    6       2     model      1 ... 65535           model id, see latent8/models.py; never reused
    8       4     weights    any                   first four bytes of the SHA-256 of the model's weights; zeros for
                                                   latents from elsewhere in the model's latent space
    12      4     width      1 ... 1048576         of the picture, in pixels
    16      4     height     1 ... 1048576         of the picture, in pixels; width x height at most 2^30
    20      1     channels   1 ... 255             latent channels C
    21      1     stride     1 ... 64              pixels per latent, both ways: the latents are
                                                   [C, h, w] = [C, ceil(height / stride), ceil(width / stride)]
    22      1     top        15 ... 255            highest symbol: levels of the quantiser, less one
    23      1     coding     0, 1 or 2             0: C x h x w symbols, one byte each, in [C, h, w] order;
                                                   1: entropy-coded, see latent8/entropy.py;
                                                   2: under a hyperprior, see latent8/hyperprior_coding.py
    24      2     low        finite float16        latent that symbol 0 stands for
    26      2     high       finite, above low     latent that symbol `top` stands for
    28      4     payload    coding 0: C x h x w   length of the payload
                             1: less than that
                             2: 5 + 4 n
    32      1 + n stem       n = 1 ... 200         only with flag 0: length n, then n bytes of UTF-8, the name
                                                   of the original file without folder and ending
    .       4 + m alpha      m = 1 ... 2^31        only with flag 1: length m, then a PNG of mode L and of the
                                                   picture's own size, the alpha plane
    .       payload          latents
    .       4     checksum                         CRC-32 (as in zlib) of all bytes before it

Symbol q stands for the latent low + (high - low) * q / top. With coding 2, low is -127, high 127 and top 254: a
latent is then a whole number of quantisation steps above the mean that the hyperprior expects, drawn towards it by a
part of a step unless it is 0: by `reconstruction_shift[s]` of the weights, where s = 0 ... 63 is the scale whose table
the symbol has, in all bands (latent8/l8_photo/layers.py has the whole formula). Nothing follows the checksum.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from latent8.errors import BlobError
from latent8.file_format import hyperprior_coding, neighbour_coding
from latent8.file_format.quantiser import Quantiser
from latent8.limits import MAX_CHANNELS, MAX_PIXELS, MAX_SIDE, MAX_STRIDE

MAGIC = b"\x89L8\n"
VERSION = 1
FLAG_STEM, FLAG_ALPHA = 1, 2
RAW, ENTROPY_CODED, HYPERPRIOR_CODED = 0, 1, 2
MAX_STEM_BYTES = 200
MAX_ALPHA_BYTES = 1 << 31
UNKNOWN_WEIGHTS = bytes(4)

_FIXED = struct.Struct("<4sBBH4sIIBBBBeeI")
_CRC_BYTES = 4


@dataclass(frozen=True)
class Header:
    """What a blob says of itself. Shapes are [channels, height, width]; sizes are in pixels or bytes."""

    model_id: int
    weights: bytes
    width: int
    height: int
    channels: int
    stride: int
    quantiser: Quantiser
    stem: str | None = None
    coding: int = RAW
    payload_bytes: int = 0
    alpha_bytes: int = 0
    n_bytes: int = 0
    quality: int | None = None  # with coding 2

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.channels, math.ceil(self.height / self.stride), math.ceil(self.width / self.stride)

    @property
    def bpp(self) -> float:
        """Bits of the whole blob per pixel of the picture."""
        return 8 * self.n_bytes / (self.width * self.height)


def pack(header: Header, symbols: np.ndarray, alpha_png: bytes = b"") -> bytes:
    """Header, symbols (uint8 [C, h, w], 0 ... levels - 1) and alpha plane -> blob.

    The header's coding and byte counts are worked out here, whatever they say. Raises ValueError when the
    symbols do not fit the header.
    """
    levels = header.quantiser.levels
    if symbols.shape != header.latent_shape or symbols.dtype != np.uint8 or symbols.max() >= levels:
        raise ValueError(f"expected uint8 symbols below {levels} of shape {header.latent_shape}")
    payload, coding = neighbour_coding.encode(symbols, levels), ENTROPY_CODED
    if len(payload) >= symbols.size:
        payload, coding = symbols.tobytes(), RAW
    return pack_payload(header, coding, payload, alpha_png)


def pack_payload(header: Header, coding: int, payload: bytes, alpha_png: bytes = b"") -> bytes:
    """As `pack`, for latents that are coded already."""
    stem = clean_stem(header.stem).encode() if header.stem else b""
    fixed = _FIXED.pack(
        MAGIC,
        VERSION,
        (FLAG_STEM if stem else 0) | (FLAG_ALPHA if alpha_png else 0),
        header.model_id,
        header.weights,
        header.width,
        header.height,
        header.channels,
        header.stride,
        header.quantiser.levels - 1,
        coding,
        header.quantiser.low,
        header.quantiser.high,
        len(payload),
    )
    parts = [fixed]
    if stem:
        parts += [bytes([len(stem)]), stem]
    if alpha_png:
        parts += [len(alpha_png).to_bytes(4, "little"), alpha_png]
    body = b"".join([*parts, payload])
    return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")


def read_header(blob: bytes) -> Header:
    """Check the whole blob, all but the coded symbols themselves, and return its header.

    Raises BlobError. Allocates nothing that the header asks for.
    """
    return _parse(bytes(blob))[0]


def unpack(blob: bytes) -> tuple[Header, np.ndarray, bytes]:
    """blob -> header, symbols (uint8 [C, h, w]), alpha plane as PNG bytes (empty when opaque).

    Raises BlobError.
    """
    header, alpha, payload = read_payload(blob)
    if header.coding == HYPERPRIOR_CODED:
        raise BlobError("The latents of this blob cannot be read without its model.")
    if header.coding == RAW:
        symbols = np.frombuffer(payload, np.uint8).reshape(header.latent_shape)
    else:
        symbols = neighbour_coding.decode(payload, header.latent_shape, header.quantiser.levels)
    if symbols.max() >= header.quantiser.levels:
        raise BlobError("The blob is damaged: a latent lies outside its range. Encode the picture again.")
    return header, symbols, alpha


def read_payload(blob: bytes) -> tuple[Header, bytes, bytes]:
    """blob -> header, alpha plane as PNG bytes (empty when opaque), latents as they are coded. Raises BlobError."""
    return _parse(bytes(blob))


def is_blob(data: bytes) -> bool:
    return data[: len(MAGIC)] == MAGIC


def clean_stem(name: str) -> str:
    """A file name's stem made safe to write on any system, at most 200 bytes of UTF-8; "picture" if nothing is left."""
    name = name.encode("utf-8", "ignore").decode()  # lone surrogates of odd file names cannot be stored
    stem = re.sub(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|]', "", name).strip(" .")
    if re.match(r"(?i)(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)", stem):  # devices on Windows, whatever the ending
        stem = f"_{stem}"
    return stem.encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "picture"


def _parse(blob: bytes) -> tuple[Header, bytes, bytes]:
    if not blob:
        raise BlobError("The file is empty: it is not a latent8 blob.")
    if blob[:4] != MAGIC[: len(blob[:4])]:
        raise BlobError("This is not a latent8 blob (.l8): it starts with other bytes.")
    if len(blob) > 4 and blob[4] != VERSION:
        raise BlobError(f"The blob has format version {blob[4]}, this latent8 reads {VERSION}: update latent8.")
    cursor = _Cursor(blob)
    (_, _, flags, model_id, weights, width, height, channels, stride, top, coding, low, high, payload_bytes) = (
        _FIXED.unpack(cursor.take(_FIXED.size))
    )
    stem_bytes = cursor.take(cursor.take(1)[0]) if flags & FLAG_STEM else b""
    alpha = cursor.take(int.from_bytes(cursor.take(4), "little")) if flags & FLAG_ALPHA else b""
    payload = cursor.take(payload_bytes)
    checksum = cursor.take(_CRC_BYTES)
    if cursor.left:
        raise BlobError(f"The blob is followed by {cursor.left} bytes that do not belong to it: cut them off.")
    if zlib.crc32(blob[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little") != checksum:
        raise BlobError("The blob is damaged: its checksum does not match. Copy or download it again.")

    _require(flags & ~(FLAG_STEM | FLAG_ALPHA) == 0, f"unknown flags {flags:#04x}")
    _require(model_id > 0, "model id 0")
    _require(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"a size of {width} x {height} pixels")
    _require(width * height <= MAX_PIXELS, f"{width} x {height} pixels, over {MAX_PIXELS}")
    _require(1 <= channels <= MAX_CHANNELS, f"{channels} latent channels")
    _require(1 <= stride <= MAX_STRIDE, f"a stride of {stride}")
    _require(top >= 15, f"{top + 1} levels, fewer than 16")
    _require(coding in (RAW, ENTROPY_CODED, HYPERPRIOR_CODED), f"payload coding {coding}")
    _require(math.isfinite(low) and math.isfinite(high) and low < high, f"a latent range from {low} to {high}")
    if flags & FLAG_STEM:
        _require(1 <= len(stem_bytes) <= MAX_STEM_BYTES, f"a file stem of {len(stem_bytes)} bytes")
    if flags & FLAG_ALPHA:
        _require(1 <= len(alpha) <= MAX_ALPHA_BYTES, f"an alpha plane of {len(alpha)} bytes")
    try:
        stem = clean_stem(stem_bytes.decode()) if stem_bytes else None  # a hostile stem must name no path
    except UnicodeDecodeError:
        raise BlobError("The blob is not valid: its file stem is not UTF-8.") from None

    header = Header(
        model_id=model_id,
        weights=weights,
        width=width,
        height=height,
        channels=channels,
        stride=stride,
        quantiser=Quantiser(low, high, top + 1),
        stem=stem,
        coding=coding,
        payload_bytes=payload_bytes,
        alpha_bytes=len(alpha),
        n_bytes=len(blob),
        quality=payload[0] if coding == HYPERPRIOR_CODED and payload else None,
    )
    n_symbols = math.prod(header.latent_shape)
    if coding == RAW:
        _require(payload_bytes == n_symbols, f"{payload_bytes} bytes of latents where {n_symbols} belong")
    elif coding == HYPERPRIOR_CODED:
        hyperprior_coding.check_payload(payload, n_symbols)
    else:
        _require(payload_bytes < n_symbols, f"{payload_bytes} coded bytes for {n_symbols} latents")
        neighbour_coding.check_length(payload_bytes, header.latent_shape)
    return header, alpha, payload


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise BlobError(f"The blob is not valid: it states {what}.")


class _Cursor:
    """Takes bytes off the front; a blob that ends too early is one sentence, wherever it happens."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, n_bytes: int) -> bytes:
        if n_bytes > self.left:
            missing = n_bytes - self.left
            raise BlobError(f"The blob is cut short: at least {missing} bytes are missing. Copy or download it again.")
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]
