"""Reading pictures: whatever the file, upright 8-bit sRGB with an alpha plane where there is one, or one sentence."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import allocating_at_most, gradient, png_chunk, png_claiming
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from latent8.errors import BlobError, PictureError
from latent8.pictures import Picture, decode_alpha, encode_alpha, open_picture, pad_to_multiple

LIMIT = 1_000_000
ORIENTATION = 0x0112


def file_of(image: Image.Image | np.ndarray, picture_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def opened(source) -> Picture:
    return open_picture(source, LIMIT)


def refusal(source, max_pixels: int = LIMIT) -> str:
    with pytest.raises(PictureError) as found:
        open_picture(source, max_pixels)
    return str(found.value)


# ---- uprightness


def quadrants() -> np.ndarray:
    """48 x 32, another colour in each quarter: no two of the eight orientations look alike."""
    picture = np.empty((32, 48, 3), np.uint8)
    picture[:16, :24], picture[:16, 24:] = (220, 30, 40), (40, 200, 60)
    picture[16:, :24], picture[16:, 24:] = (50, 60, 210), (230, 210, 70)
    return picture


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


# ---- colour


def icc_profile(space: bytes, tags: dict[bytes, bytes], name: bytes = b"test") -> bytes:
    """A version 2 display profile, written out field by field from ICC.1:2001-04."""
    description = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, data in tags.items():
        data += bytes(-len(data) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def curve(*values: int) -> bytes:
    """One value: a gamma in 1/256. More: a table from 0 to 65535."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)


def rgb_profile(red: bytes, green: bytes, blue: bytes, transfer: bytes) -> bytes:
    colorants = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    return icc_profile(b"RGB ", {**colorants, b"rTRC": transfer, b"gTRC": transfer, b"bTRC": transfer})


