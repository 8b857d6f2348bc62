"""l8-photo as diffusers keeps models: `save_pretrained`, `from_pretrained` and the Hub work with it.

Between the bytes of a blob and its symbols there must be integers only: were probabilities worked out in floating
point, two machines would differ in the last bit, and every later symbol would be lost. So this class holds, frozen
and in the weights file, what decides on probabilities:

    hyper_tables  int32 [8, 64, 255]  for each band of qualities and each channel of the hyper-latents, counts of the
                                      symbols -127 ... 127: each row has the sum 2^20, every count is at least 1
    tables        int32 [8, 64, 128]  the same for each band and each scale of the latents, of the symbols 0 ... 127:
                                      -n has the count of n
    scale_*       int16, int32        the networks that give the scale of each latent, see `hyper_scales` and
                                      `context_scales`

Means come from a floating-point network: they shift what a symbol stands for, by as little as they differ.
`reconstruction_shift` is added to them, one value for each scale.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from latent8.l8_photo import layers as hp

MAX_QUALITY = 100
LOWEST_LEVEL = -0.75  # of quality 1; what depends on the level is extrapolated to it
N_BANDS = hp.N_LEVELS  # of qualities: each has its own tables
TABLE_BITS = 20
WEIGHT_BITS, ACTIVATION_BITS = 12, 8  # fractional bits of the integer network
MAX_ACTIVATION = 1 << 20
FREE = ("analysis.", "hyper_analysis.", "synthesis.")  # parts that can change without any blob's meaning
# The hash of the bitstream -> what blobs state in its place: those of the first weights state the hash of them all.
EARLIER_HASHES = {bytes.fromhex("800283ba"): bytes.fromhex("fbfe6188")}
MAX_SCALE = (1 << 14) - (1 << ACTIVATION_BITS)  # sums of two fit an int16, rounding included


class L8Photo(ModelMixin, ConfigMixin):
    """Analysis, synthesis, hyperprior and entropy tables; all sizes are in `hyperprior`.

    default_realism: how the synthesis reads a bitstream where nothing else is asked for, 0 to 1; None where it has one
    reading only.
    """

    @register_to_config
    def __init__(
        self, latent_channels: int = hp.N_LATENTS, stride: int = hp.STRIDE, default_realism: float | None = None
    ):
        super().__init__()
        layers = hp.Hyperprior()
        self.analysis, self.synthesis = layers.analysis, hp.Synthesis(readings=default_realism is not None)
        self.log_gain, self.log_inverse_gain = layers.log_gain, layers.log_inverse_gain
        self.hyper_analysis, self.mean = layers.hyper_analysis, layers.mean
        self.mean_contexts = layers.mean_contexts
        self.reconstruction_shift = layers.reconstruction_shift
        scale, contexts = layers.scale, layers.scale_contexts
        n_symbols = 2 * hp.MAX_SYMBOL + 1
        self.register_buffer("hyper_tables", torch.zeros(N_BANDS, hp.N_HYPER, n_symbols, dtype=torch.int32))
        self.register_buffer("tables", torch.zeros(N_BANDS, hp.N_SCALES, hp.MAX_SYMBOL + 1, dtype=torch.int32))
        # the bias of a first layer depends on the quality
        layers_of_scales: list[tuple[str, nn.Conv2d | hp.OfNeighbours, tuple[int, ...]]] = [
            ("scale_first", scale.first, (MAX_QUALITY,)),
            ("scale_second", scale.second, ()),
            ("scale_third", scale.third, ()),
        ]
        for number, context in enumerate(contexts):
            assert isinstance(context, hp.Context)
            layers_of_scales += [
                (f"scale_context_{number}_first", context.first, (MAX_QUALITY,)),
                (f"scale_context_{number}_second", context.second, ()),
            ]
        for name, layer, of_quality in layers_of_scales:
            self.register_buffer(name, torch.zeros(layer.weight.shape, dtype=torch.int16))
            self.register_buffer(f"{name}_bias", torch.zeros(*of_quality, len(layer.weight), dtype=torch.int32))


def bitstream_hash(model: L8Photo) -> bytes:
    """Four bytes that tell apart what decides on the meaning of a blob, and that blobs state: [4].

    Analysis, hyper-analysis and synthesis have no part in it: what is trained anew of them reads every earlier blob.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(FREE):
            digest.update(name.encode())
            kind = "<f4" if tensor.is_floating_point() else "<i4"
            digest.update(np.ascontiguousarray(tensor.cpu().numpy(), kind).tobytes())
    found = digest.digest()[:4]
    return EARLIER_HASHES.get(found, found)


