"""Settings of an encoding: how good, or how large, a blob is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latent8.zoo.registry import Model

QUALITIES, LEVELS = (1, 100), (16, 256)  # least and greatest
DEFAULT_QUALITY, DEFAULT_LEVELS = 50, 256


@dataclass(frozen=True)
class Settings:
    """The options of `Codec.encode` that decide on the size; None where the caller asks for nothing.

    quality: 1 ... 100. target_bytes, target_bpp: limit of the whole blob, in bytes or bits per pixel. levels: quantiser
    levels, 16 ... 256.
    """

    quality: int | None = None
    target_bytes: int | None = None
    target_bpp: float | None = None
    levels: int | None = None

    def check(self, model: Model) -> None:
        """Raise ValueError for a setting that is out of range, or that this model does not have."""
        sizes = [name for name in ("quality", "target_bytes", "target_bpp") if getattr(self, name) is not None]
        asked = [*sizes, *(["levels"] if self.levels is not None else [])]
        if not model.kind.option and asked:
            raise ValueError(f"{asked[0]} is for other models: {model.name} has one size of file")
        if model.kind.option == "levels" and sizes:
            raise ValueError(f"{sizes[0]} is for models with a hyperprior: {model.name} takes levels")
        if model.kind.option == "quality" and self.levels is not None:
            raise ValueError(f"levels is for models without a hyperprior: {model.name} takes quality")
        if len(sizes) > 1:
            raise ValueError(f"give either {' or '.join(sizes)}")
        _check_range("quality", self.quality, QUALITIES)
        _check_range("levels", self.levels, LEVELS)
        if self.target_bytes is not None and self.target_bytes < 1:
            raise ValueError(f"target_bytes must be above 0, not {self.target_bytes}")
        if self.target_bpp is not None and not 0 < self.target_bpp < math.inf:
            raise ValueError(f"target_bpp must be a number above 0, not {self.target_bpp}")

    def most_bytes(self, n_pixels: int) -> int | None:
        """Limit of the whole blob of a picture of `n_pixels` pixels, in bytes; None where there is none."""
        if self.target_bpp is not None:
            return int(self.target_bpp * n_pixels / 8)
        return self.target_bytes


def _check_range(name: str, value: int | None, limits: tuple[int, int]) -> None:
    low, high = limits
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")


DEFAULTS = Settings()
