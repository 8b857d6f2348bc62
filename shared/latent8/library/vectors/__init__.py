"""The vectors that a library can be made of."""

from __future__ import annotations

from functools import cache

from latent8.errors import LibraryError
from latent8.library.vectors.base import Embedder

NAMES = ("picture", "latents")
DEFAULT = "picture"


@cache
def embedder(name: str) -> Embedder:
    """Embedder of a name, with or without its version; loaded once. Raises LibraryError for an unknown one."""
    from latent8.library.vectors.latents import LatentsEmbedder
    from latent8.library.vectors.picture import PictureEmbedder

    makers = {"picture": PictureEmbedder, "latents": LatentsEmbedder}
    plain, _, version = name.partition("-")
    if plain in makers:
        found: Embedder = makers[plain]()  # type: ignore[assignment]
        if not version or found.name == name:
            return found
    raise LibraryError(f"There is no vector {name!r} in this release: choose {' or '.join(NAMES)}.")
