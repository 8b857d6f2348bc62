"""Uniform quantisation of latents to 8-bit symbols, and back, after madebyollin/taesd (magnitude 3, shift 0.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quantiser:
    """A uniform quantiser: `levels` values spread evenly over [low, high], both ends included.

    levels: 16 ... 256. Raises ValueError for another number, or a range that does not rise.
    """

    low: float = -3.0
    high: float = 3.0
    levels: int = 256

    def __post_init__(self) -> None:
        if not 16 <= self.levels <= 256:
            raise ValueError(f"levels must be from 16 to 256, not {self.levels}")
        if not self.low < self.high:
            raise ValueError(f"the range of the latents must rise, not {self.low} to {self.high}")

    @property
    def step(self) -> float:
        """Quantisation step: distance between two neighbouring levels, in units of the latents."""
        return (self.high - self.low) / (self.levels - 1)

    @property
    def counts(self) -> bool:
        """Whether symbols stand for themselves, as the numbers of codes in a codebook do."""
        return (self.low, self.high, self.levels) == (0.0, 255.0, 256)

    def widened(self, latents: np.ndarray) -> Quantiser:
        """A quantiser of as many levels, whose range is widened to hold all these latents, of any shape.

        Its ends are float16, as blobs keep them. Raises ValueError for latents that no float16 can hold.
        """
        low, high = float(np.float16(latents.min())), float(np.float16(latents.max()))
        if low > latents.min():
            low = float(np.nextafter(np.float16(low), np.float16(-np.inf)))
        if high < latents.max():
            high = float(np.nextafter(np.float16(high), np.float16(np.inf)))
        if not np.isfinite([low, high]).all():
            raise ValueError(f"latents from {latents.min():g} to {latents.max():g} are beyond any range")
        return Quantiser(min(self.low, low), max(self.high, high), self.levels)

    def quantise(self, latents: np.ndarray) -> np.ndarray:
        """Float latents, any shape, clipped to [low, high] -> uint8 symbols 0 ... levels - 1, same shape.

        For the default range this is round(255 * clamp(x / 6 + 0.5, 0, 1)), half to even.
        """
        unit = (latents.astype(np.float32) - self.low) / np.float32(self.high - self.low)
        return np.rint(unit.clip(0, 1) * (self.levels - 1)).astype(np.uint8)

    def dequantise(self, symbols: np.ndarray) -> np.ndarray:
        """Symbols 0 ... levels - 1, uint8, any shape -> float32 latents in [low, high], same shape."""
        unit = symbols.astype(np.float32) / np.float32(self.levels - 1)
        return unit * np.float32(self.high - self.low) + np.float32(self.low)
