"""Vectors that a library states, against those of this release."""

from __future__ import annotations

from latent8.errors import LibraryError
from latent8.library.manifest import Manifest
from latent8.library.vectors import embedder
from latent8.library.vectors.base import Embedder


def checked_embedder(manifest: Manifest, vector: str | None, where: str, remedy: str) -> Embedder:
    """The vectors that the library states. Raises LibraryError where this release, or the caller, has others."""
    if vector and vector not in (manifest.vector, manifest.vector.partition("-")[0]):
        raise LibraryError(f"{where} has vectors of the kind {manifest.vector}, not {vector}: leave the choice out.")
    try:
        found = embedder(manifest.vector)
    except LibraryError:
        raise LibraryError(f"{where} has vectors {manifest.vector}, which this release lacks: {remedy}.") from None
    if (found.hash, found.dimensions) != (manifest.hash, manifest.dimensions):
        raise LibraryError(f"{where} was made with other weights of its vectors {manifest.vector}: {remedy}.")
    return found
