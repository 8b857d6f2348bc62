"""Tiles: each latent once, within the memory asked for, and the same result as in one piece."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import gradient

from latent8 import Codec
from latent8.tiling import Demand, scaled, tiles

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
    found = list(tiles(rows, columns, demand, stride, max_bytes))
    covered = np.zeros((rows, columns), int)
    for tile in found:
        covered[tile.inner] += 1
        assert contains(tile.outer[0], tile.inner[0], halo, rows) and contains(
            tile.outer[1], tile.inner[1], halo, columns
        )
        assert area(tile.outer) <= max(side, 3 * halo) ** 2
    assert (covered == 1).all()
    assert (len(found) == 1) == (rows * columns <= side**2 or max(rows, columns) <= max(side - 2 * halo, halo))


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


def test_tiled_is_untiled(codec: Codec, monkeypatch) -> None:
    network, picture = codec.network, stripes()
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents).astype(int)
    monkeypatch.setattr(network, "max_bytes", 1)
    counts = [len(list(tiles(*latents.shape[1:], demand, 8, 1))) for demand in network._demands]
    assert min(counts) >= 4
    np.testing.assert_allclose(network.encode_pixels(picture), latents, rtol=0, atol=1e-4)
    assert np.abs(network.decode_latents(latents) - rgb).max() <= 1  # a value just at a half may fall either way


@pytest.mark.parametrize("half", [0, 1])
def test_tiles_without_a_halo_are_noticed(codec: Codec, monkeypatch, half: int) -> None:
    """What the test above rests upon."""
    network, picture = codec.network, stripes()
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents).astype(int)
    demands = [replace(demand, halo=0) for demand in network._demands]
    monkeypatch.setattr(network, "_demands", demands)
    monkeypatch.setattr(network, "max_bytes", demands[half].bytes_per_pixel * (16 * 8) ** 2)
    if half == 0:
        assert np.abs(network.encode_pixels(picture) - latents).max() > 1e-2
    else:
        assert np.abs(network.decode_latents(latents) - rgb).max() > 1
