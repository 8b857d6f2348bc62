"""Pictures of numbers, for people: thumbnails and heat maps of latents, histograms, sheets of them with captions."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MAX_SIDE = 1024  # pixels of any view: latents with more are averaged down to it

# Dark blue, blue, near white, orange, dark red: low to high.
DIVERGING = np.array([[16, 42, 92], [74, 144, 217], [244, 243, 238], [237, 137, 54], [120, 24, 24]], np.float64)
# Near black, blue, teal, yellow, near white: little to much.
RISING = np.array([[10, 14, 36], [32, 72, 128], [30, 148, 139], [244, 211, 94], [255, 252, 235]], np.float64)

_INK, _PALE, _BAR, _PAPER = (40, 44, 52), (222, 224, 228), (32, 120, 138), (255, 255, 255)
_CELL, _GAP, _CELL_COLUMNS = 380, 16, 4  # of a sheet, in pixels
_TILE, _TILE_GAP, _TILE_COLUMNS = 92, 6, 16  # of a mosaic


@dataclass(frozen=True)
class View:
    """A picture with its caption. `wide`: one made of many small ones, to be shown large."""

    caption: str
    image: Image.Image
    wide: bool = False


def thumbnail(latents: np.ndarray) -> Image.Image:
    """RGB image of the first three channels of latents [C, h, w], each stretched over its range.

    The alpha channel of the RGBA file is left out of the view: it would hide the others.
    """
    channels = [_stretched(_fitted(channel, MAX_SIDE)) for channel in latents[:3]]
    while len(channels) < 3:
        channels.append(channels[-1])
    return Image.fromarray(np.stack(channels, axis=-1))


def rgba_thumbnail(values: np.ndarray) -> Image.Image:
    """uint8 [4, h, w] -> RGBA image: the channels as other programs show taesd's PNG."""
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(values, 0, -1)))
    return image.reduce(math.ceil(max(image.size) / MAX_SIDE))


