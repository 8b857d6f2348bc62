"""Libraries of a few small photos, and calls of them, for the tests of libraries."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent8 import Library
from latent8.library.engine import Point
from latent8.library.records import Record
from tests.helpers.samples import EXAMPLES

NAMES = ["aitzgorri", "life", "picos", "seeding", "sunset", "wine"]


@pytest.fixture(scope="session")
def small_photos(tmp_path_factory) -> Path:
    """The six example photos with sides of at most 256, as PNG."""
    folder = tmp_path_factory.mktemp("small") / "photos"
    folder.mkdir()
    for name in NAMES:
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            image.thumbnail((256, 256), Image.Resampling.LANCZOS)
            image.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def small_blobs(small_photos, tmp_path_factory) -> Path:
    """The same as blobs of quality 50."""
    import latent8

    folder = tmp_path_factory.mktemp("blobs")
    for path in sorted(small_photos.iterdir()):
        (folder / f"{path.stem}.l8").write_bytes(latent8.encode(path))
    return folder


@pytest.fixture(scope="session")
def library_folder(small_blobs, tmp_path_factory) -> Path:
    """A library that refers to the six blobs, for copies."""
    folder = tmp_path_factory.mktemp("library") / "library"
    with Library(folder) as opened:
        assert opened.add(small_blobs).added == 6
    return folder


@pytest.fixture
def library(library_folder, tmp_path) -> Iterator[Library]:
    """A library that refers to the six blobs, in `tmp_path / "library"`."""
    shutil.copytree(library_folder, tmp_path / "library")
    with Library(tmp_path / "library") as opened:
        yield opened


def crop_of(path: Path) -> Image.Image:
    """The middle of a photo, 60 % of its sides."""
    with Image.open(path) as image:
        width, height = image.size
        return image.convert("RGB").crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))


def names(hits) -> list[str]:
    return [Path(hit.record.name).stem for hit in hits]


def made_up_points(count: int, dimensions: int, seed: int = 0) -> list[Point]:
    """Points with random vectors of unit length and records without blobs."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = []
    for number, vector in enumerate(vectors):
        sha256 = hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()
        record = Record(f"photo {seed}-{number}.jpg", sha256, 1000, 768, 512, "l8-photo", 50, path="/nowhere/photo.l8")
        points.append(Point(record.id, vector, record.payload()))
    return points
