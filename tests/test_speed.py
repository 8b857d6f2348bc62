"""The clock, the arithmetic and the tables of benchmarks/speed.py, and the whole of it on small pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import speed, timing
from benchmarks import speed_contenders as who
from benchmarks import speed_report as report
from benchmarks.arithmetic import count_flops, matrix_rate
from benchmarks.speed_gpu import pictures_per_second
from benchmarks.timing import Contender, Times, Timing, measure, on_the_clock, rounds_for, speed_up
from latent8 import Codec
from tests.helpers.samples import gradient

IMAGE = Image.fromarray(gradient(32, 32))


# The clock


class Clock:
    """Seconds that pass only when someone works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def contender(self, name: str, calls: list[str], encode_s: float, decode_s: float, stage_s: float) -> Contender:
        def work(kind: str, seconds: float) -> None:
            calls.append(f"{name} {kind}")
            self.now += seconds

        parts = SimpleNamespace(network=lambda: work("network", stage_s))

        def encode(image: Image.Image) -> bytes:
            parts.network()
            work("encode", encode_s)
            parts.network()
            return b"four"

        def decode(data: bytes) -> Image.Image:
            work("decode", decode_s)
            return IMAGE

        return Contender(encode, decode, {"network": (parts, "network")})


def test_contenders_take_turns_and_the_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(monkeypatch), list[str]()
    contenders = {"a": clock.contender("a", calls, 2, 3, 0.25), "b": clock.contender("b", calls, 4, 1, 0)}
    found = measure(contenders, IMAGE, rounds=2)
    wanted = [f"{name} {kind}" for name in "ab" for kind in ("network", "encode", "network", "decode")]
    assert calls == 3 * wanted
    assert found["a"].encode == Times([2.5, 2.5], {"network": [0.5, 0.5]}) and found["a"].decode == Times([3, 3])
    assert found["b"].encode.whole == [4, 4] and found["b"].n_bytes == 4
    assert found["a"].encode.shares() == {"network": 0.5, "rest": 2.0} and found["a"].decode.shares() == {"rest": 3}
    assert len(measure(contenders, IMAGE, rounds=2, warm_up=False)["a"].encode.whole) == 2


def test_on_the_clock_gives_back_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    class Owner:
        def work(self, seconds: float) -> str:
            clock.now += seconds
            if seconds > 5:
                raise ValueError("too much")
            return "done"

    owner = Owner()
    with pytest.raises(ValueError, match="too much"), on_the_clock(owner, "work") as seconds:
        assert owner.work(1) == "done"
        owner.work(6)
    assert seconds == [1, 6]
    owner.work(2)
    assert seconds == [1, 6] and "work" not in vars(owner)


def test_speed_up_is_the_median_of_ratios() -> None:
    assert speed_up([1, 10, 100], [1, 2, 50]) == 2  # the ratio of the medians would be 5


def test_large_pictures_get_fewer_rounds() -> None:
    assert [rounds_for(megapixels, 7) for megapixels in (0.25, 1, 4, 16, 100)] == [7, 6, 3, 2, 2]


# Arithmetic


def test_flops_of_a_convolution() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1)
    x = torch.zeros(1, 3, 10, 12)
    with torch.inference_mode():
        assert count_flops(lambda: layer(x)) == 2 * 10 * 12 * 8 * 3 * 9


@pytest.mark.parametrize("name", ["codec", "photo_codec"])
def test_flops_of_a_network_are_in_proportion_to_the_area(name: str, request: pytest.FixtureRequest) -> None:
    calls = {side: who.flop_calls(request.getfixturevalue(name), side) for side in (64, 128)}
    for half in (0, 1):
        small, large = (count_flops(calls[side][half]) for side in (64, 128))
        assert large == 4 * small > 64**2 * 10_000


