"""Files that are sound where it counts are opened, whatever else is in them; those that lack picture data are not."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from latent8.pictures import opening
from tests.helpers.picture_files import file_of, opened, quadrants, refusal
from tests.helpers.samples import gradient, png_chunk

PICTURE = gradient(90, 70)
DATA = file_of(PICTURE)
JPEG = file_of(PICTURE, "JPEG", quality=90)


def same_as(data: bytes, original: bytes) -> None:
    np.testing.assert_array_equal(opened(data).rgb, opened(original).rgb)


def with_chunks(*chunks: bytes) -> bytes:
    return DATA[:33] + b"".join(chunks) + DATA[33:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt"])
def test_texts_of_any_size(kind: bytes) -> None:
    text = bytes(range(65, 91)) * 200_000
    start = {b"zTXt": b"key\0\0", b"iTXt": b"key\0\1\0\0\0", b"tEXt": b"key\0"}[kind]
    body = start + (text if kind == b"tEXt" else zlib.compress(text))
    same_as(with_chunks(*[png_chunk(kind, body)] * 40), DATA)
    same_as(with_chunks(png_chunk(kind, b"junk"), png_chunk(b"pHYs", b"1"), png_chunk(b"acTL", b"")), DATA)


@pytest.mark.parametrize("end", [-12, -8, -1])
def test_png_without_its_end(end: int) -> None:
    same_as(DATA[:end], DATA)


def test_png_whose_last_data_lack_their_checksum() -> None:
    same_as(DATA[:-16], DATA)
    assert refusal(DATA[:-40]).startswith("The picture is damaged")


def test_png_with_more_behind_its_end() -> None:
    same_as(DATA + b"junk" * 100, DATA)


@pytest.mark.parametrize(
    "bad",
    [
        segment(0xE2, b"MPF\0" + b"II*\0" + bytes(60)),
        segment(0xE2, b"MPF\0" + b"MM\0*\xff\xff\xff\xff"),
        segment(0xE2, b"ICC_PROFILE\0\1\3junk"),  # one of three
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + b"\xff" * 40),
        segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        segment(0xFE, b"a comment" * 7000) * 30,
        segment(0xE0, b"JFIF\0"),
    ],
    ids=["mpf", "mpf of nowhere", "profile in part", "photoshop", "exif", "comments", "jfif"],
)
def test_metadata_of_jpeg_stop_nothing(bad: bytes) -> None:
    same_as(with_segments(bad), JPEG)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_without_its_end_marker(progressive: bool, mode: str, tmp_path: Path) -> None:
    data = file_of(Image.fromarray(PICTURE).convert(mode), "JPEG", quality=85, progressive=progressive)
    assert data.endswith(b"\xff\xd9")
    for lacking in (data[:-2], data[:-1], data[:-2] + bytes(500)):
        same_as(lacking, data)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data[:-2])
    np.testing.assert_array_equal(opened(path).rgb, opened(data).rgb)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [6, 20, 100, 0.5])
def test_jpeg_without_the_end_of_its_data_is_refused(progressive: bool, cut: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    data = file_of(noise, "JPEG", quality=85, progressive=progressive)
    end = len(data) - cut if cut >= 1 else len(data) * cut
    assert refusal(data[: int(end)]).startswith("The picture is damaged")


def test_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    data = file_of(PICTURE, "JPEG", quality=85, progressive=True)
    last = data.rindex(b"\xff\xda")
    start = data.rindex(b"\xff\xc4", 0, last) if last - data.rindex(b"\xff\xc4", 0, last) < 400 else last
    assert refusal(data[:start]).startswith("The picture is damaged")


# ---- orientation


XMP = "<x:xmpmeta><rdf:Description {}/></x:xmpmeta>".format('tiff:Orientation="6"').encode()


def turned() -> Image.Image:
    """As a camera stores it with orientation 6."""
    return Image.fromarray(np.ascontiguousarray(quadrants().transpose(1, 0, 2)[::-1]))


@pytest.mark.parametrize(
    "text", [b'tiff:Orientation="6"', b"tiff:Orientation='6'", b"<tiff:Orientation>6</tiff:Orientation>"]
)
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_of_xmp_alone(picture_format: str, text: bytes) -> None:
    xmp = b"<x:xmpmeta>" + text + b"</x:xmpmeta>"
    if picture_format == "PNG":
        data = file_of(turned())
        data = data[:33] + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + data[33:]
    elif picture_format == "TIFF":
        data = file_of(turned(), "TIFF", tiffinfo={700: xmp})
    else:
        data = file_of(turned(), picture_format, xmp=xmp, quality=95)
    picture = opened(data)
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(picture.rgb.astype(int) - quadrants()).mean() < 8


def test_orientation_of_exif_comes_before_that_of_xmp() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    picture = opened(file_of(turned(), "JPEG", exif=exif, xmp=XMP))
    assert (picture.width, picture.height) == (32, 48)


# ---- transparency of PNG


def grey_png(values: np.ndarray, bits: int, key: int, colour_type: int = 0) -> bytes:
    """[H, W] or [H, W, 3] -> PNG of so many bits with a transparent value."""
    samples = values.reshape(len(values), -1)
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in samples]
    else:
        spread = (samples[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(len(samples), -1)
        rows = [row.tobytes() for row in np.packbits(spread, axis=1)]
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, colour_type, 0, 0, 0)
    transparent = struct.pack(">H", key) * (3 if colour_type == 2 else 1)
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("high_bits", [False, True])
def test_transparent_grey_at_any_depth(bits: int, high_bits: bool) -> None:
    top = (1 << bits) - 1
    values = (np.arange(13 * 37).reshape(13, 37) * 2654435761 % 2**32 % (top + 1)).astype(np.uint32)
    key = int(values[5, 6])
    picture = opened(grey_png(values, bits, key | (0x8000 if high_bits and bits < 16 else 0)))
    expected = np.where(values == key, 0, 255)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, expected)
    visible = expected > 0
    assert np.abs(picture.rgb[..., 0] - np.rint(values / top * 255))[visible].max() <= 1


def test_transparent_colour_of_16_bits_counts_both_bytes() -> None:
    values = np.full((6, 8, 3), 0x1234, np.uint16)
    values[1, 2], values[3] = 0x1235, 0x1334
    picture = opened(grey_png(values, 16, 0x1235, colour_type=2))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.where((values == 0x1235).all(axis=2), 0, 255))


# ---- plugins, warnings


class LatePlugin(ImageFile.ImageFile):
    format = "LATE"

    def _open(self) -> None:
        self._size, self._mode, self.tile = (8, 6), "RGB", []

    def load(self):
        self.im = Image.new("RGB", (8, 6), "red").im
        return super().load()


def test_plugin_that_is_registered_later_counts() -> None:
    file = b"LATE" + bytes(20)
    assert refusal(file).startswith("This is not a picture that can be read")
    Image.register_open("LATE", LatePlugin, lambda start: start[:4] == b"LATE")
    try:
        assert opened(file).rgb.shape == (6, 8, 3)
    finally:
        Image.ID.remove("LATE")
        del Image.OPEN["LATE"]


WARNING_FILES = [
    file_of(Image.new("P", (8, 8)), transparency=b"\0\1"),
    with_segments(segment(0xE2, b"MPF\0" + b"II*\0" + bytes(60))),
    file_of(PICTURE, "TIFF", tiffinfo={270: "text"}).replace(b"text", b"\xff\xfe\xfd\xfc"),
]


@pytest.mark.parametrize("file", WARNING_FILES, ids=range(3))
def test_warnings_of_pillow_reach_nobody(file: bytes, recwarn) -> None:
    opened(file)
    assert not recwarn.list


def test_warnings_stay_as_they_were_after_threads() -> None:
    code = """
