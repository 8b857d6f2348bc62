"""Quantisation of the latents of l8-photo around their predicted means, and back.

It is what `RDOQ` and `dequantise` stand for in the diagram on top of layers.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latent8.l8_photo.dct import N_CHROMA, N_LUMA, frequencies_of_latents
from latent8.l8_photo.layers import MAX_SYMBOL

COLOUR_MEANS = (0, N_LUMA, N_LUMA + N_CHROMA)  # channels of y that hold a block's mean luma and mean chromas
LARGEST_MEAN = 15.0  # bound of these: a DCT coefficient is at most 16 sqrt(3) / 2 = 13.9, and g_a adds to it
# 1 / lambda of RDOQ in bits per squared step: at high frequencies, and what low ones add, whose loss eyes see sooner.
INVERSE_LAMBDA, MORE_INVERSE_LAMBDA = 18.0, 12.0


def rdo_quantised(residual: Tensor, bits_saved: Callable[[Tensor], Tensor], inverse_lambda: Tensor) -> Tensor:
    """Rate-distortion-optimised quantisation (RDOQ): residuals r (v - mean), in steps -> symbols q, float, same shape.

    With n the nearest whole number to the magnitude a of a residual, the choice is between n and n - 1, whichever has
    the lower cost D / lambda + R. For n - 1, D is larger by (a - n + 1)^2 - (a - n)^2 = 2 (a - n) + 1 squared steps.
    The shift of `dequantised` would make that a little more; counting it, with a larger lambda, gave the same pictures
    in as many bytes.

    bits_saved: n, of the residuals' shape -> bits by which n - 1 is cheaper than n. inverse_lambda: 1 / lambda in bits
    per squared step, broadcast to the residuals, see `inverse_lambdas`.
    """
    size = residual.abs()
    n = (size + 0.5).floor().clamp(max=MAX_SYMBOL)
    lower = (n > 0) & (2 * (size - n) + 1 < bits_saved(n) / inverse_lambda)
    return (n - lower.to(n.dtype)) * residual.sign()


def inverse_lambdas() -> Tensor:
    """1 / lambda of RDOQ for each channel of y, in bits per squared step: [240, 1, 1], larger at low frequencies."""
    low = torch.tensor([math.exp(-(u * u + v * v) / 64) for _, u, v in frequencies_of_latents()])
    return (INVERSE_LAMBDA + MORE_INVERSE_LAMBDA * low)[:, None, None]


def residual_gain(log_gain: Tensor) -> Tensor:
    """Logarithms of the gains [B, 240, 1, 1] -> r, the factor of v - mean before quantisation: as given, in (0, 1].

    It is 1 but for COLOUR_MEANS at high rates, whose steps it makes coarser so that r gain LARGEST_MEAN is at most
    MAX_SYMBOL: a mean colour that is predicted badly must stay within reach of the symbols.
    """
    gain = torch.ones_like(log_gain)
    for channel in COLOUR_MEANS:
        gain[:, channel] = (math.log(MAX_SYMBOL / LARGEST_MEAN) - log_gain[:, channel]).clamp(max=0).exp()
    return gain


def dequantised(q: Tensor, mean: Tensor, shift: Tensor, gain: Tensor) -> Tensor:
    """Symbols q -> latents in steps v' = (q - sign(q) shift) / r + mean.

    mean: in steps. shift: `reconstruction_shift` at each symbol's scale index. gain: r, see `residual_gain`.
    """
    return (q - q.sign() * shift) / gain + mean
