"""Transparency: taken apart from the colours, packed losslessly, and what is hidden under it filled."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, PngImagePlugin

from latent8.errors import BlobError

STRIP_ROWS = 256  # an even number


def separated(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Image of any mode -> its colours (mode L, RGB, CMYK, LAB, I or F, as they are) and alpha (mode L) or None.

    Grey stays grey, for a grey profile to be for it. Premultiplied colours are divided.
    """
    transparent = image.info.get("transparency")
    if image.mode in ("P", "PA") or (transparent is not None and image.mode not in ("L", "1", "I;16", "I", "RGB")):
        image = image.convert("RGBA" if image.mode == "PA" or transparent is not None else "RGB")
    elif image.mode == "RGBa":
        image = image.convert("RGBA")
    elif image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA"):
        return image.convert(image.mode[:-1]), image.getchannel("A")
    if transparent is None:
        return image, None
    image = image.copy()
    del image.info["transparency"]
    key = transparent if isinstance(transparent, tuple) else (transparent,)
    return image, key_alpha(image, key)


def key_alpha(image: Image.Image, key: tuple[int, ...]) -> Image.Image:
    """Image of mode L, I;16, I or RGB -> mode L, 0 where it has the key's colour and 255 elsewhere."""
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    return Image.fromarray(np.where(is_colour(pixels, key), np.uint8(0), np.uint8(255)))


def is_colour(pixels: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    """[H, W] or [H, W, n], and a value for each channel -> bool [H, W]. Channel by channel, which is several times as
    fast as NumPy's `all`."""
    planes = [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(pixels.shape[2])]
    found = planes[0] == colour[0]
    for plane, value in zip(planes[1:], colour[1:], strict=True):
        found &= plane == value
    return found


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


def filled_under(rgb: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Give hidden pixels the mean of visible ones near by (a pyramid of averages), so that they cost few bits.

    At full size it goes by strips: floating-point copies of a large picture would take many times its memory.
    """
    strips = [slice(top, top + STRIP_ROWS) for top in range(0, len(hidden), STRIP_ROWS)]
    halves = []
    for rows in strips:
        visible = ~hidden[rows, :, None]
        halves.append((_halved(rgb[rows] * visible).astype(np.float32), _halved(visible).astype(np.float32)))
    levels = [tuple(np.concatenate(parts) for parts in zip(*halves, strict=True))]
    del halves
    while max(levels[-1][0].shape[:2]) > 1:
        levels.append(tuple(map(_halved, levels[-1])))
    filled = np.zeros((1, 1, 3), np.float32)
    while levels:
        colour, weight = levels.pop()
        filled = _doubled(filled, colour.shape[0], colour.shape[1])
        np.divide(colour, weight, out=filled, where=weight > 0)
    result, fill = rgb.copy(), np.rint(filled, out=filled).astype(np.uint8)
    for rows in strips:
        mask = hidden[rows]
        near = _doubled(fill[rows.start // 2 : rows.stop // 2], *mask.shape)
        np.copyto(result[rows], near, where=mask[..., None])
    return result


def _doubled(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, n] -> [height, width, n], which are 2 h and 2 w or one less."""
    return values.repeat(2, axis=1).repeat(2, axis=0)[:height, :width]  # columns first, of which there are half as many


def _halved(values: np.ndarray) -> np.ndarray:
    """[H, W, n] -> [ceil(H / 2), ceil(W / 2), n], sums over 2x2 (edge cells hold fewer); of bytes in 16 bits."""
    height, width = values.shape[:2]
    kind = np.float32 if values.dtype == np.float32 else np.uint16
    rows = np.zeros((-(-height // 2), width + width % 2, values.shape[2]), kind)
    pairs = height // 2
    np.add(values[: 2 * pairs : 2], values[1::2], out=rows[:pairs, :width], dtype=kind)
    rows[pairs:, :width] = values[2 * pairs :]
    return rows[:, ::2] + rows[:, 1::2]
