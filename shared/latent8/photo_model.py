"""l8-photo as diffusers keeps models: `save_pretrained`, `from_pretrained` and the Hub work with it.

Between the bytes of a blob and its symbols there must be integers only: were probabilities worked out in floating
point, two machines would differ in the last bit, and every later symbol would be lost. So this class holds, frozen
and in the weights file, what decides on probabilities:

    tables        int32 [8, 64, 255]  for each band of qualities and each scale, counts of the symbols -127 ... 127:
                                      each row has the sum 2^20, every count is at least 1
    hyper_tables  int32 [8, 64, 255]  the same for each band and each channel of the hyper-latents
    scale_*       int16, int32        the network that gives the scale of each latent, see `scale_indices`

Means come from a floating-point network: they shift what a symbol stands for, by as little as they differ.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from torch.nn import functional as F

from latent8 import hyperprior as hp

MAX_QUALITY = 100
N_BANDS = hp.N_LEVELS  # of qualities: each has its own tables
TABLE_BITS = 20
WEIGHT_BITS, ACTIVATION_BITS = 12, 8  # fractional bits of the integer network
MAX_ACTIVATION = 1 << 20


class L8Photo(ModelMixin, ConfigMixin):
    """Analysis, synthesis, hyperprior and entropy tables. Configured by nothing: all sizes are in `hyperprior`."""

    @register_to_config
    def __init__(self, latent_channels: int = hp.N_LATENTS, stride: int = hp.STRIDE):
        super().__init__()
        layers = hp.Hyperprior()
        self.analysis, self.synthesis = layers.analysis, layers.synthesis
        self.log_gain, self.log_inverse_gain = layers.log_gain, layers.log_inverse_gain
        self.hyper_analysis, self.mean = layers.hyper_analysis, layers.mean
        scale = layers.scale
        n_symbols = 2 * hp.MAX_SYMBOL + 1
        self.register_buffer("tables", torch.zeros(N_BANDS, hp.N_SCALES, n_symbols, dtype=torch.int32))
        self.register_buffer("hyper_tables", torch.zeros(N_BANDS, hp.N_HYPER, n_symbols, dtype=torch.int32))
        for name, layer in (("first", scale.first), ("second", scale.second), ("third", scale.third)):
            self.register_buffer(f"scale_{name}", torch.zeros(layer.weight.shape, dtype=torch.int16))
        # the bias of the first layer depends on the quality
        self.register_buffer("scale_first_bias", torch.zeros(MAX_QUALITY, len(scale.first.weight), dtype=torch.int32))
        self.register_buffer("scale_second_bias", torch.zeros(len(scale.second.weight), dtype=torch.int32))
        self.register_buffer("scale_third_bias", torch.zeros(len(scale.third.weight), dtype=torch.int32))


def scale_indices(model: L8Photo, z: Tensor, quality: int) -> Tensor:
    """Hyper-latents, whole numbers [64, k, l], and quality -> scales of the latents, uint8 [160, 4 k, 4 l].

    Fixed-point arithmetic in float64, which is exact for whole numbers below 2^53, in whatever order they are
    added; here they stay below 2^46. Activations have ACTIVATION_BITS fractional bits, weights WEIGHT_BITS,
    biases the sum of both. After each of the first two layers: right shift by WEIGHT_BITS with rounding, clamped to
    [0, MAX_ACTIVATION], then a pixel shuffle by 2.
    """
    x = z[None].to("cpu", torch.float64) * 2**ACTIVATION_BITS
    for weight, bias in (
        (model.scale_first, model.scale_first_bias[quality - 1]),
        (model.scale_second, model.scale_second_bias),
    ):
        x = F.conv2d(x, weight.cpu().double(), bias.cpu().double(), padding=1)
        x = _shifted(x, WEIGHT_BITS).clamp_(0, MAX_ACTIVATION)
        x = F.pixel_shuffle(x, 2)
    x = F.conv2d(x, model.scale_third.cpu().double(), model.scale_third_bias.cpu().double())
    return _shifted(x[0], WEIGHT_BITS + ACTIVATION_BITS).clamp_(0, hp.N_SCALES - 1).to(torch.uint8)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Whole numbers, shifted right with rounding; in place."""
    return x.add_(2 ** (bits - 1)).div_(2**bits).floor_()


def level_of(quality: int) -> float:
    """Quality 1 ... 100 -> level 0 ... N_LEVELS - 1."""
    return (quality - 1) / (MAX_QUALITY - 1) * (hp.N_LEVELS - 1)


def band_of(quality: int) -> int:
    """Quality 1 ... 100 -> band 0 ... N_BANDS - 1, the nearest level."""
    return round(level_of(quality))
