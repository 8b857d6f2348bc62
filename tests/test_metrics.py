"""Metrics against closed forms, and SSIM against the numbers of another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent8.evaluation.metrics import mae, mse, psnr, ssim

C1 = (0.01 * 255) ** 2


def plain(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def busy(height: int, width: int) -> np.ndarray:
    """Ramps that wrap round and a moiré, from integers only."""
    y, x = np.mgrid[:height, :width]
    channels = [(x * 5 + y * 3) % 256, (x * y) // 7 % 256, (255 - x * 2 - y) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def distorted(picture: np.ndarray, strength: int) -> np.ndarray:
    """With deterministic noise of up to +-strength in two channels and twice that in the third, clipped."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    noise = ((x * 40503 + y * 30011 + x * y * 977) >> 6) % (2 * strength + 1) - strength
    return np.clip(picture.astype(int) + noise[..., None] * np.array([1, -1, 2]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("a, b", [(0, 255), (255, 0), (100, 101), (7, 200), (0, 0)])
def test_closed_forms_of_plain_pictures(a: int, b: int) -> None:
    one, other = plain(a), plain(b)
    assert mse(one, other) == (a - b) ** 2
    assert mae(one, other) == abs(a - b)
    # no variance: only the first factor of SSIM is left, of lumas a and b
    assert ssim(one, other) == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1), abs=1e-12)
    if a != b:
        assert psnr(one, other) == pytest.approx(20 * math.log10(255 / abs(a - b)), abs=1e-12)


def test_one_value_off() -> None:
    one = plain(100)  # 1800 values
    other = one.copy()
    other[3, 5, 1] = 130
    assert mse(one, other) == mse(other, one) == pytest.approx(900 / 1800)
    assert mae(one, other) == mae(other, one) == pytest.approx(30 / 1800)
    assert psnr(one, other) == pytest.approx(10 * math.log10(255**2 / 0.5))


def test_equal_pictures() -> None:
    picture = busy(40, 50)
    assert (mse(picture, picture), mae(picture, picture), psnr(picture, picture)) == (0, 0, math.inf)
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 600), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_against_the_definitions(height: int, width: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    difference = a.astype(np.float64) - b
    assert mse(a, b) == pytest.approx((difference**2).mean(), rel=1e-9)
    assert mae(a, b) == pytest.approx(np.abs(difference).mean(), rel=1e-12)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert -1 <= ssim(a, b) <= 1


# scikit-image 0.26's structural_similarity of the lumas (picture @ [0.299, 0.587, 0.114]) of busy(height, width) and
# its distorted twin, with gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255. It takes
# the mean over the windows that lie inside too. Heights from 523 on are worked on in several strips here.
SCIKIT_IMAGE = [
    (40, 50, 3, 0.9999007691840655),
    (40, 50, 20, 0.9947652993484223),
    (40, 50, 80, 0.8277255860331383),
    (11, 11, 80, 0.5213049829703128),
    (11, 300, 80, 0.9009524880346934),
    (600, 33, 80, 0.9576754008599214),
    (1045, 20, 80, 0.9664738639593354),
]


@pytest.mark.parametrize("height, width, strength, wanted", SCIKIT_IMAGE)
def test_ssim_against_scikit_image(height: int, width: int, strength: int, wanted: float) -> None:
    picture = busy(height, width)
    assert ssim(picture, distorted(picture, strength)) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("height", [522, 523, 533, 1034, 1035])
def test_ssim_does_not_depend_on_strips(height: int) -> None:
    """The transposed picture is worked on in one strip, the upright one in several."""
    picture = busy(height, 15)
    other = distorted(picture, 50)
    turned = [p.transpose(1, 0, 2) for p in (picture, other)]
    assert ssim(picture, other) == pytest.approx(ssim(*turned), abs=1e-12)


@pytest.mark.parametrize("height, width", [(1, 1), (5, 30), (30, 10), (10, 10)])
def test_ssim_of_small_pictures_repeats_their_edge(height: int, width: int) -> None:
    picture, other = busy(height, width), distorted(busy(height, width), 60)
    larger = [(0, max(0, 11 - side)) for side in (height, width)] + [(0, 0)]
    padded = [np.pad(p, larger, mode="edge") for p in (picture, other)]
    assert ssim(picture, other) == pytest.approx(ssim(*padded), abs=1e-12)


@pytest.mark.parametrize("metric", [mse, mae, psnr, ssim])
def test_pictures_of_different_shapes_refused(metric) -> None:
    with pytest.raises(ValueError, match=r"^pictures of different shapes: \(20, 30, 3\) and \(30, 20, 3\)$"):
        metric(plain(1), plain(1, 30, 20))
