"""The .l8 blob: a header, an optional file stem, alpha plane and extension area, the latents, a checksum.

All integers are unsigned and little-endian; float16 is IEEE 754 binary16. Sizes are in bytes.

    offset  size  field      legal values          meaning
    0       4     magic      89 4C 38 0A           0x89 "L8" line feed: marks the format, shows text-mode damage
    4       1     version    1                     format version
    5       1     flags      bits 0, 1 and 2       bit 0: file stem present; bit 1: alpha plane present;
                                                   bit 2: extension area present
    6       2     model      1 ... 65535           model id, see latent8/zoo/registry.py; never reused
    8       4     weights    any                   first four bytes of a SHA-256 of the model's weights; of l8-photo, of
                                                   those alone that decide what a blob means, so that it can be read
                                                   better later (bitstream_hash of latent8/l8_photo/model.py); zeros for
                                                   latents from elsewhere in the model's latent space
    12      4     width      1 ... 1048576         of the picture, in pixels
    16      4     height     1 ... 1048576         of the picture, in pixels; width x height at most 2^30
    20      1     channels   1 ... 255             latent channels C
    21      1     stride     1 ... 64              pixels per latent, both ways: the latents are
                                                   [C, h, w] = [C, ceil(height / stride), ceil(width / stride)]
    22      1     top        15 ... 255            highest symbol: number of quantiser levels, less one
    23      1     coding     0, 1, 2 or 3          0: C x h x w symbols, one byte each, in [C, h, w] order;
                                                   1: predicted from neighbours and entropy-coded, see
                                                   latent8/file_format/neighbour_coding.py; 2: entropy-coded with
                                                   the probability tables of a hyperprior, see
                                                   latent8/file_format/hyperprior_coding.py; 3: numbers of codes,
                                                   entropy-coded with probabilities that are learned on the way, see
                                                   latent8/file_format/context_coding.py
    24      2     low        finite float16        latent that symbol 0 stands for
    26      2     high       finite, above low     latent that symbol `top` stands for
    28      4     payload    coding 0: C x h x w   length of the payload
                             1: less than that
                             2: 5 + 4 n
                             3: 4 n, less than C x h x w
    32      1 + n stem       n = 1 ... 200         only with flag 0: length n, then n bytes of UTF-8, the name
                                                   of the original file without folder and ending
    .       4 + m alpha      m = 1 ... 2^31        only with flag 1: length m, then a PNG of mode L and of the
                                                   picture's own size, the alpha plane
    .       4 + k extension  k = 8 ... 2^24        only with flag 2: length k, then chunks
    .       payload          latents
    .       4     checksum                         CRC-32 (as in zlib) of all bytes before it

Symbol q stands for the latent low + (high - low) * q / top. With coding 2, low is -127, high 127 and top 254, and q
counts quantisation steps above the mean that the model predicts for the latent. A q other than 0 stands for a latent
that is nearer to the mean by `reconstruction_shift[s]` steps, a value in the model's weights, where s = 0 ... 63 is the
scale index of the symbol (latent8/l8_photo/layers.py has the whole formula). Where low is 0, high 255 and top 255,
there is one channel, and a symbol is the number of a code in the codebook of a vector-quantised model
(latent8/networks/vq.py has the order of codes). Nothing follows the checksum.

The extension area is 1 to 64 chunks, one after another:

    offset  size  field      legal values          meaning
    0       4     tag        letters A-Z, a-z      what the chunk is
    4       4     length     up to the area's end  bytes of its content
    8       n     content

A chunk whose tag begins with a small letter is ancillary: a reader that does not know it decodes the picture without
it, and keeps it unchanged where it writes the blob again. A chunk whose tag begins with a capital letter is critical: a
reader that does not know it cannot decode the blob, and says which chunk that is. There is at most one chunk of each
tag below, in any order.

    exif    a zlib stream (RFC 1950) of at most 4 MiB: an EXIF block that begins with its TIFF header, of the picture as
            it is in the blob: upright, in sRGB
    xmpp    a zlib stream of at most 4 MiB: an XMP packet in UTF-8 without its <?xpacket?> wrapper, likewise
    flat    flat colours: plain areas of the picture, which a network gives back with speckles

            offset  size   field     legal values   meaning
            0       1      count     1 ... 16       number of colours
            1       4 n    colours   reach 1 ... 127  red, green, blue and reach of each, one byte each
            1 + 4 n .      blocks    0 ... count    a zlib stream of one byte for each block of 32 x 32 pixels, smaller
                                                    at the right and lower edge, row by row: the number of the block's
                                                    colour, from 1, or 0 for none

            They change the decoded picture, in 8-bit RGB without its padding, whatever model has decoded it. In a block
            with a colour of reach t, let a be the distance of a pixel's channel from the colour's, and m the greatest
            of the pixel's three. Where m <= t the pixel becomes the colour. Where t < m < 2 t each channel moves, on
            its side of the colour, to the distance floor((4 a (m - t) + m) / (2 m)), which is 2 a (m - t) / m rounded.
            Other pixels stay.

Policy. A blob of version 1 that a release from 1.0 on has written decodes to the same symbols in every later release.
Of blobs that releases before it wrote, those of l8-photo are refused, and told by their hash: its weights were others.
Within version 1 there may come models, payload codings, chunks and flags: their numbers and tags are given once and
never used again, and a reader refuses those that it does not know, in a sentence that names them, all but ancillary
chunks. Whatever would make a reader of today misread a file without noticing, such as another size, order or
meaning of a field above, makes version 2; this one is then read for ever beside it. Weights of a model that give
symbols another meaning get a new name and id.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from latent8.errors import BlobError
from latent8.file_format import codings, extension
from latent8.file_format.extension import Chunk
from latent8.file_format.quantiser import Quantiser
from latent8.limits import MAX_CHANNELS, MAX_PIXELS, MAX_SIDE, MAX_STRIDE

MAGIC = b"\x89L8\n"
VERSION = 1
FLAG_STEM, FLAG_ALPHA, FLAG_EXTENSION = 1, 2, 4
MAX_STEM_BYTES = 200
MAX_ALPHA_BYTES = 1 << 31
UNKNOWN_WEIGHTS = bytes(4)

_FIXED = struct.Struct("<4sBBH4sIIBBBBeeI")
_CRC_BYTES = 4


@dataclass(frozen=True)
class Header:
    """The picture and the latents that a file describes.

    model_id: 1 ... 65535, see `registry`. weights: 4 bytes that identify the model's weights; UNKNOWN_WEIGHTS, or none,
    where they are not known. width, height: of the picture, in pixels. channels: of the latents. stride: pixels per
    latent, both ways. stem: name of the original file, without folder and ending.
    """

    model_id: int
    weights: bytes
    width: int
    height: int
    channels: int
    stride: int
    quantiser: Quantiser
    stem: str | None = None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of the latents, [C, h, w]."""
        return self.channels, math.ceil(self.height / self.stride), math.ceil(self.width / self.stride)

    @property
    def stored_stem(self) -> bytes:
        """The stem as a blob holds it: UTF-8, empty where there is none."""
        return clean_stem(self.stem).encode() if self.stem else b""


