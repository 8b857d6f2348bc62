"""What decides on l8-photo's probabilities: networks of integers, worked out exactly, and tables; all in a file."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from latent8 import Codec
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import (
    MAX_ACTIVATION,
    MAX_SCALE_INDEX,
    L8Photo,
    all_tables,
    context_scales,
    hyper_scales,
    table_indices,
)
from latent8.zoo.weights import load_autoencoder
from tests.helpers.photo_symbols import MODEL, decoded, framed, known_before

WEIGHTS = "diffusion_pytorch_model.safetensors"
LAYERS_OF_SCALES = [
    "first",
    "second",
    "third",
    *(f"context_{n}_{layer}" for n in (0, 1) for layer in ("first", "second")),
]
INTEGERS = {"tables": torch.int32, "hyper_tables": torch.int32}
INTEGERS |= {f"scale_{layer}": torch.int16 for layer in LAYERS_OF_SCALES}
INTEGERS |= {f"scale_{layer}_bias": torch.int32 for layer in LAYERS_OF_SCALES}
# Places in a window of 3 x 3 that a context's four weights are for: corners, then sides, in reading order.
PLACES = {"context_0_first": [0, 2, 6, 8], "context_1_first": [1, 3, 5, 7]}


@pytest.fixture(scope="module")
def layers() -> L8Photo:
    return load_autoencoder(MODEL)


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """int64 [C, h, w] with [O, C, k, k] -> [O, h, w], zeros around."""
    side = weight.shape[-1]
    x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    rows = windows.transpose(0, 3, 4, 1, 2).reshape(-1, windows.shape[1] * windows.shape[2])
    sums = weight.reshape(len(weight), -1) @ rows + bias[:, None]
    return sums.reshape(len(weight), *windows.shape[1:3])


def shuffle(x: np.ndarray) -> np.ndarray:
    """[4 C, h, w] -> [C, 2 h, 2 w]"""
    n, height, width = x.shape
    return x.reshape(n // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(n // 4, 2 * height, 2 * width)


def by_hand(model: Any, x: np.ndarray, quality: int, layers: list[str], shuffled: bool) -> np.ndarray:
    """A network of scales in int64, as its specification says."""
    x = x.astype(np.int64) << 8
    for layer in layers:
        weight, bias = (getattr(model, f"scale_{layer}{kind}").long().numpy() for kind in ("", "_bias"))
        if layer in PLACES:
            window = np.zeros((*weight.shape[:2], 9), np.int64)
            window[..., PLACES[layer]] = weight
            weight = window.reshape(*weight.shape[:2], 3, 3)
        x = (convolution(x, weight, bias[quality - 1] if layer.endswith("first") else bias) + (1 << 11)) >> 12
        if layer != layers[-1]:
            x = np.clip(x, 0, 1 << 20)
            x = shuffle(x) if shuffled else x
    return np.clip(x, -16128, 16128)


class OfBuffers(SimpleNamespace):
    def get_buffer(self, name: str) -> Tensor:
        return getattr(self, name)


def extreme_integers(layers: L8Photo, one_sign: bool) -> SimpleNamespace:
    """Weights over all of their types' range; of one sign, so that all sums are the largest there can be."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, dtype in INTEGERS.items():
        if name.startswith("scale_"):
            shape, limit = layers.get_buffer(name).shape, torch.iinfo(dtype).max
            found[name] = torch.randint(-limit, limit + 1, shape, generator=generator, dtype=torch.int64).to(dtype)
            if one_sign:
                found[name] = torch.full(shape, limit, dtype=dtype)
    return OfBuffers(**found)


@pytest.mark.parametrize("weights", ["real", "random", "largest"])
def test_float64_is_exact(layers: L8Photo, weights: str) -> None:
    model: Any = layers if weights == "real" else extreme_integers(layers, weights == "largest")
    random = np.random.default_rng(0)
    for shape, (n, network) in itertools.product([(2, 3), (3, 2), (1, 2), (2, 2)], [(64, None), (240, 0), (240, 1)]):
        pictures = [
            np.rint(random.normal(0, 3, (n, *shape))),
            random.integers(-127, 128, (n, *shape)),
            np.full((n, *shape), 127),
            random.choice([-127, 127], (n, *shape)),
        ]
        for symbols, quality in itertools.product(pictures, (1, 42, 100)):
            if network is None:
                found = hyper_scales(model, torch.from_numpy(symbols.astype(np.int8)), quality)
                wanted = by_hand(model, symbols, quality, ["first", "second", "third"], shuffled=True)
                assert found.shape == (240, 4 * shape[0], 4 * shape[1]) and found.dtype == torch.int16
                np.testing.assert_array_equal(found.numpy(), wanted)
                continue
            symbols = known_before(1 + network, symbols)
            names = [f"context_{network}_{layer}" for layer in ("first", "second")]
            wanted = by_hand(model, abs(symbols), quality, names, shuffled=False)
            for row, column in hp.PASSES[1 + network]:
                found = context_scales(model, network, framed(symbols), quality, (row, column))
                assert found.dtype == torch.int16
                np.testing.assert_array_equal(found.numpy(), wanted[:, row::2, column::2])


