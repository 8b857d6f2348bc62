"""Work that a file asks for beyond its pixels, counted before any of it is done.

The pixels of a picture are limited; these are the loops that are not: frames, blocks, tiles, layers. A file that is
over a bound is refused within a second or so. docs/BENCHMARKS.md has the worst file of each format that was found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from PIL import Image

from latent8.errors import PictureError
from latent8.pictures import jpeg_file
from latent8.pictures.facts import too_much
from latent8.pictures.splice import Counted, read_at, size_of_file

MAX_READS = 500_000  # of Pillow in one file: blocks of a GIF, boxes of a JPEG 2000, strips of a TIFF
MAX_BLOCKS = 50_000  # chunks of a WebP
MAX_PACKETS = 20_000_000  # of a JPEG 2000: tiles x layers x resolutions x components
MAX_ICON_SIDE, MAX_ICON_BYTES = 1024, 8_000_000
MAX_JPEG_2000_BYTES = 40_000_000  # a second or so for each 5 MB
SLOW_PIXELS = 4_000_000  # of formats that Pillow decodes in Python
READS_OF_PIXEL = 2
SLOW = {"BLP", "DDS", "FITS", "FTEX", "GBR", "IM", "IPTC", "MSP", "PIXAR", "QOI", "SGI", "SPIDER", "XPM", "XVTHUMB"}


def counted(file: BinaryIO) -> BinaryIO:
    """The file, for Pillow; it raises PictureError where that reads it in more than MAX_READS pieces, and here for
    icons, which Pillow decodes when it opens them."""
    if read_at(file, 0, 4) in (b"\0\0\1\0", b"\0\0\2\0", b"icns"):
        _check_icon(file)
    file.seek(0)
    return cast(BinaryIO, Counted(file, MAX_READS, lambda: too_much(f"over {MAX_READS:,} pieces")))


def check_work(image: Image.Image, file: BinaryIO | None) -> None:
    """Raise PictureError for a file that would keep a decoder busy for longer than its pixels do."""
    check = _CHECKS.get(image.format or "")
    if check is not None and file is not None:
        check(file)
    plain = image.format == "PPM" and any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", []))
    if (image.format in SLOW or plain) and image.width * image.height > SLOW_PIXELS:
        raise PictureError(
            f"A picture of over {SLOW_PIXELS // 1_000_000} megapixels in this format ({image.format}) takes too long "
            "to read: save it as PNG."
        )
    opened = getattr(image, "fp", None)
    if image.format in SLOW and isinstance(opened, Counted):  # which may be read for each pixel
        opened.allow(MAX_READS + READS_OF_PIXEL * SLOW_PIXELS)
    if any(tile[0] == "fits_gzip" for tile in getattr(image, "tile", [])):
        raise PictureError("A FITS file with compressed data cannot be read: save it without, or as PNG.")


def _check_webp(file: BinaryIO) -> None:
    size, at = size_of_file(file), 12
    for _ in range(MAX_BLOCKS):
        head = read_at(file, at, 8)
        if len(head) < 8 or at >= size:
            return
        at += 8 + (struct.unpack("<I", head[4:])[0] + 1 & ~1)
    raise too_much(f"over {MAX_BLOCKS:,} chunks")


def _check_jpeg_2000(file: BinaryIO) -> None:
    """Packets that its main header promises (ITU-T T.800, annex A), whether they are there or not."""
    size = size_of_file(file)
    if size > MAX_JPEG_2000_BYTES:
        raise PictureError(f"A JPEG 2000 file of {size / 1e6:.0f} MB takes too long to read: save it as PNG or JPEG.")
    data = read_at(file, 0, 1 << 16)
    at = data.find(b"\xff\x4f\xff\x51")  # start of codestream, then of the size
    if at < 0 or at + 42 > len(data):
        return
    width, height, _, _, tile_width, tile_height, tile_x, tile_y = struct.unpack(">8I", data[at + 8 : at + 40])
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    if not tile_width or not tile_height or tile_x > width or tile_y > height:
        return
    tiles = -(-(width - tile_x) // tile_width) * -(-(height - tile_y) // tile_height)
    style = data.find(b"\xff\x52", at)
    there = 0 < style < len(data) - 9
    layers, levels = (int.from_bytes(data[style + 6 : style + 8], "big"), data[style + 9]) if there else (1, 5)
    packets = tiles * layers * (levels + 1) * components
    if packets > MAX_PACKETS:
        raise too_much(f"{packets:,} packets")


def _check_icon(file: BinaryIO) -> None:
    """Pictures in an icon state sizes of their own, which Pillow looks at as late as when it decodes them."""
    data = read_at(file, 0, MAX_ICON_BYTES + 1)
    if len(data) > MAX_ICON_BYTES:
        raise too_much(f"over {MAX_ICON_BYTES // 1_000_000} MB of icons")
    sides = [struct.unpack_from(">II", data, at + 16) for at in _places(data, b"\x89PNG\r\n\x1a\n", 24)]
    sides += [struct.unpack_from(">II", data, at + 8) for at in _places(data, b"\xff\x4f\xff\x51", 16)]
    if data[:2] == b"\0\0":  # ICO and CUR
        for entry in range(6, min(len(data) - 15, 6 + 16 * int.from_bytes(data[4:6], "little")), 16):
            offset = int.from_bytes(data[entry + 12 : entry + 16], "little")
            if offset + 12 <= len(data) and data[offset : offset + 4] == b"(\0\0\0":
                width, height = struct.unpack_from("<ii", data, offset + 4)
                sides.append((abs(width), abs(height) // 2))
    largest = max((max(pair) for pair in sides), default=0)
    if largest > MAX_ICON_SIDE:
        raise too_much(f"an icon of {largest:,} pixels a side")


def _places(data: bytes, mark: bytes, n_bytes: int) -> Iterator[int]:
    at = data.find(mark)
    while 0 <= at <= len(data) - n_bytes:
        yield at
        at = data.find(mark, at + 1)


_CHECKS: dict[str, Callable[[BinaryIO], None]] = {
    "JPEG": jpeg_file.check_work,
    "JPEG2000": _check_jpeg_2000,
    "MPO": jpeg_file.check_work,
    "WEBP": _check_webp,
}
