"""Calling the apps as clients do, and looking at what they answer."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import latent8
from tests.helpers.samples import build_blob

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer


SPACES = Path(__file__).parents[2] / "spaces"
SUFFIXES = {"PNG": ".png", "WebP": ".webp", "JPEG": ".jpg"}


def client(server: AppServer, folder: Path) -> Client:
    return Client(server.url, verbose=False, download_files=str(folder), analytics_enabled=False)


def caller(server: AppServer, folder: Path) -> Callable[..., Any]:
    connected = client(server, folder)

    def call(endpoint: str, **inputs: Any) -> Any:
        files = {name: upload(value) for name, value in inputs.items()}
        return connected.predict(**files, api_name=endpoint)

    return call


def upload(value: Any) -> Any:
    if isinstance(value, list):
        return [upload(item) for item in value]
    return handle_file(value) if isinstance(value, Path) else value


def sd1_blob(photo: Path) -> bytes:
    """A blob of taesd whose latents are not those of any weights: the photo's mean colours, as 8-bit values."""
    with Image.open(photo) as image:
        width, height = image.size
        size = math.ceil(width / 8), math.ceil(height / 8)
        colours = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
    payload = np.concatenate([colours, colours[..., :1]], axis=-1).transpose(2, 0, 1).tobytes()
    return build_blob(model_id=2, weights=bytes(4), width=width, height=height, payload=payload)


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pixels_of(image: str | Path | Image.Image) -> np.ndarray:
    return np.asarray(image if isinstance(image, Image.Image) else Image.open(image))


def assert_same_pixels(first: str | Path | Image.Image, second: str | Path | Image.Image) -> None:
    first_pixels, second_pixels = pixels_of(first), pixels_of(second)
    assert first_pixels.shape == second_pixels.shape
    assert np.array_equal(first_pixels, second_pixels)


def sentence_of(call: Callable[[], object]) -> str:
    """What the library says against it, as a page shows it."""
    with pytest.raises(latent8.Latent8Error) as caught:
        call()
    return html.escape(str(caught.value))


@contextmanager
def refused(server: AppServer, sentence: str) -> Iterator[None]:
    """The block ends in that error, and nothing of it is printed by the server."""
    before = len(server.log)
    with pytest.raises(AppError) as caught:
        yield
    assert caught.value.message == sentence
    assert server.log[before:] == ""


def assert_near(first: str | Path, second: Image.Image) -> None:
    assert np.abs(pixels_of(first).astype(int) - pixels_of(second)).max() <= 2
