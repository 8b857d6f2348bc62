"""Latent spaces that several models and tools share, with the scale factor and shift of each.

Autoencoders give raw latents; diffusion pipelines, TAESD and blobs hold z = (raw - shift) * scale, whose variance is
about 1. The factors are those of each family's `vae/config.json` on the Hugging Face Hub (`scaling_factor`,
`shift_factor`), which ComfyUI repeats in `comfy/latent_formats.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latent8.errors import ModelError


@dataclass(frozen=True)
class LatentSpace:
    """A latent space. scale, shift: its factors, z = (raw - shift) * scale. stride: pixels per latent, both ways.

    default_model: the model that latents are said to be of where only their space is known. source: where the factors
    come from.
    """

    name: str
    channels: int
    scale: float
    shift: float
    default_model: str
    source: str
    stride: int = 8

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Raw latents, any shape, as the autoencoder gives them -> z, float32, same shape."""
        return ((raw.astype(np.float64) - self.shift) * self.scale).astype(np.float32)

    def raw(self, z: np.ndarray) -> np.ndarray:
        """Latents z, any shape -> raw latents, float32, same shape; the inverse of `scaled`."""
        return (z.astype(np.float64) / self.scale + self.shift).astype(np.float32)


SPACES = {
    space.name: space
    for space in (
        LatentSpace("sd1", 4, 0.18215, 0.0, "taesd", "Stable Diffusion 1 and 2: stable-diffusion-v1-5"),
        LatentSpace("sdxl", 4, 0.13025, 0.0, "taesdxl", "Stable Diffusion XL: stable-diffusion-xl-base-1.0"),
        LatentSpace("sd3", 16, 1.5305, 0.0609, "taesd3", "Stable Diffusion 3 and 3.5: stable-diffusion-3-medium"),
        LatentSpace("flux1", 16, 0.3611, 0.1159, "taef1", "FLUX.1: FLUX.1-schnell"),
    )
}


def space_named(name: str) -> LatentSpace:
    """The latent space of this name. Raises ModelError for a name that is not in the table."""
    if name not in SPACES:
        raise ModelError(f"There is no latent space {name!r}: choose {' or '.join(SPACES)}.")
    return SPACES[name]
