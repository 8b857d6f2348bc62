"""Random square crops from a folder of photos."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.drawn import drawn_crop

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp"}
CACHE_BYTES = 4 << 30  # for photos that stay in memory
SEEDS_APART = 1_000_003  # between those of two processes: a run that goes on adds its steps to the seed
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)  # what Pillow raises


def photo_files(folder: str | Path) -> list[Path]:
    """All pictures below a folder, in name order. Raises FileNotFoundError when there are none."""
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"No pictures in {folder}: give a folder of JPEG, PNG, WebP, AVIF or TIFF files.")
    return files


def open_rgb(path: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


class Cropper:
    """Makes crops of photos.

    A photo is shrunk by a factor drawn from `shrink` when it is read: that averages away the 8x8 block
    artefacts of a JPEG. It then stays in memory while `cache_bytes` last. A crop covers 1 to `zoom_out` times
    its own side, but at least a share of `cover` of the photo's shorter side, and is mirrored at random. A share of
    `drawn` crops holds text, lines or screenshots in place of photos.
    """

    def __init__(
        self,
        files: list[Path],
        size: int,
        seed: int = 0,
        shrink: tuple[float, float] = (0.5, 0.75),
        zoom_out: float = 1.5,
        cache_bytes: int = CACHE_BYTES,
        drawn: float = 0.0,
        cover: float = 0.0,
    ):
        self.files, self.size = files, size
        self.shrink, self.zoom_out, self.drawn, self.cover = shrink, zoom_out, drawn, cover
        self._random = random.Random(seed)
        self._cache: dict[Path, Image.Image] = {}
        self._cache_left = cache_bytes

    def batch(self, count: int) -> Tensor:
        """uint8 [count, 3, S, S]. Raises ValueError where no photo is left to crop from."""
        return torch.from_numpy(np.stack([self.crop() for _ in range(count)])).permute(0, 3, 1, 2)

    def _photo(self, path: Path) -> Image.Image:
        if path in self._cache:
            return self._cache[path]
        photo = open_rgb(path)
        factor = self._random.uniform(*self.shrink)
        factor = min(1.0, max(factor, (self.size + 1) / min(photo.size)))  # never below one crop
        photo = photo.resize((round(photo.width * factor), round(photo.height * factor)), Image.Resampling.LANCZOS)
        n_bytes = photo.width * photo.height * 4
        if n_bytes <= self._cache_left:
            self._cache_left -= n_bytes
            self._cache[path] = photo
        return photo

    def crop(self) -> np.ndarray:
        """uint8 [S, S, 3]. Raises ValueError where no photo is left to crop from."""
        if self._random.random() < self.drawn:
            return np.asarray(drawn_crop(self._random, self.size))
        while True:
            path = self._random.choice(self.files)
            try:
                photo = self._photo(path)
            except UNREADABLE as error:
                self._leave_out(path, str(error))
                continue
            if min(photo.size) >= self.size:
                break
            self._leave_out(path, f"smaller than a crop of {self.size} pixels")
        whole = min(photo.size) / self.size
        least = max(1.0, self.cover * whole)
        side = round(self.size * self._random.uniform(least, max(least, min(self.zoom_out, whole))))
        left = self._random.randint(0, photo.width - side)
        top = self._random.randint(0, photo.height - side)
        box = (left, top, left + side, top + side)
        crop = photo.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box, reducing_gap=None)
        pixels = np.asarray(crop)
        return pixels[:, ::-1] if self._random.random() < 0.5 else pixels

    def _leave_out(self, path: Path, reason: str) -> None:
        """Leave a photo out from now on. Raises ValueError where it was the last one."""
        print(f"left out {path.name}: {reason}", flush=True)
        self.files = [file for file in self.files if file != path]
        if not self.files:
            raise ValueError(f"No photo is left to train on: all are damaged or smaller than {self.size} pixels.")


class CropSource:
    """Batches of crops, [B, 3, S, S] in [0, 1], made in the background: in a thread, or in `workers` processes.

    One thread is enough for a CPU; a GPU can take crops faster than one thread can make them. options: of `Cropper`.
    """

    def __init__(self, files: list[Path], size: int, batch: int, seed: int = 0, workers: int = 0, **options: Any):
        croppers = [
            Cropper(files, size, seed + SEEDS_APART * number, cache_bytes=CACHE_BYTES // max(1, workers), **options)
            for number in range(max(1, workers))
        ]
        self._queued: queue.Queue[Tensor | Exception] = queue.Queue(maxsize=8)
        self._batches: Iterator[Tensor | Exception] = iter(self._queued.get, None)
        if workers:
            loader = DataLoader(_Batches(croppers, batch), batch_size=None, num_workers=workers, prefetch_factor=8)
            self._batches = iter(loader)
        else:
            threading.Thread(target=self._produce, args=(croppers[0], batch), daemon=True).start()
        self._error: Exception | None = None

    def next(self, device: torch.device | str = "cpu") -> Tensor:
        """The next batch. Raises errors of the background, ValueError where no photo is left to crop from."""
        batch = self._error or next(self._batches)
        if isinstance(batch, Exception):
            self._error = batch  # nothing comes after it
            raise batch
        pixels = batch.to(device, memory_format=torch.channels_last, non_blocking=True)
        return pixels.float().div_(255)

    def _produce(self, cropper: Cropper, batch: int) -> None:
        for crops in _batches(cropper, batch):
            self._queued.put(crops)


class _Batches(IterableDataset):
    """Batches without end, of each process of a DataLoader from a cropper of its own."""

    def __init__(self, croppers: list[Cropper], batch: int):
        self._croppers, self._batch = croppers, batch

    def __iter__(self) -> Iterator[Tensor | Exception]:
        worker = get_worker_info()
        assert worker is not None
        return _batches(self._croppers[worker.id], self._batch)


def _batches(cropper: Cropper, count: int) -> Iterator[Tensor | Exception]:
    """Batches without end, or what went wrong: an exception lost in the background would leave others waiting."""
    try:
        while True:
            yield cropper.batch(count)
    except Exception as error:
        yield error
