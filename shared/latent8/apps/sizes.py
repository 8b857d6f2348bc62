"""How many pixels an uploaded file will be worked on, by its first bytes."""

from __future__ import annotations

import os
import struct

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
    """As `pixels_of`, for whatever the file may be taken for: a PNG may hold latents, and any other file an array."""
    try:
        n_bytes = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(26)
    except OSError:
        return 0
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\x06":  # RGBA
        return pixels_of(path) * PIXELS_PER_LATENT
    return pixels_of(path) or n_bytes * PIXELS_PER_BYTE
