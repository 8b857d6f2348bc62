"""Pictures in other colour spaces, depths and modes come out in 8-bit sRGB."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from latent8.pictures import alpha
from latent8.pictures.intake import open_picture
from tests.helpers.checks import allocating_at_most
from tests.helpers.icc_profiles import (
    ADOBE_RGB,
    ADOBE_TO_SRGB,
    DISPLAY_P3,
    P3_TO_SRGB,
    curve,
    displayed,
    icc_profile,
    linear,
)
from tests.helpers.picture_files import LIMIT, file_of, opened, quadrants
from tests.helpers.samples import gradient, png_chunk


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


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (40, 3), (33, 64), (35, 61)])
def test_strips_make_no_difference_to_hidden_colours(size: tuple[int, int], monkeypatch) -> None:
    random = np.random.default_rng(size[0])
    rgba = random.integers(0, 256, (*size, 4), np.uint8)
    rgba[..., 3] = 255 * (random.random(size) < 0.2)
    rgba[0, 0, 3] = 0
    found = []
    for rows in (2, 6, 256):
        monkeypatch.setattr(alpha, "STRIP_ROWS", rows)
        found.append(opened(rgba).rgb)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    visible = rgba[..., 3] > 0
    assert np.array_equal(found[0][visible], rgba[visible][:, :3])


def test_hidden_colours_of_a_large_picture_take_no_large_memory() -> None:
    rgba = np.full((1000, 1000, 4), 255, np.uint8)
    rgba[5, 5:9, 3] = 0
    with allocating_at_most(30 * 1000 * 1000):
        assert opened(rgba).alpha is not None


def test_all_hidden_is_black() -> None:
    picture = opened(np.dstack([quadrants(), np.zeros((32, 48), np.uint8)]))
    assert (picture.rgb == 0).all() and picture.alpha is not None and (picture.alpha == 0).all()


def test_hidden_colours_do_not_bleed_when_shrunk() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :32], rgba[:, 32:] = (200, 0, 0, 255), (0, 255, 0, 0)
    picture = open_picture(rgba, LIMIT, longest_side=17)
    assert picture.rgb[..., 1].max() <= 2
