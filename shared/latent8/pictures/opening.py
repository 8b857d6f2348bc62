"""Files, bytes, arrays and PIL images, opened as far as their headers: the size is known, nothing is decoded.

JPEG, PNG, TIFF and AVIF are looked through first (jpeg_file.py and so on): what they say of colours and transparency is
taken down, and Pillow gets what it needs for the pixels alone. So metadata of any kind, sound or not, stop nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from latent8.errors import PictureError
from latent8.pictures import formats, isobmff, jpeg_file, png_file, tiff_file, tiff_samples
from latent8.pictures.bounds import counted
from latent8.pictures.exif import exif_facts, xmp_orientation
from latent8.pictures.facts import MAX_METADATA_BYTES, Cicp, Facts, Prepared
from latent8.pictures.splice import read_at

Source = str | os.PathLike | bytes | BinaryIO | Image.Image | np.ndarray
_PREPARED: tuple[Callable[[BinaryIO], Prepared | None], ...] = (
    jpeg_file.prepared,
    png_file.prepared,
    tiff_file.prepared,
    isobmff.prepared,
)


@dataclass(frozen=True)
class Opened:
    """A picture that is not decoded yet. file, stream: what it is in, and what of it Pillow reads; None of images that
    were opened elsewhere. layout: of TIFF samples that are read in place of the image's."""

    image: Image.Image | None
    facts: Facts
    stem: str | None
    file: BinaryIO | None = None
    stream: BinaryIO | None = None
    layout: tiff_samples.Layout | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as they are stored, before any rotation."""
        if self.layout is not None:
            return self.layout.width, self.layout.height
        assert self.image is not None
        return self.image.size


@contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """The source, opened; a file that was opened for it is closed in the end. Raises PictureError."""
    if isinstance(source, np.ndarray):
        yield Opened(_of_array(source), Facts(), None)
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", "")
        yield Opened(source, _facts_of_image(source), Path(name).stem if name else None)
    elif isinstance(source, bytes):
        yield _of_file(io.BytesIO(source), None)
    elif isinstance(source, (str, os.PathLike)):
        with _file_of(source) as file:
            yield _of_file(file, Path(source).stem)
    else:
        yield _of_file(source, None)


def _of_array(array: np.ndarray) -> Image.Image:
    good_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not good_shape or array.size == 0:
        raise PictureError("An array must be uint8 of shape [H, W], [H, W, 3] or [H, W, 4].")
    return Image.fromarray(array)


def _file_of(path: str | os.PathLike) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise PictureError(f"There is no file {path!s}.") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"The file cannot be read ({brief(error)}).") from None


def _of_file(file: BinaryIO, stem: str | None) -> Opened:
    try:
        if formats.name_of(read_at(file, 0, 512)) == formats.BLOB:  # where it has the plugin, Pillow would open it
            raise PictureError(_what_it_is(file))
        prepared = next((found for prepare in _PREPARED if (found := prepare(file))), Prepared(file))
        if prepared.layout is not None:
            return Opened(None, prepared.facts, stem, file, prepared.stream, prepared.layout)
        image = Image.open(counted(prepared.stream), formats=formats.readable())
        _check_sides(image.size)
        return Opened(image, _with_pillows(prepared.facts, image), stem, file, prepared.stream)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(_what_it_is(file)) from None
    except Image.DecompressionBombError:
        raise PictureError("The picture has over 178 megapixels, more than can be read: shrink it.") from None
    except Exception as error:  # Pillow's readers let through whatever their parsing trips over
        raise PictureError(f"The file cannot be read ({brief(error)}).") from None


def _check_sides(size: tuple) -> None:
    """Raise PictureError where these are not two numbers of pixels: of IM files, Pillow takes whatever is written."""
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise PictureError("The file cannot be read (it does not state a width and a height in pixels).")


def _what_it_is(file: BinaryIO) -> str:
    start = read_at(file, 0, 512)
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return "The file is an AVIF picture that is damaged."
    name = formats.name_of(start)
    if name == "a PostScript program":  # Pillow would have it run
        return f"This is not a picture that can be read: it is {name}. Save it as PNG."
    if name == formats.HEIC:
        if formats.HEIC_IS_READ:
            return "The file is a HEIC picture that is damaged."
        return "This is a HEIC picture, which the package pi-heif reads: install it, or save the picture as JPEG."
    if name == formats.BLOB:
        return "This is a .l8 file, not a photo: use the decoder."
    if name:
        return f"This is {name}, which cannot be read: {formats.ACCEPTED} files can."
    samples = tiff_samples.described(file)
    if samples:
        return f"This TIFF file has {samples}, which cannot be read: save it with 8 or 16 bits a channel."
    return f"This is not a picture that can be read: {formats.ACCEPTED} files can."


def _with_pillows(facts: Facts, image: Image.Image) -> Facts:
    """Add facts that the readers here did not find, as Pillow and its plugins have them."""
    if image.format in ("JPEG", "MPO", "PNG", "TIFF"):
        return facts
    info = image.info
    exif, icc, xmp = info.get("exif"), info.get("icc_profile"), info.get("xmp")
    says = exif_facts(exif if isinstance(exif, bytes) else b"")
    return Facts(
        icc=icc if isinstance(icc, bytes) else None,
        cicp=None if icc else facts.cicp or _plugins_code_points(info.get("nclx_profile")),
        adobe_rgb=says.adobe_rgb,
        orientation=says.orientation or (xmp_orientation(xmp) if isinstance(xmp, bytes) else None),
        exif=facts.exif or (exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""),
        xmp=xmp if isinstance(xmp, bytes) and len(xmp) <= MAX_METADATA_BYTES else b"",
    )


def _facts_of_image(image: Image.Image) -> Facts:
    """Facts of an image that was opened elsewhere, in what hangs on it."""
    info = image.info
    exif, icc, gamma, chromaticities, xmp = (
        info.get(key) for key in ("exif", "icc_profile", "gamma", "chromaticity", "xmp")
    )
    return Facts(
        icc=icc if isinstance(icc, bytes) else None,
        cicp=None if icc else _plugins_code_points(info.get("nclx_profile")),
        srgb="srgb" in info,
        gamma=gamma if isinstance(gamma, float) else None,
        chromaticities=chromaticities if isinstance(chromaticities, tuple) and len(chromaticities) == 8 else None,
        adobe_rgb=exif_facts(exif if isinstance(exif, bytes) else b"").adobe_rgb,
        orientation=_orientation_of_image(image),
        exif=exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b"",
        xmp=xmp if isinstance(xmp, bytes) and len(xmp) <= MAX_METADATA_BYTES else b"",
    )


def _orientation_of_image(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's readers let through whatever their parsing trips over
        return None


def _plugins_code_points(profile: object) -> Cicp | None:
    """What pillow-heif hands on as `nclx_profile`."""
    if not isinstance(profile, dict):
        return None
    primaries, transfer = profile.get("color_primaries"), profile.get("transfer_characteristics")
    return Cicp(primaries, transfer) if isinstance(primaries, int) and isinstance(transfer, int) else None


def brief(error: Exception) -> str:
    """The first line of its message, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
