"""Files of a request: its folder, pictures, archives, names."""

from __future__ import annotations

import io
import uuid
import zipfile
from pathlib import Path

import gradio as gr
from PIL import Image

from latent8 import exchange
from latent8.apps.quota import Quota
from latent8.apps.work import MAX_PIXELS, POOL
from latent8.errors import BlobError
from latent8.evaluation.latent_pictures import latent_pictures
from latent8.file_format.blob import Encoded, clean_stem
from latent8.file_format.reader import model_of
from latent8.latents import Latents
from latent8.pictures import drawing
from latent8.pictures.intake import Picture

PREVIEW_SIDE = 1600  # pixels

quota: Quota | None = None  # of the server that this runs in


def request_folder() -> Path:
    """A new folder that is served as it is and deleted with the rest of the cache after an hour.

    Raises OSError where results have no room.
    """
    _take_room(0)
    folder = Path(gr.utils.get_upload_folder()) / f"latent8-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def open_file_of_latents(path: str, space: str = "", raw: bool = False) -> Encoded | Latents:
    """A file of latents in any format. Raises Latent8Error; also for one of a model that the app was not started with,
    which could claim latents of any shape."""
    source = exchange.open_latents(path, space or None, raw=raw, max_pixels=MAX_PIXELS)
    model = model_of(source)
    if model.own and not model.weights_hash:
        raise BlobError(
            "The blob was made with an autoencoder of somebody's own, which this app does not have: decode it with the "
            "program that made it."
        )
    return source


def _take_room(n_bytes: int) -> None:
    """Raises OSError where results have none."""
    if quota:
        quota.take_results(n_bytes)


def save_bytes(folder: Path, name: str, data: bytes) -> str:
    """Raises OSError where results have no room."""
    _take_room(len(data))
    path = folder / name
    path.write_bytes(data)
    return str(path)


def save_png(folder: Path, name: str, image: Image.Image) -> str:
    """Written fast, not small. Raises OSError where results have no room."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return save_bytes(folder, name, buffer.getvalue())


def save_view(folder: Path, name: str, picture: Picture) -> str:
    """A lossless PNG for the page."""
    return save_png(folder, name, picture.image())


def save_preview(folder: Path, name: str, picture: Picture) -> str:
    """A lossless PNG for the page, shrunk to what a screen shows."""
    image = picture.image()
    if max(image.size) > PREVIEW_SIDE:
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return save_png(folder, name, image)


def save_latent_views(folder: Path, source: Encoded | Latents) -> list[tuple[str, str]]:
    """Encoded picture or latents -> (file, caption) of each picture of the latents."""
    saved = []
    for index, view in enumerate(latent_pictures(source, pool=POOL)):
        image = view.image if view.wide else drawing.enlarged(view.image)
        saved.append((save_png(folder, f"latents-{index}.png", image), view.caption))
    return saved


def unique_name(stem: str, suffix: str, taken: set[str]) -> str:
    """stem + suffix, or stem-2 + suffix and so on; remembers it in `taken`."""
    name, number = f"{stem}{suffix}", 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name


class ZipWriter:
    """A ZIP that grows file by file on disk, and is dropped when nothing went into it."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)  # the contents are compressed already

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            self._archive.close()
        finally:
            if failed or not self.count:
                self.path.unlink()

    def add(self, name: str, data: bytes) -> None:
        _take_room(len(data))
        self._archive.writestr(name, data)
        self.count += 1

    def path_if_filled(self) -> str | None:
        return str(self.path) if self.count else None


def stem_of(path: str) -> str:
    """Name of a file of latents without its ending, safe on any system."""
    return clean_stem(exchange.stem_of(Path(path).name))


def model_name(source: Encoded | Latents) -> str:
    return model_of(source).name
