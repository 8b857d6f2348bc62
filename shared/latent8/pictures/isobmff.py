"""AVIF files (ISO/IEC 23008-12 and 14496-12) before they are decoded: boxes of the primary picture's properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from latent8.pictures.facts import MAX_METADATA_BYTES, Cicp, Facts, Prepared, too_much
from latent8.pictures.splice import Piece, read_at, size_of_file, spliced

MAX_BOXES = 10_000  # of one level, and items
MAX_META_BYTES = 8_000_000  # with an ICC profile
# of the tables of items, and of a film's: libavif goes through one of them for each entry of another
MAX_TABLE_BYTES = 256_000
MAX_EXTENTS = 10_000  # of all items together; where their numbers have no width, they take no bytes
_TABLES = (b"iloc", b"iinf", b"iref", b"iprp", b"grpl")


def brand(file: BinaryIO) -> bytes:
    """Major brand of such a file, b"" of another."""
    start = read_at(file, 0, 12)
    return start[8:12] if start[4:8] == b"ftyp" else b""


def prepared(file: BinaryIO) -> Prepared | None:
    """The file, and its colours by code points. An ICC profile and the orientation Pillow hands on itself.

    EXIF data are hidden from Pillow, which would read every entry. They do not say which way is up: properties do.
    Raises PictureError for tables that would keep the decoder busy.
    """
    if brand(file) not in (b"avif", b"avis", b"mif1", b"msf1"):
        return None
    places = _places(file)
    _check_movie(file, *places.get(b"moov", (0, 0)))
    start, end = places.get(b"meta", (-4, 0))
    at = start + 4  # behind its version
    if end - at > MAX_META_BYTES:
        raise too_much(f"{(end - at) / 1e6:.0f} MB that describe it")
    meta = read_at(file, at, max(0, end - at))
    _check_tables(meta)
    properties = dict(_boxes(dict(_boxes(meta)).get(b"iprp", b""))).get(b"ipco", b"")
    pieces: list[Piece] = [(0, at), meta.replace(b"Exif", b"skip"), (at + len(meta), size_of_file(file))]
    exif = _items(file, meta, b"Exif")
    exif = exif[4 + int.from_bytes(exif[:4], "big") :].removeprefix(b"Exif\0\0")  # behind the place of its header
    return Prepared(spliced(file, pieces), Facts(cicp=_cicp(properties), exif=exif))


def _places(file: BinaryIO) -> dict[bytes, tuple[int, int]]:
    """Of the first box of each kind: where its content begins and ends."""
    size, at = size_of_file(file), 0
    found: dict[bytes, tuple[int, int]] = {}
    for _ in range(MAX_BOXES):
        head = read_at(file, at, 16)
        if len(head) < 8:
            return found
        length, start = _length(head)
        length = length or size - at
        if length < start:
            return found
        found.setdefault(head[4:8], (at + start, max(at + start, min(at + length, size))))
        at += length
        if at >= size:
            return found
    raise too_much(f"over {MAX_BOXES} boxes")


def _length(head: bytes) -> tuple[int, int]:
    """Bytes of a box, 0 for all that is left, and of its head."""
    length = int.from_bytes(head[:4], "big")
    return (int.from_bytes(head[8:16], "big"), 16) if length == 1 else (length, 8)


def _boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each."""
    at, count = start, 0
    while at + 8 <= len(data):
        length, head = _length(data[at : at + 16])
        if length < head or at + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + head : at + length]
        at, count = at + length, count + 1
        if count > MAX_BOXES:
            raise too_much(f"over {MAX_BOXES} boxes")


def _check_tables(meta: bytes) -> None:
    """Raise PictureError where there are more items, extents or properties than any picture has."""
    n_bytes = 0
    for kind, body in _boxes(meta):
        n_bytes += len(body) if kind in _TABLES else 0
        if kind == b"iprp":
            for name, properties in _boxes(body):
                if name == b"ipco":
                    n_bytes -= sum(len(value) + 8 for _, value in _boxes(properties))
        elif kind == b"iloc" and len(body) <= MAX_TABLE_BYTES:
            for _ in _located(body):
                pass
    if n_bytes > MAX_TABLE_BYTES:
        raise too_much(f"{n_bytes / 1e3:.0f} KB of tables")


def _check_movie(file: BinaryIO, start: int, end: int) -> None:
    """As `_check_tables`, of the films in a file."""
    if end - start > MAX_TABLE_BYTES:
        raise too_much(f"{(end - start) / 1e3:.0f} KB of tables")
    for _, track in _boxes(read_at(file, start, end - start)):
        for kind, body in _boxes(track):
            if kind == b"meta":
                _check_tables(body[4:])


def _cicp(properties: bytes) -> Cicp | None:
    """Code points of the first colour property that has them: transparency has none, parts of a grid share theirs."""
    for kind, body in _boxes(properties):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer = int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
            return Cicp(primaries, transfer)  # its range is that of Y, Cb and Cr, which are gone once it is decoded
    return None


def _items(file: BinaryIO, meta: bytes, kind: bytes) -> bytes:
    """Data of the first item of that kind (ISO/IEC 14496-12, 8.11.3 and 8.11.6); b"" where they are not in the file's
    own bytes, or too many."""
    parts = dict(_boxes(meta))
    listed = parts.get(b"iinf", b"")
    start = 6 if listed[:1] == b"\0" else 8
    for name, entry in _boxes(listed, start):
        wide = entry[:1] == b"\3"
        if name == b"infe" and entry[8 + 2 * wide : 12 + 2 * wide] == kind:
            return _item_data(file, parts.get(b"iloc", b""), int.from_bytes(entry[4 : 8 if wide else 6], "big"))
    return b""


def _item_data(file: BinaryIO, iloc: bytes, wanted: int) -> bytes:
    for item, method, extents in _located(iloc):
        if item == wanted:
            small = method == 0 and sum(length for _, length in extents) <= MAX_METADATA_BYTES
            return b"".join(read_at(file, at, length) for at, length in extents if at < 1 << 62) if small else b""
    return b""


def _located(iloc: bytes) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Number, construction method and extents, (offset, bytes), of each item, as far as the box goes.

    Raises PictureError for more items or extents than any picture has.
    """
    numbers = _Numbers(iloc)
    version = numbers.take(1)
    numbers.take(3)
    sizes = numbers.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    id_size = 4 if version == 2 else 2
    n_items, n_extents = numbers.take(id_size), 0
    if n_items > MAX_BOXES:
        raise too_much(f"over {MAX_BOXES} parts")
    for _ in range(n_items):
        item = numbers.take(id_size)
        method = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base, count = numbers.take(base_size), numbers.take(2)
        n_extents += count
        if numbers.at > len(iloc):
            return
        if n_extents > MAX_EXTENTS:
            raise too_much(f"parts in over {MAX_EXTENTS} places")
        extents = []
        for _ in range(count):
            numbers.take(index_size if version else 0)
            extents.append((base + numbers.take(offset_size), numbers.take(length_size)))
        yield item, method, extents


class _Numbers:
    """Numbers of any width, one after the other; 0 behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def take(self, n_bytes: int) -> int:
        self.at += n_bytes
        return int.from_bytes(self._data[self.at - n_bytes : self.at], "big")
