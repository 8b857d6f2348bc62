"""l8-photo: symbols that every machine decodes alike, payloads of coding 2, quality, size targets, training.

Nothing here depends on what the weights are, only on their being of some use.
"""

from __future__ import annotations

import copy
import itertools
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import constriction
import numpy as np
import pytest
import torch
from conftest import allocating_at_most, build_blob, gradient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from latent8 import BlobError, Codec, PictureError, inspect
from latent8 import hyperprior as hp
from latent8.codec import describe, read
from latent8.hyperprior_coding import Tables, checksum
from latent8.hyperprior_passes import Passes
from latent8.loading import load_photo_model
from latent8.metrics import psnr
from latent8.models import model_named
from latent8.photo_model import (
    MAX_ACTIVATION,
    MAX_SCALE,
    L8Photo,
    band_of,
    context_scales,
    hyper_scales,
    level_of,
    table_indices,
)
from latent8.pictures import pad_to_multiple
from latent8.settings import Settings
from latent8.tiling import tiles
from training import train
from training.export import export_photo, logistic, table_counts
from training.photo import PhotoTask, forward, n_bits

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"
WEIGHTS = "diffusion_pytorch_model.safetensors"
MODEL = model_named("l8-photo")
INTEGERS = {"tables": torch.int32, "hyper_tables": torch.int32}
LAYERS_OF_SCALES = [
    "first",
    "second",
    "third",
    *(f"context_{n}_{layer}" for n in (0, 1) for layer in ("first", "second")),
]
INTEGERS |= {f"scale_{layer}": torch.int16 for layer in LAYERS_OF_SCALES}
INTEGERS |= {f"scale_{layer}_bias": torch.int32 for layer in LAYERS_OF_SCALES}
DAMAGED = "The blob is damaged: its latents cannot be decoded. Encode the picture again."

Symbols = tuple[np.ndarray, np.ndarray, int]


def logistic_tables() -> torch.Tensor:
    """int32 [64, 255]: what training assumes, as counts."""
    return table_counts(logistic(torch.arange(64)))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A real one without much in it, uint8 [h, w, 3] with sides of at most 192."""
    with Image.open(EXAMPLES / "sunset.jpg") as image:
        image.thumbnail((192, 192), Image.Resampling.LANCZOS)
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def layers() -> L8Photo:
    return load_photo_model(MODEL)


def decoded(codec: Codec, blob: bytes) -> np.ndarray:
    return np.asarray(codec.decode(blob))


def decoded_symbols(codec: Codec, payload: bytes, shape: tuple[int, int, int]) -> Symbols:
    """z, q and quality, as this codec's integers decode them."""
    passes = codec.network.symbols(payload, shape)
    return passes.z, passes.q.numpy(), passes.quality


def encoded_symbols(codec: Codec, z: np.ndarray, q: np.ndarray, quality: int) -> bytes:
    """Payload of symbols that need not come from any picture."""
    network = codec.network
    passes = Passes(network._layers, z, quality, q.shape)
    groups = [(z, network._z_tables(z.shape, quality))]
    for places in passes.in_order():
        groups.append((q[places], network._q_tables(passes, places)))
        passes.q[places] = torch.from_numpy(q[places])
    return network._tables.encode(groups, quality, checksum(z, q))


def assert_same(found: Symbols, wanted: Symbols) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    assert found[2] == wanted[2]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def changed(codec: Codec, change: Callable[[nn.Module], object]) -> Codec:
    """A codec whose layers are copies that `change` was done to."""
    other = copy.copy(codec)
    other.network = copy.copy(codec.network)
    other.network._layers = copy.deepcopy(codec.network._layers)
    other.network._halves = [copy.deepcopy(half) for half in codec.network._halves]
    for module in (other.network._layers, *other.network._halves):
        change(module)
    return other


# ---- decodable everywhere


@pytest.mark.parametrize("quality", [3, 50, 98])
def test_symbols_of_another_precision_and_number_of_threads(
    photo_codec: Codec, half_photo_codec: Codec, photo: np.ndarray, quality: int
) -> None:
    with threads(2):
        y = half_photo_codec.network.encode_pixels(pad_to_multiple(photo, 16))
        (z, _), (q, _) = half_photo_codec.network.symbols_and_tables(y, quality)
        sent = z, q, quality
        payload = half_photo_codec.network.pack(y, quality)
    with threads(1):
        assert_same(decoded_symbols(photo_codec, payload, y.shape), sent)
        assert psnr(photo, decoded(photo_codec, half_photo_codec.encode(photo, quality=quality))) > 15
    assert np.abs(sent[0]).max() > 0 and np.abs(sent[1]).max() > 0


def add_noise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.is_floating_point()
            size = 0.1 * parameter.float().abs().mean()
            parameter += (size * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype)


def test_noise_in_all_that_is_floating_point_changes_no_symbol(photo_codec: Codec, photo: np.ndarray) -> None:
    noisy = changed(photo_codec, add_noise)
    for quality in (10, 90):
        blob = photo_codec.encode(photo, quality=quality)
        header, payload, _ = read(blob)
        wanted = decoded_symbols(photo_codec, payload.tobytes(), header.latent_shape)
        assert_same(decoded_symbols(noisy, payload.tobytes(), header.latent_shape), wanted)
        assert not np.array_equal(decoded(noisy, blob), decoded(photo_codec, blob))


