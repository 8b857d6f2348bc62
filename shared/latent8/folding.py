"""Work at full size, done at half size: exact algebra on the two ends of an AutoencoderTiny without blocks there.

Where an AutoencoderTiny has no block at full size, its first two convolutions (3x3, then 3x3 with stride 2)
follow each other without an activation, and so do its last three layers (nearest upsampling by 2, 3x3, 3x3).
Each chain is linear, so it equals one 3x3 convolution at half size beside a pixel (un)shuffle. That removes
every 64-channel tensor at full size. Only the outermost ring of pixels differs: the chain pads its inner
result with zeros, the folded form does not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Taps of a 5-tap kernel at full size, summed into 3 taps at half size, for the even and the odd position.
_UPSAMPLED_TAPS = torch.tensor(
    [
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
    ],
    dtype=torch.float32,
)


def chained(first: Tensor, second: Tensor) -> Tensor:
    """Kernels [m, i, 3, 3] then [o, m, 3, 3], stride 1 -> the one kernel [o, i, 5, 5] that does both."""
    return F.conv2d(second, first.transpose(0, 1).flip(2, 3), padding=2)


def fold_upsampled_pair(inner: Tensor, last: Tensor) -> Tensor:
    """Nearest upsampling by 2, then `inner` [m, i, 3, 3], then `last` [o, m, 3, 3] -> kernel [4 o, i, 3, 3].

    Apply it with padding 1, then ``pixel_shuffle(2)``.
    """
    taps = _UPSAMPLED_TAPS.to(inner)
    kernel = torch.einsum("oiyx,ajy,bkx->oabijk", chained(inner, last), taps, taps)
    return kernel.flatten(0, 2)


def fold_strided_pair(first: Tensor, strided: Tensor) -> Tensor:
    """`first` [m, i, 3, 3], then `strided` [o, m, 3, 3] with stride 2 -> kernel [o, 4 i, 3, 3].

    Apply it with padding 1 after ``pixel_unshuffle(2)``.
    """
    kernel = F.pad(chained(first, strided), (0, 1, 0, 1))  # 6 taps: three pairs of (even, odd) pixels
    outputs, inputs = kernel.shape[:2]
    kernel = kernel.view(outputs, inputs, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4)
    return kernel.reshape(outputs, inputs * 4, 3, 3)


def fold_bias(bias: Tensor, strided: Tensor) -> Tensor:
    """The bias [m] of `first` as seen behind `strided` [o, m, 3, 3] -> [o]."""
    return strided.sum((2, 3)) @ bias


def fold_upsampled_bias(bias: Tensor) -> Tensor:
    """The bias [o] of `last`, once for each of the four positions -> [4 o]."""
    return bias.repeat_interleave(4)
