"""Pictures that tools often get wrong, drawn by program: each must give what it says, not what it looks like."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from latent8.pictures.intake import Picture, open_picture
from tests.helpers.picture_files import LIMIT, refusal

ODD = Path(__file__).with_name("odd")
RAMP, FALLING = np.rint(np.linspace(0, 255, 64)), np.rint(np.linspace(255, 0, 64))


def odd(name: str) -> Picture:
    picture = open_picture(ODD / name, LIMIT)
    assert (picture.width, picture.height) == (64, 48)
    return picture


def assert_near(found: np.ndarray, wanted, within: int = 2) -> None:
    assert np.abs(found.astype(int) - wanted).max() <= within


@pytest.mark.parametrize(
    "name, colour, within",
    [
        ("iccp-1.5mb.png", (255, 0, 0), 2),
        ("adobe-by-exif.jpg", (0, 255, 0), 4),
        ("gama-linear.png", (128, 128, 128), 2),
        ("cicp-p3.png", (255, 0, 0), 2),
        ("nclx-p3.avif", (255, 0, 0), 4),
        ("linear-named-srgb.png", (128, 128, 128), 2),
    ],
)
def test_colours_that_a_file_states(name: str, colour: tuple[int, int, int], within: int) -> None:
    assert_near(odd(name).rgb, colour, within)


@pytest.mark.parametrize("name", ["grey16-trns.png", "grey4-trns.png", "grey-profile-trns.png"])
def test_transparent_grey(name: str) -> None:
    picture = odd(name)
    alpha = picture.alpha
    assert alpha is not None and (alpha[8:24, 8:24] == 0).all()
    outside = np.ones((48, 64), bool)
    outside[8:24, 8:24] = False
    if name == "grey16-trns.png":
        outside[:, 40] = False  # the ramp passes through the transparent value there
    assert (alpha[outside] == 255).all()
    if name == "grey-profile-trns.png":
        assert_near(picture.rgb[outside], 128)


@pytest.mark.parametrize("name", ["uint32.tif", "float-1.02.tif"])
def test_deep_ramps(name: str) -> None:
    grey = odd(name).rgb[24, :, 0].astype(int)
    assert grey[0] == 0 and grey[-1] == 255 and (np.diff(grey) >= 0).all()
    assert_near(grey, (RAMP * (1.02 if name.startswith("float") else 1)).clip(0, 255))


def test_white_is_zero() -> None:
    assert_near(odd("whiteiszero16.tif").rgb[..., 0], FALLING)


@pytest.mark.parametrize("name", ["rgb16-planar.tif", "ztxt-2mb.png", "mpf-three.jpg", "no-eoi.jpg"])
def test_red_and_green_ramps(name: str) -> None:
    picture = odd(name)
    wanted = np.stack([RAMP, FALLING, np.full(64, 78)], axis=-1)
    assert_near(picture.rgb, wanted[None], 6 if name.endswith("jpg") else 2)
    assert np.abs(picture.rgb - wanted).mean() < 3


def test_pq_is_tone_mapped() -> None:
    picture = odd("nclx-pq.avif")
    assert np.abs(picture.rgb.astype(int) - (233, 51, 35)).max() > 15
    assert_near(picture.rgb, (255, 0, 0), 4)  # beyond sRGB's red and white


def test_camera_raw_is_refused_by_name() -> None:
    assert refusal(ODD / "camera.dng").startswith(
        "This is a camera raw file (DNG), whose colours are not developed yet"
    )


def test_thousands_of_scans_are_refused_in_no_time() -> None:
    started = time.thread_time()  # other work may take the processor meanwhile
    assert refusal(ODD / "scans-2000.jpg", 100_000_000).startswith("The file has over 93 scans, more than a picture ")
    assert time.thread_time() - started < 1