def heat_map(
    channel: np.ndarray,
    low: float | None = None,
    high: float | None = None,
    colours: np.ndarray = DIVERGING,
    longest_side: int = MAX_SIDE,
) -> Image.Image:
    """[h, w] -> RGB image, from the first colour at `low` to the last at `high`: by default the least and the greatest.

    A channel that is the same everywhere gets the middle colour.
    """
    low = float(channel.min()) if low is None else low
    high = float(channel.max()) if high is None else high
    unit = (_fitted(channel, longest_side).astype(np.float64) - low) / (high - low) if high > low else 0.5
    values = np.broadcast_to(unit, _fitted_shape(channel.shape, longest_side)) * (len(colours) - 1)
    pixels = np.stack([np.interp(values, range(len(colours)), column) for column in colours.T], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def categories(numbers: np.ndarray, longest_side: int = MAX_SIDE) -> Image.Image:
    """uint8 [h, w] -> RGB image where equal numbers have the same colour, and near ones have different colours.

    Larger ones are thinned out: a mean of two colours would be that of a third number.
    """
    step = math.ceil(max(numbers.shape) / longest_side)
    hues = [(number * 0.6180339887 % 1, 0.45 + 0.1 * (number % 6), 0.95 - 0.12 * (number % 5)) for number in range(256)]
    palette = np.array([colorsys.hsv_to_rgb(*hue) for hue in hues])
    return Image.fromarray(np.rint(255 * palette).astype(np.uint8)[numbers[::step, ::step]])


def greatest_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Two pictures, uint8 [H, W, 3] -> uint8 [H, W]: of the three colours, the greatest absolute difference."""
    plane = np.empty(a.shape[:2], np.uint8)
    for start in range(0, len(plane), 256):  # no copies of a whole large picture
        rows = slice(start, start + 256)
        plane[rows] = (np.maximum(a[rows], b[rows]) - np.minimum(a[rows], b[rows])).max(axis=-1)
    return plane


def percentile(plane: np.ndarray, percent: float) -> int:
    """Percentile of uint8 values: the least value that at least so many percent do not exceed."""
    counts = np.cumsum(Image.fromarray(plane).histogram())  # NumPy would widen a large picture for it
    return int((counts >= percent / 100 * plane.size).argmax())


def difference_map(difference: np.ndarray, white: int) -> Image.Image:
    """uint8 [H, W] -> RGB image of the same size, from black at 0 to white from `white` on."""
    colours = np.asarray(heat_map(np.arange(256.0)[None], 0.0, max(white, 1), RISING))[0]
    return Image.fromarray(colours[difference])


def histogram(counts: np.ndarray, first: int, title: str) -> Image.Image:
    """Counts of the values first, first + 1, ... -> RGB image of bars on a logarithmic scale, with both axes."""
    width, height, left, top, below = 640, 400, 64, 48, 32
    image = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(image), _font(14)
    right, bottom = width - 16, height - below
    scale = math.log10(1 + max(10, int(counts.max())))

    def y_of(count: int) -> float:
        return bottom - (bottom - top) * math.log10(1 + count) / scale

    draw.text((left, top / 2), title, _INK, _font(16), anchor="lm")
    for exponent in range(math.floor(scale) + 1):
        y = y_of(10**exponent)
        draw.line((left, y, right, y), _PALE)
        draw.text((left - 8, y), f"{10**exponent:,}", _INK, font, anchor="rm")
    bar = (right - left) / len(counts)
    for index, count in enumerate(counts.tolist()):
        if count:
            x = left + index * bar
            draw.rectangle((round(x), y_of(count), max(round(x), round(x + bar) - 1), bottom), _BAR)
    draw.line((left, bottom, right, bottom), _INK)
    for index in sorted({round(i * (len(counts) - 1) / 4) for i in range(5)}):
        draw.text((left + (index + 0.5) * bar, bottom + 8), str(first + index), _INK, font, "mt")
    return image


def mosaic(channels: np.ndarray) -> Image.Image:
    """[C, h, w] -> RGB image of small heat maps in rows of 16, each with its number and its range below."""
    tiles = []
    for index, channel in enumerate(channels):
        low, high = _digits(float(channel.min())), _digits(float(channel.max()))
        tiles.append(View(f"{index + 1}: {low} to {high}", _boxed(heat_map(channel, longest_side=_TILE), _TILE)))
    return _grid(tiles, _TILE_COLUMNS, _TILE, _TILE_GAP, _font(10))


def sheet(title: str, views: Sequence[View]) -> Image.Image:
    """Views with their captions on white, four to a row; a mosaic below in a row of its own."""
    cells = [View(view.caption, _boxed(view.image, _CELL)) for view in views if not view.wide]
    rows = [_grid(cells, _CELL_COLUMNS, _CELL, _GAP, _font(14))] if cells else []
    rows += [_grid([view], 1, view.image.width, 0, _font(14)) for view in views if view.wide]
    head, width = 56, _CELL_COLUMNS * (_CELL + _GAP) + _GAP
    result = Image.new("RGB", (width, head + sum(row.height + _GAP for row in rows)), _PAPER)
    ImageDraw.Draw(result).text((_GAP, head / 2), title, _INK, _font(20), anchor="lm")
    y = head
    for row in rows:
        result.paste(row, (_GAP, y))
        y += row.height + _GAP
    return result


def enlarged(image: Image.Image, longest_side: int = 512) -> Image.Image:
    """Whole-number enlargement with sharp pixels, to about the given side."""
    factor = max(1, longest_side // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _grid(views: Sequence[View], columns: int, side: int, gap: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Images of at most `side` pixels, row by row, with their captions below."""
    rows = [views[start : start + columns] for start in range(0, len(views), columns)]
    captions = [[_wrapped(view.caption, side, font) for view in row] for row in rows]
    tallest = [max(view.image.height for view in row) for row in rows]
    line = round(1.35 * font.size)
    steps = [
        height + 4 + line * max(caption.count("\n") + 1 for caption in row) + gap
        for height, row in zip(tallest, captions, strict=True)
    ]
    result = Image.new("RGB", (min(columns, len(views)) * (side + gap) - gap, sum(steps) - gap), _PAPER)
    draw = ImageDraw.Draw(result)
    for index, row in enumerate(rows):
        y = sum(steps[:index])
        for column, (view, caption) in enumerate(zip(row, captions[index], strict=True)):
            x = column * (side + gap)
            result.paste(view.image, (x, y), view.image if view.image.mode == "RGBA" else None)
            draw.multiline_text((x, y + tallest[index] + 4), caption, _INK, font, spacing=round(0.25 * font.size))
    return result


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer, font.size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


@lru_cache(maxsize=4096)  # captions of channels repeat themselves
def _length(text: str, size: float) -> float:
    return _font(size).getlength(text)


def _boxed(image: Image.Image, side: int) -> Image.Image:
    """Into a square of that side: sharp pixels when enlarged, smooth when shrunk."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)


def _fitted(channel: np.ndarray, longest_side: int) -> np.ndarray:
    """[h, w] -> the same with sides of at most `longest_side`, by means over blocks."""
    height, width = _fitted_shape(channel.shape, longest_side)
    if channel.shape == (height, width):
        return channel
    image = Image.fromarray(channel.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _fitted_shape(shape: tuple[int, ...], longest_side: int) -> tuple[int, int]:
    scale = min(1.0, longest_side / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _stretched(channel: np.ndarray) -> np.ndarray:
    low, high = np.percentile(channel, (0.5, 99.5))
    scaled = (channel.astype(np.float64) - low) / (high - low or 1)
    return np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)


def _digits(value: float) -> str:
    """Two of them, and no more where that takes none behind the point."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # Pillow's own, bundled with it
