"""Directories of TIFF and EXIF data (TIFF 6.0, section 2; BigTIFF), read entry by entry, values only when asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from latent8.pictures.splice import read_at

MAX_ENTRIES = 4096  # of a directory; the largest in use have about a hundred
MAX_VALUES = 1 << 20  # that are read of one entry
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}


class TiffError(Exception):
    """A directory that cannot be read; the message is the end of a sentence."""


@dataclass(frozen=True)
class TiffHeader:
    """endian: "<" or ">". big: BigTIFF, with offsets of 8 bytes. first: where the first directory is."""

    endian: str
    big: bool
    first: int

    @property
    def n_bytes(self) -> int:
        return 16 if self.big else 8

    def pointing_to(self, offset: int) -> bytes:
        """The same header with another first directory."""
        mark = b"II" if self.endian == "<" else b"MM"
        if self.big:
            return mark + struct.pack(f"{self.endian}HHHQ", 43, 8, 0, offset)
        return mark + struct.pack(f"{self.endian}HI", 42, offset)


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    field: bytes  # 4 bytes, 8 in BigTIFF: the value where it fits, or where the value is

    @property
    def n_bytes(self) -> int:
        return _SIZES.get(self.kind, 1) * self.count


class Directory:
    """One directory: what its entries hold by tag, and where the `next` one is (0: nowhere)."""

    def __init__(self, file: BinaryIO, header: TiffHeader, entries: dict[int, _Entry], following: int) -> None:
        self._file, self._header, self._entries, self.next = file, header, entries, following

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def kind(self, tag: int) -> int:
        """Number of the values' type, as TIFF 6.0 has it."""
        return self._entries[tag].kind

    def n_bytes(self, tag: int) -> int:
        """Of all values, as the entry states them."""
        return self._entries[tag].n_bytes

    def count(self, tag: int) -> int:
        """Number of values; 0 where there is no such entry."""
        return self._entries[tag].count if tag in self._entries else 0

    def only(self, tags: Iterable[int]) -> bytes:
        """A directory with those of the entries alone, the last one of its file; values stay where they are."""
        endian, big = self._header.endian, self._header.big
        kept = [(tag, self._entries[tag]) for tag in sorted(tags) if tag in self._entries]
        parts = [struct.pack(endian + ("Q" if big else "H"), len(kept))]
        for tag, entry in kept:
            parts.append(struct.pack(f"{endian}HH{'Q' if big else 'I'}", tag, entry.kind, entry.count) + entry.field)
        return b"".join(parts) + bytes(8 if big else 4)

    def data(self, tag: int, most: int = MAX_VALUES) -> bytes:
        """The bytes of a value, at most so many; none where there is no such entry."""
        entry = self._entries.get(tag)
        if entry is None:
            return b""
        wanted = min(entry.n_bytes, most)
        if entry.n_bytes <= len(entry.field):
            return entry.field[:wanted]
        offset = struct.unpack(self._header.endian + ("Q" if self._header.big else "I"), entry.field)[0]
        try:
            return read_at(self._file, offset, wanted)
        except (OSError, OverflowError, ValueError):
            return b""

    def numbers(self, tag: int, most: int = MAX_VALUES) -> list[float]:
        """The first values as numbers (fractions divided out); none for text and kinds that are not known."""
        entry = self._entries.get(tag)
        if entry is None:
            return []
        data = self.data(tag, most * _SIZES.get(entry.kind, 1))
        endian = self._header.endian
        if entry.kind in (5, 10):
            code = "I" if entry.kind == 5 else "i"
            pairs = struct.unpack(f"{endian}{len(data) // 8 * 2}{code}", data[: len(data) // 8 * 8])
            return [top / bottom if bottom else 0.0 for top, bottom in zip(pairs[::2], pairs[1::2], strict=True)]
        if entry.kind not in _CODES:
            return []
        count = len(data) // _SIZES[entry.kind]
        return list(struct.unpack(f"{endian}{count}{_CODES[entry.kind]}", data[: count * _SIZES[entry.kind]]))

    def integers(self, tag: int, most: int = MAX_VALUES) -> list[int]:
        """As `numbers`, where all are whole; none where the entry holds others."""
        found = self.numbers(tag, most)
        return [int(value) for value in found] if all(isinstance(value, int) for value in found) else []

    def integer(self, tag: int, default: int) -> int:
        """The first of the values; the others, which may be a million, are not read."""
        found = self.integers(tag, 1)
        return found[0] if found else default


def read_header(file: BinaryIO) -> TiffHeader:
    """Read the header of a TIFF file. Raises TiffError where it does not begin as TIFF files do."""
    start = read_at(file, 0, 16)
    endian = {b"II": "<", b"MM": ">"}.get(start[:2])
    if endian is None or len(start) < 8:
        raise TiffError("it does not begin as TIFF files do")
    magic = struct.unpack(f"{endian}H", start[2:4])[0]
    if magic == 43 and len(start) == 16:
        return TiffHeader(endian, True, struct.unpack(f"{endian}Q", start[8:])[0])
    if magic != 42:
        raise TiffError("it does not begin as TIFF files do")
    return TiffHeader(endian, False, struct.unpack(f"{endian}I", start[4:8])[0])


def read_directory(file: BinaryIO, header: TiffHeader, offset: int) -> Directory:
    """Read the directory at an offset. Raises TiffError where there is none, or one of over MAX_ENTRIES entries."""
    endian, big = header.endian, header.big
    count_bytes, entry_bytes, field = (8, 20, 8) if big else (2, 12, 4)
    try:
        count = struct.unpack(endian + ("Q" if big else "H"), read_at(file, offset, count_bytes))[0]
        if count > MAX_ENTRIES:
            raise TiffError(f"a directory has {count} entries, and over {MAX_ENTRIES} are not read")
        data = read_at(file, offset + count_bytes, count * entry_bytes + field)
    except (OSError, OverflowError, ValueError, struct.error):
        raise TiffError("a directory lies outside of the file") from None
    if len(data) < count * entry_bytes:
        raise TiffError("a directory is cut off")
    entries: dict[int, _Entry] = {}
    for start in range(0, count * entry_bytes, entry_bytes):
        tag, kind, n = struct.unpack(f"{endian}HH{'Q' if big else 'I'}", data[start : start + entry_bytes - field])
        entries.setdefault(tag, _Entry(kind, n, data[start + entry_bytes - field : start + entry_bytes]))
    rest = data[count * entry_bytes :]
    following = struct.unpack(endian + ("Q" if big else "I"), rest)[0] if len(rest) == field else 0
    return Directory(file, header, entries, following)
