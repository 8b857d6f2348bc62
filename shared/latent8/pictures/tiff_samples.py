"""Samples of TIFF pages that Pillow opens wrongly, cut down or not at all: deep, signed, floating-point, in planes.

libtiff decompresses them, by way of Pillow: each band of strips or tiles is handed to it as a page of bytes, one grey
pixel for each. What the bytes are is worked out here (TIFF 6.0, sections 8, 14 and 19; TIFF technical note 3).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import TiffImagePlugin

from latent8.errors import PictureError
from latent8.pictures.depth import to_8_bit
from latent8.pictures.splice import Piece, size_of_file, spliced
from latent8.pictures.tiff_directory import Directory, TiffError, TiffHeader, read_directory, read_header

MAX_BAND_BYTES = 160_000_000  # of a strip, or a row of tiles, once it is decompressed
MAX_SAMPLES = 16  # of a pixel
_HEADER = TiffHeader("<", big=False, first=0)  # of the pages that are handed to libtiff
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_COMPRESSIONS = {
    1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
_OTHER_COMPRESSIONS = {
    2: "CCITT", 3: "fax", 4: "fax", 6: "old JPEG", 7: "JPEG", 34676: "LogLuv", 34677: "LogLuv", 34712: "JPEG 2000",
    34887: "LERC", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_COLOURS = {
    0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "ICC Lab",
    10: "ITU Lab", 32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
_FORMATS = {1: "integer", 2: "signed integer", 3: "floating-point", 4: "integer", 5: "complex integer", 6: "complex"}
_EXTRA_ALPHA = {1, 2}  # premultiplied or not


@dataclass(frozen=True)
class Layout:
    """How the samples of a page lie in its file, and what they are."""

    file: BinaryIO
    header: TiffHeader
    width: int
    height: int
    photometric: int
    samples: int  # of a pixel
    bits: int
    format: int
    compression: int
    predictor: int
    planar: bool
    tile: tuple[int, int] | None  # width, height
    rows_per_strip: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    extra: tuple[int, ...]
    stated: tuple[float, float] | None

    @property
    def dtype(self) -> np.dtype:
        """Of samples as they are stored; bits that do not fill their bytes are unpacked to unsigned ones."""
        letter = {_SIGNED: "i", _FLOAT: "f"}.get(self.format, "u")
        n_bytes = next(size for size in (1, 2, 4, 8) if 8 * size >= self.bits)
        return np.dtype(f"{self.header.endian}{letter}{n_bytes}")

    @property
    def description(self) -> str:
        colours = _COLOURS.get(self.photometric, "unknown")
        kind = _FORMATS.get(self.format, "unknown")
        packed = {**_COMPRESSIONS, **_OTHER_COMPRESSIONS}.get(self.compression, "unknown")
        return f"{self.bits}-bit {kind} {colours} samples and {packed} compression"


def layout_of(file: BinaryIO, header: TiffHeader, page: Directory) -> Layout | None:
    """Layout of a page whose samples are to be read here; None where Pillow reads it rightly.

    Raises PictureError for samples that neither reads.
    """
    layout = _layout(file, header, page)
    if layout is None or _pillow_reads(layout, page):
        return None
    bits = set(page.integers(258)[: layout.samples]) or {1}
    formats = set(page.integers(339)[: layout.samples]) or {_UNSIGNED}
    whole = layout.bits in (16, 32, 64) or layout.bits == 8
    known = (
        layout.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        and layout.compression in _COMPRESSIONS
        and layout.samples <= MAX_SAMPLES
        and layout.samples >= (3 if layout.photometric == _RGB else 1)
        and len(bits) == len(formats) == 1
        and layout.format in (_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED)
        and (whole or (layout.format in (_UNSIGNED, _UNDEFINED) and 1 <= layout.bits <= 32))
        and (layout.bits >= 16 or layout.format != _FLOAT)
        and page.integer(266, 1) == 1
        and layout.predictor in (1, 2, 3)
    )
    if not known:
        raise PictureError(
            f"This TIFF file has {layout.description}, which cannot be read: save it with 8 or 16 bits a channel."
        )
    return layout


def described(file: BinaryIO) -> str | None:
    """What the samples of the first page are, for a sentence; None where that cannot be told."""
    try:
        header = read_header(file)
        layout = _layout(file, header, read_directory(file, header, header.first))
    except TiffError:
        return None
    return layout.description if layout else None


def pictures_of(layout: Layout) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Samples -> colours (uint8 [H, W] or [H, W, 3]), alpha (uint8 [H, W]) or None, whether it is premultiplied.

    Raises PictureError where the data are not there.
    """
    samples = read_samples(layout)
    n_colours = 3 if layout.photometric == _RGB else 1
    bits = layout.bits if layout.dtype.kind == "u" else None
    colours = to_8_bit(samples[..., :n_colours], bits, layout.stated)
    if layout.photometric == _WHITE_IS_ZERO:
        colours = 255 - colours
    kinds = layout.extra or (2,) * (layout.samples - n_colours)  # not said: taken for transparency, as Pillow does
    alpha, premultiplied = None, False
    for index, kind in enumerate(kinds[: layout.samples - n_colours]):
        if kind in _EXTRA_ALPHA:
            opaque = (0.0, 1.0) if layout.format == _FLOAT else None
            alpha, premultiplied = to_8_bit(samples[..., n_colours + index], bits, opaque), kind == 1
            break
    return colours if n_colours == 3 else colours[..., 0], alpha, premultiplied


