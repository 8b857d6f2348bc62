"""Work at full size, done at half size: exact algebra on the two ends of an AutoencoderTiny without blocks there.

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
    """3x3 [m, i], then 3x3 with stride 2 and no bias [o, m] -> kernel [o, 4 i, 3, 3] and bias [o].

    Apply them with padding 1 after ``pixel_unshuffle(2)``.
    """
    kernel = F.pad(_chained(first, strided), (0, 1, 0, 1))  # 6 taps: three pairs of (even, odd) pixels
    outputs, inputs = kernel.shape[:2]
    kernel = kernel.view(outputs, inputs, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4)
    bias = strided.weight.sum((2, 3)) @ _bias(first)
    return kernel.reshape(outputs, inputs * 4, 3, 3), bias


def fold_upsampled_pair(inner: nn.Conv2d, last: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Nearest upsampling by 2, 3x3 without bias [m, i], then 3x3 [o, m] -> kernel [4 o, i, 3, 3] and bias [4 o].

    Apply them with padding 1, then ``pixel_shuffle(2)``.
    """
    taps = _UPSAMPLED_TAPS.to(inner.weight)
    kernel = torch.einsum("oiyx,ajy,bkx->oabijk", _chained(inner, last), taps, taps)
    return kernel.flatten(0, 2), _bias(last).repeat_interleave(4)


def folded_encoder(layers: nn.Sequential) -> nn.Sequential:
    """diffusers' EncoderTiny.layers, folded where it has no block at full size. Takes pictures in [0, 1].

    EncoderTiny itself takes [-1, 1] and begins by undoing that.
    """
    first, strided, *rest = layers
    if not (isinstance(first, nn.Conv2d) and isinstance(strided, nn.Conv2d)):
        return nn.Sequential(*layers)
    return nn.Sequential(nn.PixelUnshuffle(2), _convolution(*fold_strided_pair(first, strided)), *rest)


def folded_decoder(layers: nn.Sequential) -> nn.Sequential:
    """diffusers' DecoderTiny.layers, folded where it has no block at full size. Gives pictures in about [0, 1].

    DecoderTiny itself begins with the soft limit, and ends by mapping [0, 1] to [-1, 1].
    """
    *rest, _upsample, inner, last = layers
    if not (isinstance(inner, nn.Conv2d) and isinstance(last, nn.Conv2d)):
        return nn.Sequential(LatentClamp(), *layers)
    return nn.Sequential(LatentClamp(), *rest, _convolution(*fold_upsampled_pair(inner, last)), nn.PixelShuffle(2))


class LatentClamp(nn.Module):
    """A soft limit: latents -> 3 tanh(latents / 3), as taesd's decoder begins."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


def _chained(first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """The one kernel [o, i, 5, 5] that does both, as with stride 1."""
    return F.conv2d(second.weight, first.weight.transpose(0, 1).flip(2, 3), padding=2)


def _bias(convolution: nn.Conv2d) -> Tensor:
    return convolution.weight.new_zeros(convolution.out_channels) if convolution.bias is None else convolution.bias


def _convolution(kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    outputs, inputs = kernel.shape[:2]
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    convolution.weight = nn.Parameter(kernel.detach())
    convolution.bias = nn.Parameter(bias.detach())
    return convolution
