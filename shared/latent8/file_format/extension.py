"""The extension area of a blob: chunks of data that format 1 did not have at first. The specification is in blob.py."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence

from latent8.errors import BlobError

EXIF, XMP, FLAT = b"exif", b"xmpp", b"flat"
KNOWN = {EXIF, XMP, FLAT}
MAX_BYTES, MAX_CHUNKS = 1 << 24, 64

Chunk = tuple[bytes, bytes]  # tag and content

_HEAD = struct.Struct("<4sI")


def packed(chunks: Sequence[Chunk]) -> bytes:
    """Chunks, in this order -> extension area. Raises ValueError for more than MAX_CHUNKS or MAX_BYTES."""
    area = b"".join(_HEAD.pack(tag, len(content)) + content for tag, content in chunks)
    if len(area) > MAX_BYTES or len(chunks) > MAX_CHUNKS:
        raise ValueError(f"an extension area has at most {MAX_CHUNKS} chunks and {MAX_BYTES:,} bytes")
    return area


def parsed(area: bytes) -> tuple[Chunk, ...]:
    """Extension area, at most MAX_BYTES -> chunks; unknown ancillary ones are kept, so that they can be written again.

    Raises BlobError, also for a critical chunk that is not known: without it the picture would be another.
    """
    chunks: list[Chunk] = []
    start = 0
    while start < len(area):
        if len(area) - start < _HEAD.size or len(chunks) == MAX_CHUNKS:
            raise BlobError("The blob is not valid: its extension area does not end with a chunk.")
        tag, n_bytes = _HEAD.unpack_from(area, start)
        start += _HEAD.size + n_bytes
        if not re.fullmatch(rb"[A-Za-z]{4}", tag):
            raise BlobError("The blob is not valid: the tag of a chunk is not four letters.")
        if start > len(area):
            raise BlobError(f"The blob is not valid: its chunk {tag.decode()} is longer than the extension area.")
        if tag not in KNOWN and tag[:1].isupper():
            raise BlobError(
                f"The blob cannot be decoded without its chunk {tag.decode()}, which this latent8 does not know: "
                "update latent8."
            )
        if tag in KNOWN and any(tag == other for other, _ in chunks):
            raise BlobError(f"The blob is not valid: it has more than one chunk {tag.decode()}.")
        chunks.append((tag, area[start - n_bytes : start]))
    return tuple(chunks)


def inflated(tag: bytes, data: bytes, most: int) -> bytes:
    """The content of one whole zlib stream, of at most `most` bytes, in the chunk of this tag. Raises BlobError."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(data, most + 1)
    except zlib.error:
        raise BlobError(f"The blob is not valid: its chunk {tag.decode()} is no zlib stream.") from None
    if len(found) > most:
        raise BlobError(f"The blob is not valid: its chunk {tag.decode()} has more than {most:,} bytes.")
    if not reader.eof or reader.unused_data or not found:
        raise BlobError(f"The blob is not valid: its chunk {tag.decode()} is not one whole zlib stream.")
    return found