def read_samples(layout: Layout) -> np.ndarray:
    """[H, W, samples], in the file's type."""
    planes = layout.samples if layout.planar else 1
    samples = np.empty((layout.height, layout.width, layout.samples), layout.dtype.newbyteorder("="))
    for plane in range(planes):
        for top, values in _bands(layout, plane):
            rows = samples[top : top + len(values)]
            target = rows[..., plane : plane + 1] if layout.planar else rows
            target[...] = values[: len(rows), : layout.width]
    return samples


def _layout(file: BinaryIO, header: TiffHeader, page: Directory) -> Layout | None:
    width, height = page.integer(256, 0), page.integer(257, 0)
    tiled = 324 in page
    offsets = tuple(page.integers(324 if tiled else 273))
    if min(width, height) < 1 or not offsets:
        return None
    tile = (page.integer(322, 0), page.integer(323, 0)) if tiled else None
    counts = tuple(page.integers(325 if tiled else 279)) or (size_of_file(file),) * len(offsets)
    return Layout(
        file=file,
        header=header,
        width=width,
        height=height,
        photometric=page.integer(262, 0),
        samples=page.integer(277, 1),
        bits=page.integer(258, 1),
        format=page.integer(339, _UNSIGNED),
        compression=page.integer(259, 1),
        predictor=page.integer(317, 1),
        planar=page.integer(284, 1) == 2,
        tile=tile,
        rows_per_strip=min(height, page.integer(278, height) or height),
        offsets=offsets,
        counts=counts,
        extra=tuple(page.integers(338)),
        stated=_stated_range(page),
    )


def _stated_range(page: Directory) -> tuple[float, float] | None:
    """SMinSampleValue and SMaxSampleValue, else MinSampleValue and MaxSampleValue; None where no white is stated."""
    for low_tag, high_tag in ((340, 341), (280, 281)):
        lows, highs = page.numbers(low_tag, MAX_SAMPLES), page.numbers(high_tag, MAX_SAMPLES)
        if highs and all(map(math.isfinite, (*lows, *highs))):
            low, high = min(lows, default=0.0), max(highs)
            if high > low:
                return float(low), float(high)
    return None


