"""Files that ask for endless work are refused before it begins; worst_pictures.py has larger ones."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.helpers import avif_files
from tests.helpers.icc_profiles import DISPLAY_P3
from tests.helpers.picture_files import file_of, opened, refusal
from tests.helpers.samples import gradient, png_chunk, png_claiming
from tests.helpers.tiff_files import pages, pages_of_long_values

PICTURE = gradient(48, 40)


def gif_of_comments() -> bytes:
    data = file_of(PICTURE[..., 0], "GIF")
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + b"!\xfe" + b"\1a" * 600_000 + b"\0" + data[at:]


def jpeg_2000(layers: int = 1, boxes: int = 0) -> bytes:
    data = bytearray(file_of(PICTURE, "JPEG2000", tile_size=(8, 8)))
    struct.pack_into(">H", data, data.index(b"\xff\x52") + 6, layers)
    at = data.index(b"jp2h") - 4
    return bytes(data[:at]) + struct.pack(">I4s", 8, b"free") * boxes + bytes(data[at:])


def photoshop() -> bytes:
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3) + bytes(4)
    resources = (b"8BIM" + struct.pack(">H2xI", 1, 0)) * 200_000
    return head + struct.pack(">I", len(resources)) + resources + bytes(200)


def tiff_of_strips() -> bytes:
    n = 100_001
    entries = {
        256: ("I", (1,)),
        257: ("I", (n,)),
        258: ("H", (8,)),
        259: ("H", (1,)),
        262: ("H", (1,)),
        277: ("H", (1,)),
    }
    return pages([(entries | {278: ("I", (1,)), 273: ("I", (8,) * n), 279: ("I", (1,) * n)}, [b"x"], False)])


@pytest.mark.parametrize("picture_format", ["QOI", "SGI", "IM", "DDS", "SPIDER", "PPM", "PCX", "TGA", "XBM", "MSP"])
def test_formats_that_are_decoded_in_small_pieces_are_opened(picture_format: str) -> None:
    """A picture of noise of 0.6 megapixels: QOI reads twice for each of its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (750, 800, 3), np.uint8)
    grey, bits = picture_format == "SPIDER", picture_format in ("XBM", "MSP")
    pixels = noise[..., 0] > 127 if bits else noise[..., 0] if grey else noise
    found = opened(file_of(pixels, picture_format)).rgb
    if not grey:
        np.testing.assert_array_equal(found, 255 * pixels[..., None] * np.ones(3) if bits else pixels)


def jpeg(before: bytes = b"", scans: int = 0) -> bytes:
    data = file_of(PICTURE, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:2] + before + data[2:-2] + data[last:-2] * scans + b"\xff\xd9"


def png_of(chunks: bytes) -> bytes:
    data = file_of(PICTURE)
    return data[:33] + chunks + data[33:]


def icon(inside: bytes) -> bytes:
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 64, 64, 0, 0, 1, 32, len(inside), 22) + inside


def webp_of_chunks() -> bytes:
    body = file_of(PICTURE, "WEBP", exif=b"Exif\0\0II*\0")[12:] + (b"ABCD" + bytes(4)) * 60_000
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    "make, words",
    [
        (gif_of_comments, "over 500,000 pieces"),
        (lambda: jpeg_2000(layers=65535), "packets"),
        (lambda: jpeg_2000(boxes=600_000), "over 500,000 pieces"),
        (photoshop, "over 500,000 pieces"),
        (lambda: b"P6\n#" + b"x" * 600_000 + b"\n8 8\n255\n" + bytes(192), "over 500,000 pieces"),
        (tiff_of_strips, "100,001 strips or tiles"),
        (lambda: jpeg(before=b"\xff\xe5\0\2" * 5000), "thousands of segments"),
        (lambda: jpeg(scans=200), "over 100 scans"),
        (lambda: png_of(png_chunk(b"teXt", b"") * 100_001), "over 100,000 chunks"),
        (webp_of_chunks, "over 50,000 chunks"),
        (lambda: icon(png_claiming(8000, 8000, 6)), "an icon of 8,000 pixels a side"),
        (
            lambda: icon(struct.pack("<IiiHHIIiiII", 40, 9000, 18000, 1, 32, 0, 0, 0, 0, 0, 0)),
            "an icon of 9,000 pixels",
        ),
        (lambda: avif_files.with_box(b"iloc", avif_files.places(10_000, 10_000)), "parts in over 10000 places"),
        (
            lambda: avif_files.with_film(b"meta", bytes(4) + avif_files.box(b"iloc", avif_files.places(100, 101))),
            "parts in over 10000 places",
        ),
        (lambda: avif_files.with_box(b"iloc", struct.pack(">BxxxHI", 2, 0, 10_001)), "over 10000 parts"),
        (lambda: avif_files.with_box(b"iprp", avif_files.associations(1000)), "260 KB of tables"),
        (lambda: avif_files.with_film(b"free", bytes(300_000)), "300 KB of tables"),
        (lambda: pages_of_long_values(24, 1 << 20), "1,048,576 strips or tiles"),
    ],
    ids=range(18),
)
def test_endless_work_is_refused(make: Callable[[], bytes], words: str) -> None:
    data = make()
    started = time.process_time()
    said = refusal(data)
    assert said.startswith("The file has ") and words in said and said.endswith("save it anew in another program.")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("kind", ["QOI", "PPM"])
def test_formats_that_are_decoded_slowly_are_bounded(kind: str) -> None:
    head = b"qoif" + struct.pack(">IIBB", 2100, 2000, 3, 0) if kind == "QOI" else b"P3\n2100 2000\n255\n1 2 3"
    assert refusal(head + bytes(100), 10_000_000) == (
        f"A picture of over 4 megapixels in this format ({kind}) takes too long to read: save it as PNG."
    )


def test_entries_that_point_at_the_same_megabytes_cost_nothing() -> None:
    """Pillow would copy the value of each: 3,000 times 3 MB."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 3_000_000, 8) for tag in range(1000, 4000))
    exif = b"II*\0" + struct.pack("<IH", 8, 3000) + entries + bytes(4) + bytes(3_000_000)
    started = time.process_time()
    data = png_of(png_chunk(b"eXIf", exif))
    np.testing.assert_array_equal(opened(data).rgb, PICTURE)
    assert time.process_time() - started < 2


def test_large_jpeg_2000_is_refused() -> None:
    said = refusal(file_of(PICTURE, "JPEG2000") + bytes(40_000_000))
    assert said == "A JPEG 2000 file of 40 MB takes too long to read: save it as PNG or JPEG."


def test_a_film_is_read_and_its_profile_may_be_large() -> None:
    frames = [Image.fromarray(np.full((32, 32, 3), value, np.uint8)) for value in range(0, 240, 4)]
    film = file_of(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    assert opened(film).rgb.shape == (32, 32, 3)
    profile = DISPLAY_P3 + bytes(400_000)
    assert opened(file_of(frames[0], "AVIF", icc_profile=profile, speed=10)).rgb.shape == (32, 32, 3)


def test_a_jpeg_2000_that_ends_in_its_header_is_a_sentence() -> None:
    data = jpeg_2000()
    style = data.index(b"\xff\x52")
    for n_bytes in range(2, 12):
        assert refusal(data[: style + n_bytes])
