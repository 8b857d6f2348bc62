"""Folding of the two ends of an AutoencoderTiny: convolutions at full size become one at half size, by exact algebra.

Where an AutoencoderTiny has no block at full size, its first two convolutions (3x3, then 3x3 with stride 2)
follow each other without an activation, and so do its last three layers (nearest upsampling by 2, 3x3, 3x3).
Each chain is linear, so it equals one 3x3 convolution at half size beside a pixel (un)shuffle. That removes
every 64-channel tensor at full size. Only the outermost ring of pixels differs: the chain pads its inner
result with zeros, the folded form does not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Taps of a 5-tap kernel at full size, summed into 3 taps at half size, for the even and the odd position.
_UPSAMPLED_TAPS = torch.tensor(
    [
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
    ],
    dtype=torch.float32,
)


def fold_strided_pair(first: nn.Conv2d, strided: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Fold a 3x3 [m, i] and a 3x3 with stride 2 and no bias [o, m] -> kernel [o, 4 i, 3, 3] and bias [o].

    They are applied with padding 1 after ``pixel_unshuffle(2)``.
    """
    kernel = F.pad(_chained(first, strided), (0, 1, 0, 1))  # 6 taps: three pairs of (even, odd) pixels
    outputs, inputs = kernel.shape[:2]
    kernel = kernel.view(outputs, inputs, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4)
    bias = strided.weight.sum((2, 3)) @ _bias(first)
    return kernel.reshape(outputs, inputs * 4, 3, 3), bias


def fold_upsampled_pair(inner: nn.Conv2d, last: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Fold nearest upsampling by 2, a 3x3 without bias [m, i] and a 3x3 [o, m] -> kernel [4 o, i, 3, 3], bias [4 o].

    They are applied with padding 1 before ``pixel_shuffle(2)``.
    """
    taps = _UPSAMPLED_TAPS.to(inner.weight)
    kernel = torch.einsum("oiyx,ajy,bkx->oabijk", _chained(inner, last), taps, taps)
    return kernel.flatten(0, 2), _bias(last).repeat_interleave(4)


def folded_encoder(layers: nn.Sequential) -> nn.Sequential:
    """The layers of diffusers' EncoderTiny, folded where it has no block at full size: pictures in [0, 1] -> latents.

    EncoderTiny itself takes pictures in [-1, 1], and first maps them to [0, 1].
    """
    first, strided, *rest = layers
    if not (isinstance(first, nn.Conv2d) and isinstance(strided, nn.Conv2d)):
        return nn.Sequential(*layers)
    return nn.Sequential(nn.PixelUnshuffle(2), _convolution(*fold_strided_pair(first, strided)), *rest)


def folded_decoder(layers: nn.Sequential) -> nn.Sequential:
    """The layers of diffusers' DecoderTiny, folded where it has no block at full size.

    They map latents to pictures in about [0, 1]. DecoderTiny itself begins with the soft limit, and maps its output
    from [0, 1] to [-1, 1].
    """
    *rest, _upsample, inner, last = layers
    if not (isinstance(inner, nn.Conv2d) and isinstance(last, nn.Conv2d)):
        return nn.Sequential(LatentClamp(), *layers)
    return nn.Sequential(LatentClamp(), *rest, _convolution(*fold_upsampled_pair(inner, last)), nn.PixelShuffle(2))


class LatentClamp(nn.Module):
    """Soft limit at the start of taesd's decoder: latents -> 3 tanh(latents / 3), in (-3, 3)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


def _chained(first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Kernel [o, i, 5, 5] equal to two 3x3 convolutions one after another, both with stride 1."""
    return F.conv2d(second.weight, first.weight.transpose(0, 1).flip(2, 3), padding=2)


def _bias(convolution: nn.Conv2d) -> Tensor:
    return convolution.weight.new_zeros(convolution.out_channels) if convolution.bias is None else convolution.bias


def _convolution(kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    outputs, inputs = kernel.shape[:2]
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    convolution.weight = nn.Parameter(kernel.detach())
    convolution.bias = nn.Parameter(bias.detach())
    return convolution