@pytest.mark.parametrize(
    "name",
    ["scale_first", "scale_second_bias", "scale_third_bias", "scale_context_0_first", "scale_context_1_second_bias"],
)
def test_another_integer_anywhere_is_noticed(photo_codec: Codec, photo: np.ndarray, name: str) -> None:
    """What the tests of equal symbols rest upon: these buffers, and they alone, decide on the tables."""

    def change(module: nn.Module) -> None:
        if isinstance(module, L8Photo):
            buffer = module.get_buffer(name)
            buffer += buffer.abs().max() // 3 + 1

    with pytest.raises(BlobError, match="its latents cannot be decoded"):
        changed(photo_codec, change).decode(photo_codec.encode(photo, quality=70))


def test_memory_layout_changes_no_symbol(photo_codec: Codec, photo: np.ndarray) -> None:
    def change(layout: torch.memory_format) -> Callable[[nn.Module], nn.Module]:
        return lambda module: module.to(memory_format=layout)  # type: ignore[call-overload]

    header, payload, _ = read(photo_codec.encode(photo))
    found = [
        decoded_symbols(changed(photo_codec, change(layout)), payload.tobytes(), header.latent_shape)
        for layout in (torch.channels_last, torch.contiguous_format)
    ]
    assert_same(*found)


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_symbols_of_another_device(photo_codec: Codec, photo: np.ndarray, dtype: torch.dtype, device: str) -> None:
    other_codec = Codec(MODEL, device, dtype)
    assert other_codec.network.weights_hash == photo_codec.network.weights_hash
    for quality in (10, 50, 90):
        for sender, receiver in ((other_codec, photo_codec), (photo_codec, other_codec)):
            blob = sender.encode(photo, quality=quality)
            header, payload, _ = read(blob)
            wanted = decoded_symbols(sender, payload.tobytes(), header.latent_shape)
            assert_same(decoded_symbols(receiver, payload.tobytes(), header.latent_shape), wanted)
            assert psnr(decoded(sender, blob), decoded(receiver, blob)) > 38


