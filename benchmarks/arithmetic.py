"""The least time that a network's arithmetic can take: its operations over the rate that the machine multiplies at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

MATRIX_SIDE = 2048


def count_flops(call: Callable[[], Any]) -> int:
    """Floating-point operations of the convolutions and matrix products in a call; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matrix_rate(device: torch.device | str, dtype: torch.dtype, side: int = MATRIX_SIDE, repeats: int = 8) -> float:
    """FLOP per second of a product of two square matrices: the best of some, after one that is not counted."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for number in range(1 + repeats):
        _wait(device)
        started = time.perf_counter()
        a @ b
        _wait(device)
        if number:
            best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _wait(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
