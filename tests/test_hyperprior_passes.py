"""The passes that l8-photo codes latents in: order, what each knows, tiles and bands of large pictures, rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from latent8 import Codec
from latent8.l8_photo import layers as hp
from latent8.l8_photo.passes import Passes, hyper_latents, hyper_tiles
from tests.helpers.photo_symbols import assert_same, decoded_symbols, encoded_symbols, photo_payload, random_q


@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (4, 1), (2, 2), (7, 6)])
def test_passes_go_over_every_latent_once(photo_codec: Codec, height: int, width: int) -> None:
    z, _ = random_q(height, width)
    passes = Passes(photo_codec.network.entropy_model.layers, z, 50, (hp.N_LATENTS, height, width))
    times = np.zeros((hp.N_LATENTS, height, width), int)
    for places in passes.in_order():
        times[places] += 1
    assert (times == 1).all()


def test_a_pass_knows_earlier_ones_alone(photo_codec: Codec) -> None:
    """Symbols change the tables and means of later passes next to them, and nothing that was given before."""
    layers = photo_codec.network.entropy_model.layers
    z, q = random_q(9, 8)
    other = q.copy()
    other[:, 3, 3] ^= 21  # of the second pass

    def run(symbols: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        passes = Passes(layers, z, 60, q.shape)
        found = []
        for places in passes.in_order():
            found.append((passes.tables(places), passes.means[places].numpy().copy()))
            passes.q[places] = torch.from_numpy(symbols[places])
        return found

    for number, (before, after) in enumerate(zip(run(q), run(other), strict=True)):
        assert np.array_equal(before[1], after[1]) == (number < 2)
        if number < 2:
            np.testing.assert_array_equal(before[0], after[0])


def test_bands_change_nothing(photo_codec: Codec, monkeypatch) -> None:
    z, q = random_q(11, 7)
    found = []
    for positions in (4096, 1, 28):
        monkeypatch.setattr("latent8.l8_photo.passes.STRIP_POSITIONS", positions)
        passes = Passes(photo_codec.network.entropy_model.layers, z, 70, q.shape)
        for places in passes.in_order():
            passes.q[places] = torch.from_numpy(q[places])
        found.append((passes.tables(), passes.means.numpy()))
    for tables, means in found[1:]:
        np.testing.assert_array_equal(tables, found[0][0])
        np.testing.assert_allclose(means, found[0][1], rtol=0, atol=1e-4)


@contextmanager
def tiles_of(latents: int, halo: int | None = None) -> Iterator[None]:
    """The hyperprior's networks run on at most so many latents at a time, or on the smallest tiles there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latent8.l8_photo.passes.TILE_POSITIONS", latents)
        if halo is not None:
            patch.setattr("latent8.l8_photo.passes.TILE_HALO", halo)
        yield


def of_hyper_latents(codec: Codec, z: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Tables and means before the first pass."""
    passes = Passes(codec.network.entropy_model.layers, z, 60, shape)
    return passes.tables(), passes.means.numpy()


SMALL, SMALLEST = 16 * 7 * 6, 1  # latents in a tile


def test_small_tiles_give_the_tables_and_means_of_the_whole(photo_codec: Codec) -> None:
    z, q = random_q(34, 43)  # no multiples of 4
    assert len(hyper_tiles(*z.shape[1:])) == 1
    tables, means = of_hyper_latents(photo_codec, z, q.shape)
    for latents, at_least in ((SMALL, 4), (SMALLEST, 20)):
        with tiles_of(latents):
            assert len(hyper_tiles(*z.shape[1:])) >= at_least
            found_tables, found_means = of_hyper_latents(photo_codec, z, q.shape)
        np.testing.assert_array_equal(found_tables, tables)
        np.testing.assert_allclose(found_means, means, rtol=0, atol=1e-4)
    assert len(np.unique(tables)) > 5 and means.std() > 0.01


@pytest.mark.parametrize("halo", [0, 1])
def test_tiles_of_hyper_latents_with_too_small_a_halo_are_noticed(photo_codec: Codec, halo: int) -> None:
    """What the test above rests upon."""
    z, q = random_q(34, 43)
    tables, means = of_hyper_latents(photo_codec, z, q.shape)
    with tiles_of(SMALL, halo):
        found_tables, found_means = of_hyper_latents(photo_codec, z, q.shape)
    assert (found_tables != tables).any()
    assert np.abs(found_means - means).max() > 1e-3


def test_small_tiles_give_the_hyper_latents_of_the_whole(photo_codec: Codec) -> None:
    y = torch.from_numpy(np.random.default_rng(0).laplace(0, 0.3, (hp.N_LATENTS, 34, 43))).float()

    def found() -> np.ndarray:
        with torch.inference_mode():
            return hyper_latents(photo_codec.network.entropy_model.layers, y, 60).numpy()

    whole = found()
    assert whole.shape == (64, 9, 11) and whole.dtype == np.int8 and len(np.unique(whole)) > 5
    for latents in (SMALL, SMALLEST):
        with tiles_of(latents):
            np.testing.assert_array_equal(found(), whole)
    with tiles_of(SMALL, halo=0):
        assert (found() != whole).any()


def test_a_payload_decodes_alike_in_tiles_of_any_size(photo_codec: Codec) -> None:
    z, q = random_q(34, 43)
    whole = encoded_symbols(photo_codec, z, q, 60)
    with tiles_of(SMALL):
        assert encoded_symbols(photo_codec, z, q, 60) == whole
        assert_same(decoded_symbols(photo_codec, photo_payload(whole, q.shape)), (z, q, 60))


def test_rounding_is_the_cheapest_of_two(photo_codec: Codec) -> None:
    model = photo_codec.network.entropy_model
    random = np.random.default_rng(0)
    residual, tables = random.laplace(0, 2, 2000), random.integers(512, 1024, 2000)
    inverse_lambda = random.uniform(15, 30, 2000)
    bits = model.bits
    np.testing.assert_array_equal(bits[512:], bits[512:, ::-1])  # rounding looks at magnitudes alone
    given = (
        torch.from_numpy(values) for values in (residual.astype(np.float32), tables, inverse_lambda.astype(np.float32))
    )
    found = model.rounded(*given).numpy()
    moved = 0
    for r, table, bits_each, n in zip(residual, tables, inverse_lambda, found, strict=True):
        nearest = int(np.rint(r))
        cost = {m: bits_each * (r - m) ** 2 + bits[table, m + 127] for m in (nearest, nearest - int(np.sign(nearest)))}
        assert n in cost and cost[n] <= min(cost.values()) + 1e-3
        moved += n != nearest
    assert 20 < moved < 1000
