"""Tiles: each latent once, within the memory there is, with little work, and the same result as in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latent8 import Codec
from latent8.l8_photo.network import HyperpriorNetwork
from latent8.machine import memory
from latent8.networks.base import Network
from latent8.networks.tiling import Demand, scaled, tiles
from tests.helpers.samples import gradient

SHAPES = [(1, 1), (1, 90), (90, 1), (37, 53), (128, 64), (101, 7)]


def area(where: tuple[slice, slice]) -> int:
    return (where[0].stop - where[0].start) * (where[1].stop - where[1].start)


def contains(outer: slice, inner: slice, halo: int, size: int) -> bool:
    """Whether the halo is there on both sides, or the edge of the picture."""
    return outer.start == max(0, inner.start - halo) and outer.stop == min(size, inner.stop + halo)


@pytest.mark.parametrize("rows, columns", SHAPES)
@pytest.mark.parametrize("halo, side", [(1, 4), (3, 10), (5, 1), (4, 1000)])
def test_each_latent_once_and_each_tile_in_bounds(rows: int, columns: int, halo: int, side: int) -> None:
    """`side`: latents of a tile with its halo that memory is there for."""
    demand, stride = Demand(halo, bytes_per_pixel=7), 8
    max_bytes = (side * stride) ** 2 * 7
    found = tiles(rows, columns, demand, stride, max_bytes)
    covered = np.zeros((rows, columns), int)
    for tile in found:
        covered[tile.inner] += 1
        assert contains(tile.outer[0], tile.inner[0], halo, rows) and contains(
            tile.outer[1], tile.inner[1], halo, columns
        )
        assert area(tile.outer) <= max(side, 3 * halo) ** 2
    assert (covered == 1).all()
    assert (len(found) == 1) == (rows * columns <= side**2 or max(rows, columns) <= halo)


def lengths(size: int, count: int, halo: int) -> list[int]:
    """Of the parts of a side, with their halos."""
    edges = [size * i // count for i in range(count + 1)]
    return [min(size, b + halo) - max(0, a - halo) for a, b in pairwise(edges)]


def least_work(rows: int, columns: int, halo: int, most: int) -> int:
    """Of all grids whose tiles hold at most so many latents, by trying each."""
    ways = [
        [(sum(parts), max(parts)) for parts in (lengths(size, n, halo) for n in range(1, math.ceil(size / halo) + 1))]
        for size in (rows, columns)
    ]
    return min(down * across for down, tall in ways[0] for across, wide in ways[1] if tall * wide <= most)


def work(rows: int, columns: int, halo: int, most: int) -> int:
    found = [area(tile.outer) for tile in tiles(rows, columns, Demand(halo, 5), 2, most * 5 * 2 * 2)]
    assert max(found) <= most
    return sum(found)


@pytest.mark.parametrize(
    "rows, columns, halo, most",
    [
        (100, 100, 8, 10_000),  # in one piece
        (64, 500, 8, 8_000),  # a panorama: whole columns
        (500, 64, 8, 8_000),
        (40, 300, 9, 60 * 60),  # squares would not cut the short side for nothing
        (250, 375, 7, 120 * 110),
        (375, 250, 7, 120 * 110),
        (210, 220, 5, 100 * 100),
    ],
)
def test_no_grid_that_fits_is_less_work(rows: int, columns: int, halo: int, most: int) -> None:
    assert work(rows, columns, halo, most) == least_work(rows, columns, halo, most)


@settings(deadline=None, max_examples=150)
@given(rows=st.integers(1, 200), columns=st.integers(1, 200), halo=st.integers(1, 9), side=st.integers(8, 20))
@example(rows=46, columns=49, halo=3, side=8)
def test_little_work_for_any_picture(rows: int, columns: int, halo: int, side: int) -> None:
    """Parts count as long as the longest can be, which sometimes misses the best grid where tiles are small."""
    most = (side * halo) ** 2
    assert work(rows, columns, halo, most) <= 1.2 * least_work(rows, columns, halo, most)


@pytest.mark.parametrize("scale", [1, 8])
def test_a_tile_is_put_back_where_it_was_taken_from(scale: int) -> None:
    whole = np.arange(37 * scale * 53 * scale).reshape(37 * scale, 53 * scale)
    again = np.zeros_like(whole)
    for tile in tiles(37, 53, Demand(3, 1), 1, 200):
        again[scaled(tile.inner, scale)] = whole[scaled(tile.outer, scale)][tile.crop(scale)]
    np.testing.assert_array_equal(again, whole)


def stripes() -> np.ndarray:
    """616 x 408 with something at every scale, so that a tile that sees too little differs."""
    y, x = np.mgrid[:408, :616]
    noise = np.random.default_rng(0).integers(0, 60, (408, 616))
    rings = 90 + 60 * np.sin(np.hypot(x - 300, y - 200) / 6)
    return np.stack([rings + noise, gradient(616, 408)[..., 1], 255.0 * ((x // 24 + y // 40) % 2)], axis=-1).astype(
        np.uint8
    )


def demands_of(network: Network) -> tuple[Demand, Demand]:
    return network.analysis.demand, network.synthesis.demand


def test_tiled_is_untiled(codec: Codec, monkeypatch) -> None:
    network, picture = codec.network, stripes()
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents).astype(int)
    monkeypatch.setattr(network, "max_bytes", 1)
    counts = [len(tiles(*latents.shape[1:], demand, 8, 1)) for demand in demands_of(network)]
    assert min(counts) >= 4
    np.testing.assert_allclose(network.encode_pixels(picture), latents, rtol=0, atol=1e-4)
    assert np.abs(network.decode_latents(latents) - rgb).max() <= 1  # a value just at a half may fall either way


@pytest.mark.parametrize("half", [0, 1])
def test_tiles_without_a_halo_are_noticed(codec: Codec, monkeypatch, half: int) -> None:
    """What the test above rests upon."""
    network, picture = codec.network, stripes()
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents).astype(int)
    halves = network.analysis, network.synthesis
    for each in halves:
        monkeypatch.setattr(each, "demand", replace(each.demand, halo=0))
    demands = demands_of(network)
    monkeypatch.setattr(network, "max_bytes", demands[half].bytes_per_pixel * (16 * 8) ** 2)
    if half == 0:
        assert np.abs(network.encode_pixels(picture) - latents).max() > 1e-2
    else:
        assert np.abs(network.decode_latents(latents) - rgb).max() > 1


# ---- memory


AVAILABLE = 10_000


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch) -> Callable[[str, str], None]:
    """Writes the limit and the use of a container; until then there is none. The machine has AVAILABLE bytes."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=AVAILABLE))

    def write(limit: str, used: str) -> None:  # 1000 of it kept of files, which can be had back
        (tmp_path / "cgroup").mkdir(exist_ok=True)
        (tmp_path / "cgroup" / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "cgroup" / "memory.current").write_text(f"{used}\n")
        (tmp_path / "cgroup" / "memory.stat").write_text("anon 2000\ninactive_file 1000\nactive_file 700\n")

    return write


