"""Rate-distortion curves: interpolation and BD-rate, MS-SSIM, and the benchmark on small pictures."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_metrics import busy, distorted

from benchmarks import colorvideovdp, rd
from benchmarks.colorvideovdp import INSTALL, STAND_INS, ColorVideoVDP, GaussianBlur, has_cvvdp
from benchmarks.contenders import has_jpeg_xl
from benchmarks.curves import bd_rate, pchip, value_at
from benchmarks.judges import SEEN, Judges, Original, seen_in_training
from latent8 import Codec
from tests.helpers.samples import gradient
from training import evaluate as ev
from training.ms_ssim import decibels, ms_ssim
from training.photo import PhotoTask

RATES, PSNR = [0.1, 0.2, 0.4, 0.9], [27.0, 30.1, 33.5, 37.2]

# Curves


def test_curve_against_itself_and_at_other_rates():
    delta = bd_rate((RATES, PSNR), (RATES, PSNR))
    assert (delta.percent, delta.low, delta.high) == (0, 27.0, 37.2)
    for factor, percent in ((0.5, -50), (2, 100), (1.1, 10)):
        scaled = [factor * rate for rate in RATES]
        assert bd_rate((RATES, PSNR), (scaled, PSNR)).percent == pytest.approx(percent)


def test_straight_lines_over_what_they_share():
    """Quality rises by 10 for each factor of e; the other curve lies 2 higher, so it needs e^-0.2 of the bits."""
    reference = [math.exp(q / 10) for q in (0, 5, 20)], [0, 5, 20]
    other = [math.exp((q - 2) / 10) for q in (8, 11, 17, 30)], [8, 11, 17, 30]
    delta = bd_rate(reference, other)
    assert delta.percent == pytest.approx(100 * (math.exp(-0.2) - 1)) and (delta.low, delta.high) == (8, 20)


def test_bd_rate_against_another_implementation():
    """bjontegaard 1.3.0: bd_rate(..., method="pchip", require_matching_points=False, min_overlap=0)."""
    other = [0.08, 0.21, 0.35, 0.8, 1.1], [26.5, 31.0, 33.2, 36.0, 38.0]
    assert bd_rate((RATES, PSNR), other).percent == pytest.approx(-4.867193072210652, abs=1e-9)


@pytest.mark.parametrize(
    "rates, qualities, message",
    [
        ([0.1, 0.2], [38, 39], "no quality in common"),
        ([0.1, 0.2, 0.3], [28, 30, 29], "quality of the curve does not rise"),
        ([0.1, 0.3, 0.2], [28, 30, 31], "bits per pixel of the curve does not rise"),
        ([0.1], [28], "at least two points"),
    ],
)
def test_curves_without_a_bd_rate(rates, qualities, message):
    with pytest.raises(ValueError, match=message):
        bd_rate((RATES, PSNR), (rates, qualities))


def test_pchip_against_scipy():
    """scipy 1.17.1: PchipInterpolator(x, y)(at)."""
    values = pchip([0, 1, 3, 4, 7], [0, 2, 3, 3.5, 1])(np.array([0.5, 2, 3.5, 5, 6.5]))
    wanted = [1.2053571428571428, 2.5892857142857144, 3.3125, 3.259259259259259, 1.821759259259261]
    assert values == pytest.approx(wanted, abs=1e-12)


def test_value_at_a_rate():
    line = [0.1, 0.2, 0.4], [10.0, 11.0, 12.0]  # straight over the logarithm
    assert value_at(line, 0.1) == 10 and value_at(line, 0.4) == pytest.approx(12)
    assert value_at(line, 0.1 * 2**0.5) == pytest.approx(10.5)
    with pytest.raises(ValueError, match="not between"):
        value_at(line, 0.41)


# MS-SSIM

# pytorch-msssim 1.0.0: ms_ssim of the lumas in float64, data_range=255; its window has the precision of float32. Sides
# are even at each scale, as it pads others with zeros.
PYTORCH_MSSSIM = [
    (192, 256, 3, 0.9999981097792312),
    (192, 256, 20, 0.9998305769989663),
    (192, 256, 80, 0.9906999138408313),
    (176, 320, 60, 0.996206318468393),
]


@pytest.mark.parametrize("height, width, strength, wanted", PYTORCH_MSSSIM)
def test_ms_ssim_against_another_implementation(height, width, strength, wanted):
    picture = busy(height, width)
    assert ms_ssim(picture, distorted(picture, strength)) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("height, width", [(161, 161), (170, 203)])
def test_ms_ssim_is_1_for_equal_pictures_and_falls_with_noise(height, width):
    picture = busy(height, width)
    falling = [ms_ssim(picture, distorted(picture, strength)) for strength in (0, 5, 20, 80)]
    assert falling[0] == pytest.approx(1, abs=1e-12)
    assert falling == sorted(falling, reverse=True) and len(set(falling)) == 4
    assert ms_ssim(distorted(picture, 80), picture) == pytest.approx(falling[3], abs=1e-12)


def test_ms_ssim_of_a_negative_has_no_structure_in_common():
    picture = busy(161, 161)
    assert ms_ssim(picture, 255 - picture) == 0


def test_ms_ssim_refuses_small_pictures_and_different_shapes():
    with pytest.raises(ValueError, match="161 pixels a side, not 200 x 160"):
        ms_ssim(busy(160, 200), busy(160, 200))
    with pytest.raises(ValueError, match="different shapes"):
        ms_ssim(busy(161, 200), busy(200, 161))


def test_decibels():
    assert decibels(0.9) == pytest.approx(10) and decibels(0.99) == pytest.approx(20) and decibels(1) == math.inf


# ColorVideoVDP

needs_cvvdp = pytest.mark.skipif(not has_cvvdp(), reason=f"ColorVideoVDP is optional: {INSTALL}")


@needs_cvvdp
@pytest.mark.parametrize(
    "height, width, strength, wanted", [(192, 256, 3, 9.952861), (192, 256, 20, 9.403643), (161, 203, 60, 8.111881)]
)
def test_colorvideovdp_is_that_of_a_whole_installation(height, width, strength, wanted):
    """cvvdp 0.5.7 with all that it asks for, torchvision 0.28 among it; display standard_fhd, on a CPU."""
    picture = busy(height, width)
    assert ColorVideoVDP()(picture, distorted(picture, strength)) == pytest.approx(wanted, abs=1e-4)


@needs_cvvdp
def test_colorvideovdp_of_equal_pictures_and_what_it_leaves_behind():
    path, before = sys.path.copy(), {name: sys.modules.get(name) for name in STAND_INS}
    metric = ColorVideoVDP()
    assert sys.path == path and {name: sys.modules.get(name) for name in STAND_INS} == before
    assert metric(busy(161, 161), busy(161, 161)) == 10


@needs_cvvdp
def test_colorvideovdp_is_a_judge_whose_more_is_better():
    original = Original(busy(161, 161), Judges(cvvdp=ColorVideoVDP()))
    near, far = (original.distances(distorted(original.rgb, strength)) for strength in (5, 60))
    assert float(far["cvvdp_jod"]) < float(near["cvvdp_jod"]) < 10
    rows = [{"bpp": 0.1, **far}, {"bpp": 0.2, **near}]
    assert rd.judged_by({"l8-photo": rows}) == ["psnr_db", "ms_ssim", "cvvdp_jod"]
    halved = [{**row, "bpp": float(row["bpp"]) / 2} for row in rows]
    assert rd.needs(halved, rows, ["cvvdp_jod"]) == {"cvvdp_jod": "-50.0 %"}
    assert rd.title("cvvdp_jod") == "ColorVideoVDP, JOD"


def test_colorvideovdp_without_its_package_is_refused_by_a_sentence(tmp_path, monkeypatch, capsys):
    Image.fromarray(busy(161, 161)).save(tmp_path / "a.png")
    monkeypatch.setattr(colorvideovdp, "has_cvvdp", lambda: False)
    with pytest.raises(SystemExit):
        rd.main([str(tmp_path), "--cvvdp"])
    assert f"error: ColorVideoVDP needs its package: {INSTALL}\n" in capsys.readouterr().err


def test_blur_of_even_ground_and_of_a_point():
    blur = GaussianBlur(13, 3)
    torch.testing.assert_close(blur.forward(torch.full((2, 1, 9, 11), 3.0)), torch.full((2, 1, 9, 11), 3.0))
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1
    spread = blur.forward(point)[0, 0]
    assert spread.sum().item() == pytest.approx(1, abs=1e-6) and spread[15, 21] > 0 and spread[15, 22] == 0
    assert (spread[15, 18] / spread[15, 15]).item() == pytest.approx(math.exp(-0.5), abs=1e-6)


def test_judges_that_training_saw_are_told():
    told = {row["judge"]: row["seen in the training of l8-photo"] for row in seen_in_training(["bpp", *SEEN])}
    assert len(told) == len(SEEN) and told["ColorVideoVDP"] == "never"
    assert [row["judge"] for row in seen_in_training(["psnr_db", "ssimulacra2"])] == ["PSNR", "SSIMULACRA2"]


# The benchmark


def test_benchmark_measures_whole_files(tmp_path: Path, lpips_file, capsys):
    folder, output, checkpoint = tmp_path / "pictures", tmp_path / "docs", tmp_path / "checkpoint.pt"
    folder.mkdir()
    Image.fromarray(gradient(100, 80)).save(folder / "a_small.png")
    (folder / "b_damaged.png").write_bytes(b"no picture")
    pictures = {"c": distorted(gradient(208, 176), 4), "d": distorted(gradient(192, 161), 8)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    Image.fromarray(gradient(208, 176)).save(folder / "e.png")  # over the limit
    torch.manual_seed(0)
    torch.save({"ema": PhotoTask(None, None).new_model().state_dict()}, checkpoint)

    settings = ["--l8-photo", "60", "20", "--l8-tiny", "64", "--jpeg", "30", "10", "--webp", "1", "30", "--avif", "50"]
    settings += ["--avif-psnr", "40", "--jpeg-xl", "30"]
    options = ["--checkpoint", str(checkpoint), "--lpips", str(lpips_file("alexnet")), "--device", "cpu"]
    rd.main([str(folder), "--limit", "4", "--output", str(output), *settings, *options])
    told = capsys.readouterr()
    assert "left out a_small.png: MS-SSIM needs 161 pixels" in told.err and "left out b_damaged.png" in told.err

    with open(output / "rd.csv", newline="") as file:
        rows = {(row["codec"], row["setting"]): row for row in csv.DictReader(file)}
    wanted = ["l8-photo quality 20", "l8-photo quality 60", "l8-tiny levels 64", "JPEG quality 10", "JPEG quality 30"]
    wanted += ["WebP quality 1", "WebP quality 30", "AVIF quality 50", "AVIF psnr quality 40"]
    wanted += ["JPEG XL quality 30"] * has_jpeg_xl()
    assert [" ".join(key) for key in rows] == wanted  # by size, within each codec

    photo, tiny = ev.checkpoint_codec(checkpoint, "l8-photo", "cpu"), Codec("l8-tiny", "cpu")
    for key, encode in {
        ("l8-photo", "quality 20"): lambda path: photo.encode(path, quality=20),
        ("l8-tiny", "levels 64"): lambda path: tiny.encode(path, levels=64),
    }.items():
        rates = [8 * len(encode(folder / f"{name}.png")) / (p.shape[0] * p.shape[1]) for name, p in pictures.items()]
        assert float(rows[key]["bpp"]) == pytest.approx(np.mean(rates), rel=1e-5)
    for row in rows.values():
        assert 10 < float(row["psnr_db"]) < 60 and 0 < float(row["ms_ssim"]) < 1 and float(row["lpips_alexnet"]) > 0
        assert float(row["encode_s"]) > 0 and float(row["decode_s"]) > 0

    with Image.open(output / "rd.png") as plot:
        assert min(plot.size) > 500
    assert "Means over 2 pictures" in told.out
    assert "| l8-photo | AVIF | none | none | none |" in told.out  # from one setting
    assert "| 0.12 | JPEG |" in told.out and "| LPIPS (AlexNet) | yes" in told.out and "DISTS" not in told.out


def test_bd_rates_are_told_by_each_measure():
    def rows(name: str, factor: float) -> list[ev.Row]:
        figures = [(0.1, 28.0, 0.9, 0.3), (0.2, 30.0, 0.95, 0.2), (0.4, 32.0, 0.98, 0.1)]
        return [
            {
                "codec": name,
                "bpp": factor * bpp,
                "psnr_db": db,
                "ssim": 0.5,
                "ms_ssim": similarity,
                "lpips_vgg16": lpips,
            }
            for bpp, db, similarity, lpips in figures
        ]

    measured = {"l8-photo": rows("l8-photo", 0.5), "WebP": rows("WebP", 1), "AVIF": rows("AVIF", 0.4)}
    found = rd.bd_rates(measured)
    assert [(row["codec"], row["against"]) for row in found] == [("l8-photo", "WebP"), ("l8-photo", "AVIF")]
    for row, wanted in zip(found, ("-50.0 %", "+25.0 %"), strict=True):
        assert {row[column] for column in ("psnr_db", "ms_ssim", "lpips_vgg16")} == {wanted}
    apart = [{**row, "psnr_db": row["psnr_db"] + 20} for row in measured["WebP"]]
    assert rd.needs(measured["AVIF"], apart, ["psnr_db", "dists"]) == {"psnr_db": "none", "dists": "none"}

    found = rd.at_rates(measured, [0.1])
    assert [row["codec"] for row in found] == ["l8-photo", "WebP", "AVIF"]
    assert found[0]["psnr_db"] == pytest.approx(30) and found[1]["lpips_vgg16"] == pytest.approx(0.3)


def test_settings_out_of_range_end_with_a_message(tmp_path, capsys):
    with pytest.raises(SystemExit):
        rd.main([str(tmp_path), "--l8-photo", "0"])
    assert "quality must be from 1 to 100" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        rd.main([str(tmp_path)])
    assert "No pictures" in capsys.readouterr().err
