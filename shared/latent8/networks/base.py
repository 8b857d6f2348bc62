"""A loaded model: pictures -> latents -> pictures, on one device, as fast as it goes there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latent8.errors import ModelError
from latent8.machine.memory import free_bytes
from latent8.machine.pauses import pause
from latent8.networks.tiling import Demand, Tile, scaled, tiles
from latent8.zoo.registry import Model

MAX_ACTIVATION_BYTES = 2 << 30  # pictures that take more, or more than half of the free memory, are run in tiles
Progress = Callable[[float], object]  # called after each tile with the share that is done, 0 ... 1


class Half:
    """One half of a network on a device, analysis or synthesis: its layers, and their demand of halo and memory.

    The layers run in `dtype`. Where half precision gives numbers that are not finite, the call is repeated in float32;
    ModelError is raised if that does not help, and where the device's memory is full.
    """

    def __init__(self, layers: nn.Module, demand: Demand, device: torch.device, dtype: torch.dtype, model: str):
        self.demand, self.dtype = demand, dtype
        self._device, self._model = device, model
        self.exact = layers
        self.layers = self._prepared(dtype)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the layers on tensors of any float type -> their output, or the first of several, in float32."""
        return self.run(nn.Module.__call__, *inputs)[0]

    @torch.inference_mode()
    def run(self, call: Callable[..., Any], *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run call(layers, *inputs), where `call` is a method of the layers' class -> its outputs, in float32."""
        try:
            inputs = tuple(x.to(self._device) for x in inputs)
            outputs = _outputs(call, self.layers, inputs, self.dtype)
            if not _all_finite(outputs) and self.dtype != torch.float32:
                outputs = _outputs(call, self._prepared(torch.float32), inputs, torch.float32)
        except torch.OutOfMemoryError:
            raise ModelError(f"The memory of {self._device} is full: end what else uses it, or take the CPU.") from None
        if not _all_finite(outputs):
            raise ModelError(f"{self._model} gave numbers that are not finite: its weights do not fit this input.")
        return outputs

    def _prepared(self, dtype: torch.dtype) -> nn.Module:
        as_it_is = dtype == torch.float32 and self._device.type == "cpu"
        prepared = self.exact if as_it_is else copy.deepcopy(self.exact)  # the original is kept for float32
        prepared = prepared.eval().requires_grad_(False)
        for layer in prepared.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # all follow a convolution or a sum, which nothing else reads
        return prepared.to(self._device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


class Network:
    """The two halves of a model, run whole or in tiles.

    analysis: RGB [B, 3, H, W] in [0, 1], sides multiples of the stride -> latents [B, C, h, w]. synthesis: latents, and
    for some networks conditions -> RGB [B, 3, H, W] in about [0, 1]. Both are given as (layers, demand). dtype: of the
    layers; None for the fastest of the device. weights_hash: 4 bytes that blobs state.
    """

    default_realism: float | None = None  # None for a synthesis with one reading

    def __init__(
        self,
        model: Model,
        device: torch.device,
        dtype: torch.dtype | None,
        analysis: tuple[nn.Module, Demand],
        synthesis: tuple[nn.Module, Demand],
        weights_hash: bytes,
    ):
        self.model, self.device = model, device
        self.latent_channels = model.channels  # between the two halves
        self.dtype = dtype or fast_dtype(device)
        self.max_bytes = MAX_ACTIVATION_BYTES
        self.weights_hash = weights_hash
        self.analysis, self.synthesis = (Half(*h, device, self.dtype, model.name) for h in (analysis, synthesis))
        halves = self.analysis, self.synthesis
        self.bytes_per_pixel = max(half.demand.bytes_per_pixel for half in halves)  # for a picture that is run whole

    def encode_pixels(self, rgb: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Pixels, uint8 [H, W, 3], sides multiples of the stride -> latents, float32 [C, H / stride, W / stride]."""
        stride, demand = self.model.stride, self.analysis.demand
        rows, columns = rgb.shape[0] // stride, rgb.shape[1] // stride
        latents = np.zeros((self.latent_channels, rows, columns), np.float32)
        for tile in reported(progress, self._tiles(demand, rows, columns)):
            part = self.analysis(self._pixels(rgb, tile))[0].cpu().numpy()
            if demand.faded:
                before = latents[:, *tile.outer]
                latents[:, *tile.outer] = before + (part - before) * tile.fade(1)
            else:
                latents[:, *tile.inner] = part[:, *tile.crop(1)]
        return latents

    @torch.inference_mode()
    def decode_latents(
        self,
        latents: np.ndarray,
        quality: int | None = None,
        realism: float | None = None,
        *,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Latents, float32 [C, h, w] -> pixels, uint8 [stride h, stride w, 3].

        quality: that the latents were coded with, for networks that depend on it. realism: from 0, faithful, to 1,
        vivid, for those that have `default_realism`. legacy_range: the latents are of pixels in [0, 1] where the model
        takes [-1, 1], so that they stand for a picture of half the contrast: what the model gives in [-1, 1] is clipped
        to [0, 1].
        """
        stride, faded = self.model.stride, self.synthesis.demand.faded
        _, rows, columns = latents.shape
        rgb = np.zeros((rows * stride, columns * stride, 3), np.uint8)
        for tile, output in self._synthesised(latents, self._conditions(quality, realism), progress):
            if legacy_range:
                output = (output * 2 - 1).clamp_(0, 1)
            output = output.mul(255)
            if faded:
                before, part = rgb[scaled(tile.outer, stride)], output.permute(1, 2, 0).cpu().numpy()
                mixed = before + (part - before) * tile.fade(stride)[..., None]
                rgb[scaled(tile.outer, stride)] = np.rint(mixed)
            else:
                output = output.round_().to(torch.uint8).permute(1, 2, 0)
                rgb[scaled(tile.inner, stride)] = output[tile.crop(stride)].cpu().numpy()
        return rgb

    def _conditions(self, quality: int | None, realism: float | None) -> tuple[Tensor, ...]:
        """Inputs of the synthesis beside the latents."""
        return ()

    def _synthesised(
        self, latents: np.ndarray, conditions: Sequence[Tensor], progress: Progress | None
    ) -> Iterator[tuple[Tile, Tensor]]:
        """Give each tile with its output, halo included: [3, h, w] in [0, 1]."""
        for tile in reported(progress, self._tiles(self.synthesis.demand, *latents.shape[1:])):
            output = self.synthesis(torch.tensor(latents[None, :, *tile.outer]), *conditions)
            yield tile, output[0].clamp_(0, 1)

    def _tiles(self, wanted: Demand, rows: int, columns: int, most: int | None = None) -> list[Tile]:
        """Tiles that take at most `most` bytes each, by default `max_bytes`, and at most half of the free memory."""
        max_bytes = min(most or self.max_bytes, free_bytes(self.device) // 2)
        return tiles(rows, columns, wanted, self.model.stride, max_bytes)

    def _pixels(self, rgb: np.ndarray, tile: Tile) -> Tensor:
        """Pixels of a tile, halo included: uint8 [H, W, 3] -> [1, 3, h, w] in [0, 1]."""
        pixels = torch.tensor(rgb[scaled(tile.outer, self.model.stride)], device=self.device)
        return pixels.permute(2, 0, 1)[None].float().div_(255)


def reported(progress: Progress | None, *parts: Sequence[Tile]) -> Iterator[Tile]:
    """Give the tiles of all parts, one after another; call `progress` when the caller is done with each."""
    found = list(chain(*parts))
    for number, tile in enumerate(found, 1):
        yield tile
        pause()
        if progress:
            progress(number / len(found))


def _outputs(
    call: Callable[..., Any], layers: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Run `call` with pictures and latents in `dtype`; inputs of fewer than four dimensions stay as they are."""
    given = [x.to(dtype, memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs]
    found = call(layers, *given)
    return tuple(y.float() for y in (found if isinstance(found, tuple) else (found,)))


def _all_finite(outputs: Sequence[Tensor]) -> bool:
    """Whether all numbers are finite; seen from the extremes, which are NaN if any is: one pass over each tensor."""
    return all(bool(torch.isfinite(torch.stack(y.aminmax())).all()) for y in outputs)


def best_device() -> torch.device:
    """The first of CUDA, MPS and CPU that there is."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Type in which the device multiplies fastest: half precision, or float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and torch.cpu.get_capabilities().get("amx_bf16"):
        return torch.bfloat16  # on CPUs with AVX-512's bf16 alone, float32 is faster
    return torch.float32
