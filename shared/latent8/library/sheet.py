"""A sheet of what a search found, drawn from the blobs alone."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from latent8.errors import BlobError
from latent8.library.library import Hit
from latent8.library.vectors.base import opaque
from latent8.pictures.drawing import View, sheet

SIDE = 360  # pixels of a picture on the sheet


def sheet_of(query: str, hits: Sequence[Hit], seconds: float) -> Image.Image:
    """PIL image of mode RGB; seconds: that the search took."""
    return sheet(f"{query}: {len(hits)} found in {seconds * 1000:.0f} ms", [_view(hit) for hit in hits])


def _view(hit: Hit) -> View:
    caption = f"{hit.score:.3f}  {hit.record.name}"
    try:
        image = opaque(hit.decode())
    except BlobError:
        return View(f"{caption} (its blob is missing)", Image.new("RGB", (SIDE, SIDE * 2 // 3), "#e4e4e8"))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return View(caption, image)