def linear(value: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] -> light (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def displayed(light: np.ndarray) -> np.ndarray:
    """The inverse of `linear`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


# Primaries adapted to D50, as the profiles of the two spaces have them.
DISPLAY_P3 = rgb_profile(
    xyz(0.51512, 0.24120, -0.00105),
    xyz(0.29198, 0.69225, 0.04189),
    xyz(0.15710, 0.06657, 0.78407),
    curve(*np.rint(linear(np.linspace(0, 1, 1024)) * 65535).astype(int)),
)
ADOBE_RGB = rgb_profile(
    xyz(0.60974, 0.31111, 0.01947),
    xyz(0.20528, 0.62567, 0.06087),
    xyz(0.14919, 0.06322, 0.74457),
    curve(0x0233),  # 2.19921875
)
# Light to light at D65, from CSS Color Module Level 4 (rows multiply columns of red, green, blue).
P3_TO_SRGB = np.array([[1.2249401, -0.2249404, 0], [-0.0420569, 1.0420571, 0], [-0.0196376, -0.0786361, 1.0982735]])
ADOBE_TO_SRGB = np.array([[1.3983557, -0.3983557, 0], [0, 1, 0], [0, -0.0429289, 1.0429289]])


@pytest.mark.parametrize(
    "profile, colour, wanted",
    [
        # The primaries of sRGB as they are written in the wider spaces, known from many sources.
        (DISPLAY_P3, (234, 51, 35), (255, 0, 0)),
        (DISPLAY_P3, (117, 251, 76), (0, 255, 0)),
        (DISPLAY_P3, (0, 0, 245), (0, 0, 255)),
        (ADOBE_RGB, (219, 0, 0), (255, 0, 0)),
        (ADOBE_RGB, (144, 255, 60), (0, 255, 0)),
        # Whites, greys and black stay what they are; what sRGB lacks is clipped.
        (DISPLAY_P3, (255, 255, 255), (255, 255, 255)),
        (DISPLAY_P3, (128, 128, 128), (128, 128, 128)),
        (DISPLAY_P3, (0, 0, 0), (0, 0, 0)),
        (DISPLAY_P3, (255, 0, 0), (255, 0, 0)),
        (ADOBE_RGB, (255, 255, 255), (255, 255, 255)),
    ],
)
@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_known_colours_of_wide_spaces(picture_format: str, profile: bytes, colour, wanted) -> None:
    image = Image.new("RGB", (9, 7), colour)
    picture = opened(file_of(image, picture_format, icc_profile=profile))
    assert np.abs(picture.rgb.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("profile, matrix", [(DISPLAY_P3, P3_TO_SRGB), (ADOBE_RGB, ADOBE_TO_SRGB)], ids=["P3", "Adobe"])
def test_colours_of_wide_spaces_against_the_matrix(profile: bytes, matrix: np.ndarray, mode: str) -> None:
    grid = np.array(np.meshgrid(*[np.arange(30, 250, 24)] * 3), np.uint8).reshape(3, -1).T  # every mix of 10 values
    light = linear(grid / 255) if profile is DISPLAY_P3 else (grid / 255) ** 2.19921875
    wanted = 255 * displayed((light @ matrix.T).clip(0, 1))
    image = Image.fromarray(grid[None]).convert(mode)
    if mode == "RGBA":
        image.putpixel((0, 0), (30, 30, 30, 128))  # not opaque: alpha must not be converted
    picture = opened(file_of(image, "PNG", icc_profile=profile))
    inside = ((light @ matrix.T >= 0.002) & (light @ matrix.T <= 1)).all(axis=1)
    assert inside.mean() > 0.5
    assert np.abs(picture.rgb[0] - wanted)[inside].max() <= 2
    assert np.abs(grid - wanted)[inside].max() > 20  # the conversion is no small thing
    assert (picture.alpha is None) == (mode == "RGB")


def test_profile_of_an_opened_image_counts_too() -> None:
    image = Image.open(io.BytesIO(file_of(Image.new("RGB", (5, 5), (234, 51, 35)), icc_profile=DISPLAY_P3)))
    assert np.abs(opened(image).rgb[0, 0].astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profile(mode: str) -> None:
    # Linear light: 55 / 255 = 0.2157 of it is displayed as 1.055 * 0.2157^(1 / 2.4) - 0.055 = 0.5018, or 128.
    profile = icc_profile(b"GRAY", {b"kTRC": curve()})
    colour = 55 if mode == "L" else (55, 200)
    picture = opened(file_of(Image.new(mode, (5, 5), colour), icc_profile=profile))
    assert np.abs(picture.rgb.astype(int) - 128).max() <= 1
    assert picture.alpha is None if mode == "L" else (picture.alpha == 200).all()


@pytest.mark.parametrize("profile", [b"junk", DISPLAY_P3[:200], icc_profile(b"GRAY", {b"kTRC": curve()})])
def test_unreadable_and_unfitting_profiles_are_ignored(profile: bytes) -> None:
    picture = opened(file_of(quadrants(), icc_profile=profile))
    np.testing.assert_array_equal(picture.rgb, quadrants())


def test_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = opened(file_of(gradient(60, 50), icc_profile=profile))
    np.testing.assert_array_equal(picture.rgb, gradient(60, 50))


def test_cmyk_jpeg() -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 255, 255, 0): (255, 0, 0)}
    inks |= {(0, 0, 0, 255): (0, 0, 0), (0, 0, 0, 128): (127, 127, 127)}
    for ink, wanted in inks.items():
        for options in ({}, {"icc_profile": DISPLAY_P3}):  # a profile for other kinds of pixels is ignored
            picture = opened(file_of(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95, **options))
            assert np.abs(picture.rgb.astype(int) - wanted).max() <= 3


def test_lab_tiff() -> None:
    colours = [(119, 119, 119), (200, 60, 30), (60, 90, 160), (250, 250, 240)]  # the first has L* = 50.0
    image = Image.fromarray(np.array([colours], np.uint8))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert lab is not None and abs(lab.getpixel((0, 0))[0] - 127.5) <= 1
    picture = opened(file_of(lab, "TIFF"))
    assert np.abs(picture.rgb[0].astype(int) - colours).max() <= 6  # 8 bits of L*a*b* are coarser


# ---- depth, palettes, transparency


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(picture_format: str) -> None:
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    picture = opened(file_of(values, picture_format))
    np.testing.assert_array_equal(picture.rgb, np.rint(values / 257).astype(np.uint8)[..., None].repeat(3, axis=2))


def test_16_bit_colour_png() -> None:
    values = np.linspace(0, 65535, 8 * 4 * 3).astype(">u2").reshape(4, 8, 3)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 8, 4, 16, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    picture = opened(b"\x89PNG\r\n\x1a\n" + chunks)
    assert np.abs(picture.rgb - values / 257).max() <= 1  # Pillow takes the high byte


def test_32_bit_integers_that_hold_16_bits() -> None:
    values = np.linspace(0, 65535, 600).astype(np.int32).reshape(20, 30)
    np.testing.assert_array_equal(opened(file_of(values, "TIFF")).rgb[..., 0], np.rint(values / 257))
    np.testing.assert_array_equal(opened(file_of(values // 257, "TIFF")).rgb[..., 0], values // 257)


def test_float_tiff() -> None:
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    np.testing.assert_array_equal(opened(file_of(values, "TIFF")).rgb[..., 0], np.rint(values * 255))
    np.testing.assert_array_equal(opened(file_of(values * 255, "TIFF")).rgb[..., 0], np.rint(values * 255))


def test_float_tiff_with_numbers_missing() -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[0] = np.nan, np.inf, -np.inf, 1.0
    grey = opened(file_of(values, "TIFF")).rgb[..., 0]
    assert grey[0, 3] == 255 and (grey[1:] == 128).all()  # one hole does not change the scale of the rest


def test_1_bit() -> None:
    values = np.arange(63).reshape(7, 9) % 2 == 0
    picture = opened(file_of(Image.fromarray(values)))
    np.testing.assert_array_equal(picture.rgb[..., 1], values * np.uint8(255))
    assert picture.alpha is None


def test_grey_with_alpha() -> None:
    grey, alpha = np.full((6, 8), 90, np.uint8), np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    picture = opened(file_of(Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))))
    np.testing.assert_array_equal(picture.alpha, alpha)
    assert (picture.rgb == 90).all()


def test_palette_with_transparency() -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50, 70, 80, 90])
    image.putdata([0, 1, 2, 1, 0, 0, 2, 2])
    picture = opened(file_of(image, transparency=bytes([255, 0, 99])))
    np.testing.assert_array_equal(picture.alpha, np.array([[255, 0, 99, 0], [255, 255, 99, 99]]))
    assert tuple(picture.rgb[0, 0]) == (10, 20, 30) and tuple(picture.rgb[0, 2]) == (70, 80, 90)


def test_palette_without_transparency() -> None:
    image = Image.fromarray(quadrants()).quantize(4)
    picture = opened(file_of(image))
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, np.asarray(image.convert("RGB")))


def test_one_transparent_colour() -> None:
    picture = opened(file_of(quadrants(), transparency=(40, 200, 60)))
    np.testing.assert_array_equal(picture.alpha, np.where((quadrants() == (40, 200, 60)).all(axis=2), 0, 255))


def test_opaque_alpha_is_no_alpha() -> None:
    rgba = np.dstack([quadrants(), np.full((32, 48), 255, np.uint8)])
    assert opened(rgba).alpha is None
    rgba[3, 5, 3] = 254
    assert opened(rgba).alpha is not None


def test_hidden_colours_are_filled_and_visible_ones_untouched() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (45, 61, 3), np.uint8)
    rgb[:, :30] = (200, 150, 100)
    alpha = np.full((45, 61), 255, np.uint8)
    alpha[10:40, 5:25] = 0  # in the plain half, far from the other
    alpha[:5, 40:] = 1  # all but hidden is visible
    garbage = rgb.copy()
    garbage[10:40, 5:25] = rng.integers(0, 256, (30, 20, 3))

    picture = opened(np.dstack([garbage, alpha]))

    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.rgb[alpha > 0], rgb[alpha > 0])
    hidden = picture.rgb[10:40, 5:25].astype(int)
    assert np.abs(hidden[:, :10] - (200, 150, 100)).max() <= 1
    assert np.abs(hidden - (200, 150, 100)).mean() < 10


def test_all_hidden_is_black() -> None:
    picture = opened(np.dstack([quadrants(), np.zeros((32, 48), np.uint8)]))
    assert (picture.rgb == 0).all() and picture.alpha is not None and (picture.alpha == 0).all()


def test_hidden_colours_do_not_bleed_when_shrunk() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :32], rgba[:, 32:] = (200, 0, 0, 255), (0, 255, 0, 0)
    picture = open_picture(rgba, LIMIT, longest_side=17)
    assert picture.rgb[..., 1].max() <= 2


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
    started = time.perf_counter()
    with allocating_at_most(1_000_000):
        assert refusal(bomb).startswith(sentence)
    assert time.perf_counter() - started < 1
    assert not decoded and not recwarn.list


@pytest.mark.parametrize("junk", [b"", b"hello", b"\x89PNG\r\n\x1a\n", bytes(1000), b"\xff\xd8\xff"])
def test_junk_refused(junk: bytes) -> None:
    assert refusal(junk) == (
        "This is not a picture that can be read: JPEG, PNG, WebP, AVIF, TIFF, BMP and GIF files can."
    )


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


# ---- the alpha plane of a blob, padding


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_alpha_round_trip(width: int, height: int, seed: int) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    np.testing.assert_array_equal(decode_alpha(encode_alpha(alpha), width, height), alpha)


GOOD_ALPHA = encode_alpha(np.arange(100, dtype=np.uint8).reshape(10, 10))
WRONG_ALPHA = "The blob is not valid: its alpha plane has another size or mode than the picture."
UNREADABLE_ALPHA = "The blob is damaged: its alpha plane cannot be read."
# 16 MB of zeros in a few KB, where Pillow reads texts; and a frame that lies outside the picture.
TEXT_BOMB = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(16_000_000)))
FRAME_OUTSIDE = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(
    b"fcTL", struct.pack(">IIIIIHHBB", 0, 90, 90, 50, 50, 1, 1, 0, 0)
)


@pytest.mark.parametrize(
    "png, sentence",
    [
        (encode_alpha(np.zeros((10, 11), np.uint8)), WRONG_ALPHA),
        (encode_alpha(np.zeros((1, 1), np.uint8)), WRONG_ALPHA),
        (file_of(gradient(10, 10)), WRONG_ALPHA),
        (file_of(Image.new("1", (10, 10))), WRONG_ALPHA),
        (file_of(np.zeros((10, 10), np.uint16)), WRONG_ALPHA),
        (file_of(np.zeros((10, 10), np.uint8), "BMP"), UNREADABLE_ALPHA),
        (b"x", UNREADABLE_ALPHA),
        (GOOD_ALPHA[:40], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:50] + bytes(20) + GOOD_ALPHA[70:], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:33] + TEXT_BOMB + GOOD_ALPHA[33:], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:33] + FRAME_OUTSIDE + GOOD_ALPHA[33:], UNREADABLE_ALPHA),
        (png_claiming(60_000, 60_000, 0), UNREADABLE_ALPHA),
        (png_claiming(12_000, 12_000, 0), WRONG_ALPHA),
    ],
)
def test_hostile_alpha_planes_refused(png: bytes, sentence: str, recwarn) -> None:
    with allocating_at_most(5_000_000), pytest.raises(BlobError) as found:
        decode_alpha(png, 10, 10)
    assert str(found.value) == sentence
    assert not recwarn.list


def test_damaged_alpha_planes_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(GOOD_ALPHA)
        for position in rng.integers(8, len(damaged), 2):
            damaged[position] = rng.integers(0, 256)
        at = 8
        while at + 12 <= len(damaged):  # right checksums, so that damage gets past them
            end = at + 8 + int.from_bytes(damaged[at : at + 4], "big")
            if end + 4 > len(damaged):
                break
            damaged[end : end + 4] = struct.pack(">I", zlib.crc32(damaged[at + 4 : end]))
            at = end + 4
        try:
            assert decode_alpha(bytes(damaged), 10, 10).shape == (10, 10)
        except BlobError as error:
            assert str(error) in (WRONG_ALPHA, UNREADABLE_ALPHA)


@pytest.mark.parametrize("width, height, wanted", [(1, 1, (8, 8)), (8, 16, (8, 16)), (9, 15, (16, 16))])
def test_padding_repeats_the_edge(width: int, height: int, wanted: tuple[int, int]) -> None:
    rgb = gradient(width, height)
    padded = pad_to_multiple(rgb, 8)
    assert padded.shape == (wanted[1], wanted[0], 3)
    np.testing.assert_array_equal(padded[:height, :width], rgb)
    assert (padded[height:] == padded[height - 1]).all() and (padded[:, width:] == padded[:, width - 1 : width]).all()
