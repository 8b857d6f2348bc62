"""What the encoder's page compares a photo with."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from latent8.apps import chart, work
from latent8.errors import Latent8Error
from latent8.evaluation import baselines
from latent8.evaluation.metrics import psnr
from latent8.pictures.intake import Picture
from tests.helpers.samples import gradient


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "spaces" / "encoder"))
    return importlib.import_module("encoder_rivals")


@pytest.fixture
def busy() -> np.ndarray:
    """uint8 [64, 80, 3] that no codec makes very small."""
    noise = np.random.default_rng(0).integers(-40, 41, (64, 80, 3))
    return (gradient(80, 64) + noise).clip(0, 255).astype(np.uint8)


def searched(search: baselines.Search) -> list[float]:
    return list(search.steps())


@pytest.mark.parametrize("name", baselines.names())
def test_best_quality_that_fits(rivals: ModuleType, busy: np.ndarray, name: str) -> None:
    search = rivals.search(name, busy, 3000)
    shares = searched(search)
    assert shares == sorted(set(shares)) and shares[0] >= 0 and shares[-1] < 1
    found = rivals.rival(search)
    assert 1500 < found.n_bytes <= 3000 and found.label == f"{name}, quality {search.quality}"
    assert 15 < psnr(busy, found.picture.rgb) < 60
    better = baselines.saved(Image.fromarray(busy), name, search.quality + 1)
    assert len(better) > 3000 and search.next_larger == len(better)


def test_a_smaller_rival_says_why(rivals: ModuleType, busy: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(n_bytes: int) -> str:
        searched(search := rivals.search("WebP", busy, n_bytes))
        return rivals.rival(search).note

    size, best = (len(baselines.saved(Image.fromarray(busy), "WebP", quality)) for quality in (41, 100))
    assert note(size) == ""
    assert note(2 * best) == "its highest quality"
    monkeypatch.setattr(rivals, "MUCH_SMALLER", 1)
    assert note(size - 1) == f"quality 41 would be larger than ours, {size / 1000:.1f} KB"


def test_what_does_not_fit_says_why(rivals: ModuleType, busy: np.ndarray) -> None:
    search = rivals.search("AVIF", busy, 50)
    searched(search)
    with pytest.raises(Latent8Error, match=r"AVIF cannot make this photo as small .*its smallest is [\d,]+ bytes"):
        rivals.rival(search)


def test_large_photos_and_other_codecs_are_not_tried(
    rivals: ModuleType, busy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "MAX_COMPARED", 64 * 80)
    rivals.search("WebP", busy, 3000)
    monkeypatch.setattr(rivals, "MAX_COMPARED", 64 * 80 - 1)
    with pytest.raises(Latent8Error, match="not tried"):
        rivals.search("WebP", busy, 3000)
    with pytest.raises(Latent8Error, match="no codec"):
        rivals.search("GIF", busy, 3000)


def test_curves_rise(rivals: ModuleType, busy: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "CURVE_QUALITIES", (10, 90))
    points = rivals.curves(Picture(busy), "l8-photo", rivals.MEASURES[0], work.Bar("", 0, 1))
    assert set(points) == {"l8-photo", *baselines.names()}
    for line in points.values():
        sizes, values = [x for x, _, _ in line], [y for _, y, _ in line]
        assert sizes == sorted(sizes) and values[0] < values[-1]
    drawn = chart.chart(points, "KB", "PSNR in dB", "a <caption>")
    assert drawn.count("<polyline") == len(points) and "a &lt;caption&gt;" in drawn and "<caption>" not in drawn


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 95, [0, 20, 40, 60, 80, 100]),
        (24.3, 36.1, [20, 25, 30, 35, 40]),
        (-30, 82, [-50, 0, 50, 100]),
        (1, 1, None),
    ],
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float, expected: list[float] | None) -> None:
    found = chart.ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 8
    if expected:
        assert found == pytest.approx(expected)
