"""A small network with something in each layer, and checkpoints as training leaves them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from training.network import Block, TinyAutoencoder


def busy_network(seed: int = 0) -> TinyAutoencoder:
    """Every layer does something: new blocks are the identity, and biases zero, which would hide mistakes."""
    torch.manual_seed(seed)
    network = TinyAutoencoder().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Block):
            module.conv[4].weight.normal_(std=0.01)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.1)
    return network


def save_checkpoint(network: nn.Module, path: Path) -> Path:
    """What export reads of a checkpoint."""
    torch.save({"ema": network.state_dict()}, path)
    return path
