"""Any picture that Pillow opens -> upright 8-bit sRGB pixels, with a lossless alpha plane where it has one."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from latent8.errors import BlobError, PictureError
from latent8.limits import check_size

Source = str | os.PathLike | bytes | BinaryIO | Image.Image | np.ndarray
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
STRIP_ROWS = 256  # an even number
ACCEPTED = "JPEG, PNG, WebP, AVIF, TIFF, BMP and GIF"
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"}


@dataclass(frozen=True)
class Picture:
    """rgb: uint8 [H, W, 3], sRGB. alpha: uint8 [H, W], or None when opaque. stem: file name without ending."""

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    stem: str | None = None

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    def image(self) -> Image.Image:
        """PIL image of mode RGB, or RGBA where there is an alpha plane."""
        image = Image.fromarray(self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image


def open_picture(source: Source, max_pixels: int, longest_side: int | None = None) -> Picture:
    """Read a file (path, bytes, open file), PIL image or uint8 array ([H, W], [H, W, 3] or [H, W, 4]).

    The EXIF orientation is applied, an ICC profile is converted to sRGB, 16-bit values are scaled to 8 bits,
    and only the first frame of an animation is taken. With `longest_side`, larger pictures are shrunk to it.
    Raises PictureError; the pixel limit is checked on the file's header, before anything is decoded. Raises ValueError
    for a longest side below 1.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError(f"longest_side must be at least 1, not {longest_side}")
    image, stem = _open(source)
    check_size(image.width, image.height, max_pixels)
    try:
        image.load()
        profile = image.info.get("icc_profile")
        image = _to_srgb(_to_8_bit(_upright(image)), profile)
    except Exception as error:  # Pillow's readers let through whatever their parsing trips over
        raise PictureError(f"The picture is damaged or of a kind that cannot be read ({_brief(error)}).") from None
    if longest_side and max(image.size) > longest_side:
        scale = longest_side / max(image.size)
        size = [max(1, round(side * scale)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
    if alpha is None or alpha.min() == 255:
        return Picture(np.asarray(image.convert("RGB")), None, stem)
    rgb = np.asarray(image.convert("RGB"))
    return Picture(_filled_under(rgb, alpha == 0), alpha, stem)


def size_of(source: Source) -> tuple[int, int]:
    """Width and height as the file's header has them, before any rotation; (0, 0) where they cannot be told."""
    if isinstance(source, np.ndarray):
        return (source.shape[1], source.shape[0]) if source.ndim > 1 else (0, 0)
    if isinstance(source, Image.Image):
        return source.size
    try:
        image, _ = _open(source)
    except PictureError:
        return 0, 0
    if isinstance(source, (str, os.PathLike)):
        image.close()
    return image.size  # an open file stands elsewhere now; Pillow reads it from its start again


def pixel_count(source: Source, longest_side: int | None = None) -> int:
    """Pixels of what `open_picture` would give, read off the file's header; 0 where they cannot be told."""
    width, height = size_of(source)
    shrunk = min(1.0, longest_side / max(width, height, 1)) if longest_side else 1.0
    return int(width * height * shrunk**2)


def encode_alpha(alpha: np.ndarray) -> bytes:
    """uint8 [H, W] -> PNG of mode L."""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def decode_alpha(png: bytes, width: int, height: int) -> np.ndarray:
    """PNG -> uint8 [height, width]. Raises BlobError unless it is of mode L and that size."""
    try:
        image = PngImagePlugin.PngImageFile(io.BytesIO(png))  # not by Image.open, which has a limit of its own
        if image.mode != "L" or image.size != (width, height):
            raise BlobError("The blob is not valid: its alpha plane has another size or mode than the picture.")
        return np.asarray(image)
    except BlobError:
        raise
    except Exception:  # Pillow's readers let through whatever their parsing trips over
        raise BlobError("The blob is damaged: its alpha plane cannot be read.") from None


def pad_to_multiple(rgb: np.ndarray, multiple: int) -> np.ndarray:
    """[H, W, 3] -> [H', W', 3] with sides rounded up to the multiple, by repeating the last row and column."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")


def _open(source: Source) -> tuple[Image.Image, str | None]:
    if isinstance(source, np.ndarray):
        good_shape = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (3, 4))
        if source.dtype != np.uint8 or not good_shape or source.size == 0:
            raise PictureError("An array must be uint8 of shape [H, W], [H, W, 3] or [H, W, 4].")
        return Image.fromarray(source), None
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "")
        return source, Path(name).stem if name else None
    stem = Path(source).stem if isinstance(source, (str, os.PathLike)) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is tested next
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()), stem
    except FileNotFoundError:
        raise PictureError(f"There is no file {source!s}.") from None
    except UnidentifiedImageError:
        raise PictureError(f"This is not a picture that can be read: {ACCEPTED} files can.") from None
    except Image.DecompressionBombError:
        raise PictureError("The picture has over 178 megapixels, more than can be read: shrink it.") from None
    except Exception as error:  # as above
        raise PictureError(f"The file cannot be read ({_brief(error)}).") from None


@cache
def _formats() -> list[str]:
    """All that Pillow reads but those that it gives to programs: Ghostscript runs whatever is in a file, for ever."""
    Image.init()
    return [name for name in Image.ID if name not in ("EPS", "WMF")]  # in the order in which they are tried


def _upright(image: Image.Image) -> Image.Image:
    """Turned by the orientation in its EXIF data; as it is where there is none that can be read.

    ImageOps.exif_transpose would also write the EXIF data anew, and fail for a wrong type in any of its tags.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's readers let through whatever their parsing trips over
        return image
    return image if turn is None else image.transpose(turn)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey -> mode L; palettes and tRNS chunks -> RGB(A); others unchanged."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        values = np.where(np.isfinite(values), values, 0)
        if image.mode == "F":
            scale = 255.0 if values.max() <= 1 else 1.0
        else:
            scale = 1 / 257 if image.mode != "I" or values.max() > 255 else 1.0
        return Image.fromarray(np.rint(values * scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("P", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "LA":
        return image.convert("RGBA") if "icc_profile" not in image.info else image
    return image.convert("L") if image.mode == "1" else image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Pixels in the profile's colours -> RGB or RGBA in sRGB; an unreadable or unfitting profile is ignored."""
    has_alpha = image.mode in ("RGBA", "LA")
    alpha = image.getchannel("A") if has_alpha else None
    colours = image.convert("RGB" if image.mode == "RGBA" else "L") if has_alpha else image
    if image.mode == "LAB":
        colours = _converted(colours, ImageCms.createProfile("LAB")) or colours
    elif profile:
        colours = _from_profile(colours, profile)
    colours = colours.convert("RGB")
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip().startswith("sRGB"):
            return image
    except (OSError, ImageCms.PyCMSError):
        return image
    return _converted(image, source) or image


def _converted(image: Image.Image, source) -> Image.Image | None:
    """None where the profile is for other kinds of pixels than the picture has."""
    try:
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, intent, outputMode="RGB", flags=flags)
    except (ValueError, ImageCms.PyCMSError):
        return None


def _filled_under(rgb: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Give hidden pixels the mean of visible ones near by (a pyramid of averages), so that they cost few bits.

    At full size it goes by strips: floating-point copies of a large picture would take many times its memory.
    """
    strips = [slice(top, top + STRIP_ROWS) for top in range(0, len(hidden), STRIP_ROWS)]
    halves = []
    for rows in strips:
        visible = ~hidden[rows, :, None]
        halves.append((_halved(rgb[rows] * visible.astype(np.float32)), _halved(visible.astype(np.float32))))
    levels = [tuple(np.concatenate(parts) for parts in zip(*halves, strict=True))]
    del halves
    while max(levels[-1][0].shape[:2]) > 1:
        levels.append(tuple(map(_halved, levels[-1])))
    filled = np.zeros((1, 1, 3), np.float32)
    while levels:
        colour, weight = levels.pop()
        above = _doubled(filled, colour.shape[0], colour.shape[1])
        filled = np.where(weight > 0, colour / np.maximum(weight, 1e-6), above)
    result = rgb.copy()
    for rows in strips:
        mask = hidden[rows]
        near = _doubled(filled[rows.start // 2 : rows.stop // 2], *mask.shape)
        result[rows][mask] = np.rint(near[mask]).clip(0, 255)
    return result


def _doubled(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, n] -> [height, width, n], which are 2 h and 2 w or one less."""
    return values.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]


def _halved(values: np.ndarray) -> np.ndarray:
    """[H, W, n] -> [ceil(H / 2), ceil(W / 2), n], sums over 2x2 (edge cells hold fewer)."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    return padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
