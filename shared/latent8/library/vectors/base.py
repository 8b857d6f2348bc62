"""The contract of a library's vectors: named with a version, of length 1, finite, made from a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from latent8.errors import LibraryError

if TYPE_CHECKING:
    from latent8.pool import CodecPool

WEIGHTS = Path(__file__).parents[2] / "weights"


class Embedder(Protocol):
    """name: with the version, as the engine's named vector. hash: of all weights, hexadecimal."""

    name: str
    dimensions: int
    hash: str

    def view(self, blob: bytes, pool: CodecPool) -> Image.Image:
        """Blob -> the picture, of mode RGB, that its vector is made from. pool: of the codecs that decode it."""

    def vector(self, image: Image.Image) -> np.ndarray:
        """Picture of mode RGB -> float32 [dimensions] of unit length. Raises LibraryError where it has none."""


class Projection:
    """Features [n, f] -> float32 [n, d]: less a mean, times a matrix, as principal component analysis finds them."""

    def __init__(self, path: Path):
        from safetensors.numpy import load_file

        tensors = load_file(path)
        self.mean, self.matrix = (tensors[name].astype(np.float32) for name in ("mean", "matrix"))
        self.dimensions = self.matrix.shape[1]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.matrix


def unit(vector: np.ndarray) -> np.ndarray:
    """float [d] -> float32 [d] of unit length. Raises LibraryError where it is zero or not finite."""
    values = np.asarray(vector, np.float64)
    length = np.linalg.norm(values)
    if not np.isfinite(length) or length < 1e-12:
        raise LibraryError("The picture is too plain to be compared: its vector is zero or not finite.")
    return (values / length).astype(np.float32)


def opaque(image: Image.Image) -> Image.Image:
    """Any mode -> RGB; what is transparent is laid on white, as most programs show it."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    found = image.convert("RGBA")
    white = Image.new("RGBA", found.size, "white")
    return Image.alpha_composite(white, found).convert("RGB")


def hash_of(paths: Iterable[Path], recipe: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of files and of what is done with them, in words."""
    digest = hashlib.sha256(recipe.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
