"""How large a blob may be, or how good."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latent8.zoo.registry import HYPERPRIOR, Model

DEFAULT_QUALITY = 50


@dataclass(frozen=True)
class Settings:
    """The options of `Codec.encode` that decide on the size; None where nothing is asked."""

    quality: int | None = None
    target_bytes: int | None = None
    target_bpp: float | None = None
    levels: int | None = None

    def check(self, model: Model) -> None:
        """Raises ValueError for what is out of range, or not for this model."""
        sizes = [name for name in ("quality", "target_bytes", "target_bpp") if getattr(self, name) is not None]
        if model.kind != HYPERPRIOR and sizes:
            raise ValueError(f"{sizes[0]} is for models with a hyperprior: {model.name} takes levels")
        if model.kind == HYPERPRIOR and self.levels is not None:
            raise ValueError(f"levels is for models without a hyperprior: {model.name} takes quality")
        if len(sizes) > 1:
            raise ValueError(f"give either {' or '.join(sizes)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be from 1 to 100, not {self.quality}")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise ValueError(f"target_bytes must be above 0, not {self.target_bytes}")
        if self.target_bpp is not None and not 0 < self.target_bpp < math.inf:
            raise ValueError(f"target_bpp must be a number above 0, not {self.target_bpp}")
        if self.levels is not None and not 16 <= self.levels <= 256:
            raise ValueError(f"levels must be from 16 to 256, not {self.levels}")


DEFAULTS = Settings()
