"""The contract of a model and its loss with the loop in train.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Architecture = dict[str, Any]
Figures = Mapping[str, float | Tensor]


class TrainingError(Exception):
    """An error that stops a training; its message is one sentence for the user."""


class Task:
    """A model, its loss, and the pictures of its progress. Subclasses define all that has no default here.

    columns: names of the figures that `loss` gives; multiple: a crop's side must be one of it; perceptual: whether
    LPIPS counts yet, set by the loop.
    """

    columns: tuple[str, ...]
    multiple: int
    perceptual = True

    @property
    def architecture(self) -> Architecture:
        """Facts in a checkpoint from which its model can be built again: its name, and a config if it has one."""
        raise NotImplementedError

    def new_model(self) -> nn.Module:
        raise NotImplementedError

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        raise NotImplementedError

    def loss(self, model: nn.Module, photos: Tensor) -> tuple[Tensor, Figures]:
        """Pictures [B, 3, S, S] in [0, 1] -> loss to minimise, figures for the log."""
        raise NotImplementedError

    def after_step(self, model: nn.Module, averaged: nn.Module) -> None:
        """Called after each step that changed the weights and their running mean."""

    def grid(self, model: nn.Module, photos: Tensor) -> list[Tensor]:
        """Rows of pictures, [B, 3, S, S] in about [0, 1]: the photos first, their reconstructions last."""
        raise NotImplementedError

    def latents(self, model: nn.Module, photos: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] -> latents without noise or rounding, [B, C, h, w]."""
        raise NotImplementedError

    def pictures(self, model: nn.Module, photos: Tensor) -> dict[str, list[Tensor]]:
        """File names without ending -> rows of pictures [B, 3, S, S], written beside the grid."""
        return {}
