"""AVIF files (ISO/IEC 23008-12 and 14496-12) before they are decoded: boxes of the primary picture's properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from latent8.pictures.facts import MAX_METADATA_BYTES, Cicp, Facts, Prepared, too_much
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
    exif = _items(file, meta, b"Exif")
    exif = exif[4 + int.from_bytes(exif[:4], "big") :].removeprefix(b"Exif\0\0")  # behind the place of its header
    return Prepared(spliced(file, pieces), Facts(cicp=_cicp(properties), exif=exif))


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
    """Code points of the first colour property that has them: transparency has none, parts of a grid share theirs."""
    for kind, body in _boxes(properties, 0):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer = int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
            return Cicp(primaries, transfer)  # its range is that of Y, Cb and Cr, which are gone once it is decoded
    return None


def _items(file: BinaryIO, meta: bytes, kind: bytes) -> bytes:
    """Data of the first item of that kind (ISO/IEC 14496-12, 8.11.3 and 8.11.6); b"" where they are not in the file's
    own bytes, or too many."""
    parts = dict(_boxes(meta, 0))
    listed = parts.get(b"iinf", b"")
    start = 6 if listed[:1] == b"\0" else 8
    for name, entry in _boxes(listed, start):
        wide = entry[:1] == b"\3"
        if name == b"infe" and entry[8 + 2 * wide : 12 + 2 * wide] == kind:
            return _item_data(file, parts.get(b"iloc", b""), int.from_bytes(entry[4 : 8 if wide else 6], "big"))
    return b""


def _item_data(file: BinaryIO, iloc: bytes, wanted: int) -> bytes:
    numbers = _Numbers(iloc)
    version = numbers.take(1)
    numbers.take(3)
    sizes = numbers.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    id_size = 4 if version == 2 else 2
    for _ in range(min(numbers.take(id_size), MAX_BOXES)):
        item = numbers.take(id_size)
        method = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base = numbers.take(base_size)
        extents = []
        for _ in range(min(numbers.take(2), MAX_BOXES)):
            numbers.take(index_size if version else 0)
            extents.append((base + numbers.take(offset_size), numbers.take(length_size)))
        if item == wanted:
            small = method == 0 and sum(length for _, length in extents) <= MAX_METADATA_BYTES
            return b"".join(read_at(file, at, length) for at, length in extents if at < 1 << 62) if small else b""
        if numbers.at > len(iloc):
            break
    return b""


class _Numbers:
    """Numbers of any width, one after the other; 0 behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def take(self, n_bytes: int) -> int:
        self.at += n_bytes
        return int.from_bytes(self._data[self.at - n_bytes : self.at], "big")
