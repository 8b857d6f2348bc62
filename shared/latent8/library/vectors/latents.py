"""`latents`: a vector from the latents of l8-photo alone, without its networks of the picture.

The latents keep the order of the discrete cosine transform that they started from. A linear map of each with its eight
neighbours, fitted on photos, gives about its coefficients, after what a blob's rate level does to them is undone. Of a
picture of 256 pixels they give, in each of 2 x 2 regions and for each of 240 frequencies, a mean and a logarithm of the
energy, 1,920 features in all. A blob of another size is first drawn at about that size, by the inverse transform alone:
averaging blocks of pixels is linear, and so it is done on the basis of the transform, before any pixel is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from latent8.exchange import read_latents
from latent8.file_format.reader import inspect, model_of
from latent8.library.vectors.base import WEIGHTS, Projection, hash_of, opaque, unit
from latent8.pool import CodecPool

SIDE = 256  # longest side of the picture that the features are of, in pixels
STRIDE, N_LATENTS = 16, 240
REGIONS = 2  # down and across
MODEL = "l8-photo"
LEAST_ENERGY = 0.01  # what is below it is lost at usual qualities, and counts for little
LARGEST_BLOB = 20_000_000  # pixels; larger ones are decoded
_PROJECTION = WEIGHTS / "library" / "latents-1.safetensors"
_COEFFICIENTS = WEIGHTS / "library" / "coefficients-1.safetensors"


class LatentsEmbedder:
    """See the module. Blobs of other models are decoded, and their pictures transformed."""

    def __init__(self) -> None:
        self._project = Projection(_PROJECTION)
        self.name, self.dimensions = "latents-1", self._project.dimensions
        self.hash = hash_of(
            [_PROJECTION, _COEFFICIENTS],
            f"{SIDE} px, {REGIONS} x {REGIONS} regions, means and log energies from {LEAST_ENERGY}",
        )

    def view(self, blob: bytes, pool: CodecPool) -> Image.Image:
        found = inspect(blob)
        quality = found.quality if model_of(found).name == MODEL else None
        if quality is None or found.width * found.height > LARGEST_BLOB:
            return opaque(pool.decode(blob))
        latents = read_latents(blob, pool=pool)
        return linear_picture(coefficients(latents.values, quality), latents.width, latents.height)

    def vector(self, image: Image.Image) -> np.ndarray:
        return unit(self._project(features(image)[None])[0])


def features(image: Image.Image) -> np.ndarray:
    """Picture of mode RGB -> float32 [1920]."""
    scale = SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    resized = image.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(resized, np.float32) / 255 - 0.5
    height, width = pixels.shape[:2]
    margins = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    return features_of_latents(transform(np.pad(pixels, margins, "edge")))


def features_of_latents(values: np.ndarray) -> np.ndarray:
    """float32 [240, h, w] -> float32 [1920]: for each region means, then log energies."""
    found = []
    for rows in np.array_split(values, REGIONS, axis=1):
        for region in np.array_split(rows if rows.shape[1] else values, REGIONS, axis=2):
            flat = (region if region.size else values).reshape(len(values), -1)
            found += [flat.mean(1), np.log((flat**2).mean(1) + LEAST_ENERGY)]
    return np.concatenate(found).astype(np.float32)


def transform(pixels: np.ndarray) -> np.ndarray:
    """float32 [H, W, 3], about -0.5 ... 0.5, sides multiples of 16 -> float32 [240, H / 16, W / 16]."""
    rows, columns = pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE
    blocks = pixels.reshape(rows, STRIDE, columns, STRIDE, 3).transpose(4, 1, 3, 0, 2)
    return (_basis(STRIDE) @ blocks.reshape(3 * STRIDE**2, -1)).reshape(-1, rows, columns)


def coefficients(values: np.ndarray, quality: int) -> np.ndarray:
    """Latents of a blob of l8-photo, float32 [240, h, w] -> about what `transform` gives of its picture."""
    from latent8.l8_photo.layers import N_LEVELS
    from latent8.l8_photo.model import level_of

    fitted = _fitted()
    level = level_of(quality)
    below = min(max(int(level // 1), 0), N_LEVELS - 2)
    low, high = fitted["log_gains"][below : below + 2]  # as `layers.at_levels`
    own = values / np.exp(low + (level - below) * (high - low))[:, None, None]
    found = np.zeros((len(own), own[0].size), np.float32) + fitted["offset"].astype(np.float32)[:, None]
    for matrix, near in zip(fitted["matrices"], neighbours(own), strict=True):
        found += matrix.astype(np.float32) @ near
    return found.reshape(own.shape)


def neighbours(values: np.ndarray) -> Iterator[np.ndarray]:
    """[240, h, w] -> nine times [240, h w], one for each place of a window of 3 x 3; the border is repeated."""
    _, height, width = values.shape
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), "edge")
    for row in range(3):
        for column in range(3):
            yield padded[:, row : row + height, column : column + width].reshape(len(values), -1)


@cache
def _fitted() -> dict[str, np.ndarray]:
    """matrices: float16 [9, 240, 240], offset: float32 [240], of latents as the analysis gives them. log_gains: float32
    [8, 240], logarithms of what latents are multiplied by before they come back from a blob, at whole rate levels."""
    from safetensors.numpy import load_file

    return load_file(_COEFFICIENTS)


def linear_picture(values: np.ndarray, width: int, height: int) -> Image.Image:
    """Coefficients float32 [240, h, w] of a picture of this size -> a picture of mode RGB, at least 256 pixels if it
    was."""
    side = STRIDE  # of what a block of 16 x 16 pixels is drawn as
    while side > 1 and max(width, height) * side // (2 * STRIDE) >= SIDE:
        side //= 2
    _, rows, columns = values.shape
    blocks = _basis(side).T @ values.reshape(len(values), -1)
    pixels = blocks.reshape(3, side, side, rows, columns).transpose(3, 1, 4, 2, 0)
    rgb = pixels.reshape(rows * side, columns * side, 3)
    inside = rgb[: max(1, round(height * side / STRIDE)), : max(1, round(width * side / STRIDE))]
    return Image.fromarray(np.rint((inside + 0.5).clip(0, 1) * 255).astype(np.uint8))


@cache
def _basis(side: int) -> np.ndarray:
    """float32 [240, 3 side²]: the basis of the transform, averaged over blocks of 16 / side pixels a side."""
    from latent8.l8_photo.layers import dct_basis

    basis = dct_basis().numpy().reshape(N_LATENTS, 3, side, STRIDE // side, side, STRIDE // side)
    return np.ascontiguousarray(basis.mean((3, 5)).reshape(N_LATENTS, -1))