def _pillow_reads(layout: Layout, page: Directory) -> bool:
    """8 bits and fewer: as bytes, palettes or CMYK, in any compression; Pillow says what of those it lacks."""
    if layout.format not in (_UNSIGNED, _UNDEFINED):
        return False
    if layout.header.big and layout.header.endian == ">":  # Pillow takes none of these for TIFF
        return layout.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    bits = page.integers(258)[: layout.samples] or [1]
    if max(bits) > 8:
        return layout.photometric == 5 and max(bits) == 16 and not layout.planar
    key_bits = tuple(bits) if len(bits) == layout.samples else tuple(bits[:1]) * layout.samples
    mark = b"II" if layout.header.endian == "<" else b"MM"
    key = (mark, layout.photometric, (1,), page.integer(266, 1), key_bits, layout.extra)
    return key in TiffImagePlugin.OPEN_INFO or layout.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)


def _bands(layout: Layout, plane: int) -> Iterator[tuple[int, np.ndarray]]:
    """First row and [rows, columns, samples] of each row of strips or tiles, which may be larger than the page."""
    per_pixel = 1 if layout.planar else layout.samples
    columns, rows = layout.tile or (layout.width, layout.rows_per_strip)
    if min(columns, rows) < 1 or (layout.tile and columns % 16):
        raise _damaged("its tiles have no size")
    across = math.ceil(layout.width / columns)
    row_bytes = math.ceil(columns * per_pixel * layout.bits / 8)
    n_bands = math.ceil(layout.height / rows)
    if across * row_bytes * rows > MAX_BAND_BYTES:
        if layout.compression != 1 or layout.tile:
            raise PictureError("This TIFF file has strips of over 160 MB, which are not read: save it in smaller ones.")
        yield from _raw_rows(layout, plane, row_bytes, per_pixel)
        return
    if len(layout.offsets) < (plane + 1) * n_bands * across or len(layout.counts) < len(layout.offsets):
        raise _damaged("it lacks strips or tiles")
    for band in range(n_bands):
        first = (plane * n_bands + band) * across
        n_rows = rows if layout.tile else min(rows, layout.height - band * rows)
        data = _decompressed(layout, first, across, row_bytes, n_rows)
        tiles = data.reshape(n_rows, across, row_bytes)
        values = _values(layout, tiles.reshape(n_rows * across, row_bytes), columns, per_pixel)
        yield band * rows, values.reshape(n_rows, across * columns, per_pixel)


