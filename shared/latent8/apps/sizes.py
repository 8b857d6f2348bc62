"""How many pixels an uploaded file will be worked on, by its first bytes."""

from __future__ import annotations

import os
import struct
from functools import lru_cache

from latent8.apps import bounds
from latent8.file_format.blob import MAGIC
from latent8.pictures.intake import size_of

PIXELS_PER_LATENT = 64  # of an RGBA PNG's, at 1/8 of the picture's size
PIXELS_PER_BYTE = 8  # at most, of arrays of latents: 4 channels of two bytes for 64 pixels


def pixels_of(path: str) -> int:
    """Of a blob or a picture; 0 where it cannot be told, as of a file that is neither."""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError:
        return 0
    if head[:4] == MAGIC and len(head) == 20:
        width, height = struct.unpack("<II", head[12:20])
        return width * height
    width, height = size_of(path)
    return width * height


def most_pixels(path: str) -> int:
    """As `pixels_of`, for whatever the file may be taken for: a PNG may hold latents, any other file an array, a ZIP
    files of any size. An uploaded file is looked at once."""
    try:
        state = os.stat(path)
        return _most_pixels(path, state.st_size, state.st_ino)
    except OSError:
        return 0


@lru_cache(10_000)
def _most_pixels(path: str, n_bytes: int, _: int) -> int:
    with open(path, "rb") as file:
        head = file.read(26)
    if head[:4] == b"PK\3\4":
        return bounds.LARGE_PIXELS + 1
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\x06":  # RGBA
        return pixels_of(path) * PIXELS_PER_LATENT
    return pixels_of(path) or n_bytes * PIXELS_PER_BYTE
