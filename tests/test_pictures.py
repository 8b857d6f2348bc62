"""Reading pictures: whatever the file, upright 8-bit sRGB with an alpha plane where there is one, or one sentence."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from latent8.errors import PictureError
from latent8.pictures.formats import ACCEPTED, HEIC_IS_READ
from latent8.pictures.intake import open_picture, pad_to_multiple
from tests.helpers.checks import allocating_at_most
from tests.helpers.icc_profiles import DISPLAY_P3
from tests.helpers.picture_files import LIMIT, file_of, opened, quadrants, refusal
from tests.helpers.samples import build_blob, gradient, png_claiming

ORIENTATION = 0x0112


# ---- uprightness


# What a camera stores for each value of the EXIF tag, from the upright picture: "row 0 is" and "column 0 is" in
# the EXIF specification, e.g. 6: row 0 is the right side, column 0 the top.
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


def stored(orientation: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](quadrants())))


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(orientation: int, picture_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = opened(file_of(stored(orientation), picture_format, exif=exif))
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(picture.rgb.astype(int) - quadrants()).mean() < 6  # lossy formats; a wrong quarter gives over 100


def test_orientation_counts_where_another_tag_has_a_wrong_type() -> None:
    entries = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x0128, 2, 2, b"2")  # text
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    picture = opened(file_of(stored(6), "JPEG", exif=exif))
    assert np.abs(picture.rgb.astype(int) - quadrants()).mean() < 12  # JPEG


def test_exif_data_that_cannot_be_read_turns_nothing() -> None:
    picture = opened(file_of(gradient(30, 20), "JPEG", exif=b"Exif\0\0junk" + bytes(30)))
    assert (picture.width, picture.height) == (30, 20)


def test_orientation_of_an_opened_image_counts_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.open(io.BytesIO(file_of(stored(6), "PNG", exif=exif)))
    np.testing.assert_array_equal(opened(image).rgb, quadrants())
    assert image.size == (32, 48)  # the caller's image stays as it was


@pytest.mark.parametrize("side", [0, -5])
def test_longest_side_of_nothing(side: int) -> None:
    with pytest.raises(ValueError, match=f"longest_side must be at least 1, not {side}"):
        open_picture(np.zeros((4, 4, 3), np.uint8), LIMIT, longest_side=side)


def test_longest_side_is_measured_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    picture = open_picture(file_of(stored(8), "PNG", exif=exif), LIMIT, longest_side=24)
    assert (picture.width, picture.height) == (24, 16)


# ---- files


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_formats(picture_format: str) -> None:
    picture = opened(file_of(gradient(90, 70), picture_format))
    assert (picture.width, picture.height, picture.alpha) == (90, 70, None)
    assert np.abs(picture.rgb.astype(int) - gradient(90, 70)).mean() < 6


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_an_animation(picture_format: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    data = file_of(frames[0], picture_format, save_all=True, append_images=frames[1:])
    assert np.abs(opened(data).rgb.astype(int) - (255, 0, 0)).max() <= 5


@pytest.mark.parametrize("width, height", [(1, 1), (1, 9), (37, 1021), (1021, 3)])
def test_odd_sizes(width: int, height: int) -> None:
    np.testing.assert_array_equal(opened(file_of(gradient(width, height))).rgb, gradient(width, height))


def test_all_kinds_of_sources_give_the_same(tmp_path: Path) -> None:
    data = file_of(quadrants())
    path = tmp_path / "my.holiday.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(11)  # read from its start all the same
        sources = [data, path, str(path), file, io.BytesIO(data), Image.open(path), quadrants()]
        stems = [None, "my.holiday", "my.holiday", None, None, "my.holiday", None]
        for source, stem in zip(sources, stems, strict=True):
            picture = opened(source)
            np.testing.assert_array_equal(picture.rgb, quadrants())
            assert picture.rgb.dtype == np.uint8
            assert (picture.alpha, picture.stem) == (None, stem)


def test_arrays() -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.testing.assert_array_equal(opened(grey).rgb, grey[..., None].repeat(3, axis=2))
    view = quadrants()[::-1, ::2]  # not contiguous
    np.testing.assert_array_equal(opened(view).rgb, view)
    rgba = np.dstack([quadrants(), np.full((32, 48), 7, np.uint8)])
    before = rgba.copy()
    np.testing.assert_array_equal(opened(rgba).image(), rgba)
    np.testing.assert_array_equal(rgba, before)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5, 3), np.uint16),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
    ],
)
def test_other_arrays_refused(array: np.ndarray) -> None:
    assert refusal(array) == "An array must be uint8 of shape [H, W], [H, W, 3] or [H, W, 4]."


@pytest.mark.parametrize(
    "size, longest_side, wanted",
    [
        ((37, 1021), 100, (4, 100)),  # 3.62
        ((1000, 600), 500, (500, 300)),
        ((300, 200), 300, (300, 200)),
        ((300, 200), 5000, (300, 200)),  # never enlarged
        ((300, 200), None, (300, 200)),
        ((1000, 1), 10, (10, 1)),  # no side vanishes
        ((90, 70), 1, (1, 1)),
    ],
)
def test_longest_side(size: tuple[int, int], longest_side: int | None, wanted: tuple[int, int]) -> None:
    picture = open_picture(gradient(*size), LIMIT, longest_side)
    assert (picture.width, picture.height) == wanted
    assert np.abs(picture.rgb.mean(axis=(0, 1)) - gradient(*size).mean(axis=(0, 1))).max() < 6


# ---- refusals


def test_pixel_limit_is_exact() -> None:
    assert open_picture(gradient(50, 40), 2000).width == 50
    assert refusal(gradient(50, 40), 1999) == (
        "The picture has 0.0 megapixels (50 x 40), over the limit of 0.0: shrink it, or raise the limit if there is "
        "memory for it."
    )


def test_pixel_limit_holds_before_shrinking() -> None:
    with pytest.raises(PictureError, match=r"4\.0 megapixels \(2000 x 2000\), over the limit of 1\.0: shrink it"):
        open_picture(Image.new("RGB", (2000, 2000)), LIMIT, longest_side=100)


def test_side_that_no_blob_can_hold_refused() -> None:
    wanted = "The picture has a side of 1048577 pixels, over 1048576: cut it up."
    assert refusal(np.zeros((1, (1 << 20) + 1), np.uint8), 1 << 30) == wanted


@pytest.mark.parametrize(
    "side, sentence",
    [
        (60_000, "The picture has over 178 megapixels, more than can be read: shrink it."),
        (12_000, "The picture has 144.0 megapixels (12000 x 12000), over the limit of 1.0: shrink it, or raise the "),
        (1_001, "The picture has 1.0 megapixels (1001 x 1001), over the limit of 1.0: shrink it, or raise the limit "),
    ],
)
def test_pixel_limit_is_checked_before_anything_is_decoded(side: int, sentence: str, monkeypatch, recwarn) -> None:
    bomb = png_claiming(side, side, 2)
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    started = time.thread_time()  # other work may take the processor meanwhile
    with allocating_at_most(1_000_000):
        assert refusal(bomb).startswith(sentence)
    assert time.thread_time() - started < 1
    assert not decoded and not recwarn.list


@pytest.mark.parametrize("junk", [b"", b"hello", b"\x89PNG\r\n\x1a\n", bytes(1000), b"\xff\xd8\xff"])
def test_junk_refused(junk: bytes) -> None:
    assert refusal(junk) == f"This is not a picture that can be read: {ACCEPTED} files can."
    assert ("HEIC" in ACCEPTED) is HEIC_IS_READ


def test_a_blob_is_told_from_a_photo() -> None:
    assert refusal(build_blob()) == "This is a .l8 file, not a photo: use the decoder."


@pytest.mark.parametrize("stated", ["4*4*4", "4", "4.5*4", "0*4", "-4*4"])
def test_sizes_that_are_none_refused(stated: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(gradient(4, 4)).save(buffer, "IM")
    data = buffer.getvalue().replace(b"Image size (x*y): 4*4", f"Image size (x*y): {stated}".encode())
    assert stated.encode() in data
    with pytest.raises(PictureError, match="width and a height|not a picture"):
        open_picture(data, 1000)


def test_programs_for_ghostscript_are_not_run(monkeypatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n{} loop\n%%EOF\n"
    with Image.open(io.BytesIO(program)) as image:  # Pillow would
        assert image.format == "EPS"
    assert refusal(program).startswith("This is not a picture that can be read")


def test_missing_file_and_folder_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg") == f"There is no file {tmp_path / 'none.jpg'}."
    assert refusal(tmp_path).startswith("The file cannot be read (")
    assert refusal(str(tmp_path / "a\0b.jpg")).startswith("The file cannot be read (")


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF"])
def test_truncated_file_refused(picture_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = file_of(noise, picture_format)
    for part in (0.9, 0.5, 0.1):
        sentence = refusal(data[: int(len(data) * part)])
        assert sentence.startswith(("The picture is damaged or of a kind that ", "The file ", "This is not a picture "))


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_damaged_files_open_or_are_refused(picture_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "a description"
    exif[0x011A] = 72.5
    data = file_of(gradient(30, 20), picture_format, exif=exif, icc_profile=DISPLAY_P3)
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(data)
        end = len(data) if number % 2 else min(300, len(data))  # headers are where parsers trip
        for position in rng.integers(0, end, 3):
            damaged[position] = rng.integers(0, 256)
        if number % 5 == 0:
            del damaged[rng.integers(1, len(data)) :]
        try:
            opened(bytes(damaged))
        except PictureError as error:
            assert len(str(error).splitlines()) == 1
            refused += 1
    assert refused


def test_closed_image_refused() -> None:
    image = Image.open(io.BytesIO(file_of(quadrants())))
    image.close()
    assert refusal(image).startswith("The picture is damaged or of a kind that cannot be read (")


# ---- padding


@pytest.mark.parametrize("width, height, wanted", [(1, 1, (8, 8)), (8, 16, (8, 16)), (9, 15, (16, 16))])
def test_padding_repeats_the_edge(width: int, height: int, wanted: tuple[int, int]) -> None:
    rgb = gradient(width, height)
    padded = pad_to_multiple(rgb, 8)
    assert padded.shape == (wanted[1], wanted[0], 3)
    np.testing.assert_array_equal(padded[:height, :width], rgb)
    assert (padded[height:] == padded[height - 1]).all() and (padded[:, width:] == padded[:, width - 1 : width]).all()