def _raw_rows(layout: Layout, plane: int, row_bytes: int, per_pixel: int) -> Iterator[tuple[int, np.ndarray]]:
    """Of one long strip without compression, a few rows at a time."""
    step = max(1, MAX_BAND_BYTES // row_bytes)
    strips = math.ceil(layout.height / layout.rows_per_strip)
    for index in range(strips):
        offset = layout.offsets[plane * strips + index] if plane * strips + index < len(layout.offsets) else 0
        end = min(layout.height, (index + 1) * layout.rows_per_strip)
        for top in range(index * layout.rows_per_strip, end, step):
            n_rows = min(step, end - top)
            layout.file.seek(offset + (top - index * layout.rows_per_strip) * row_bytes)
            data = layout.file.read(n_rows * row_bytes)
            if len(data) < n_rows * row_bytes:
                raise _damaged("its data are cut off")
            yield (
                top,
                _values(layout, np.frombuffer(data, np.uint8).reshape(n_rows, row_bytes), layout.width, per_pixel),
            )


def _decompressed(layout: Layout, first: int, across: int, row_bytes: int, n_rows: int) -> np.ndarray:
    """uint8 [n_rows, across * row_bytes]: of `across` strips or tiles from the one with that index on."""
    size = size_of_file(layout.file)
    offsets, counts = layout.offsets[first : first + across], layout.counts[first : first + across]
    if any(offset + 1 > size for offset in offsets):
        raise _damaged("its data are cut off")
    if layout.compression == 1:
        parts = []
        for offset in offsets:
            layout.file.seek(offset)
            part = layout.file.read(n_rows * row_bytes)
            if len(part) < n_rows * row_bytes:
                raise _damaged("its data are cut off")
            parts.append(np.frombuffer(part, np.uint8).reshape(n_rows, row_bytes))
        return np.concatenate(parts, axis=1)
    entries = {256: across * row_bytes, 257: n_rows, 258: 8, 259: layout.compression, 262: 1, 277: 1}
    pieces = [(offset, min(size, offset + count)) for offset, count in zip(offsets, counts, strict=True)]
    lengths = [end - offset for offset, end in pieces]
    *places, start = itertools.accumulate(lengths, initial=_HEADER.n_bytes)
    if layout.tile:
        entries |= {322: row_bytes, 323: n_rows}
        arrays = {324: places, 325: lengths}
    else:
        entries[278] = n_rows
        arrays = {273: places, 279: lengths}
    page: list[Piece] = [_HEADER.pointing_to(start), *pieces, _directory_bytes(start, entries, arrays)]
    with spliced(layout.file, page) as stream:
        try:
            with TiffImagePlugin.TiffImageFile(stream) as image:
                return np.asarray(image)
        except (OSError, SyntaxError, ValueError, TypeError, KeyError):
            raise _damaged(f"its {_COMPRESSIONS[layout.compression]} data cannot be decompressed") from None


def _directory_bytes(at: int, entries: dict[int, int], arrays: dict[int, list[int]]) -> bytes:
    """A directory of 32-bit numbers that is to stand at that place, its arrays behind it."""
    n = len(entries) + len(arrays)
    behind, parts, tail = at + 2 + 12 * n + 4, [struct.pack("<H", n)], b""
    for tag, values in sorted({**{tag: [value] for tag, value in entries.items()}, **arrays}.items()):
        data = struct.pack(f"<{len(values)}I", *values)
        if len(data) > 4:
            data, tail = struct.pack("<I", behind + len(tail)), tail + data
        parts.append(struct.pack("<HHI", tag, 4, len(values)) + data)
    return b"".join(parts) + bytes(4) + tail


def _values(layout: Layout, data: np.ndarray, columns: int, per_pixel: int) -> np.ndarray:
    """uint8 [rows, bytes] -> [rows, columns, samples]: bytes put together, and the predictor undone."""
    dtype = layout.dtype
    if layout.bits not in (8, 16, 32, 64):
        if layout.predictor != 1:
            raise _damaged("its predictor is for whole bytes")
        if layout.bits == 24 and layout.header.endian == "<":
            data = data.reshape(len(data), -1, 3)[..., ::-1].reshape(len(data), -1)
        return _unpacked(data, layout.bits, columns * per_pixel).reshape(len(data), columns, per_pixel)
    if layout.predictor == 3 and dtype.kind == "f":
        planes = np.cumsum(data.reshape(len(data), -1, per_pixel), axis=1, dtype=np.uint8)
        planes = planes.reshape(len(data), dtype.itemsize, columns * per_pixel)
        big_endian = np.ascontiguousarray(planes.transpose(0, 2, 1))
        values = big_endian.view(dtype.newbyteorder(">")).reshape(len(data), columns, per_pixel)
        return values.astype(dtype.newbyteorder("="))
    values = np.ascontiguousarray(data).view(dtype).reshape(len(data), columns, per_pixel)
    if layout.predictor == 2 and layout.compression not in (1, 32773):
        whole = values.astype(dtype.newbyteorder("=")).view(f"u{dtype.itemsize}")
        return np.cumsum(whole, axis=1, dtype=whole.dtype).view(dtype.newbyteorder("="))
    return values


def _unpacked(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """uint8 [rows, bytes] -> [rows, count] integers of so many bits, the first bit of each the greatest."""
    n_bytes = next(size for size in (1, 2, 4) if 8 * size >= bits)
    result = np.zeros((len(data), count), f"u{n_bytes}")
    positions = np.arange(count) * bits
    for bit in range(bits):
        place = positions + bit
        result = result << 1 | (data[:, place >> 3] >> (7 - (place & 7)).astype(np.uint8) & 1)
    return result


def _damaged(reason: str) -> PictureError:
    return PictureError(f"The TIFF file is damaged: {reason}.")
