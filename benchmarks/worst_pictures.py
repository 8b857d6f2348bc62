"""Seconds to open or to refuse the worst files of each format that were found, under the apps' limit of an upload.

    python -m benchmarks.worst_pictures            # all, a table in Markdown
    python -m benchmarks.worst_pictures PNG TIFF

Each is a file of at most 64 MB that asks for as much work as the bounds of latent8/pictures/bounds.py let through, or
just more, when it must be refused. It is drawn, opened in a process of its own with the default limit of pixels, and
timed there: seconds of the processor, which others on the machine do not change much, and by the clock. AVIF is decoded
on all cores.
"""

from __future__ import annotations

import io
import multiprocessing
import re
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latent8.errors import PictureError
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures.intake import open_picture
from tests.helpers import avif_files
from tests.helpers.samples import png_chunk
from tests.helpers.tiff_files import pages, pages_of_long_values, tiff

LIMIT, TIME_LIMIT = 64_000_000, 10.0
SIDE = 10_000  # of a picture of 100 megapixels
_RANDOM = np.random.default_rng(0)


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    tile = _RANDOM.integers(0, 256, (256, width, channels), np.uint8)
    return np.tile(tile, (-(-height // 256), 1, 1))[:height].squeeze()


def file_of(pixels: np.ndarray, picture_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


# ---- JPEG


def progressive_noise() -> bytes:
    return file_of(noise(5000, 4600), "JPEG", quality=88, progressive=True)


def repeated_scans(count: int, side: int) -> bytes:
    """A plain progressive picture, its last scan repeated: cheap in bytes, a pass over the picture each."""
    data = file_of(np.full((side, side), 100, np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def segments_without_end() -> bytes:
    return b"\xff\xd8" + segment(0xE5, b"") * (LIMIT // 4 - 10)


def markers_between_scans() -> bytes:
    data = file_of(noise(500, 500), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + segment(0xFE, b"") * 15_000_000 + data[at:]


# ---- PNG


def png(header: tuple[int, ...], rows: bytes, copies: int, *chunks: bytes) -> bytes:
    packer, parts = zlib.compressobj(1), []
    for _ in range(copies):
        parts.append(packer.compress(rows))
    data = b"".join(parts) + packer.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def deep_png(*chunks: bytes, colour_type: int = 6) -> bytes:
    row = b"\4" + bytes(SIDE * 2 * {2: 3, 6: 4}[colour_type])  # the slowest of the filters
    return png((SIDE, SIDE, 16, colour_type, 0, 0, 0), row * 100, SIDE // 100, *chunks)


def noise_png() -> bytes:
    return file_of(noise(5200, 4000), "PNG", compress_level=1)


def chunks_without_end() -> bytes:
    return noise_png()[:33] + png_chunk(b"teXt", b"") * (LIMIT // 12 - 10)


def texts() -> bytes:
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(60_000_000), 9))
    data = file_of(noise(64, 64), "PNG")
    return data[:33] + bomb * 900 + data[33:]


def profile_bomb() -> bytes:
    bomb = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(400_000_000), 9))
    return deep_png(bomb)


# ---- others


def gif_of_comments() -> bytes:
    data = file_of(noise(8, 8, 1), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + b"!\xfe" + b"\1a" * 31_000_000 + b"\0" + data[at:]


def webp_of_chunks() -> bytes:
    data = file_of(noise(64, 64), "WEBP", exif=b"Exif\0\0II*\0")
    body = data[12:] + (b"ABCD" + struct.pack("<I", 0)) * 7_900_000
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff_of_strips(rows: int, width: int) -> bytes:
    entries: dict[int, Any] = {256: ("I", (width,)), 257: ("I", (rows,)), 258: ("H", (8,)), 259: ("H", (1,))}
    entries |= {
        262: ("H", (1,)),
        277: ("H", (1,)),
        278: ("I", (1,)),
        273: ("I", (8,) * rows),
        279: ("I", (width,) * rows),
    }
    return pages([(entries, [bytes(width)], False)])


def tiff_of_values() -> bytes:
    """Entries that all point at the same 50 MB."""
    entries: dict[int, Any] = {tag: ("B", b"x") for tag in range(400, 60_000, 15)}
    data = bytearray(tiff(np.zeros((8, 8), np.uint8), **{f"t{tag}": value for tag, value in entries.items()}))
    start = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * index
        if struct.unpack_from("<H", data, place)[0] >= 400:
            struct.pack_into("<II", data, place + 4, 50_000_000, 8)
    return bytes(data) + bytes(50_000_000)


def exif_of_values() -> bytes:
    exif = tiff_of_values()[: LIMIT - 1_000_000]
    data = file_of(noise(64, 64), "PNG")
    return data[:33] + png_chunk(b"eXIf", exif) + data[33:]


def qoi(side: int) -> bytes:
    return b"qoif" + struct.pack(">IIBB", side, side, 4, 0) + b"\xfe\1\2\3" * (side * side) + bytes(7) + b"\1"


def plain_ppm(side: int) -> bytes:
    return f"P3\n{side} {side}\n255\n".encode() + b"1 2 3\n" * (side * side)


def jpeg_2000_of_boxes() -> bytes:
    data = file_of(noise(64, 64), "JPEG2000")
    at = data.index(b"jp2h") - 4
    return data[:at] + struct.pack(">I4s", 8, b"free") * 7_900_000 + data[at:]


def jpeg_2000_of_layers() -> bytes:
    """One that promises 65,535 layers in each of its tiles."""
    data = bytearray(file_of(noise(1000, 1000), "JPEG2000", tile_size=(32, 32)))
    struct.pack_into(">H", data, data.index(b"\xff\x52") + 6, 65535)
    return bytes(data)


def text_of_ppm() -> bytes:
    return b"P6\n#" + b"x" * 63_000_000 + b"\n8 8\n255\n" + bytes(192)


def photoshop_of_resources() -> bytes:
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3) + bytes(4)
    resources = b"8BIM" + struct.pack(">H2xI", 1, 0)
    count = 5_000_000
    return head + struct.pack(">I", count * len(resources)) + resources * count + bytes(4) + bytes(2 + 192)


FILES: dict[str, dict[str, Callable[[], bytes]]] = {
    "JPEG": {
        "noise, progressive": progressive_noise,
        "100 megapixels, 15 scans": lambda: repeated_scans(8, SIDE),
        "100 scans of 15 megapixels": lambda: repeated_scans(93, 3870),
        "10,000 scans": lambda: repeated_scans(10_000, 1000),
        "16 million segments": segments_without_end,
        "15 million comments between scans": markers_between_scans,
    },
    "PNG": {
        "100 megapixels, 4 x 16 bits": deep_png,
        "the same with a transparent colour": lambda: deep_png(png_chunk(b"tRNS", bytes(6)), colour_type=2),
        "noise": noise_png,
        "5 million chunks": chunks_without_end,
        "900 texts of 60 MB": texts,
        "a profile of 400 MB": profile_bomb,
        "EXIF of 4,000 times 50 MB": exif_of_values,
    },
    "GIF": {
        "noise": lambda: file_of(noise(7000, 6000, 1), "GIF"),
        "100 megapixels": lambda: file_of(np.zeros((SIDE, SIDE), np.uint8), "GIF"),
        "31 million comments": gif_of_comments,
    },
    "WebP": {
        "noise, lossless": lambda: file_of(noise(4600, 4000), "WEBP", lossless=True, method=0, quality=0),
        "noise": lambda: file_of(noise(10_000, 6100), "WEBP", quality=70, method=0),
        "8 million chunks": webp_of_chunks,
    },
    "AVIF": {
        "noise": lambda: file_of(noise(10_000, 8200), "AVIF", quality=80, speed=10),
        "100 megapixels": lambda: file_of(np.zeros((SIDE, SIDE, 3), np.uint8), "AVIF", speed=10),
        "100 million extents of no bytes": lambda: avif_files.with_box(b"iloc", avif_files.places(10_000, 10_000)),
        "30,000 items of 255 properties": lambda: avif_files.with_box(b"iprp", avif_files.associations(30_000)),
    },
    "TIFF": {
        "100,000 strips": lambda: tiff_of_strips(100_000, 600),
        "1 million strips": lambda: tiff_of_strips(1_000_000, 60),
        "100 megapixels, LZW": lambda: file_of(np.zeros((SIDE, SIDE, 3), np.uint8), "TIFF", compression="tiff_lzw"),
        "100 megapixels, 64-bit, Deflate": lambda: tiff(np.zeros((SIDE, SIDE)), compression=8, rows_per_strip=100),
        "noise, 16-bit": lambda: tiff(noise(3200, 3200).astype(np.uint16) * 257, rows_per_strip=1),
        "4,000 values of 50 MB": tiff_of_values,
        "64 pages of a million values": lambda: pages_of_long_values(64, 1 << 20),
    },
    "JPEG 2000": {
        "noise, lossless": lambda: file_of(noise(3480, 3480), "JPEG2000"),
        "more of it": lambda: file_of(noise(4400, 4000), "JPEG2000"),
        "65,535 layers in 1024 tiles": jpeg_2000_of_layers,
        "8 million boxes": jpeg_2000_of_boxes,
    },
    "BMP": {"noise": lambda: file_of(noise(4600, 4600), "BMP")},
    "QOI": {"4 megapixels": lambda: qoi(2000), "16 megapixels": lambda: qoi(3900)},
    "PPM": {
        "4 megapixels, as text": lambda: plain_ppm(2000),
        "9 megapixels, as text": lambda: plain_ppm(3000),
        "a comment of 63 MB": text_of_ppm,
    },
    "PSD": {"5 million resources": photoshop_of_resources},
    "TGA": {"100 megapixels, packed": lambda: file_of(np.zeros((SIDE, SIDE), np.uint8), "TGA", compression="tga_rle")},
}


def main() -> int:
    chosen = sys.argv[1:] or list(FILES)
    print(
        "| format | file | MB | processor s | clock s | peak GB | what comes of it |\n|---|---|---:|---:|---:|---:|---|"
    )
    slow = 0
    for name in chosen:
        for kind, make in FILES[name].items():
            data = make()
            assert len(data) <= LIMIT, f"{name}, {kind}: {len(data):,} bytes"
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                used, clock, peak, outcome = pool.apply(timed, (data,))
            slow += used > TIME_LIMIT
            megabytes = len(data) / 1e6
            print(
                f"| {name} | {kind} | {megabytes:.1f} | {used:.1f} | {clock:.1f} | {peak:.1f} | {outcome} |", flush=True
            )
    return 1 if slow else 0


def timed(data: bytes) -> tuple[float, float, float, str]:
    """Seconds of the processor and by the clock, gigabytes at most, and the sentence or the size."""
    before, started = time.process_time(), time.perf_counter()
    try:
        picture = open_picture(data, DEFAULT_MAX_PIXELS)
        outcome = f"opened, {picture.width} x {picture.height}"
    except PictureError as error:
        outcome = str(error).split(":")[0]
    used, clock = time.process_time() - before, time.perf_counter() - started
    return used, clock, peak_gigabytes(), outcome


def peak_gigabytes() -> float:
    """Of this process; the maximum in getrusage begins at that of the process that started it."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e9 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
