"""Metadata that a user may choose to keep: EXIF and XMP, out of opened pictures, into blobs, and back into files.

What is kept is of the picture that the blob holds: upright, in sRGB. Thumbnails, and what is about the file that held
it (sizes, colours, depth and gain maps), is left out; IPTC and text chunks too. Without GPS, so is every position, and
what may hold one: maker notes, user comments, and what EXIF and published XMP vocabularies do not define. Texts that
someone has written, names of places among them, stay.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from latent8.errors import BlobError, PictureError
from latent8.file_format import extension
from latent8.file_format.extension import Chunk
from latent8.metadata import exif, xmp
from latent8.pictures.opening import Opened
from latent8.pictures.tiff_directory import TiffError, read_header

Keep = Literal["all", "no-gps"] | bool | None
CHOICES: tuple[Literal["all", "no-gps"], ...] = ("all", "no-gps")
_MOST_BYTES = {extension.EXIF: exif.MOST_BYTES, extension.XMP: xmp.MOST_BYTES}
_PNG_KEY = "XML:com.adobe.xmp"


@dataclass(frozen=True)
class Metadata:
    """exif: block that begins with its TIFF header. xmp: packet without wrapper. Both may be empty."""

    exif: bytes = b""
    xmp: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.exif or self.xmp)

    def chunks(self) -> tuple[Chunk, ...]:
        """For a blob."""
        parts = ((extension.EXIF, self.exif), (extension.XMP, self.xmp))
        return tuple((tag, zlib.compress(data, 9)) for tag, data in parts if data)

    @classmethod
    def of_chunks(cls, chunks: Iterable[Chunk]) -> Metadata:
        """Chunks of a blob, those of other tags among them. Raises BlobError.

        What a blob brings is cleaned as what a picture brings is: others' readers of EXIF trust in it.
        """
        found = {tag: extension.inflated(tag, data, _MOST_BYTES[tag]) for tag, data in chunks if tag in _MOST_BYTES}
        name = "EXIF"
        try:
            block = exif.cleaned(found[extension.EXIF]) if extension.EXIF in found else b""
            name = "XMP"
            return cls(block, xmp.cleaned(found[extension.XMP]) if extension.XMP in found else b"")
        except ValueError as error:
            raise BlobError(f"The blob is not valid: its {name} metadata cannot be read ({error}).") from None

    def describe(self) -> str:
        """In words: "EXIF, 312 bytes, with GPS; XMP, 1,020 bytes"; "none"."""
        parts = []
        for name, data, has_gps in (("EXIF", self.exif, exif.has_gps), ("XMP", self.xmp, xmp.has_gps)):
            if data:
                parts.append(f"{name}, {len(data):,} bytes{', with GPS' if has_gps(data) else ''}")
        return "; ".join(parts) or "none"

    def info(self) -> dict[str, bytes]:
        """As Pillow has it in `image.info`."""
        parts = {
            "exif": exif.PREFIX + self.exif if self.exif else b"",
            "xmp": xmp.wrapped(self.xmp) if self.xmp else b"",
        }
        return {name: data for name, data in parts.items() if data}


NONE = Metadata()


def check_keep(keep: Keep) -> str | None:
    """What a caller gave -> one of CHOICES, or None. Raises ValueError."""
    choice = "all" if keep is True else None if keep is False else keep
    if choice is not None and choice not in CHOICES:
        raise ValueError(f"keep_metadata must be 'all', 'no-gps' or None, not {keep!r}")
    return choice


def kept(found: Opened, keep: Keep) -> Metadata:
    """Opened picture -> what is kept of its metadata.

    Raises PictureError for metadata that is damaged or too large, and ValueError for another choice.
    """
    choice = check_keep(keep)
    if choice is None:
        return NONE
    name, without_gps = "EXIF", choice == "no-gps"
    try:
        block, packet = _exif_of(found), found.facts.xmp
        block = exif.cleaned(block, without_gps) if block else b""
        name = "XMP"
        packet = xmp.cleaned(packet, without_gps) if packet else b""
    except ValueError as error:
        text = f"The {name} metadata of the picture cannot be kept ({error}): encode it without."
        raise PictureError(text) from None
    return Metadata(block, packet)


def _exif_of(found: Opened) -> bytes | BinaryIO:
    """EXIF block, or the TIFF file that is one. Raises ValueError for what Pillow cannot hand on."""
    if found.facts.exif:
        return found.facts.exif
    if found.file is not None:
        with suppress(TiffError):
            read_header(found.file)
            return found.file
    elif isinstance(found.image, TiffImageFile):  # opened elsewhere
        try:
            return found.image.getexif().tobytes()
        except Exception as error:  # Pillow's readers let through whatever their parsing trips over
            raise ValueError(str(error)) from None
    return b""


def save_options(image: Image.Image, format_name: str) -> dict[str, Any]:
    """Options of Pillow's `image.save` that write the metadata in `image.info`; none for formats without a place."""
    found: dict[str, Any] = {
        name: image.info[name] for name in ("exif", "xmp") if isinstance(image.info.get(name), bytes)
    }
    if format_name == "AVIF" and "exif" in found:
        with suppress(ValueError):  # with an orientation, Pillow writes the block anew, and loses what is not ASCII
            block = exif.cleaned(found.pop("exif"), with_orientation=False)
            found |= {"exif": exif.PREFIX + block} if block else {}
    if format_name == "PNG" and "xmp" in found:
        found["pnginfo"] = PngInfo()
        found["pnginfo"].add_itxt(_PNG_KEY, found.pop("xmp").decode("utf-8", "replace"))
    return found if format_name in ("PNG", "WEBP", "JPEG", "AVIF") else {}
