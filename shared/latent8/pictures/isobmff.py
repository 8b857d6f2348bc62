"""AVIF files (ISO/IEC 23008-12 and 14496-12) before they are decoded: boxes of the primary picture's properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from latent8.pictures.facts import Cicp, Facts, Prepared, too_much
from latent8.pictures.splice import Piece, read_at, size_of_file, spliced

MAX_BOXES = 10_000  # of one level
MAX_META_BYTES = 8_000_000


def brand(file: BinaryIO) -> bytes:
    """Major brand of such a file, b"" of another."""
    start = read_at(file, 0, 12)
    return start[8:12] if start[4:8] == b"ftyp" else b""


def prepared(file: BinaryIO) -> Prepared | None:
    """The file, and its colours by code points. An ICC profile and the orientation Pillow hands on itself.

    EXIF data are hidden from Pillow, which would read every entry. They do not say which way is up: properties do.
    """
    if brand(file) not in (b"avif", b"avis", b"mif1", b"msf1"):
        return None
    meta, at = _meta(file)
    properties = dict(_boxes(dict(_boxes(meta, 0)).get(b"iprp", b""), 0)).get(b"ipco", b"")
    pieces: list[Piece] = [(0, at), meta.replace(b"Exif", b"skip"), (at + len(meta), size_of_file(file))]
    return Prepared(spliced(file, pieces), Facts(cicp=_cicp(properties)))


def _meta(file: BinaryIO) -> tuple[bytes, int]:
    """Content of the meta box behind its version, and where it begins; nothing where there is none."""
    size, at = size_of_file(file), 0
    for _ in range(MAX_BOXES):
        head = read_at(file, at, 16)
        if len(head) < 8:
            return b"", 0
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), 16
        length = length or size - at
        if length < start:
            return b"", 0
        if head[4:8] == b"meta":
            if length > MAX_META_BYTES:
                raise too_much(f"{length / 1e6:.0f} MB that describe it")
            return read_at(file, at + start + 4, length - start - 4), at + start + 4
        at += length
    raise too_much(f"over {MAX_BOXES} boxes")


def _boxes(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each."""
    at, count = start, 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length < 8 or at + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + length]
        at, count = at + length, count + 1
        if count > MAX_BOXES:
            raise too_much(f"over {MAX_BOXES} boxes")


def _cicp(properties: bytes) -> Cicp | None:
    """Of the first colour property with code points: transparency has none, and the parts of a grid share theirs."""
    for kind, body in _boxes(properties, 0):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer = int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
            return Cicp(primaries, transfer)  # its range is that of Y, Cb and Cr, which are gone once it is decoded
    return None
