"""Colours that a file states without a profile, or with one whose name says something else."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from latent8.pictures import hdr
from latent8.pictures.icc import rgb_to_xyz
from tests.helpers.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    P3_TO_SRGB,
    curve,
    displayed,
    icc_profile,
    linear,
    rgb_profile,
    xyz,
)
from tests.helpers.picture_files import file_of, opened
from tests.helpers.samples import png_chunk

P3_RED, P3_WHITE = (234, 51, 35), (255, 255, 255)
SRGB_XY = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_XY = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def png(colour: tuple[int, ...] | int, *chunks: bytes, size: tuple[int, int] = (9, 7)) -> bytes:
    data = file_of(Image.new("L" if isinstance(colour, int) else "RGB", size, colour))
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int, full: int = 1) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, 0, full]))


def gamma(value: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(value * 1e5)))


def chromaticities(values: tuple[int, ...]) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *values))


def profile(icc: bytes, name: bytes = b"x") -> bytes:
    return png_chunk(b"iCCP", name + b"\0\0" + zlib.compress(icc))


SRGB = png_chunk(b"sRGB", b"\0")


def colour_of(data: bytes) -> tuple[int, ...]:
    rgb = opened(data).rgb
    assert (rgb == rgb[0, 0]).all()
    return tuple(rgb[0, 0].tolist())


@pytest.mark.parametrize(
    "chunks, colour, wanted",
    [
        ([cicp(12, 13)], P3_RED, (255, 0, 0)),
        ([cicp(1, 13)], (90, 80, 70), (90, 80, 70)),
        ([cicp(1, 1)], (90, 80, 70), (90, 80, 70)),
        ([cicp(2, 2)], (90, 80, 70), (90, 80, 70)),
        ([cicp(1, 8)], (55, 55, 55), (128, 128, 128)),
        ([cicp(1, 8)], 55, (128, 128, 128)),
        ([cicp(9, 8)], (55, 55, 55), (128, 128, 128)),
        ([cicp(1, 13, full=0)], (126, 16, 235), (128, 0, 255)),
        ([cicp(12, 13), gamma(1), SRGB], P3_RED, (255, 0, 0)),
        ([cicp(12, 13), profile(ADOBE_RGB)], P3_RED, (255, 0, 0)),  # as PNG has it
        ([cicp(200, 99)], (90, 80, 70), (90, 80, 70)),
        ([gamma(1)], (55, 55, 55), (128, 128, 128)),
        ([gamma(1)], 55, (128, 128, 128)),
        ([gamma(1), SRGB], (55, 55, 55), (55, 55, 55)),
        ([gamma(0.45455)], (10, 80, 200), (10, 80, 200)),
        ([gamma(0.45455), chromaticities(P3_XY)], P3_RED, (255, 0, 0)),
        ([chromaticities(P3_XY)], P3_RED, (255, 0, 0)),
        ([gamma(0.45455), chromaticities(SRGB_XY)], (10, 80, 200), (10, 80, 200)),
        ([chromaticities((31270, 32900) + (30000, 30000) * 3)], (10, 80, 200), (10, 80, 200)),  # span nothing
        ([chromaticities((0,) * 8), gamma(0)], (10, 80, 200), (10, 80, 200)),
        ([gamma(1), profile(DISPLAY_P3)], P3_RED, (255, 0, 0)),
        ([gamma(1), profile(b"junk")], (55, 55, 55), (128, 128, 128)),
        ([png_chunk(b"cHRM", b"12"), png_chunk(b"gAMA", b"1"), png_chunk(b"cICP", b"1")], (10, 80, 200), (10, 80, 200)),
    ],
    ids=range(23),
)
def test_chunks_of_png(chunks: list[bytes], colour, wanted) -> None:
    assert np.abs(np.subtract(colour_of(png(colour, *chunks)), wanted)).max() <= 2


def test_stated_primaries_against_the_matrix() -> None:
    grid = np.array(np.meshgrid(*[np.arange(30, 250, 24)] * 3), np.uint8).reshape(3, -1).T
    data = file_of(Image.fromarray(grid[None]))
    light = linear(grid / 255) @ P3_TO_SRGB.T
    wanted, inside = 255 * displayed(light.clip(0, 1)), ((light >= 0.002) & (light <= 1)).all(axis=1)
    found = opened(data[:33] + cicp(12, 13) + data[33:]).rgb[0]
    assert np.abs(found - wanted)[inside].max() <= 2


def test_profile_counts_by_what_it_holds() -> None:
    srgb_colorants = [xyz(0.4360, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7139)]
    linear_light = rgb_profile(*srgb_colorants, curve()).replace(b"test", b"sRGB")
    assert b"sRGB" in linear_light
    assert np.abs(np.subtract(colour_of(png((55, 55, 55), profile(linear_light))), 128)).max() <= 1
    real = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (real, real.replace(b"sRGB", b"odd ").replace(b"s\0R\0G\0B", b"o\0d\0d\0 ")):
        assert colour_of(png((13, 80, 200), profile(data))) == (13, 80, 200)


def test_large_profiles_count() -> None:
    table = np.rint(linear(np.linspace(0, 1, 400_000)) * 65535).astype(int)
    primaries = xyz(0.51512, 0.24120, -0.00105), xyz(0.29198, 0.69225, 0.04189), xyz(0.15710, 0.06657, 0.78407)
    large = rgb_profile(*primaries, curve(*table))
    assert len(large) > 2_000_000
    assert np.abs(np.subtract(colour_of(png(P3_RED, profile(large))), (255, 0, 0))).max() <= 2


def test_grey_profile_comes_before_transparency() -> None:
    grey = icc_profile(b"GRAY", {b"kTRC": curve()})
    picture = opened(png(55, profile(grey), png_chunk(b"tRNS", struct.pack(">H", 200))))
    assert picture.alpha is None and np.abs(picture.rgb.astype(int) - 128).max() <= 1
    hidden = opened(png(55, profile(grey), png_chunk(b"tRNS", struct.pack(">H", 55))))
    assert hidden.alpha is not None and not hidden.alpha.any()


def exif(space: int, interop: bytes | None) -> bytes:
    """EXIF data with ColorSpace, and an interoperability index where one is given."""
    data = b"II*\0" + struct.pack("<I", 8)
    data += struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 26) + bytes(4)
    entries = struct.pack("<HHII", 0xA001, 3, 1, space)
    if interop:
        entries += struct.pack("<HHII", 0xA005, 4, 1, 26 + 2 + 24 + 4)
    data += struct.pack("<H", len(entries) // 12) + entries + bytes(4)
    if interop:
        data += struct.pack("<H", 1) + struct.pack("<HHI", 1, 2, 4) + interop.ljust(4, b"\0") + bytes(4)
    return b"Exif\0\0" + data


@pytest.mark.parametrize(
    "space, interop, wanted",
    [
        (65535, b"R03", (0, 255, 0)),
        (2, None, (0, 255, 0)),
        (65535, b"R98", (144, 255, 60)),
        (65535, None, (144, 255, 60)),
        (1, b"R03", (144, 255, 60)),
    ],
)
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
def test_adobe_rgb_by_exif(space: int, interop: bytes | None, wanted, picture_format: str) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(picture_format, {})
    data = file_of(Image.new("RGB", (16, 16), (144, 255, 60)), picture_format, exif=exif(space, interop), **options)
    assert np.abs(np.subtract(opened(data).rgb[4, 4].astype(int), wanted)).max() <= 4
    with_profile = file_of(Image.new("RGB", (16, 16), P3_RED), "PNG", exif=exif(65535, b"R03"), icc_profile=DISPLAY_P3)
    assert np.abs(np.subtract(colour_of(with_profile), (255, 0, 0))).max() <= 2  # the profile counts


# ---- PQ and HLG


@pytest.mark.parametrize(
    "value, nits", [(0.0, 0.0), (1.0, 10000.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0)]
)
def test_pq_curve(value: float, nits: float) -> None:
    """Values of ITU-R BT.2408, table 1 and BT.2100."""
    assert hdr.pq_to_nits(np.array(value)) == pytest.approx(nits, rel=0.005, abs=1e-6)
    assert hdr.nits_to_pq(np.array(nits)) == pytest.approx(value, abs=5e-4)


def test_hlg_curve() -> None:
    """ITU-R BT.2100, table 5: 1 / 12 at a half; ITU-R BT.2408: 75 % is 203 cd/m2 on a display of 1000."""
    assert hdr.hlg_to_scene(np.array([0, 0.5, 1])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    light = float(hdr.hlg_to_scene(np.array(0.75)))
    assert 1000 * light**1.2 == pytest.approx(203, rel=0.01)


def nits_png(nits: list[float], primaries: int = 9) -> bytes:
    values = np.rint(255 * hdr.nits_to_pq(np.array(nits))).astype(np.uint8)
    data = file_of(np.stack([values] * 3, axis=-1)[None].repeat(8, axis=0))
    return data[:33] + cicp(primaries, 16) + data[33:]


def test_what_is_no_brighter_than_white_is_shown_as_it_is() -> None:
    nits = [0.0, 1.0, 20.0, 50.0, 101.5, 150.0, 203.0]
    found = opened(nits_png(nits)).rgb[0, :, 1]
    wanted = 255 * displayed(np.array(nits) / 203)
    assert np.abs(found - wanted).max() <= 4  # 8 bits of PQ


def test_highlights_are_compressed_and_not_cut() -> None:
    nits = [10.0, 50.0, 203.0, 400.0, 600.0, 1000.0]
    found = opened(nits_png(nits)).rgb[0, :, 1].astype(int)
    assert (np.diff(found) > 0).all() and found[-1] >= 250 and found[2] > 200
    assert np.abs(found[:2] - 255 * displayed(np.array(nits[:2]) / 203)).max() <= 4


def test_hlg_grey() -> None:
    data = png((128, 128, 128), cicp(9, 18))
    found = colour_of(data)
    nits = 1000 * float(hdr.hlg_to_scene(np.array(128 / 255))) ** 1.2
    assert np.abs(np.array(found) - 255 * displayed(np.array(nits / 203))).max() <= 2
    assert found != (128, 128, 128)


def test_primaries_of_pq_count() -> None:
    to_srgb = np.linalg.inv(rgb_to_xyz((0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)))
    to_srgb = to_srgb @ rgb_to_xyz((0.3127, 0.329, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046))
    light = np.array([60.0, 40.0, 30.0])
    values = np.rint(255 * hdr.nits_to_pq(light)).astype(np.uint8)
    found = colour_of(png(tuple(values.tolist()), cicp(9, 16)))
    assert np.abs(found - 255 * displayed(to_srgb @ light / 203)).max() <= 5


@pytest.mark.parametrize("transfer, wanted", [(13, (255, 0, 0)), (2, (255, 0, 0))])
def test_code_points_of_avif(transfer: int, wanted) -> None:
    data = file_of(Image.new("RGB", (64, 48), P3_RED), "AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"nclx")
    for primaries, colour in ((12, wanted), (1, P3_RED)):
        changed = data[: at + 4] + struct.pack(">HH", primaries, transfer) + data[at + 8 :]
        assert np.abs(opened(changed).rgb.astype(int) - colour).max() <= 4


def test_profile_of_avif_comes_before_code_points() -> None:
    image = Image.new("RGB", (64, 48), P3_RED)
    data = file_of(image, "AVIF", quality=100, subsampling="4:4:4", icc_profile=DISPLAY_P3)
    assert np.abs(opened(data).rgb.astype(int) - (255, 0, 0)).max() <= 4


def test_plugins_code_points_count() -> None:
    image = Image.open(io.BytesIO(file_of(Image.new("RGB", (5, 5), P3_RED))))
    image.info["nclx_profile"] = {"color_primaries": 12, "transfer_characteristics": 13}
    assert np.abs(opened(image).rgb.astype(int) - (255, 0, 0)).max() <= 2
