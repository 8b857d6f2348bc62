"""Any picture that Pillow opens -> upright 8-bit sRGB pixels, with a lossless alpha plane where it has one.

opening.py opens it and takes down what it states, bounds.py refuses what would take for ever, alpha.py takes
transparency apart from the colours, depth.py brings those to 8 bits and colour.py to sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from latent8.errors import PictureError
from latent8.limits import check_size
from latent8.metadata.kept import NONE, Keep, Metadata, kept
from latent8.pictures import jpeg_file, png_file, tiff_samples
from latent8.pictures.alpha import decode_alpha, encode_alpha, filled_under, key_alpha, separated
from latent8.pictures.bounds import check_work
from latent8.pictures.colour import to_srgb
from latent8.pictures.depth import image_to_8_bit
from latent8.pictures.formats import ACCEPTED, SUFFIXES
from latent8.pictures.opening import Opened, Source, brief, opened
from latent8.pictures.quiet import without_pillows_warnings

__all__ = [
    "ACCEPTED",
    "SUFFIXES",
    "Picture",
    "Source",
    "decode_alpha",
    "encode_alpha",
    "open_picture",
    "pad_to_multiple",
    "pixel_count",
    "size_of",
]

_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """rgb: uint8 [H, W, 3], sRGB. alpha: uint8 [H, W], or None when opaque. stem: file name without ending.

    metadata: what is kept of the file's.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    stem: str | None = None
    metadata: Metadata = NONE

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    def image(self) -> Image.Image:
        """PIL image of mode RGB, or RGBA where there is an alpha plane; metadata in its `info`."""
        image = Image.fromarray(self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        image.info.update(self.metadata.info())
        return image


def open_picture(
    source: Source, max_pixels: int, longest_side: int | None = None, keep_metadata: Keep = None
) -> Picture:
    """Read a file (path, bytes, open file), PIL image or uint8 array ([H, W], [H, W, 3] or [H, W, 4]).

    The orientation that EXIF data state is applied, or that of XMP data where there is no other; colours are converted
    to sRGB, deep samples to 8 bits (depth.py has the rule), and only the first frame of an animation is taken. With
    `longest_side`, larger pictures are shrunk to it. keep_metadata: "all", "no-gps" or None. Raises PictureError; the
    pixel limit is checked on the file's header, and work of other kinds counted, before anything is decoded. Raises
    ValueError for a longest side below 1, and for another choice of metadata.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError(f"longest_side must be at least 1, not {longest_side}")
    with without_pillows_warnings(), opened(source) as found:
        check_size(*found.size, max_pixels)
        metadata = kept(found, keep_metadata)
        if found.image is not None:
            check_work(found.image, found.file)
        try:
            colours, alpha = _decoded(found)
            image = to_srgb(colours, found.facts)
        except PictureError:
            raise
        except Exception as error:  # Pillow's readers let through whatever their parsing trips over
            raise PictureError(f"The picture is damaged or of a kind that cannot be read ({brief(error)}).") from None
        if alpha is not None:
            image.putalpha(alpha)
        turn = _TURNS.get(found.facts.orientation or 1)
        picture = _picture(image if turn is None else image.transpose(turn), longest_side, found.stem)
        return replace(picture, metadata=metadata)


def size_of(source: Source) -> tuple[int, int]:
    """Width and height as the file's header has them, before any rotation; (0, 0) where they cannot be told."""
    if isinstance(source, np.ndarray):
        return (source.shape[1], source.shape[0]) if source.ndim > 1 else (0, 0)
    try:
        with without_pillows_warnings(), opened(source) as found:
            return found.size
    except PictureError:
        return 0, 0


def pixel_count(source: Source, longest_side: int | None = None) -> int:
    """Pixels of what `open_picture` would give, read off the file's header; 0 where they cannot be told."""
    width, height = size_of(source)
    shrunk = min(1.0, longest_side / max(width, height, 1)) if longest_side else 1.0
    return int(width * height * shrunk**2)


def pad_to_multiple(rgb: np.ndarray, multiple: int) -> np.ndarray:
    """[H, W, 3] -> [H', W', 3] with sides rounded up to the multiple, by repeating the last row and column."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")


def _decoded(found: Opened) -> tuple[Image.Image, Image.Image | None]:
    """Colours in 8 bits a channel, not yet sRGB, and alpha (mode L) or None."""
    if found.layout is not None:
        return _from_samples(found.layout)
    assert found.image is not None
    image = _loaded(found, found.image)
    key = found.facts.key
    if key is None:
        colours, alpha = separated(image)
        if found.file is not None and image.format == "PPM" and colours.mode == "I":  # scaled to 65,535 by Pillow
            colours = Image.fromarray(np.asarray(colours).astype(np.uint16))
    elif len(key) == 3 and found.facts.depth == 16:
        assert found.stream is not None
        colours, alpha = image, Image.fromarray(png_file.key_alpha(image, found.stream, key))
    else:
        scale = 255 // ((1 << found.facts.depth) - 1) if found.facts.depth < 8 else 1  # Pillow spreads a few bits
        colours, alpha = image, key_alpha(image, tuple(sample * scale for sample in key))
    return image_to_8_bit(colours), alpha


def _loaded(found: Opened, image: Image.Image) -> Image.Image:
    """The image with its pixels; those of a JPEG without end where nothing else is missing."""
    try:
        image.load()
        return image
    except OSError:
        whole = jpeg_file.completed(found.file) if found.file is not None and image.format == "JPEG" else None
        if whole is None:
            raise
    with Image.open(whole, formats=["JPEG"]) as again:
        again.load()
        return again


def _from_samples(layout: tiff_samples.Layout) -> tuple[Image.Image, Image.Image | None]:
    colours, alpha, premultiplied = tiff_samples.pictures_of(layout)
    if alpha is None:
        return Image.fromarray(colours), None
    if premultiplied:
        visible = np.maximum(alpha, 1).astype(np.float32)[..., None]
        planes = colours.reshape(*alpha.shape, -1)
        colours = np.rint((planes * (255 / visible)).clip(0, 255)).astype(np.uint8).reshape(colours.shape)
    return Image.fromarray(colours), Image.fromarray(alpha)


def _picture(image: Image.Image, longest_side: int | None, stem: str | None) -> Picture:
    if longest_side and max(image.size) > longest_side:
        scale = longest_side / max(image.size)
        size = [max(1, round(side * scale)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
    rgb = np.asarray(image.convert("RGB"))
    if alpha is None or alpha.min() == 255:
        return Picture(rgb, None, stem)
    return Picture(filled_under(rgb, alpha == 0), alpha, stem)
