"""The few facts of EXIF and XMP data that change how a picture looks: which way is up, and in what colours it is.

Directories are walked here and not by Pillow, which copies the value of every entry, wanted or not: 60,000 entries that
all point at the same 60 MB keep it busy for hours.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from latent8.pictures.tiff_directory import TiffError, read_directory, read_header

_ORIENTATION, _EXIF_POINTER, _COLOUR_SPACE, _INTEROP_POINTER, _INTEROP_INDEX = 0x0112, 0x8769, 0xA001, 0xA005, 1
_ADOBE_RGB, _UNCALIBRATED = 2, 0xFFFF  # of ColorSpace; 2 is in no standard, and some cameras write it
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\b")


@dataclass(frozen=True)
class ExifFacts:
    """orientation: 1 to 8, or None where it is not said. adobe_rgb: that the colours are Adobe RGB."""

    orientation: int | None = None
    adobe_rgb: bool = False


def exif_facts(exif: bytes) -> ExifFacts:
    """What is said there; nothing where it cannot be read.

    Adobe RGB is said as the DCF standard has it (JEITA CP-3461): ColorSpace "uncalibrated", interoperability index R03.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    file = io.BytesIO(exif)
    orientation, adobe_rgb = None, False
    try:
        header = read_header(file)
        first = read_directory(file, header, header.first)
        found = first.integers(_ORIENTATION, 1)
        orientation = found[0] if found and 1 <= found[0] <= 8 else None
        details = read_directory(file, header, first.integers(_EXIF_POINTER, 1)[0])
        space = details.integers(_COLOUR_SPACE, 1)[0]
        if space == _UNCALIBRATED:
            interop = read_directory(file, header, details.integers(_INTEROP_POINTER, 1)[0])
            adobe_rgb = interop.data(_INTEROP_INDEX)[:3] == b"R03"
        else:
            adobe_rgb = space == _ADOBE_RGB
    except (TiffError, IndexError):
        pass
    return ExifFacts(orientation, adobe_rgb)


def xmp_orientation(xmp: bytes) -> int | None:
    """The value of tiff:Orientation, as an attribute or an element. It counts where EXIF data say none."""
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else None
