"""TIFF of any samples: depth, sign, floating point, planes, tiles, predictors, stated ranges, pages."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.checks import allocating_at_most
from tests.helpers.icc_profiles import DISPLAY_P3
from tests.helpers.picture_files import LIMIT, opened, refusal
from tests.helpers.samples import gradient
from tests.helpers.tiff_files import DEFLATE, LZW, NONE, pages, tiff

WIDTH, HEIGHT = 70, 45
UNIT = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, axis=0)
COLOURS = np.stack([UNIT, UNIT[:, ::-1], np.full_like(UNIT, 0.3)], axis=-1)


def wanted(unit: np.ndarray) -> np.ndarray:
    values = np.rint(unit.clip(0, 1) * 255)
    return values[..., None].repeat(3, axis=2) if values.ndim == 2 else values


def assert_gives(file: bytes, unit: np.ndarray, within: int = 1) -> None:
    picture = opened(file)
    assert np.abs(picture.rgb - wanted(unit)).max() <= within and picture.alpha is None


def as_type(unit: np.ndarray, dtype: str) -> np.ndarray:
    if dtype[0] == "f":
        return unit.astype(dtype)
    limits = np.iinfo(dtype)
    low = 0 if dtype[0] == "u" else limits.min
    return np.rint(low + unit * (float(limits.max) - low)).clip(low, np.nextafter(float(limits.max), 0)).astype(dtype)


TYPES = ["u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("unit", [UNIT, COLOURS], ids=["grey", "colours"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_types_of_samples(dtype: str, unit: np.ndarray, endian: str) -> None:
    assert_gives(tiff(as_type(unit, dtype), endian=endian), unit)


@pytest.mark.parametrize("dtype", ["u1", *TYPES])
def test_white_is_zero_at_any_depth(dtype: str) -> None:
    assert_gives(tiff(as_type(UNIT, dtype), photometric=0), 1 - UNIT)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14, 24])
@pytest.mark.parametrize("photometric", [0, 1])
def test_bits_that_fill_no_bytes(bits: int, photometric: int) -> None:
    values = np.rint(UNIT * (2**bits - 1)).astype(np.uint32)
    unit = values / (2**bits - 1)
    endian = ">" if bits == 24 else "<"
    assert_gives(tiff(values, bits=bits, photometric=photometric, endian=endian), unit if photometric else 1 - unit)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("shape", [{}, {"rows_per_strip": 7}, {"tile": 32}], ids=["strip", "strips", "tiles"])
@pytest.mark.parametrize("compression, predictor", [(NONE, 1), (LZW, 1), (DEFLATE, 1), (DEFLATE, 2), (LZW, 2)])
@pytest.mark.parametrize("dtype", ["u2", "i4"])
def test_layouts(planar: bool, shape: dict, compression: int, predictor: int, dtype: str) -> None:
    file = tiff(as_type(COLOURS, dtype), planar=planar, compression=compression, predictor=predictor, **shape)
    assert_gives(file, COLOURS)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [{}, {"tile": 32}, {"planar": True}], ids=["strip", "tiles", "planes"])
def test_predictor_of_floating_point(dtype: str, shape: dict) -> None:
    assert_gives(tiff(COLOURS.astype(dtype), compression=DEFLATE, predictor=3, **shape), COLOURS)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_big_tiff(endian: str, compression: int) -> None:
    file = tiff(as_type(COLOURS, "u2"), big=True, endian=endian, compression=compression, rows_per_strip=7)
    assert_gives(file, COLOURS)


@pytest.mark.parametrize("tags", [("t340", "t341"), ("t280", "t281")])
def test_range_that_is_stated(tags: tuple[str, str]) -> None:
    low, high = tags
    twelve = np.rint(UNIT * 4095).astype(np.uint16)
    assert_gives(tiff(twelve, **{high: ("H", (4095,))}), UNIT)
    heights = (200 + 600 * UNIT).astype(np.float32)
    letter = "f" if low == "t340" else "H"
    assert_gives(tiff(heights, **{low: (letter, (200,)), high: (letter, (800,))}), UNIT)
    assert_gives(tiff(as_type(UNIT, "u2"), **{low: ("H", (9,)), high: ("H", (3,))}), UNIT)  # makes no sense


def test_statistics_of_8_bits_change_nothing() -> None:
    values = np.rint(UNIT * 200).astype(np.uint8)
    assert_gives(tiff(values, t281=("H", (200,))), values / 255)


@pytest.mark.parametrize(
    "scale, white", [(1, 1), (1.2, 1), (255, 255), (65535, 65535), (3, 3), (1000, 1000), (1e-3, 1)]
)
def test_floating_point_ranges(scale: float, white: float) -> None:
    assert_gives(tiff((UNIT * scale).astype(np.float32)), UNIT * scale / white, 3)


def test_hot_and_missing_pixels_blacken_nothing() -> None:
    values = UNIT.astype(np.float32)
    values[3, 4], values[5, 6], values[7, 8], values[9, 10] = 1e30, np.nan, np.inf, -1e30
    picture = opened(tiff(values))
    assert np.abs(picture.rgb[20:] - wanted(UNIT)[20:]).max() <= 1
    hot = np.rint(UNIT * 60000).astype(np.uint32)
    hot[3, 4] = 2**32 - 1
    assert np.abs(opened(tiff(hot)).rgb[20:] - wanted(UNIT * 60000 / 65535)[20:]).max() <= 1


def test_negative_values() -> None:
    assert_gives(tiff((2 * UNIT - 1).astype(np.float32)), UNIT, 4)
    ringing = UNIT.astype(np.float32)
    ringing[:2] = -0.05
    assert np.abs(opened(tiff(ringing)).rgb[2:] - wanted(UNIT)[2:]).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("colours", [UNIT[..., None], COLOURS], ids=["grey", "colours"])
def test_further_samples(dtype: str, kind: int, colours: np.ndarray) -> None:
    alpha = 0.25 + 0.75 * UNIT[:, ::-1, None]
    stored = colours * alpha if kind == 1 else colours
    samples = np.concatenate([stored, alpha], axis=-1)
    photometric = 1 if colours.shape[2] == 1 else 2
    picture = opened(tiff(as_type(samples, dtype), photometric=photometric, t338=("H", (kind,))))
    assert np.abs(picture.rgb - wanted(colours if colours.shape[2] == 3 else colours[..., 0])).max() <= 4
    if kind == 0:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None and np.abs(picture.alpha - np.rint(alpha[..., 0] * 255)).max() <= 1


def test_profile_and_orientation_of_deep_samples() -> None:
    red = np.zeros((8, 6, 3), np.uint16)
    red[...] = np.array([234, 51, 35]) * 257
    picture = opened(tiff(red, t34675=("B", tuple(DISPLAY_P3)), t274=("H", (6,))))
    assert (picture.width, picture.height) == (8, 6)
    assert np.abs(picture.rgb.astype(int) - (255, 0, 0)).max() <= 3


def page(pixels: np.ndarray, **tags) -> tuple:
    height, width, channels = pixels.shape
    entries = {256: ("I", (width,)), 257: ("I", (height,)), 258: ("H", (8,) * channels), 259: ("H", (1,))}
    entries |= {262: ("H", (2,)), 277: ("H", (channels,)), 278: ("I", (height,))}
    return entries | {int(name[1:]): value for name, value in tags.items()}, [pixels.tobytes()], False


def test_full_size_page_behind_a_reduced_one() -> None:
    small, large = np.zeros((4, 6, 3), np.uint8), gradient(40, 30)
    for tags in ({"t254": ("I", (1,))}, {"t255": ("H", (2,))}):
        np.testing.assert_array_equal(opened(pages([page(small, **tags), page(large)])).rgb, large)
    first_counts = pages([page(small), page(large)])
    assert opened(first_counts).rgb.shape == (4, 6, 3)
    only_reduced = pages([page(small, t254=("I", (1,)))])
    assert opened(only_reduced).rgb.shape == (4, 6, 3)


@pytest.mark.parametrize(
    "tags",
    [{"t262": ("H", (32803,))}, {"t262": ("H", (34892,))}, {"t259": ("H", (34713,))}, {"t50706": ("B", (1, 4, 0, 0))}],
)
def test_camera_raw_by_its_marks(tags: dict) -> None:
    preview = page(gradient(40, 30), t254=("I", (1,)))
    assert refusal(
        pages([preview, page(gradient(20, 20), **tags)] if "t50706" not in tags else [page(gradient(8, 8), **tags)])
    ).startswith("This is a camera raw file")


@pytest.mark.parametrize(
    "file, words",
    [
        (tiff(UNIT.astype("u2"), t259=("H", (34887,))), "16-bit integer grey samples and LERC compression"),
        (tiff(COLOURS.astype("u2"), photometric=8), "16-bit integer Lab samples and none compression"),
        (tiff(UNIT.astype("u1"), photometric=32844), "8-bit integer LogL samples and none compression"),
        (tiff(np.zeros((4, 4), "f8"), t339=("H", (6,))), "64-bit complex grey samples and none compression"),
    ],
    ids=range(4),
)
def test_what_is_not_supported_is_named(file: bytes, words: str) -> None:
    assert refusal(file) == f"This TIFF file has {words}, which cannot be read: save it with 8 or 16 bits a channel."


def test_damage() -> None:
    good = tiff(as_type(COLOURS, "f4"), compression=DEFLATE, rows_per_strip=9)
    assert refusal(tiff(as_type(COLOURS, "f4"))[:9000]).startswith(
        ("The TIFF file is damaged: ", "This is not a picture")
    )
    assert refusal(good.replace(b"x\x9c", b"y\x9c")).startswith("The TIFF file is damaged: its Deflate data cannot be")
    for tags in ({"t273": ("I", (1 << 31,))}, {"t273": ("I", (8,)), "t278": ("I", (3,))}):
        file = tiff(as_type(UNIT, "u4"), **tags)
        assert refusal(file).startswith("The TIFF file is damaged: ")


def test_sizes_that_lie_allocate_nothing() -> None:
    with allocating_at_most(3_000_000):
        assert "megapixels" in refusal(tiff(as_type(UNIT, "u4"), t256=("I", (60000,)), t257=("I", (60000,))), LIMIT)
