"""EXIF blocks: TIFF directories taken apart and put together again, every value as it was (EXIF 3.0, TIFF 6.0).

Pillow's own writer guesses types anew, and replaces what is not ASCII in texts such as "© Müller".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

from PIL import ExifTags

from latent8.pictures.tiff_directory import Directory, TiffError, read_directory, read_header

PREFIX = b"Exif\0\0"  # before the block in some files
MOST_BYTES = 4 << 20  # of a block
ORIENTATION, EXIF, GPS = 0x0112, 0x8769, 0x8825
MAKER_NOTE, USER_COMMENT, COLOUR_SPACE = 0x927C, 0x9286, 0xA001
_POINTERS = {EXIF, GPS, 0xA005, 0x014A}
# In the first directory, of which TIFF files have much more: what says something of the picture, not of its storage
_DESCRIBING = {0x010D, 0x010E, 0x010F, 0x0110, ORIENTATION, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C}
_DESCRIBING |= {0x4746, 0x4749, 0x8298, 0x829A, 0x829D, 0x9003, *range(0x9C9B, 0x9CA0)}
# Sizes, gamma and files beside the source, and padding, where programs leave what they have removed
_OF_THE_SOURCE = {0xA002, 0xA003, 0xA004, 0xA500, 0xEA1C, 0xEA1D}
_DEFINED = {int(tag) for tag in ExifTags.Base} - {MAKER_NOTE, USER_COMMENT}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes, by type
_SHORT, _LONG = 3, 4

Values = dict[int, tuple[int, bytes]]  # tag -> type, and bytes in the block's byte order


def cleaned(source: bytes | BinaryIO, without_gps: bool = False, with_orientation: bool = True) -> bytes:
    """EXIF block, or TIFF file -> block of an upright picture in sRGB; b"" where nothing is left to say.

    Thumbnails, and what is about the file that held the picture, are left out. Without GPS, so is what vendors and
    programs store as they like, which may hold a position too: maker notes, user comments, tags that EXIF does not
    define. with_orientation: say that it is upright, where the source says something of it; for formats that have
    another place for that, False. Raises ValueError for a damaged block.
    """
    reader = _Reader(source)
    first = reader.values(reader.first, _DESCRIBING.__contains__)
    details = reader.below(reader.first, EXIF)
    exif = reader.values(details, lambda tag: tag not in _OF_THE_SOURCE and (not without_gps or tag in _DEFINED))
    for values, tag in ((first, ORIENTATION), (exif, COLOUR_SPACE)):  # 1: upright, and sRGB
        if tag in values:
            values[tag] = _SHORT, struct.pack(f"{reader.order}H", 1)
    if not with_orientation:
        first.pop(ORIENTATION, None)
    below = {EXIF: exif}
    if not without_gps:
        places = reader.below(reader.first, GPS) or reader.below(details, GPS)  # some programs put them there
        below[GPS] = reader.values(places, lambda _: True)
    below = {tag: values for tag, values in below.items() if values}
    return _packed(reader.order, first, below) if below or first.keys() - {ORIENTATION} else b""


def has_gps(block: bytes) -> bool:
    """Whether an EXIF block has a position. Raises ValueError for a damaged block."""
    return GPS in _Reader(block).first


class _Reader:
    """Reads directories. Values may overlap, hence a limit for all together."""

    def __init__(self, source: bytes | BinaryIO):
        self._file = io.BytesIO(source.removeprefix(PREFIX)) if isinstance(source, bytes) else source
        self._left = MOST_BYTES
        try:
            self._header = read_header(self._file)
        except TiffError as error:
            raise ValueError(str(error)) from None
        self.order = self._header.endian
        self.first = self._directory(self._header.first)

    def below(self, directory: Directory | None, tag: int) -> Directory | None:
        """The directory that the tag points to."""
        found = directory.integers(tag, 2) if directory else []
        return self._directory(found[0]) if len(found) == 1 else None

    def values(self, directory: Directory | None, wanted: Callable[[int], bool]) -> Values:
        """Of wanted tags; nothing of unknown types, which cannot be copied."""
        found: Values = {}
        for tag in directory or ():
            if directory and tag not in _POINTERS and directory.kind(tag) in _SIZES and wanted(tag):
                n_bytes = directory.n_bytes(tag)
                self._left -= n_bytes
                if self._left < 0:
                    raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
                data = directory.data(tag, n_bytes)
                if len(data) < n_bytes:
                    raise ValueError("it is cut short")
                if data:
                    found[tag] = directory.kind(tag), data
        return found

    def _directory(self, offset: int) -> Directory:
        try:
            return read_directory(self._file, self._header, offset)
        except TiffError as error:
            raise ValueError(str(error)) from None


def _packed(order: str, first: Values, below: dict[int, Values]) -> bytes:
    """Directories -> block."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    tables = {tag: (_LONG, bytes(4)) for tag in below}
    end = 8 + len(_directory(order, first | tables, 8))
    parts = []
    for tag, values in below.items():
        tables[tag] = _LONG, struct.pack(f"{order}I", end)
        parts.append(_directory(order, values, end))
        end += len(parts[-1])
    return b"".join([head, struct.pack(f"{order}I", 8), _directory(order, first | tables, 8), *parts])


def _directory(order: str, values: Values, offset: int) -> bytes:
    """Entries in the order of their tags, no next directory, and what does not fit into an entry."""
    entries, data = [], b""
    start = offset + 2 + 12 * len(values) + 4
    for tag, (kind, value) in sorted(values.items()):
        inline = value.ljust(4, b"\0")
        if len(value) > 4:
            inline = struct.pack(f"{order}I", start + len(data))
            data += value + bytes(len(value) % 2)
        entries.append(struct.pack(f"{order}HHI4s", tag, kind, len(value) // _SIZES[kind], inline))
    return struct.pack(f"{order}H", len(values)) + b"".join(entries) + bytes(4) + data
