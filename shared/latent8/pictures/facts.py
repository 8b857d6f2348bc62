"""Facts that a file states about its picture beside the pixels, and the form in which readers hand them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from latent8.errors import PictureError

if TYPE_CHECKING:
    from latent8.pictures.tiff_samples import Layout


@dataclass(frozen=True)
class Cicp:
    """Colours by the code points of ITU-T H.273: primaries, transfer characteristics; whether black is 0."""

    primaries: int
    transfer: int
    full_range: bool = True


@dataclass(frozen=True)
class Facts:
    """Colours, in the order in which they count: cicp, icc, srgb, gamma with chromaticities, adobe_rgb.

    chromaticities: x, y of white, red, green, blue. orientation: as EXIF numbers them. key: the transparent value of a
    PNG, a sample for each channel, at `depth` bits. exif, xmp: those data as they are in the file, EXIF from "II" or
    "MM" on; b"" where there are none, or more than 4 MB.
    """

    cicp: Cicp | None = None
    icc: bytes | None = None
    srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    adobe_rgb: bool = False
    orientation: int | None = None
    key: tuple[int, ...] | None = None
    depth: int = 8
    exif: bytes = b""
    xmp: bytes = b""


@dataclass(frozen=True)
class Prepared:
    """stream: what Pillow is to read in place of the file. layout: of TIFF samples that are not Pillow's to read."""

    stream: BinaryIO
    facts: Facts = Facts()
    layout: Layout | None = None


MAX_METADATA_BYTES = 4_000_000  # of EXIF or XMP data


def too_much(what: str) -> PictureError:
    """A file that asks for more work than any picture needs; `what` it has."""
    return PictureError(f"The file has {what}, more than a picture needs: save it anew in another program.")