@dataclass(frozen=True)
class Encoded:
    """An encoded picture: what a .l8 file says.

    coding: id of the payload's coding, see `codings`. payload: the latents as they are coded. alpha_png: the alpha
    plane as a PNG of mode L, empty where the picture is opaque. chunks: those of the extension area.
    """

    header: Header
    coding: int
    payload: bytes = field(repr=False)
    alpha_png: bytes = field(default=b"", repr=False)
    chunks: tuple[Chunk, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Encoded:
        """Blob -> Encoded, with every check but those that need the symbols themselves.

        Raises BlobError. Allocates nothing that the header asks for.
        """
        return _parse(bytes(data))

    def to_bytes(self) -> bytes:
        """The bytes of the file: a blob, or the file itself where the coding is that of another format."""
        if not self._coding.in_blobs:
            return self.payload
        header, stem, area = self.header, self.header.stored_stem, extension.packed(self.chunks)
        fixed = _FIXED.pack(
            MAGIC,
            VERSION,
            bool(stem) * FLAG_STEM | bool(self.alpha_png) * FLAG_ALPHA | bool(area) * FLAG_EXTENSION,
            header.model_id,
            header.weights,
            header.width,
            header.height,
            header.channels,
            header.stride,
            header.quantiser.levels - 1,
            self.coding,
            header.quantiser.low,
            header.quantiser.high,
            len(self.payload),
        )
        parts = [fixed]
        if stem:
            parts += [bytes([len(stem)]), stem]
        if self.alpha_png:
            parts += [len(self.alpha_png).to_bytes(4, "little"), self.alpha_png]
        if area:
            parts += [len(area).to_bytes(4, "little"), area]
        body = b"".join([*parts, self.payload])
        return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")

    @property
    def n_bytes(self) -> int:
        """Length of `to_bytes`, without making it."""
        return len(self.payload) + self.frame_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of the file beside its payload."""
        if not self._coding.in_blobs:
            return 0
        parts = (1, len(self.header.stored_stem)), (4, len(self.alpha_png)), (4, len(extension.packed(self.chunks)))
        return _FIXED.size + sum(prefix + n_bytes for prefix, n_bytes in parts if n_bytes) + _CRC_BYTES

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel of the picture."""
        return 8 * self.n_bytes / (self.width * self.height)

    @property
    def model_id(self) -> int:
        return self.header.model_id

    @property
    def width(self) -> int:
        return self.header.width

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.header.latent_shape

    @property
    def stem(self) -> str | None:
        return self.header.stem

    @property
    def quality(self) -> int | None:
        """1 ... 100, or None where the coding has none."""
        return self._coding.quality(self.payload)

    @property
    def _coding(self) -> Any:
        return codings.coding_with_id(self.coding)


def is_blob(data: bytes) -> bool:
    return data[: len(MAGIC)] == MAGIC


def clean_stem(name: str) -> str:
    """A file name's stem made safe to write on any system, at most 200 bytes of UTF-8; "picture" if nothing is left."""
    name = name.encode("utf-8", "ignore").decode()  # lone surrogates of odd file names cannot be stored
    stem = re.sub(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]', "", name).strip(" .")
    if re.match(r"(?i)(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)", stem):  # devices on Windows, whatever the ending
        stem = f"_{stem}"
    return stem.encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "picture"


def _parse(blob: bytes) -> Encoded:
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
    area = cursor.take(int.from_bytes(cursor.take(4), "little")) if flags & FLAG_EXTENSION else b""
    payload = cursor.take(payload_bytes)
    checksum = cursor.take(_CRC_BYTES)
    if cursor.left:
        raise BlobError(f"The blob is followed by {cursor.left} bytes that do not belong to it: cut them off.")
    if zlib.crc32(blob[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little") != checksum:
        raise BlobError("The blob is damaged: its checksum does not match. Copy or download it again.")

    _require(flags & ~(FLAG_STEM | FLAG_ALPHA | FLAG_EXTENSION) == 0, f"unknown flags {flags:#04x}")
    _require(model_id > 0, "model id 0")
    _require(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"a size of {width} x {height} pixels")
    _require(width * height <= MAX_PIXELS, f"{width} x {height} pixels, over {MAX_PIXELS}")
    _require(1 <= channels <= MAX_CHANNELS, f"{channels} latent channels")
    _require(1 <= stride <= MAX_STRIDE, f"a stride of {stride}")
    _require(top >= 15, f"{top + 1} levels, fewer than 16")
    _require(codings.may_be_in_blobs(coding), f"payload coding {coding}")
    _require(math.isfinite(low) and math.isfinite(high) and low < high, f"a latent range from {low} to {high}")
    if flags & FLAG_STEM:
        _require(1 <= len(stem_bytes) <= MAX_STEM_BYTES, f"a file stem of {len(stem_bytes)} bytes")
    if flags & FLAG_ALPHA:
        _require(1 <= len(alpha) <= MAX_ALPHA_BYTES, f"an alpha plane of {len(alpha)} bytes")
    if flags & FLAG_EXTENSION:
        _require(1 <= len(area) <= extension.MAX_BYTES, f"an extension area of {len(area)} bytes")
    try:
        stem = clean_stem(stem_bytes.decode()) if stem_bytes else None  # a hostile stem must name no path
    except UnicodeDecodeError:
        raise BlobError("The blob is not valid: its file stem is not UTF-8.") from None

    header = Header(model_id, weights, width, height, channels, stride, Quantiser(low, high, top + 1), stem)
    codings.coding_with_id(coding).check(header, payload)
    return Encoded(header, coding, payload, alpha, extension.parsed(area))


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
