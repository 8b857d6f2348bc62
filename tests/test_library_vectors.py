"""The vectors of a library: what they find under edits, and that they stay what they are."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

import latent8
from latent8.library.edits import EDITS
from latent8.library.efficientnet import EfficientNetLite0, SameConv
from latent8.library.vectors import embedder, latents, picture
from latent8.library.vectors.base import WEIGHTS, opaque
from latent8.pool import CodecPool
from tests.helpers.drawn_photos import photo
from tests.helpers.library_photos import NAMES

pytest_plugins = ["tests.helpers.library_photos"]
HASHES = {"picture": "4ebec1b25dd0ad34", "latents": "4ebbe686e4400a44"}
FIRST_VALUES = {
    "picture": [-0.255, 0.055, -0.222, 0.188, -0.16, 0.055],
    "latents": [0.296, -0.144, -0.143, -0.255, 0.037, 0.353],
}
NETWORK = "5a9cba3a25fb976a"


def opened(folder, name: str) -> Image.Image:
    with Image.open(folder / f"{name}.png") as image:
        return image.convert("RGB")


@pytest.mark.parametrize(("vector", "floor"), [("picture", 64), ("latents", 60)])
def test_edits_find_their_photos_among_strangers(vector, floor, small_photos):
    """66 edits; the floors are two and six below what is found. docs/LIBRARY.md has the figures on more photos."""
    one = embedder(vector)
    gallery = [opened(small_photos, name) for name in NAMES]
    gallery += [Image.fromarray(photo(128, 192, seed)) for seed in range(40)]
    vectors = np.stack([one.vector(image) for image in gallery])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5) and vectors.dtype == np.float32
    edited = np.stack([[one.vector(edit(image)) for edit in EDITS.values()] for image in gallery[: len(NAMES)]])
    first = (edited @ vectors.T).argmax(-1)
    assert (first == np.arange(len(NAMES))[:, None]).sum() >= floor


def test_vectors_of_a_library_stay_what_they_are(small_photos):
    """Weights and recipe are part of every library: another vector needs another name."""
    assert {name: embedder(name).hash for name in HASHES} == HASHES
    image = opened(small_photos, "life")
    for name, values in FIRST_VALUES.items():
        found = embedder(name)
        assert (found.name, found.vector(image)[:6].round(3).tolist()) == (f"{name}-1", pytest.approx(values, abs=0.02))


def test_the_vector_from_the_latents_needs_no_picture(small_photos, small_blobs):
    one = embedder("latents")

    class Pool(CodecPool):
        def decode(self, *arguments, **options):
            raise AssertionError("decoded")

    pool = Pool()

    originals = np.stack([one.vector(opened(small_photos, name)) for name in NAMES])
    for number, name in enumerate(NAMES):
        view = one.view((small_blobs / f"{name}.l8").read_bytes(), pool)
        original = opened(small_photos, name)
        assert view.size == original.size
        scores = originals @ one.vector(view)
        assert scores.argmax() == number and scores[number] > 0.6
        assert np.abs(np.asarray(view, np.float64) - np.asarray(original)).mean() < 18


def test_large_latents_are_drawn_small(small_photos):
    large = opened(small_photos, "life").resize((1040, 700), Image.Resampling.BICUBIC)
    view = latents.linear_picture(
        latents.coefficients(latent8.read_latents(latent8.encode(large, quality=80)).values, 80), 1040, 700
    )
    assert view.size == (260, 175)
    expected = np.asarray(large.resize((260, 175), Image.Resampling.BOX), np.float64)
    assert np.abs(np.asarray(view, np.float64) - expected).mean() < 6


def test_blobs_of_other_models_are_decoded(small_photos):
    blob = latent8.encode(small_photos / "life.png", "l8-tiny")
    one = embedder("latents")
    vector = one.vector(one.view(blob, CodecPool()))
    assert np.argmax([vector @ one.vector(opened(small_photos, name)) for name in NAMES]) == NAMES.index("life")


def test_the_transform_is_that_of_the_latents():
    """The inverse of the transform gives the pixels back, up to the frequencies that l8-photo leaves out."""
    image = Image.fromarray(photo(64, 96, 3)).resize((96, 64)).reduce(4).resize((96, 64), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.float32) / 255 - 0.5
    again = np.asarray(latents.linear_picture(latents.transform(pixels), 96, 64), np.float32) / 255 - 0.5
    assert np.abs(again - pixels).mean() < 0.01


def test_transparent_pictures_are_laid_on_white():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert np.asarray(opaque(image)).min() == 255
    assert opaque(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (17, 3)])
@pytest.mark.parametrize("vector", ["picture", "latents"])
def test_any_size_has_a_vector(vector, size):
    assert np.isfinite(embedder(vector).vector(Image.fromarray(photo(size[1], size[0], 1)))).all()


def test_padding_is_tensorflows():
    """SAME with stride 2 on even sides pads at the end alone for 3 x 3, and by one and two for 5 x 5."""
    assert SameConv(1, 1, 3, 2).margins == (0, 1, 0, 1)
    assert SameConv(1, 1, 5, 2).margins == (1, 2, 1, 2)
    assert SameConv(1, 1, 5, 1).margins == (2, 2, 2, 2) and SameConv(1, 1, 1, 1).margins == (0, 0, 0, 0)
    with torch.inference_mode():
        assert EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 1280, 2, 3)


def test_features_see_what_the_network_was_trained_for(small_photos):
    features = picture.features(opened(small_photos, "life"))
    assert features.shape == (1280,) and features.min() >= 0 and features.max() <= 6**0.5
    network = (WEIGHTS / "efficientnet-lite0" / "features.safetensors").read_bytes()
    assert hashlib.sha256(network).hexdigest().startswith(NETWORK)
