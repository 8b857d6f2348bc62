"""l8-photo's symbols are the same on every machine: precision, threads, noise, memory layout, device, tiles."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latent8 import BlobError, Codec
from latent8.evaluation.metrics import psnr
from latent8.file_format.reader import read
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import L8Photo
from latent8.networks.tiling import Demand
from latent8.pictures.intake import pad_to_multiple
from tests.helpers.photo_symbols import MODEL, assert_same, changed, decoded, decoded_symbols, photo_payload
from tests.helpers.samples import gradient


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("quality", [3, 50, 98])
def test_symbols_of_another_precision_and_number_of_threads(
    photo_codec: Codec, half_photo_codec: Codec, sunset: np.ndarray, quality: int
) -> None:
    with threads(2):
        y = half_photo_codec.network.encode_pixels(pad_to_multiple(sunset, 16))
        model = half_photo_codec.network.entropy_model
        (z, _), (q, _) = model.symbols_and_tables(y, quality)
        sent = z, q, quality
        encoded = photo_payload(model.pack(y, quality), y.shape)
    with threads(1):
        assert_same(decoded_symbols(photo_codec, encoded), sent)
        assert psnr(sunset, decoded(photo_codec, half_photo_codec.encode(sunset, quality=quality))) > 15
    assert np.abs(sent[0]).max() > 0 and np.abs(sent[1]).max() > 0


def add_noise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.is_floating_point()
            size = 0.1 * parameter.float().abs().mean()
            parameter += (size * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype)


def test_noise_in_all_that_is_floating_point_changes_no_symbol(photo_codec: Codec, sunset: np.ndarray) -> None:
    noisy = changed(photo_codec, add_noise)
    for quality in (10, 90):
        blob = photo_codec.encode(sunset, quality=quality)
        assert_same(decoded_symbols(noisy, read(blob)), decoded_symbols(photo_codec, read(blob)))
        assert not np.array_equal(decoded(noisy, blob), decoded(photo_codec, blob))


@pytest.mark.parametrize(
    "name",
    ["scale_first", "scale_second_bias", "scale_third_bias", "scale_context_0_first", "scale_context_1_second_bias"],
)
def test_another_integer_anywhere_is_noticed(photo_codec: Codec, sunset: np.ndarray, name: str) -> None:
    """What the tests of equal symbols rest upon: these buffers, and they alone, decide on the tables."""

    def change(module: nn.Module) -> None:
        if isinstance(module, L8Photo):
            buffer = module.get_buffer(name)
            buffer += buffer.abs().max() // 3 + 1

    with pytest.raises(BlobError, match="its latents cannot be decoded"):
        changed(photo_codec, change).decode(photo_codec.encode(sunset, quality=70))


def test_memory_layout_changes_no_symbol(photo_codec: Codec, sunset: np.ndarray) -> None:
    def change(layout: torch.memory_format) -> Callable[[nn.Module], nn.Module]:
        return lambda module: module.to(memory_format=layout)  # type: ignore[call-overload]

    encoded = read(photo_codec.encode(sunset))
    found = [
        decoded_symbols(changed(photo_codec, change(layout)), encoded)
        for layout in (torch.channels_last, torch.contiguous_format)
    ]
    assert_same(*found)


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_symbols_of_another_device(photo_codec: Codec, sunset: np.ndarray, dtype: torch.dtype, device: str) -> None:
    other_codec = Codec(MODEL, device, dtype)
    assert other_codec.network.weights_hash == photo_codec.network.weights_hash
    for quality in (10, 50, 90):
        for sender, receiver in ((other_codec, photo_codec), (photo_codec, other_codec)):
            blob = sender.encode(sunset, quality=quality)
            assert_same(decoded_symbols(receiver, read(blob)), decoded_symbols(sender, read(blob)))
            assert psnr(decoded(sender, blob), decoded(receiver, blob)) > 38


def test_half_precision_is_near(photo_codec: Codec, half_photo_codec: Codec, sunset: np.ndarray) -> None:
    blob, half_blob = (one.encode(sunset, quality=60) for one in (photo_codec, half_photo_codec))
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
    monkeypatch.setattr(half_photo_codec.network.analysis, "layers", Broken(1, hp.N_LATENTS, 3, 2))
    monkeypatch.setattr(half_photo_codec.network.synthesis, "layers", Broken(1, 3, 48, 32))
    assert half_photo_codec.encode(picture) == blob
    np.testing.assert_array_equal(decoded(half_photo_codec, blob), decoded(photo_codec, blob))


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
            for parts in (network.analysis_parts, network.synthesis_parts):
                assert min(map(len, network.tiles_of_parts(parts, *latents.shape[1:]))) >= 4
            np.testing.assert_allclose(network.encode_pixels(picture), latents, rtol=0, atol=1e-4)
            assert np.abs(decoded(photo_codec, blob).astype(int) - rgb).max() <= 1


def test_sections_change_nothing(photo_codec: Codec, monkeypatch) -> None:
    network, picture = photo_codec.network, np.ascontiguousarray(gradient(1008, 640))
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents, 50).astype(int)
    monkeypatch.setattr("latent8.l8_photo.network.SECTION_PIXELS", 640 * 640)
    assert min(len(network.sections(parts, 40, 63)) for parts in (network.analysis_parts, network.synthesis_parts)) >= 2
    told: list[float] = []
    np.testing.assert_allclose(network.encode_pixels(picture, told.append), latents, rtol=0, atol=1e-4)
    assert np.abs(network.decode_latents(latents, 50, progress=told.append) - rgb).max() <= 1
    middle = told.index(1.0)
    assert told[: middle + 1] == sorted(told[: middle + 1]) and told[middle + 1 :] == sorted(told[middle + 1 :])
    assert len(told) >= 4 and told[-1] == 1.0


def test_memory_that_gets_short_during_the_call_changes_nothing(photo_codec: Codec, monkeypatch) -> None:
    picture, network = gradient(1024, 64), photo_codec.network
    latents = network.encode_pixels(picture)
    rgb = network.decode_latents(latents, 50).astype(int)
    for readings in range(1, 5):
        left = iter([1 << 40] * readings)
        monkeypatch.setattr("latent8.networks.base.free_bytes", lambda device, left=left: next(left, 0))
        np.testing.assert_allclose(network.encode_pixels(picture), latents, rtol=0, atol=1e-4)
        left = iter([1 << 40] * readings)
        monkeypatch.setattr("latent8.networks.base.free_bytes", lambda device, left=left: next(left, 0))
        assert np.abs(network.decode_latents(latents, 50) - rgb).max() <= 1


def test_halo_is_what_the_layers_see(photo_codec: Codec) -> None:
    """With weights that let nothing through but a sum, what a result depends on is where its gradient is not zero."""
    network = photo_codec.network
    analysis, synthesis = (copy.deepcopy(half.layers).float() for half in (network.analysis, network.synthesis))
    for parameter in (*analysis.parameters(), *synthesis.parameters()):
        nn.init.constant_(parameter, 0.01)
    n, at = 2 * 16 + 1, (torch.zeros(1), torch.zeros(1))  # latents in a row; level and realism

    def reach(run: Callable[[Tensor], Tensor], channels: int, cell: int) -> int:
        """Latents to each side of the middle one; `run` takes so many values in a row for each latent."""
        given = torch.ones(1, channels, cell, cell * n, requires_grad=True)
        result = run(given)
        result.unflatten(-1, (n, -1))[..., n // 2, :].sum().backward()
        assert given.grad is not None
        return int((given.grad.view(channels, cell, n, cell).abs().amax((0, 1, 3)) > 0).sum()) // 2

    latents = torch.ones(1, hp.N_LATENTS, 1, n)
    runs: list[tuple[Demand, Callable[[Tensor], Tensor], int, int]] = [
        (network.analysis_parts[0], lambda x: analysis.quarter(x)[1], 3, 16),
        (network.analysis_parts[1], analysis.eighth, hp.WIDTHS[1], 2),
        (network.analysis_parts[2], analysis.sixteenth, hp.WIDTHS[2], 1),
        (network.synthesis_parts[0], lambda x: synthesis.quarter(x, latents, *at), hp.WIDTHS[1], 2),
        (network.synthesis_parts[1], lambda x: synthesis.eighth(x, *at), hp.WIDTHS[2], 1),
        (network.synthesis_parts[2], lambda y: synthesis.sixteenth(y, *at), hp.N_LATENTS, 1),
    ]
    for demand, run, channels, cell in runs:
        assert reach(run, channels, cell) == demand.halo
