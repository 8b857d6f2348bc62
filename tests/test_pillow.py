""".l8 as one of Pillow's formats. Only what is lossless, or tests of the codec do not cover, is compared closely."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import latent8
import latent8.pillow
from tests.helpers.samples import build_blob, gradient


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(gradient(70, 50))


@pytest.fixture(scope="module")
def blob(picture: Image.Image) -> bytes:
    return latent8.encode(picture, quality=60, device="cpu")


def test_open_is_lazy_and_loads_no_model(tmp_path: Path, blob: bytes):
    path = tmp_path / "photo.l8"
    path.write_bytes(blob)
    code = (
        "import sys, latent8.pillow; from PIL import Image; image = Image.open(sys.argv[1]);"
        "print(image.format, image.size, image.mode, image.info, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout == "L8 (70, 50) RGB {'model': 'l8-photo', 'quality': 60} False\n", done.stderr


def test_open_without_the_import_is_unidentified(tmp_path: Path, blob: bytes):
    path = tmp_path / "photo.l8"
    path.write_bytes(blob)
    code = "import sys, latent8; from PIL import Image; Image.open(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "UnidentifiedImageError" in done.stderr


def test_pixels_are_those_of_decode(tmp_path: Path, blob: bytes):
    path = tmp_path / "photo.l8"
    path.write_bytes(blob)
    expected = np.asarray(latent8.decode(blob))
    with Image.open(path) as image:
        assert (np.asarray(image) == expected).all()
        image.putpixel((0, 0), (1, 2, 3))  # the image may be written to
        assert image.getpixel((0, 0)) == (1, 2, 3)
    with Image.open(io.BytesIO(blob)) as image:
        small = image.resize((7, 5))
        assert small.size == (7, 5)
        assert (np.asarray(pickle.loads(pickle.dumps(image))) == expected).all()


def test_file_is_closed_after_loading(tmp_path: Path, blob: bytes):
    path = tmp_path / "photo.l8"
    path.write_bytes(blob)
    image = Image.open(path)
    opened = image.fp
    image.load()
    assert opened.closed
    stream = io.BytesIO(blob)
    Image.open(stream).load()
    assert not stream.closed  # it is the caller's


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 20},
        {"target_bytes": 400},
        {"target_bpp": 1.0, "stem": "name"},
        {"model": "l8-tiny", "levels": 64},
        {"longest_side": 40},
    ],
)
def test_save_takes_the_options_of_encode(picture: Image.Image, options: dict):
    buffer = io.BytesIO()
    picture.save(buffer, "L8", **options)
    assert buffer.getvalue() == latent8.encode(picture, **options)


def test_save_by_ending_keeps_alpha_and_ignores_options_of_other_formats(tmp_path: Path, picture: Image.Image):
    rgba = picture.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(picture.size))
    rgba.save(tmp_path / "photo.l8", optimize=True, progressive=True)
    with Image.open(tmp_path / "photo.l8") as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image.getchannel("A")) == np.asarray(rgba.getchannel("A"))).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "LA"])
def test_every_mode_is_saved(picture: Image.Image, mode: str):
    converted = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    buffer = io.BytesIO()
    converted.save(buffer, "L8", model="l8-tiny")
    assert Image.open(buffer).size == picture.size


def test_converting_to_other_formats(blob: bytes):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(blob)).save(buffer, "PNG")
    assert (np.asarray(Image.open(buffer)) == np.asarray(latent8.decode(blob))).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quality": 0}, "quality must be from 1 to 100, not 0"),
        ({"quality": 50, "target_bytes": 900}, "give either quality or target_bytes"),
        ({"levels": 64}, "levels is for models without a hyperprior"),
        ({"target_bytes": 40}, "This picture cannot be kept in 40 bytes"),
        ({"model": "none"}, "There is no model 'none'"),
    ],
)
def test_bad_options_leave_no_file(tmp_path: Path, picture: Image.Image, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        picture.save(tmp_path / "photo.l8", **options)
    assert not (tmp_path / "photo.l8").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda blob: blob[:-1], "The blob is cut short: at least 1 bytes are missing"),
        (lambda blob: blob[:10], "The blob is cut short"),
        (lambda blob: blob[:60] + bytes([blob[60] ^ 1]) + blob[61:], "The blob is damaged: its checksum"),
        (lambda blob: blob + b"x", "The blob is followed by 1 bytes"),
        (lambda blob: blob[:4] + b"\x09" + blob[5:], "format version 9"),
        (lambda blob: build_blob(model_id=999), "The blob needs model 999"),
        (lambda blob: build_blob(width=0), "a size of 0 x 8 pixels"),
    ],
)
def test_damage_is_told_when_opening(blob: bytes, change, message: str):
    with pytest.raises(OSError, match=message) as caught:
        Image.open(io.BytesIO(change(blob)))
    assert isinstance(caught.value, latent8.BlobError)
    assert not isinstance(caught.value, UnidentifiedImageError)


def test_damage_is_told_when_loading():
    image = Image.open(io.BytesIO(build_blob(weights=b"\x01\x02\x03\x04")))
    for _ in range(2):  # the second attempt is no other
        with pytest.raises(OSError, match="other weights of l8-tiny"):
            image.load()


@pytest.mark.parametrize("data", [b"", b"junk", b"\x89L9\n" + bytes(40)])
def test_other_files_are_unidentified(data: bytes):
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data))


def test_too_large_a_picture_is_refused_before_decoding():
    huge = build_blob(width=13504, height=13504, payload=bytes(4 * 1688**2))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(huge))
