"""Types for argparse: numbers within bounds; others are refused in one sentence, from a config file too."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

N = TypeVar("N", int, float)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most`, or without an upper bound."""

    def parsed(text: str) -> int:
        return _within(int(text), text, least, most)

    parsed.__name__ = "int"  # argparse names the type by it
    return parsed


def number(least: float, most: float | None = None) -> Callable[[str], float]:
    """A finite number from `least` to `most`, or without an upper bound."""

    def parsed(text: str) -> float:
        return _within(float(text), text, least, most)

    parsed.__name__ = "float"
    return parsed


def positive(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return value


positive.__name__ = "float"


def _within(value: N, text: str, least: N, most: N | None) -> N:
    if not (math.isfinite(value) and least <= value and (most is None or value <= most)):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"must be {bounds}, not {text}")
    return value