def test_tiles_change_nothing(photo_codec: Codec, monkeypatch) -> None:
    network = photo_codec.network
    y, x = np.mgrid[:48, :1024]
    wide = np.stack([127 + 60 * np.sin(x / 7) + 60 * np.cos(y / 5), x / 4.1, 255 * ((x // 9 + y // 13) % 2)], axis=-1)
    for picture in (wide.astype(np.uint8), wide.swapaxes(0, 1).astype(np.uint8)):
        picture = np.ascontiguousarray(picture)
        blob = photo_codec.encode(picture, quality=60)
        latents, rgb = network.encode_pixels(picture), decoded(photo_codec, blob)
        with monkeypatch.context() as patch:
            patch.setattr(network, "max_bytes", 1)
            for demand in network._demands:
                assert len(list(tiles(*latents.shape[1:], demand, 16, 1))) >= 4
            np.testing.assert_allclose(network.encode_pixels(picture), latents, rtol=0, atol=1e-4)
            assert np.abs(decoded(photo_codec, blob).astype(int) - rgb).max() <= 1


def test_halo_is_what_the_layers_see(photo_codec: Codec) -> None:
    """With weights that let nothing through but a sum, what a result depends on is where its gradient is not zero."""
    analysis, synthesis = (copy.deepcopy(half).float() for half in photo_codec.network._halves)
    for parameter in (*analysis.parameters(), *synthesis.parameters()):
        nn.init.constant_(parameter, 0.01)
    n = 2 * 16 + 1  # latents in a row
    pixels = torch.ones(1, 3, 16, 16 * n, requires_grad=True)
    analysis(pixels)[..., n // 2].sum().backward()
    latents = torch.ones(1, 160, 1, n, requires_grad=True)
    synthesis(latents, torch.zeros(1)).view(3, 16, n, 16)[:, :, n // 2].sum().backward()
    assert pixels.grad is not None and latents.grad is not None
    seen = pixels.grad.view(3, 16, n, 16).abs().amax((0, 1, 3)), latents.grad.view(160, n).abs().amax(0)
    for demand, strength in zip(photo_codec.network._demands, seen, strict=True):
        reach = (strength > 0).sum().item() // 2
        assert reach <= demand.halo <= reach + 2


# ---- the integer network


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
        x = (convolution(x, weight, bias[quality - 1] if layer.endswith("first") else bias) + (1 << 11)) >> 12
        if layer != layers[-1]:
            x = np.clip(x, 0, 1 << 20)
            x = shuffle(x) if shuffled else x
    return np.clip(x, -16128, 16128)


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


def known_before(number: int, symbols: np.ndarray) -> np.ndarray:
    """Symbols [160, h, w] with those of the pass of that number and of later ones set to 0."""
    known = np.zeros_like(symbols)
    for row, column in (phase for phases in hp.PASSES[:number] for phase in phases):
        known[:, row::2, column::2] = symbols[:, row::2, column::2]
    return known


def framed(symbols: np.ndarray) -> Tensor:
    """int8, with a zero more on each side."""
    return torch.from_numpy(np.pad(symbols.astype(np.int8), ((0, 0), (1, 1), (1, 1))))


class OfBuffers(SimpleNamespace):
    def get_buffer(self, name: str) -> Tensor:
        return getattr(self, name)


@pytest.mark.parametrize("weights", ["real", "random", "largest"])
def test_float64_is_exact(layers: L8Photo, weights: str) -> None:
    model: Any = layers if weights == "real" else extreme_integers(layers, weights == "largest")
    random = np.random.default_rng(0)
    for shape, (n, network) in itertools.product([(2, 3), (3, 2), (1, 2), (2, 2)], [(64, None), (160, 0), (160, 1)]):
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
                assert found.shape == (160, 4 * shape[0], 4 * shape[1]) and found.dtype == torch.int16
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
    one = torch.arange(-MAX_SCALE, MAX_SCALE + 1, 7, dtype=torch.int16)
    for other in (-MAX_SCALE, -300, 0, 128, 5000, MAX_SCALE):
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


# ---- passes


def random_q(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """z and q of a picture of some latents, mostly small."""
    random = np.random.default_rng(seed)
    z = np.rint(random.normal(0, 2, (64, -(-height // 4), -(-width // 4)))).clip(-127, 127)
    q = np.rint(random.laplace(0, 2, (160, height, width))).clip(-127, 127)
    return z.astype(np.int8), q.astype(np.int8)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (4, 1), (2, 2), (7, 6)])
def test_passes_go_over_every_latent_once(photo_codec: Codec, height: int, width: int) -> None:
    z, _ = random_q(height, width)
    passes = Passes(photo_codec.network._layers, z, 50, (160, height, width))
    times = np.zeros((160, height, width), int)
    for places in passes.in_order():
        times[places] += 1
    assert (times == 1).all()


def test_a_pass_knows_earlier_ones_alone(photo_codec: Codec) -> None:
    """Symbols change the tables and means of later passes next to them, and nothing that was given before."""
    layers = photo_codec.network._layers
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
        monkeypatch.setattr("latent8.hyperprior_passes.BAND_POSITIONS", positions)
        passes = Passes(photo_codec.network._layers, z, 70, q.shape)
        for places in passes.in_order():
            passes.q[places] = torch.from_numpy(q[places])
        found.append((passes.tables(), passes.means.numpy()))
    for tables, means in found[1:]:
        np.testing.assert_array_equal(tables, found[0][0])
        np.testing.assert_allclose(means, found[0][1], rtol=0, atol=1e-4)


def test_rounding_is_the_cheapest_of_two(photo_codec: Codec) -> None:
    network = photo_codec.network
    random = np.random.default_rng(0)
    residual, tables = random.laplace(0, 2, 2000), random.integers(512, 1024, 2000)
    bits = network._tables.bits()
    symmetric = (bits + bits[:, ::-1]) / 2
    found = network._rounded(torch.from_numpy(residual).float(), torch.from_numpy(tables)).numpy()
    moved = 0
    for r, table, n in zip(residual, tables, found, strict=True):
        nearest = int(np.rint(r))
        cost = {
            m: hp.DISTORTION_BITS * (r - m) ** 2 + symmetric[table, m + 127]
            for m in (nearest, nearest - int(np.sign(nearest)))
        }
        assert n in cost and cost[n] <= min(cost.values()) + 1e-3
        moved += n != nearest
    assert 20 < moved < 1000


# ---- the weights file


def test_tables_are_whole(layers: L8Photo) -> None:
    for tables in (layers.tables, layers.hyper_tables):
        assert tables.shape == (8, 64, 255)
        assert (tables.long().sum(-1) == 1 << 20).all() and tables.min() >= 1


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


def test_saved_and_loaded_again_it_is_the_same_model(photo_codec: Codec, photo: np.ndarray, tmp_path: Path) -> None:
    photo_codec.network._layers.save_pretrained(tmp_path)
    again = Codec(replace(MODEL, source=str(tmp_path)), "cpu", torch.float32)
    assert again.network.weights_hash == photo_codec.network.weights_hash
    blob = photo_codec.encode(photo)
    assert again.encode(photo) == blob
    np.testing.assert_array_equal(decoded(again, blob), decoded(photo_codec, blob))


# ---- payloads of coding 2


@pytest.fixture(scope="module")
def coder() -> Tables:
    return Tables(logistic_tables().numpy())


def random_symbols(height: int, width: int, spread: float, seed: int) -> tuple[np.ndarray, ...]:
    """z, tables of z, q, tables of q: the tables fit nothing."""
    random = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for shape in ((64, -(-height // 4), -(-width // 4)), (160, height, width)):
        symbols = np.rint(random.normal(0, spread, shape))
        symbols[random.random(shape) < 0.02] = -127
        symbols[random.random(shape) < 0.02] = 127
        found += [symbols.clip(-127, 127).astype(np.int8), random.integers(0, 64, shape, np.uint8)]
    return tuple(found)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    spread=st.sampled_from([0.0, 0.3, 4.0, 100.0]),
    quality=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
)
@example(height=1, width=1, spread=0.0, quality=1, seed=0)
def test_round_trip_of_any_symbols(
    coder: Tables, height: int, width: int, spread: float, quality: int, seed: int
) -> None:
    z, z_table, q, q_table = random_symbols(height, width, spread, seed)
    payload = coder.encode([(z, z_table), (q[:0], q_table[:0]), (q, q_table)], quality, checksum(z, q))
    assert (len(payload) - 5) % 4 == 0
    decoder = coder.decoder(payload)
    found = decoder.decode(z_table), decoder.decode(q_table[:0]), decoder.decode(q_table)
    assert [group.dtype for group in found] == [np.int8] * 3
    assert_same((found[0], found[2], decoder.quality), (z, q, quality))
    decoder.check(z, q)
    for wrong in ((z, q ^ 1), (z ^ 1, q)):
        with pytest.raises(BlobError, match="cannot be decoded"):
            decoder.check(*wrong)


def test_payload_is_as_specified(photo_codec: Codec, layers: L8Photo) -> None:
    """Written symbol by symbol from the specification, not with the coder's own grouping."""
    z, q = random_q(3, 4)
    quality, band = 77, 5
    passes = Passes(photo_codec.network._layers, z, quality, q.shape)
    for places in passes.in_order():
        passes.q[places] = torch.from_numpy(q[places])
    tables = passes.tables()
    encoder = constriction.stream.queue.RangeEncoder()

    def write(counts: np.ndarray, symbols: Any) -> None:
        model = constriction.stream.model.Categorical(counts / 2.0**20, perfect=False)
        for symbol in symbols:
            encoder.encode(int(symbol) + 127, model)

    for channel in range(64):
        write(layers.hyper_tables[band, channel].numpy(), z[channel].ravel())
    for row, column in ((0, 0), (1, 1), (0, 1), (1, 0)):
        there, there_tables = q[:, row::2, column::2], tables[:, row::2, column::2]
        for table in range(64):
            write(layers.tables[band, table].numpy(), there[there_tables == table])
    crc = zlib.crc32(bytes(symbol & 255 for symbol in [*z.ravel().tolist(), *q.ravel().tolist()]))
    wanted = struct.pack("<BI", quality, crc) + encoder.get_compressed().astype("<u4").tobytes()
    assert encoded_symbols(photo_codec, z, q, quality) == wanted


def photo_blob(payload: bytes, weights: bytes = b"\xde\xad\xbe\xef", **fields: Any) -> bytes:
    """A blob of l8-photo with this payload, whatever it is, and a right checksum; by default of 16 x 16 pixels."""
    fields = {"width": 16, "height": 16, "low": -127.0, "high": 127.0, "top": 254, **fields}
    return build_blob(model_id=3, channels=160, stride=16, coding=2, weights=weights, payload=payload, **fields)


def refusal(codec: Codec, blob: bytes, in_header: bool) -> str:
    """The sentence that a blob is refused with; `in_header`: already by `inspect`, without a model."""
    with pytest.raises(BlobError) as found:
        codec.decode(blob)
    if in_header:
        with pytest.raises(BlobError) as found_in_header:
            inspect(blob)
        assert str(found_in_header.value) == str(found.value)
    else:
        inspect(blob)
    return str(found.value)


HEAD = b"\x32" + bytes(4)  # quality 50


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x32", HEAD[:4], b"\x00" + bytes(8), b"\x65" + bytes(8), b"\xff" + bytes(8), HEAD + b"1", HEAD + b"12345"],
    ids=["empty", "quality alone", "half a head", "quality 0", "quality 101", "quality 255", "odd", "odd, longer"],
)
def test_payloads_that_cannot_be_latents_refused(photo_codec: Codec, payload: bytes) -> None:
    blob = photo_blob(payload, photo_codec.network.weights_hash)
    wanted = f"The blob is not valid: {len(payload)} bytes cannot be coded latents."
    assert refusal(photo_codec, blob, in_header=True) == wanted


def test_too_few_bytes_for_the_size_refused(photo_codec: Codec) -> None:
    sides = {"width": 1 << 12, "height": 1 << 12}
    n_symbols = 160 * 256 * 256
    n_bytes = n_symbols * 0.00034 / 8
    short, enough = (HEAD + bytes(round(n_bytes / 4) * 4 + extra) for extra in (-40, 40))
    with allocating_at_most(100_000):
        message = refusal(photo_codec, photo_blob(short, photo_codec.network.weights_hash, **sides), in_header=True)
    assert message == f"The blob is not valid: {len(short)} bytes cannot hold {n_symbols} latents."
    assert inspect(photo_blob(enough, **sides)).latent_shape == (160, 256, 256)


def test_the_likeliest_symbols_are_not_refused(coder: Tables) -> None:
    """The bound on symbols per byte must hold for what an encoder can write."""
    counts = np.ones((1, 255), np.int64)
    counts[0, 127] = (1 << 20) - 254
    z, q = np.zeros((64, 64, 64), np.int8), np.zeros((160, 256, 256), np.int8)
    payload = Tables(counts).encode([(z, np.zeros_like(z)), (q, np.zeros_like(q))], 1, checksum(z, q))
    assert inspect(photo_blob(payload, width=1 << 12, height=1 << 12)).quality == 1


def test_symbols_that_are_not_those_of_the_checksum_refused(photo_codec: Codec) -> None:
    pictures = gradient(40, 30), gradient(40, 30)[::-1]
    first, second = (read(photo_codec.encode(picture))[1].tobytes() for picture in pictures)
    fields = {"weights": photo_codec.network.weights_hash, "width": 40, "height": 30}
    for payload in (first, second):
        assert photo_codec.decode(photo_blob(payload, **fields)).size == (40, 30)
    for payload in (first[:5] + second[5:], first[:1] + bytes([first[1] ^ 1]) + first[2:]):
        assert refusal(photo_codec, photo_blob(payload, **fields), in_header=False) == DAMAGED
    other_quality = bytes([100]) + first[1:]
    assert refusal(photo_codec, photo_blob(other_quality, **fields), in_header=False) == DAMAGED


@settings(deadline=None, max_examples=60)
@given(
    quality=st.integers(1, 100),
    rest=st.binary(max_size=600),
    fill=st.sampled_from([None, b"\x00", b"\xff"]),
    width=st.integers(1, 100),
    height=st.integers(1, 60),
)
@example(quality=1, rest=b"", fill=b"\x00", width=1, height=1)
@example(quality=100, rest=bytes(600), fill=b"\xff", width=100, height=60)
def test_random_payloads_refused(
    photo_codec: Codec, quality: int, rest: bytes, fill: bytes | None, width: int, height: int
) -> None:
    rest = rest[: len(rest) // 4 * 4]
    words = fill * len(rest) if fill else rest
    for crc in (bytes(4), rest[-4:].rjust(4)):
        blob = photo_blob(bytes([quality]) + crc + words, photo_codec.network.weights_hash, width=width, height=height)
        assert refusal(photo_codec, blob, in_header=False) == DAMAGED


def test_no_flipped_bit_gives_other_symbols(photo_codec: Codec) -> None:
    """With the checksum of the blob put right: refused, or what the coder's last bits leave open."""
    header, payload, _ = read(photo_codec.encode(gradient(64, 64), quality=70))
    good = payload.tobytes()
    wanted = decoded_symbols(photo_codec, good, header.latent_shape)
    refused = 0
    for position in (*range(5), *range(5, len(good), 7), len(good) - 1):
        damaged = bytearray(good)
        damaged[position] ^= 1 << position % 8
        blob = photo_blob(bytes(damaged), photo_codec.network.weights_hash, width=64, height=64)
        try:
            photo_codec.decode(blob)
        except BlobError:
            refused += 1
        else:
            assert_same(decoded_symbols(photo_codec, bytes(damaged), header.latent_shape)[:2] + (70,), wanted)
    assert refused > 10


def test_symbols_at_their_limits_decode(photo_codec: Codec, half_photo_codec: Codec) -> None:
    network = photo_codec.network
    for z_value, q_value in ((127, -127), (-127, 127)):
        z, q = np.full((64, 1, 1), z_value, np.int8), np.full((160, 2, 3), q_value, np.int8)
        for quality in (1, 100):
            payload = encoded_symbols(photo_codec, z, q, quality)
            blob = photo_blob(payload, network.weights_hash, width=48, height=32)
            for codec in (photo_codec, half_photo_codec):
                assert codec.decode(blob).size == (48, 32)


def test_codings_of_other_models_refused(codec: Codec, photo_codec: Codec) -> None:
    hyperprior = build_blob(coding=2, payload=HEAD + bytes(8), weights=codec.network.weights_hash)
    wanted = "The blob is not valid: l8-tiny does not code latents in its way."
    assert refusal(codec, hyperprior, in_header=True) == wanted

    fields: dict[str, Any] = {"model_id": 3, "channels": 160, "stride": 16, "width": 256, "height": 256}
    for coding, n_bytes in ((0, 160 * 16 * 16), (1, 160 * 20 + 160 * 159 // 2 + 4000)):
        blob = build_blob(coding=coding, payload=bytes(n_bytes), weights=photo_codec.network.weights_hash, **fields)
        wanted = "The blob is not valid: l8-photo does not code latents in its way."
        assert refusal(photo_codec, blob, in_header=True) == wanted


def test_blob_for_another_codec_refused(codec: Codec, photo_codec: Codec) -> None:
    blob = photo_codec.encode(gradient(20, 20))
    wanted = "The blob holds l8-photo latents, and l8-tiny decodes l8-tiny latents: decode it with l8-photo."
    assert refusal(codec, blob, in_header=False) == wanted
    good = photo_codec.network.weights_hash
    other = photo_blob(read(blob)[1].tobytes(), bytes([good[0] ^ 1]) + good[1:], width=20, height=20)
    wanted = "The blob was made with other weights of l8-photo: decode it with the release it is of."
    assert refusal(photo_codec, other, in_header=False) == wanted


# ---- quality and size


def test_quality_makes_larger_and_better_pictures(photo_codec: Codec, photo: np.ndarray) -> None:
    qualities = [1, *range(10, 101, 10)]
    blobs = [photo_codec.encode(photo, quality=quality) for quality in qualities]
    sizes = [len(blob) for blob in blobs]
    assert sizes == sorted(set(sizes))
    assert [inspect(blob).quality for blob in blobs] == qualities
    found = [psnr(photo, decoded(photo_codec, blob)) for blob in blobs]
    rising = found[: qualities.index(80) + 1]
    assert rising == sorted(set(rising)) and found[0] > 20
    if found != sorted(found):
        warnings.warn(f"PSNR falls at the top: {[round(x, 2) for x in found[-3:]]}", stacklevel=1)


def test_quality_is_50_unless_asked_for(photo_codec: Codec, photo: np.ndarray) -> None:
    assert photo_codec.encode(photo) == photo_codec.encode(photo, quality=50)


def test_size_targets_are_kept_and_used(photo_codec: Codec, photo: np.ndarray) -> None:
    smallest, largest = (len(photo_codec.encode(photo, quality=quality)) for quality in (1, 100))
    for share in (0.05, 0.2, 0.7):
        target = round(smallest + share * (largest - smallest))
        assert 0.7 * target <= len(photo_codec.encode(photo, target_bytes=target)) <= target
    bpp = 0.5 * (smallest + largest) * 8 / (photo.shape[0] * photo.shape[1])
    assert 0.7 * bpp <= inspect(photo_codec.encode(photo, target_bpp=bpp)).bpp <= bpp
    for target in (largest, 1 << 40):
        assert inspect(photo_codec.encode(photo, target_bytes=target)).quality == 100
    assert len(photo_codec.encode(photo, target_bytes=smallest)) <= smallest


def test_size_targets_are_of_the_whole_blob(photo_codec: Codec, photo: np.ndarray) -> None:
    alpha = np.random.default_rng(0).integers(0, 255, photo.shape[:2], np.uint8)
    picture = np.dstack([photo, alpha])
    target = len(photo_codec.encode(picture, quality=60, stem="a long name " * 10))
    blob = photo_codec.encode(picture, target_bytes=target, stem="a long name " * 10)
    assert 0.9 * target < len(blob) <= target and inspect(blob).alpha_bytes > 0.5 * target
    assert inspect(blob).quality in range(60, 66)


@pytest.mark.parametrize("target", [{"target_bytes": 60}, {"target_bpp": 0.01}, {"target_bytes": 1}])
def test_target_that_cannot_be_met(photo_codec: Codec, target: dict[str, Any]) -> None:
    picture = gradient(200, 100)
    limit = target.get("target_bytes", 25)
    least = len(photo_codec.encode(picture, quality=1))
    with pytest.raises(PictureError) as found:
        photo_codec.encode(picture, **target)
    assert str(found.value) == (
        f"This picture cannot be kept in {limit} bytes: it takes {least:,} at the lowest quality. Shrink it, or allow "
        "more."
    )


SIZES = [(1, 1), (37, 1021), (16, 16), (64, 64), (63, 65), (65, 17)]


@pytest.mark.parametrize("width, height", SIZES)
def test_sizes_are_exact(photo_codec: Codec, width: int, height: int) -> None:
    picture = gradient(width, height)
    blob = photo_codec.encode(picture, quality=60)
    header = inspect(blob)
    assert (header.width, header.height) == (width, height)
    assert header.latent_shape == (160, -(-height // 16), -(-width // 16))
    result = photo_codec.decode(blob)
    assert (result.size, result.mode) == ((width, height), "RGB")
    if min(width, height) >= 16:
        assert psnr(picture, np.asarray(result)) > 25


def test_alpha_is_kept_bit_for_bit(photo_codec: Codec) -> None:
    alpha = np.random.default_rng(0).integers(0, 255, (43, 61), np.uint8)
    result = photo_codec.decode(photo_codec.encode(np.dstack([gradient(61, 43), alpha])))
    assert (result.mode, result.size) == ("RGBA", (61, 43))
    np.testing.assert_array_equal(np.asarray(result)[..., 3], alpha)


def test_same_bytes_twice(photo_codec: Codec, photo: np.ndarray) -> None:
    for options in ({}, {"quality": 7}, {"target_bpp": 1.5}):
        blob = photo_codec.encode(photo, **options)
        assert photo_codec.encode(photo, **options) == blob
        np.testing.assert_array_equal(decoded(photo_codec, blob), decoded(photo_codec, blob))


def test_half_precision_is_near(photo_codec: Codec, half_photo_codec: Codec, photo: np.ndarray) -> None:
    blob, half_blob = (one.encode(photo, quality=60) for one in (photo_codec, half_photo_codec))
    assert abs(len(blob) - len(half_blob)) < 0.02 * len(blob)
    exact = decoded(photo_codec, blob)
    for other in (decoded(photo_codec, half_blob), decoded(half_photo_codec, blob)):
        assert psnr(exact, other) > 38


class Broken(nn.Module):
    """Gives zeros of the right shape, and one NaN."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        result = torch.zeros(self.shape, dtype=x.dtype)
        result.view(-1)[-1] = torch.nan
        return result


def test_what_is_not_finite_is_done_again_in_float32(photo_codec: Codec, half_photo_codec: Codec, monkeypatch) -> None:
    picture = gradient(32, 48)
    blob = photo_codec.encode(picture)
    monkeypatch.setattr(half_photo_codec.network, "_halves", (Broken(1, 160, 3, 2), Broken(1, 3, 48, 32)))
    assert half_photo_codec.encode(picture) == blob
    np.testing.assert_array_equal(decoded(half_photo_codec, blob), decoded(photo_codec, blob))


def test_describe(photo_codec: Codec) -> None:
    blob = photo_codec.encode(gradient(50, 40), quality=37, stem="x")
    found = describe(inspect(blob))
    assert found == {
        "model": "l8-photo",
        "space": "l8-photo",
        "width": 50,
        "height": 40,
        "latents": "160 x 3 x 4",
        "quality": 37,
        "coding": "entropy-coded, hyperprior",
        "bytes": len(blob),
        "bpp": round(len(blob) * 8 / 2000, 4),
        "alpha": "opaque",
        "name": "x",
    }


def test_golden_photo_blob_stays_decodable(photo_codec: Codec, golden) -> None:
    """The blob, a checksum of its symbols and the picture they stand for, as they were when it was written."""
    y, x = np.mgrid[:75, :101]
    picture = np.dstack([gradient(101, 75), (x * 5 + y * 3) % 256]).astype(np.uint8)
    picture[20:50, 30:70, :3] ^= 0x55  # something with edges
    blob = golden("photo.l8", lambda: photo_codec.encode(picture, quality=60, stem="golden photo"))
    header, payload, _ = read(blob)
    assert (header.width, header.height, header.stem) == (101, 75, "golden photo")
    assert (header.model_id, header.quality, header.latent_shape) == (3, 60, (160, 5, 7))

    z, q, _ = decoded_symbols(photo_codec, payload.tobytes(), header.latent_shape)
    crc = f"{zlib.crc32(z.tobytes() + q.tobytes()):08x}\n".encode()
    assert golden("photo.crc32", lambda: crc) == crc

    result = photo_codec.decode(blob)
    pixels = np.asarray(result)
    wanted = np.frombuffer(golden("photo.rgba", pixels.tobytes), np.uint8).reshape(75, 101, 4)
    np.testing.assert_array_equal(pixels[..., 3], picture[..., 3])
    difference = np.abs(pixels.astype(int) - wanted)
    assert difference.max() <= 2 and difference.mean() < 0.1
    visible = picture[..., 3] > 0
    assert psnr(picture[visible][None, :, :3], pixels[visible][None, :, :3]) > 20


# ---- options


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quality": 0}, "quality must be from 1 to 100, not 0"),
        ({"quality": 101}, "quality must be from 1 to 100, not 101"),
        ({"target_bytes": 0}, "target_bytes must be above 0, not 0"),
        ({"target_bpp": 0.0}, "target_bpp must be a number above 0, not 0.0"),
        ({"target_bpp": -1.5}, "target_bpp must be a number above 0, not -1.5"),
        ({"target_bpp": float("nan")}, "target_bpp must be a number above 0, not nan"),
        ({"target_bpp": float("inf")}, "target_bpp must be a number above 0, not inf"),
        ({"levels": 64}, "levels is for models without a hyperprior: l8-photo takes quality"),
        ({"quality": 9, "target_bytes": 9}, "give either quality or target_bytes"),
        ({"target_bytes": 9, "target_bpp": 0.5}, "give either target_bytes or target_bpp"),
    ],
    ids=str,
)
def test_wrong_options(photo_codec: Codec, options: dict[str, Any], message: str) -> None:
    for check in (lambda: Settings(**options).check(MODEL), lambda: photo_codec.encode(gradient(9, 9), **options)):
        with pytest.raises(ValueError) as found:
            check()
        assert str(found.value) == message


@pytest.mark.parametrize("option", ["quality", "target_bytes", "target_bpp"])
def test_options_for_models_with_a_hyperprior_alone(codec: Codec, option: str) -> None:
    wanted = f"^{option} is for models with a hyperprior: l8-tiny takes levels$"
    with pytest.raises(ValueError, match=wanted):
        codec.encode(gradient(9, 9), **{option: 50})
    with pytest.raises(ValueError, match=wanted.replace("l8-tiny", "taesd")):
        Settings(**{option: 50}).check(model_named("taesd"))


def test_good_options() -> None:
    for options in ({}, {"quality": 1}, {"quality": 100}, {"target_bytes": 1}, {"target_bpp": 0.01}):
        Settings(**options).check(MODEL)
    for options in ({}, {"levels": 16}, {"levels": 256}):
        Settings(**options).check(model_named("l8-tiny"))


# ---- training


def test_loss_falls_on_one_batch(photo: np.ndarray, tmp_path: Path) -> None:
    options = [str(tmp_path), "--model", "l8-photo", "--out", str(tmp_path / "run"), "--device", "cpu", "--lr", "1e-3"]
    trainer = train.Trainer(train.parse_args(options))
    trainer.step = 200  # the warm-up is over
    pixels = torch.tensor(photo[-64:, -64:]).permute(2, 0, 1)[None].float() / 255
    losses = []
    for _ in range(15):
        torch.manual_seed(0)  # the same levels and noise each time
        losses.append(trainer.train_step(pixels)["loss"])
    assert losses[-1] < 0.9 * losses[0]
    assert trainer.guard.skipped == 0


def test_every_layer_is_trained(photo: np.ndarray) -> None:
    torch.manual_seed(0)
    task = PhotoTask(None, 0.0)
    model = task.new_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)  # what starts at zero lets no gradient through
    pixels = torch.tensor(photo[:64, :64]).permute(2, 0, 1).float().expand(6, -1, -1, -1) / 255
    task.loss(model, pixels)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    grouped = [
        p for optimiser in task.optimisers(model, 1.0) for group in optimiser.param_groups for p in group["params"]
    ]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(model.parameters()))


def test_bits_of_training_are_those_of_the_tables() -> None:
    symbols = torch.arange(-30, 31)
    for index in (10, 25, 40, 55):
        counted = -torch.log2(logistic_tables()[index, symbols + 127].double() / 2**20)
        x = symbols.double().view(-1, 1, 1, 1)
        estimated = n_bits(x, torch.full_like(x, index))
        likely = counted < 14
        assert likely.sum() >= 3
        torch.testing.assert_close(estimated[likely], counted[likely], rtol=0.002, atol=0.01)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[hp.Hyperprior, Codec]:
    """A new model whose scales depend on all they can depend on, and the codec that it is exported as."""
    torch.manual_seed(0)
    model = PhotoTask(None, 0.0).new_model()
    assert isinstance(model, hp.Hyperprior)
    with torch.no_grad():
        model.scale.third.weight *= 30
        for context in (*model.mean_contexts, *model.scale_contexts):
            for parameter in context.parameters():
                parameter += 0.03 * torch.randn(parameter.shape)
        for rows, size in ((model.scale.condition.rows, 0.2), (model.hyper_scale.rows, 8.0)):
            rows += size * torch.randn(rows.shape)
    folder = tmp_path_factory.mktemp("fresh")
    torch.save({"ema": model.state_dict()}, folder / "checkpoint.pt")
    export_photo(folder / "checkpoint.pt", folder / "weights")
    return model, Codec(replace(MODEL, source=str(folder / "weights")), "cpu", torch.float32)


def test_exported_model_is_a_working_codec(fresh: tuple[hp.Hyperprior, Codec]) -> None:
    _, codec = fresh
    picture = gradient(100, 70)
    blobs = [codec.encode(picture, quality=quality) for quality in (20, 80)]
    assert [codec.decode(blob).size for blob in blobs] == [(100, 70)] * 2
    low, high = (psnr(picture, decoded(codec, blob)) for blob in blobs)
    assert 25 < low < high  # a new model is a DCT
    assert codec.network._layers.get_buffer("tables").equal(logistic_tables().expand(8, -1, -1))


@pytest.mark.parametrize("quality", [1, 30, 63, 100])
def test_integers_agree_with_what_was_trained(fresh: tuple[hp.Hyperprior, Codec], quality: int) -> None:
    model, codec = fresh
    z = torch.randint(-6, 7, (64, 3, 4), generator=torch.Generator().manual_seed(quality))
    level = torch.tensor([level_of(quality)])
    with torch.no_grad():
        trained = [model.scale(z[None].float(), level)[0]]
        q = torch.randint(-60, 61, (160, 5, 6), generator=torch.Generator().manual_seed(quality)).to(torch.int8)
        for number, context in enumerate(model.scale_contexts, 1):
            known = torch.from_numpy(known_before(number, q.numpy()))
            of_all = context(known[None].float().abs(), level)[0]
            trained += [of_all[:, row::2, column::2] for row, column in hp.PASSES[number]]
        hyper = model.hyper_scale(torch.tensor([float(band_of(quality))])).flatten()
    layers = codec.network._layers
    exported = [hyper_scales(layers, z, quality)]
    for number in (1, 2):
        known = framed(known_before(number, q.numpy()))
        exported += [context_scales(layers, number - 1, known, quality, phase) for phase in hp.PASSES[number]]
    for integers, scales in zip(exported, trained, strict=True):
        torch.testing.assert_close(integers / 256, scales.clamp(-63, 63), rtol=0.01, atol=0.4)
        assert scales.round().unique().numel() > 5  # not equal for being flat
    assert torch.equal(layers.hyper_tables[band_of(quality)], table_counts(logistic(hyper)))


def test_codec_does_what_training_did(fresh: tuple[hp.Hyperprior, Codec], photo: np.ndarray) -> None:
    """Contexts, passes, rounding, levels and gains mean the same to both."""
    model, codec = fresh
    pixels = np.ascontiguousarray(photo[:64, :128])
    for quality in (20, 80):
        level = torch.tensor([level_of(quality)])
        with torch.no_grad():
            trained = forward(model, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, level)[0]
        wanted = trained[0].permute(1, 2, 0).mul(255).clamp(0, 255).numpy()
        found = decoded(codec, codec.encode(pixels, quality=quality)).astype(float)
        assert np.abs(found - wanted).mean() < 1.5  # whole levels, and half precision; 3 and more where one part is off


def test_tables_are_counted_from_photos(fresh: tuple[hp.Hyperprior, Codec], tmp_path: Path) -> None:
    """Counted on a photo, the tables code that photo in fewer bytes than those that training assumes."""
    model, assumed = fresh
    picture = (gradient(192, 128) + np.random.default_rng(0).integers(0, 40, (128, 192, 3))).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture).resize((288, 192)).save(tmp_path / "photos" / "photo.png")
    torch.save({"ema": model.state_dict()}, tmp_path / "checkpoint.pt")
    export_photo(tmp_path / "checkpoint.pt", tmp_path / "weights", tmp_path / "photos")
    counted = Codec(replace(MODEL, source=str(tmp_path / "weights")), "cpu", torch.float32)
    for quality in (30, 80):
        assert len(counted.encode(picture, quality=quality)) < 0.95 * len(assumed.encode(picture, quality=quality))
    assert decoded(counted, counted.encode(picture)).shape == picture.shape


def test_payload_takes_what_its_tables_say(photo_codec: Codec) -> None:
    network = photo_codec.network
    picture = (gradient(128, 128) + np.random.default_rng(0).integers(0, 40, (128, 128, 3))).astype(np.uint8)
    y = network.encode_pixels(picture)
    for quality in (40, 80):
        bits = 0.0
        for symbols, tables in network.symbols_and_tables(y, quality):
            bits += network.bits[tables.ravel(), symbols.ravel().astype(int) + 127].sum(dtype=np.float64)
        assert 8 * len(network.pack(y, quality)) == pytest.approx(bits + 8 * 5, rel=0.001, abs=64)