def test_scales_add_up_to_the_nearest_table() -> None:
    one = torch.arange(-MAX_SCALE_INDEX, MAX_SCALE_INDEX + 1, 7, dtype=torch.int16)
    for other in (-MAX_SCALE_INDEX, -300, 0, 128, 5000, MAX_SCALE_INDEX):
        found = table_indices(one + torch.tensor(other, dtype=torch.int16))
        wanted = np.clip(np.floor((one.numpy().astype(float) + other) / 256 + 0.5), 0, 63)
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_no_sum_comes_near_what_float64_holds(layers: L8Photo) -> None:
    for name in LAYERS_OF_SCALES:
        largest = 127 << 8 if name.endswith("first") else MAX_ACTIVATION
        weight, bias = (layers.get_buffer(f"scale_{name}{kind}") for kind in ("", "_bias"))
        assert (weight.dtype, bias.dtype) == (torch.int16, torch.int32)
        real = largest * weight.long().abs().flatten(1).sum(1).max().item() + bias.long().abs().max().item()
        possible = largest * (weight[0].numel() << 15) + (1 << 31)  # of any weights of these types
        assert real <= possible < 2**46


def test_tables_are_whole(layers: L8Photo) -> None:
    own, hyper = layers.get_buffer("tables").long(), layers.get_buffer("hyper_tables").long()
    assert own.shape == (8, 64, 128) and hyper.shape == (8, 64, 255)
    assert (own[..., 0] + 2 * own[..., 1:].sum(-1) == 1 << 20).all() and own.min() >= 1
    assert (hyper.sum(-1) == 1 << 20).all() and hyper.min() >= 1


def test_all_tables_are_those_of_hyper_latents_then_of_latents(layers: L8Photo) -> None:
    found, hyper, own = all_tables(layers), layers.get_buffer("hyper_tables"), layers.get_buffer("tables")
    assert (found.shape, found.dtype) == ((1024, 255), torch.int32)
    for band, row in itertools.product((0, 3, 7), (0, 5, 63)):
        assert torch.equal(found[64 * band + row], hyper[band, row])
        for symbol in (-127, -126, -1, 0, 1, 126, 127):
            assert found[512 + 64 * band + row, symbol + 127] == own[band, row, abs(symbol)]


@pytest.mark.parametrize(
    "options",
    [{}, {"torch_dtype": torch.float16}, {"torch_dtype": torch.float32, "low_cpu_mem_usage": False}],
    ids=["default", "half", "plain"],
)
def test_integers_are_those_of_the_file(layers: L8Photo, options: dict[str, Any]) -> None:
    saved = load_file(Path(MODEL.location) / WEIGHTS)
    model = L8Photo.from_pretrained(MODEL.location, **options)
    assert set(dict(model.named_buffers())) == set(INTEGERS)
    for name, dtype in INTEGERS.items():
        for tensor in (saved[name], model.get_buffer(name), layers.get_buffer(name)):
            assert tensor.dtype == dtype
            assert torch.equal(tensor, saved[name])
    floats = set(saved) - set(INTEGERS)
    assert floats == set(dict(model.named_parameters()))
    assert all(saved[name].dtype == torch.float16 for name in floats)


def test_saved_and_loaded_again_it_is_the_same_model(photo_codec: Codec, sunset: np.ndarray, tmp_path: Path) -> None:
    photo_codec.network.entropy_model.layers.save_pretrained(tmp_path)
    again = Codec(replace(MODEL, source=str(tmp_path)), "cpu", torch.float32)
    assert again.network.weights_hash == photo_codec.network.weights_hash
    blob = photo_codec.encode(sunset)
    assert again.encode(sunset) == blob
    np.testing.assert_array_equal(decoded(again, blob), decoded(photo_codec, blob))
