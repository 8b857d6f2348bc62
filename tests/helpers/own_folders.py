"""Folders with autoencoders of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latent8 import own_model
from latent8.zoo.registry import Model
from tests.helpers.passthrough import make_kl

FACTORS = {
    "sd1": (0.18215, 0.0, 4),
    "sdxl": (0.13025, 0.0, 4),
    "sd3": (1.5305, 0.0609, 16),
    "flux1": (0.3611, 0.1159, 16),
}


def square() -> np.ndarray:
    """White on black, on the grid of latents: 72 x 64 pixels."""
    pixels = np.zeros((64, 72, 3), np.uint8)
    pixels[16:48, 24:56] = 255
    return pixels


def kl_model(folder: Path, space: str = "sd1", **options: Any) -> Model:
    scale, shift, channels = FACTORS[space]
    return own_model(make_kl(folder, scale, shift, channels, **options), space)
