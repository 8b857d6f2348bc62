"""Fit the projections of the library's vectors on photos, so that features which edits change count less.

    python -m training.library_vectors PHOTOS [NAME]    # picture-1, latents-1 or coefficients-1, by default all

Of each photo there are six views: itself, its mirror image, two crops, a quarter turn and one edit of
`latent8.library.edits`. With W the covariance of views around the mean of their photo, drawn towards a multiple of the
unit matrix, and B that of the means, the projection goes to the directions in which B is largest when W is made the
unit matrix (Fisher's linear discriminant analysis with each photo a class; for retrieval: Mikolajczyk and Matas,
"Improving descriptors for fast tree matching by optimal linear projection", 2007). A third of the photos, which are
left out, say how often an edit's own photo is found first among them.

`coefficients-1` is no projection, but the linear map from windows of 3 x 3 latents of l8-photo to coefficients of the
discrete cosine transform, by ridge regression, and the gains of the rate levels. New weights of l8-photo need others.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from tqdm import tqdm

from latent8 import Codec
from latent8.library.edits import EDITS, crop
from latent8.library.vectors import latents, picture
from latent8.library.vectors.base import WEIGHTS
from training.export import photo_model

# Features, dimensions kept, share by which W is drawn to the unit matrix: the best, on the photos left out, of 128 and
# 256 dimensions and of shares from 0.02 to 0.5; for `picture` 256 were no better.
VECTORS = {"picture-1": (picture.features, 128, 0.5), "latents-1": (latents.features, 256, 0.3)}
COEFFICIENTS, RIDGE = "coefficients-1", 1e-5
SHARE_FITTED = 2 / 3
SIDE = 512  # longest side of the photos, in pixels
N_QUERIES = 100


def main(folder: Path, names: Sequence[str]) -> None:
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    random.Random(1).shuffle(photos)
    fitted, left_out = photos[: round(len(photos) * SHARE_FITTED)], photos[round(len(photos) * SHARE_FITTED) :]
    (WEIGHTS / "library").mkdir(exist_ok=True)
    for name in names:
        if name == COEFFICIENTS:
            save_file(coefficients(fitted), WEIGHTS / "library" / f"{name}.safetensors")
            continue
        features, dimensions, shrinkage = VECTORS[name]
        draw = random.Random(0)
        views = np.stack([[features(view) for view in views_of(opened(path), draw)] for path in tqdm(fitted)])
        mean, matrix = discriminant(views, dimensions, shrinkage)
        tensors = {"mean": mean, "matrix": matrix.astype(np.float16)}
        save_file(tensors, WEIGHTS / "library" / f"{name}.safetensors")
        gallery = np.stack([features(opened(path)) for path in left_out])
        queries = np.stack(
            [[features(edit(opened(path))) for edit in EDITS.values()] for path in tqdm(left_out[:N_QUERIES])]
        )
        found = found_first((gallery - mean) @ matrix, (queries - mean) @ matrix)
        print(f"{name}: found first among {len(gallery)}: {found.mean():.4f}")
        print("\n".join(f"  {edit}: {share:.2f}" for edit, share in zip(EDITS, found.mean(0), strict=True)))


def coefficients(photos: Sequence[Path]) -> dict[str, np.ndarray]:
    """Tensors of `coefficients-1`, fitted on these photos; see `latent8.library.vectors.latents`."""
    network = Codec(latents.MODEL).network
    layers = photo_model(WEIGHTS / latents.MODEL)
    log_gains = (layers.log_gain.rows + layers.log_inverse_gain.rows).detach().float().numpy()
    n = latents.N_LATENTS
    products, wanted_products = np.zeros((9 * n + 1, 9 * n + 1)), np.zeros((9 * n + 1, n))
    for path in tqdm(photos):
        pixels = np.asarray(opened(path))
        rows, columns = (side // latents.STRIDE * latents.STRIDE for side in pixels.shape[:2])
        pixels = np.ascontiguousarray(pixels[:rows, :columns])
        wanted = latents.transform(pixels.astype(np.float32) / 255 - 0.5).reshape(n, -1)
        near = [*latents.neighbours(network.encode_pixels(pixels)), np.ones((1, wanted.shape[1]), np.float32)]
        found = np.concatenate(near)
        products += found @ found.T
        wanted_products += found @ wanted.T
    products += RIDGE * np.trace(products) / len(products) * np.eye(len(products))
    solved = np.linalg.solve(products, wanted_products).astype(np.float32)
    matrices = solved[:-1].reshape(9, n, n).transpose(0, 2, 1).astype(np.float16)
    return {"matrices": np.ascontiguousarray(matrices), "offset": solved[-1], "log_gains": log_gains}


def opened(path: Path) -> Image.Image:
    image = Image.open(path).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def views_of(image: Image.Image, draw: random.Random) -> list[Image.Image]:
    crops = [crop(draw.uniform(*share), draw.random(), draw.random())(image) for share in ((0.45, 0.75), (0.7, 0.95))]
    edit = EDITS[draw.choice(list(EDITS))]
    turn = draw.choice([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return [image, mirrored, *crops, edit(image), image.transpose(turn)]


def discriminant(views: np.ndarray, dimensions: int, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Features [photos, views, f] -> mean [f], matrix [f, dimensions]."""
    size = views.shape[-1]
    mean = views.reshape(-1, size).mean(0, dtype=np.float64)
    centred = views - mean
    within = (centred - centred.mean(1, keepdims=True)).reshape(-1, size)
    w = within.T @ within / len(within)
    w = (1 - shrinkage) * w + shrinkage * np.trace(w) / size * np.eye(size)
    values, vectors = np.linalg.eigh(w)
    whitening = vectors * values**-0.5
    means = centred.mean(1) @ whitening
    _, directions = np.linalg.eigh(means.T @ means)  # the largest come last
    return mean.astype(np.float32), (whitening @ directions[:, : -dimensions - 1 : -1]).astype(np.float32)


def found_first(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """[n, d], [m, edits, d] -> bool [m, edits]: whether photo i is the nearest to the edits of photo i."""
    gallery, queries = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (gallery, queries))
    return (queries @ gallery.T).argmax(-1) == np.arange(len(queries))[:, None]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or [*VECTORS, COEFFICIENTS])
