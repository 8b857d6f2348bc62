"""l8-photo as diffusers keeps models: `save_pretrained`, `from_pretrained` and the Hub work with it.

Only integers may stand between the bytes of a blob and its symbols: were probabilities computed in floating point, two
machines could differ in the last bit, and every later symbol would be lost (Balle et al., "Integer networks for data
compression with latent-variable models", 2019). So this class holds, frozen in the weights file, all that probabilities
depend on:

    hyper_tables  int32 [8, 64, 255]  probability tables (PMFs) of the hyper-latents, for each rate band and channel:
                                      counts of the symbols -127 ... 127, at least 1 each, 2^20 in sum
    tables        int32 [8, 64, 128]  probability tables of the latents, for each rate band and scale index: counts of
                                      the symbols 0 ... 127; -n has the count of n
    scale_*       int16, int32        weights and biases of the integer networks that predict the scale index of each
                                      latent, see `hyper_scales` and `context_scales`

Means come from floating-point networks: where machines differ in a mean, they differ by as little in the latent that a
symbol stands for. `reconstruction_shift` holds one value for each scale index, see `quantisation.dequantised`.

A rate band is the set of qualities whose rate level is nearest to the same whole level.
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
LOWEST_LEVEL = -1.6  # rate level of quality 1; what depends on the level is extrapolated to it
N_BANDS = hp.N_LEVELS  # rate bands, each with its own probability tables
TABLE_BITS = 20  # log2 of the sum of a table's counts
WEIGHT_BITS, ACTIVATION_BITS = 12, 8  # fractional bits of the integer networks
MAX_ACTIVATION = 1 << 20
FREE = ("analysis.", "hyper_analysis.", "synthesis.")  # parts that can change without any blob's meaning
MAX_SCALE_INDEX = (1 << 14) - (1 << ACTIVATION_BITS)  # in fixed point: sums of two fit an int16, rounding included


class L8Photo(ModelMixin, ConfigMixin):
    """Analysis, synthesis, hyperprior and probability tables; all sizes are in `layers`.

    default_realism: realism of a reading where the caller asks for none, 0 to 1; None for a synthesis with one reading.
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
        # (name, layer, leading sides of the bias): that of a first layer depends on the quality
        integer_layers: list[tuple[str, nn.Conv2d | hp.MaskedConvolution, tuple[int, ...]]] = [
            ("scale_first", scale.first, (MAX_QUALITY,)),
            ("scale_second", scale.second, ()),
            ("scale_third", scale.third, ()),
        ]
        for number, context in enumerate(contexts):
            assert isinstance(context, hp.Context)
            integer_layers += [
                (f"scale_context_{number}_first", context.first, (MAX_QUALITY,)),
                (f"scale_context_{number}_second", context.second, ()),
            ]
        for name, layer, qualities in integer_layers:
            self.register_buffer(name, torch.zeros(layer.weight.shape, dtype=torch.int16))
            self.register_buffer(f"{name}_bias", torch.zeros(*qualities, len(layer.weight), dtype=torch.int32))


def bitstream_hash(model: L8Photo) -> bytes:
    """First four bytes of a SHA-256 over all weights that the symbols of a blob depend on; blobs state it.

    Over the name of each, in ASCII, and its values, float32 or int32, little-endian, in the order of the names.
    Analysis, hyper-analysis and synthesis are left out: where only these are trained anew, earlier blobs stay valid.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(FREE):
            digest.update(name.encode())
            kind = "<f4" if tensor.is_floating_point() else "<i4"
            digest.update(np.ascontiguousarray(tensor.cpu().numpy(), kind).tobytes())
    return digest.digest()[:4]


def hyper_scales(model: L8Photo, z: Tensor, quality: int) -> Tensor:
    """Scale indices of the latents, in fixed point, predicted from the hyper-latents.

    Hyper-latents z, whole numbers [64, k, l], and quality 1 ... 100 -> int16 [240, 4 k, 4 l], with ACTIVATION_BITS
    fractional bits.

    The arithmetic is that of integers, in float64, which is exact for whole numbers below 2^53 in whatever order they
    are added; here they stay below 2^46. Activations have ACTIVATION_BITS fractional bits, weights WEIGHT_BITS, biases
    the sum of both. Each of the first two layers is followed by a right shift by WEIGHT_BITS with rounding, a clamp to
    [0, MAX_ACTIVATION] and a pixel shuffle by 2, the third by the same shift and a clamp to +- MAX_SCALE_INDEX.
    """
    x = z[None].to("cpu", torch.float64) * 2**ACTIVATION_BITS
    x = F.pixel_shuffle(_activated(_layer(model, "scale_first", x, quality)), 2)
    x = F.pixel_shuffle(_activated(_layer(model, "scale_second", x)), 2)
    return _scales(_layer(model, "scale_third", x))


def context_scales(model: L8Photo, number: int, q: Tensor, quality: int, phase: tuple[int, int]) -> Tensor:
    """What a context model adds to the scale indices, in fixed point, at the positions of one phase of a pass.

    number: 0 for the second pass, 1 for the third. q: symbols of earlier passes, 0 where not known, int8
    [240, 1 + h + 1, 1 + w + 1], with a row and a column more on each side, 0 beyond the picture. phase: (row, column)
    parities, one of layers.PASSES[1 + number]. Gives int16 [240, ceil((h - row) / 2), ceil((w - column) / 2)].

    Two layers on the magnitudes of four known neighbours, in the arithmetic of `hyper_scales`.
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
    """Probability tables: those of the hyper-latents, (band, channel), then those of the latents, (band, scale index).

    Counts of the symbols -127 ... 127, int32 [2 * 8 * 64, 255].
    """
    halves = model.tables
    return torch.cat([model.hyper_tables, torch.cat([halves[..., 1:].flip(-1), halves], dim=-1)]).flatten(0, 1)


def table_indices(scales: Tensor) -> Tensor:
    """Scale indices in fixed point, or sums of two, int16 -> nearest whole scale index 0 ... 63, uint8."""
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
    return _shifted(x[0], WEIGHT_BITS).clamp_(-MAX_SCALE_INDEX, MAX_SCALE_INDEX).to(torch.int16)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift whole numbers right, with rounding, in place."""
    return x.add_(2 ** (bits - 1)).div_(2**bits).floor_()


def level_of(quality: int) -> float:
    """Quality 1 ... 100 -> rate level LOWEST_LEVEL ... N_LEVELS - 1."""
    return LOWEST_LEVEL + (quality - 1) / (MAX_QUALITY - 1) * (hp.N_LEVELS - 1 - LOWEST_LEVEL)


def band_of(quality: int) -> int:
    """Quality 1 ... 100 -> rate band 0 ... N_BANDS - 1, that of the nearest whole rate level."""
    return max(0, round(level_of(quality)))
