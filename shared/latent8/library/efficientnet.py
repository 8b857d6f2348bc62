"""EfficientNet-Lite0 up to its pooled features, as plain torch layers with the batch normalisation folded in.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019); the Lite variant of
Google's TPU repository has ReLU6 for swish, and no squeeze-and-excitation. `scripts/make_efficientnet.py` makes the
weights from a published package, and compares the two networks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

N_FEATURES = 1280
MEAN, SCALE = 127.0, 128.0  # of 8-bit pixels, as the Lite variant was trained
STEM, HEAD = 32, 1280
# Repeats, kernel size, stride of the first, expansion, channels out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding "SAME" for inputs whose sides are multiples of the stride."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(n_in, n_out, kernel, stride, groups=groups)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.margins = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.margins) if any(self.margins) else x)


class InvertedBottleneck(nn.Module):
    """[B, n_in, h, w] -> [B, n_out, h / stride, w / stride]."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        width = n_in * expansion
        self.expand = SameConv(n_in, width, 1) if expansion > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, n_out, 1)
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return y + x if self.residual else y


class EfficientNetLite0(nn.Module):
    """Pixels [B, 3, H, W] in 0 ... 255, sides multiples of 32 -> feature maps [B, 1280, H / 32, W / 32], 0 ... 6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        blocks, n_in = [], STEM
        for repeats, kernel, stride, expansion, n_out in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedBottleneck(n_in, n_out, kernel, 1 if repeat else stride, expansion))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(n_in, HEAD, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        x = functional.relu6(self.stem((pixels - MEAN) / SCALE))
        return functional.relu6(self.head(self.blocks(x)))


def load_efficientnet(path: Path) -> EfficientNetLite0:
    """The network with weights of a safetensors file, float32, for inference."""
    network = EfficientNetLite0()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