def hyper_scales(model: L8Photo, z: Tensor, quality: int) -> Tensor:
    """Hyper-latents, whole numbers [64, k, l], and quality -> scales of the latents, int16 [240, 4 k, 4 l].

    A scale of 2^ACTIVATION_BITS stands for one table. Fixed-point arithmetic in float64, which is exact for whole
    numbers below 2^53, in whatever order they are added; here they stay below 2^46. Activations have ACTIVATION_BITS
    fractional bits, weights WEIGHT_BITS, biases the sum of both. After each of the first two layers: right shift by
    WEIGHT_BITS with rounding, clamped to [0, MAX_ACTIVATION], then a pixel shuffle by 2; after the third the same
    shift, clamped to [-MAX_SCALE, MAX_SCALE].
    """
    x = z[None].to("cpu", torch.float64) * 2**ACTIVATION_BITS
    x = F.pixel_shuffle(_activated(_layer(model, "scale_first", x, quality)), 2)
    x = F.pixel_shuffle(_activated(_layer(model, "scale_second", x)), 2)
    return _scales(_layer(model, "scale_third", x))


def context_scales(model: L8Photo, number: int, q: Tensor, quality: int, phase: tuple[int, int]) -> Tensor:
    """What symbols known before pass 1 + number add to its scales at one of its phases.

    Symbols q, 0 where not known: int8 [240, 1 + h + 1, 1 + w + 1], with a row and a column more on each side, 0 beyond
    the picture; phase: row and column, 0 or 1 -> int16 [240, ceil((h - row) / 2), ceil((w - column) / 2)].

    Two layers of the same arithmetic as in `hyper_scales`, on the magnitudes of four known neighbours.
    """
    row, column = phase
    height, width = q.shape[1] - 2, q.shape[2] - 2
    near = torch.stack(
        [q[:, row + y : height + y : 2, column + x : width + x : 2] for y, x in hp.NEIGHBOURS[number]], dim=1
    )
    first, first_bias = _weight_and_bias(model, f"scale_context_{number}_first", quality)
    second, second_bias = _weight_and_bias(model, f"scale_context_{number}_second")
    x = near.flatten(2).flatten(0, 1).to("cpu", torch.float64).abs_() * 2**ACTIVATION_BITS
    x = _activated(torch.addmm(first_bias[:, None], first.flatten(1), x))
    x = torch.addmm(second_bias[:, None], second.flatten(1), x)
    return _scales(x.view(1, len(x), *near.shape[2:]))


def all_tables(model: L8Photo) -> Tensor:
    """Those of the hyper-latents of all bands, then those of the latents: int32 [2 * 8 * 64, 255]."""
    halves = model.tables
    return torch.cat([model.hyper_tables, torch.cat([halves[..., 1:].flip(-1), halves], dim=-1)]).flatten(0, 1)


def table_indices(scales: Tensor) -> Tensor:
    """Scales, or sums of two, int16 -> uint8 index of the nearest table."""
    return ((scales + 2 ** (ACTIVATION_BITS - 1)) >> ACTIVATION_BITS).clamp_(0, hp.N_SCALES - 1).to(torch.uint8)


def _layer(model: L8Photo, name: str, x: Tensor, quality: int | None = None) -> Tensor:
    weight, bias = _weight_and_bias(model, name, quality)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _weight_and_bias(model: L8Photo, name: str, quality: int | None = None) -> tuple[Tensor, Tensor]:
    weight, bias = model.get_buffer(name), model.get_buffer(f"{name}_bias")
    if quality is not None:
        bias = bias[quality - 1]
    return weight.cpu().double(), bias.cpu().double()


def _activated(x: Tensor) -> Tensor:
    return _shifted(x, WEIGHT_BITS).clamp_(0, MAX_ACTIVATION)


def _scales(x: Tensor) -> Tensor:
    return _shifted(x[0], WEIGHT_BITS).clamp_(-MAX_SCALE, MAX_SCALE).to(torch.int16)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Whole numbers, shifted right with rounding; in place."""
    return x.add_(2 ** (bits - 1)).div_(2**bits).floor_()


def level_of(quality: int) -> float:
    """Quality 1 ... 100 -> level LOWEST_LEVEL ... N_LEVELS - 1."""
    return LOWEST_LEVEL + (quality - 1) / (MAX_QUALITY - 1) * (hp.N_LEVELS - 1 - LOWEST_LEVEL)


def band_of(quality: int) -> int:
    """Quality 1 ... 100 -> band 0 ... N_BANDS - 1, the nearest level."""
    return max(0, round(level_of(quality)))
