"""Muon for the inner convolutions, Adam for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): the momentum of a weight matrix is
replaced by the nearest orthogonal matrix before it is applied. Scaled by 0.2 * sqrt(larger side) the step has
the size of an Adam step (Liu et al., "Muon is Scalable for LLM Training", 2025), so both share one rate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    buffer = state["momentum"]
                    gradient = parameter.grad
                    assert gradient is not None  # chosen above
                    buffer.lerp_(gradient, 1 - group["momentum"])
                    updates.append(gradient.lerp(buffer, group["momentum"]).reshape(shape[0], -1))
                matrices = orthogonalised(torch.stack(updates))
                size = 0.2 * max(matrices.shape[1:]) ** 0.5
                for parameter, matrix in zip(parameters, matrices, strict=True):
                    parameter.add_(matrix.reshape(shape), alpha=-group["lr"] * size)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices [N, rows, columns], rows <= columns -> nearly orthogonal rows, by a quintic Newton-Schulz iteration."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def make_optimisers(model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Optimisers of a model: Muon for square inner convolutions, Adam for first and last layers and all biases."""
    inner: list[Tensor] = []
    rest: list[Tensor] = []
    for parameter in model.parameters():
        square = parameter.ndim == 4 and parameter.shape[0] == parameter.shape[1]
        (inner if square else rest).append(parameter)
    return [Muon(inner, lr), torch.optim.Adam(rest, lr, betas=(0.9, 0.99))]