@pytest.mark.parametrize(
    "limit, used, free",
    [
        ("5000", "3000", 3000),
        ("3000", "5000", 0),  # a limit may be lowered below what is in use
        ("50000", "3000", AVAILABLE),
        ("max", "3000", AVAILABLE),
    ],
)
def test_free_bytes_in_a_container(cgroup: Callable[[str, str], None], limit: str, used: str, free: int) -> None:
    cgroup(limit, used)
    assert memory.free_bytes(torch.device("cpu")) == free


def test_free_bytes_without_a_container(cgroup: Callable[[str, str], None]) -> None:
    assert memory.free_bytes(torch.device("cpu")) == AVAILABLE


def test_free_bytes_of_a_gpu_are_its_own(cgroup: Callable[[str, str], None], monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (77, 99))
    cgroup("5", "3")
    assert memory.free_bytes(torch.device("cuda")) == 77


def test_half_of_what_is_free_bounds_the_tiles(codec: Codec, monkeypatch) -> None:
    picture = gradient(400, 304)
    demand, latents = codec.network.analysis.demand, (304 // 8, 400 // 8)
    whole = 304 * 400 * demand.bytes_per_pixel
    for free in (2 * whole, 2 * whole - 2, 0):
        monkeypatch.setattr("latent8.networks.base.free_bytes", lambda device, free=free: free)
        shares: list[float] = []
        codec.network.encode_pixels(picture, shares.append)
        assert len(shares) == len(tiles(*latents, demand, 8, free // 2))
        assert (len(shares) == 1) == (free == 2 * whole)


# ---- progress


def in_tiles(codec: Codec, monkeypatch, half: int) -> list[str | float]:
    """From now on: "run" for each tile of this half of the network, and what `progress` is told, in order."""
    events: list[str | float] = []
    counting = (codec.network.analysis, codec.network.synthesis)[half]
    run = counting.run

    def counted(call: Callable, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        events.append("run")
        return run(call, *inputs)

    monkeypatch.setattr(counting, "run", counted)
    monkeypatch.setattr(codec.network, "max_bytes", 1)
    return events


@pytest.mark.parametrize("name", ["codec", "photo_codec"])
@pytest.mark.parametrize("half", [0, 1], ids=["encode", "decode"])
def test_progress_is_told_after_each_tile(name: str, half: int, request: pytest.FixtureRequest, monkeypatch) -> None:
    codec: Codec = request.getfixturevalue(name)
    stride, network = codec.model.stride, codec.network
    rows, columns = 5, 3 * demands_of(network)[half].halo
    picture = gradient(columns * stride - 3, rows * stride - 5)
    blob = codec.encode(picture)
    events = in_tiles(codec, monkeypatch, half)
    counts = [len(tiles(rows, columns, demands_of(network)[half], stride, 1))]
    if isinstance(network, HyperpriorNetwork):
        parts = (network.analysis_parts, network.synthesis_parts)[half]
        counts = [len(found) for found in network.tiles_of_parts(parts, rows, columns)]
    count = sum(counts)
    assert count >= 3
    if half == 0:
        codec.encode(picture, progress=events.append)
    else:
        codec.decode(blob, progress=events.append)
    shares = [event for event in events if not isinstance(event, str)]
    assert [event for event in events if isinstance(event, str)] == ["run"] * count
    assert events == [event for share in shares for event in ("run", share)]
    np.testing.assert_allclose(shares, np.arange(1, count + 1) / count)
    assert shares[-1] == 1.0


def test_progress_of_a_picture_in_one_piece(codec: Codec, photo_codec: Codec) -> None:
    for one, target in ((codec, None), (photo_codec, None), (photo_codec, 2000)):
        told: list[float] = []
        blob = one.encode(gradient(70, 50), target_bytes=target, progress=told.append)
        assert told == [1.0]
        one.decode(blob, progress=told.append)
        assert told == [1.0, 1.0]