import io, sys, threading, warnings
from PIL import Image
from latent8.pictures.intake import open_picture
before = list(warnings.filters)
file = io.BytesIO(); Image.new("RGB", (300, 300)).save(file, "PNG")
def work():
    for _ in range(50): open_picture(file.getvalue(), 10**6)
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert list(warnings.filters) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)


@pytest.mark.parametrize(
    "start, words",
    [
        (b"\0\0\0\x18ftypheic" + bytes(20), "The file is a HEIC picture that is damaged."),
        (b"\xff\x0a" + bytes(30), "This is a JPEG XL picture, "),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "This is a JPEG XL picture, "),
        (b"%PDF-1.7\n" + bytes(30), "This is a PDF document, "),
        (b"<?xml version='1.0'?>\n<svg xmlns=''/>", "This is an SVG drawing, "),
        (b"\0\0\0\x18ftypmp42" + bytes(20), "This is a video, "),
        (b"\0\0\0\x18ftypcrx " + bytes(20), "This is a camera raw file (CR3), "),
        (b"FUJIFILMCCD-RAW 0201" + bytes(20), "This is a camera raw file (RAF), "),
        (b"PK\3\4" + bytes(30), "This is a ZIP archive or an office document, "),
        (b"\x76\x2f\x31\x01" + bytes(20), "This is an OpenEXR picture, "),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "This is an HDF5 data file, "),
    ],
    ids=range(11),
)
def test_other_files_are_called_by_their_name(start: bytes, words: str) -> None:
    assert refusal(start).startswith(words)


@pytest.mark.parametrize("marker, body, words", [(0xC3, 8, "lossless JPEG"), (0xC1, 12, "JPEG with 12 bits a sample")])
def test_kinds_of_jpeg_are_called_by_their_name(marker: int, body: int, words: str) -> None:
    at = JPEG.index(b"\xff\xc0")
    changed = JPEG[:at] + bytes([0xFF, marker]) + JPEG[at + 2 : at + 4] + bytes([body]) + JPEG[at + 5 :]
    assert refusal(changed) == f"This is a {words}, which cannot be read: save it as PNG or ordinary JPEG."


def test_a_file_of_another_thread_stays_open() -> None:
    """Files that the caller opened are his; those that are opened here are closed."""
    file = io.BytesIO(DATA)
    threads = [threading.Thread(target=opened, args=(io.BytesIO(DATA),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened(file)
    assert not file.closed


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_are_handed_on_as_they_are(picture_format: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    data = file_of(PICTURE, picture_format, exif=exif.tobytes(), **({"xmp": XMP} if picture_format != "PNG" else {}))
    with opening.opened(data) as found:
        assert found.facts.exif == exif.tobytes().removeprefix(b"Exif\0\0") and b"a maker" in found.facts.exif
        assert found.facts.xmp == (XMP if picture_format != "PNG" else b"")