def test_matrix_rate_is_operations_over_the_shortest_time(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([0.0, 10.0, 10.5, 20.0, 20.25])  # the first product is not counted
    monkeypatch.setattr("benchmarks.arithmetic.time", SimpleNamespace(perf_counter=lambda: next(readings)))
    assert matrix_rate("cpu", torch.float32, side=64, repeats=2) == 2 * 64**3 / 0.25


# Contenders


def test_pictures_are_mirrored_and_never_enlarged() -> None:
    photo = Image.fromarray(gradient(40, 24))
    large = np.asarray(who.picture_of(64 * 64 / 1e6, photo))
    assert large.shape == (64, 64, 3)
    np.testing.assert_array_equal(large[:24, :40], np.asarray(photo))
    np.testing.assert_array_equal(large[24:48, :40], np.asarray(photo)[::-1])
    np.testing.assert_array_equal(large[:24, 40:], np.asarray(photo)[:, :-25:-1])
    small = np.asarray(who.picture_of(16 * 16 / 1e6, photo))
    np.testing.assert_array_equal(small, np.asarray(photo)[:16, :16])


def test_best_quality_is_the_highest_that_fits() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for name in ("JPEG", "WebP"):
        sizes = [len(who.pillow_file(image, name, quality)) for quality in (40, 41)]
        assert sizes[0] < sizes[1]
        assert who.best_quality(image, name, sizes[0]) == 40
    assert who.best_quality(image, "JPEG", 10) == 1 and who.best_quality(image, "JPEG", 10**6) == 95


def test_pillow_contender_makes_files_of_its_format() -> None:
    contender = who.pillow_contender("WebP", 50)
    data = contender.encode(IMAGE)
    assert Image.open(io.BytesIO(data)).format == "WEBP" and contender.decode(data).size == IMAGE.size


@pytest.mark.parametrize("name, options", [("codec", {}), ("photo_codec", {"quality": 30})])
def test_latent8_contender_times_its_stages(name: str, options: dict, request: pytest.FixtureRequest) -> None:
    codec: Codec = request.getfixturevalue(name)
    image = Image.fromarray(gradient(128, 128))  # of smaller ones, l8-tiny's latents are not entropy-coded
    timings = measure(who.latent8_contenders({"it": codec}, 30), image, rounds=1, warm_up=False)
    assert timings["it"].n_bytes == len(codec.encode(image, **options))
    for times in (timings["it"].encode, timings["it"].decode):
        shares = times.shares()
        assert list(shares) == ["network", "entropy coding", "rest"] and min(shares.values()) > 0
        assert sum(shares.values()) == pytest.approx(times.median)


# Tables

REFERENCE = Timing(Times([0.4, 0.8]), Times([0.5, 0.5]))
OURS = Timing(
    Times([0.1, 0.2], {"network": [0.06, 0.1], "entropy coding": [0.03, 0.05]}),
    Times([0.001, 0.003], {"network": [0.0005, 0.0005], "entropy coding": [0.0005, 0.0005]}),
    50_000,
)
SIZES = [
    report.Size(0.5, {who.REFERENCE: REFERENCE, "latent8, l8-photo": OURS}, [0.01, 0.02]),
    report.Size(4, {"latent8, l8-photo": OURS}, [0.08]),
]


def rows_of(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]


def test_table_of_one_size() -> None:
    assert rows_of(report.one_size(SIZES[0].timings))[2:] == [
        ["diffusers, taesd's shape", "600", "1.00", "500", "1.00"],
        ["latent8, l8-photo", "150", "4.00", "2.0", "333.33"],
    ]


def test_table_of_all_sizes() -> None:
    found = rows_of(report.all_sizes(SIZES, "encode"))
    assert found[0] == ["encode, ms per megapixel", "0.5 MP", "4 MP", "bpp at 0.5 MP"]
    assert found[2:] == [
        ["diffusers, taesd's shape", "1200 (1.0)", "–", "–"],
        ["latent8, l8-photo", "300 (4.0)", "38", "0.80"],
    ]


def test_table_of_stages() -> None:
    found = rows_of(report.stages(SIZES[:1]))
    assert found[2:] == [
        ["latent8, l8-photo", "encode", "0.5", "30", "160", "80", "60", "330"],
        ["latent8, l8-photo", "decode", "0.5", "–", "1.0", "1.0", "2.0", "4.0"],
    ]


def test_table_of_floors() -> None:
    found = rows_of(report.floors([report.Floor("l8-photo", "encoder", 70_000, 0.5e-6, 1.0)], 200e9))
    assert found[2] == ["l8-photo", "encoder", "70", "350", "500", "1.43", "1"]


# The whole


def test_benchmark_on_small_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = tmp_path / "speed.csv", tmp_path / "speed.png"
    options = ["--size", "32", "32", "--megapixels", "0.01", "--rounds", "2"]
    speed.main([*options, "--csv", str(outputs[0]), "--plot", str(outputs[1])])
    told = capsys.readouterr().out
    for name in (who.REFERENCE, "latent8, l8-photo", "JPEG, quality", "WebP, quality", "AVIF, quality"):
        assert f"| {name}" in told
    assert "32 x 32, median of 2 rounds" in told and "GFLOP/s in float32" in told
    with open(outputs[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 8 and {row["direction"] for row in rows} == {"encode", "decode"}
    assert all(float(row["seconds"]) > 0 and float(row["times_as_fast"]) > 0 for row in rows)
    with Image.open(outputs[1]) as plot:
        assert min(plot.size) > 500


def test_pictures_per_second(tmp_path: Path) -> None:
    """On the CPU: what a CUDA device runs, but for the device."""
    taesd = who.random_taesd(tmp_path)
    found = rows_of(pictures_per_second(IMAGE, taesd, 50, "cpu", [torch.float32], [32], rounds=1))
    assert [row[:2] for row in found[2:7]] == [
        [name, "32"]
        for name in (
            who.REFERENCE,
            "diffusers, l8-tiny",
            "latent8, taesd's shape, float32",
            "latent8, l8-tiny, float32",
            "latent8, l8-photo, float32",
        )
    ]
    assert float(found[6][2]) > 0 and 0 < int(found[6][3]) < 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--size", "30", "32"], "multiples of 8"),
        (["--megapixels", "200"], "0.01 to 100"),
        (["--quality", "0"], "--quality from 1 to 100"),
        (["missing.jpg"], "no file missing.jpg"),
    ],
)
def test_bad_arguments_end_with_a_message(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit):
        speed.main(arguments)
    assert message in capsys.readouterr().err
