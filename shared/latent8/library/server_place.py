"""A library in a collection of a Qdrant server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent8.errors import LibraryError
from latent8.library.engine import Engine, Point
from latent8.library.manifest import Manifest
from latent8.library.stated import checked_embedder
from latent8.library.store import BlobStore
from latent8.library.vectors import DEFAULT, embedder

METADATA = "latent8"  # key of the collection's metadata that holds what library.json holds in a folder
ENGINE = "qdrant"


class ServerPlace:
    """Many programs can use it at once. blobs: a folder that they share, for the blobs of photos; or in the records."""

    def __init__(self, url: str, vector: str | None, blobs: Path | None):
        try:
            from latent8.library.remote import RemoteEngine
        except ImportError as error:
            raise LibraryError(f"{error.name} is missing: install latent8 with its extra, latent8[library].") from None
        self.engine = RemoteEngine(url)
        self.blobs = BlobStore(blobs)
        found = self.engine.describe()
        self._exists = found is not None
        self.embedder = embedder(vector or DEFAULT) if found is None else self._checked(*found, vector)
        self.engine.use(self.embedder.name)

    def _checked(self, sizes: dict[str, int], metadata: dict[str, Any], vector: str | None):
        url, remedy = self.engine.url, "name another collection, and add the photos and blobs to it"
        if METADATA in metadata:
            manifest = Manifest.from_facts(metadata[METADATA], f"The metadata of {url}", remedy)
            found = checked_embedder(manifest, vector, url, remedy)
        else:  # of a server that keeps none
            known = [name for name in sizes if name.startswith(("picture-", "latents-"))]
            if not known:
                raise LibraryError(f"{url} is no library of latent8, but a collection of something else: {remedy}.")
            found = embedder(known[0])
        if sizes.get(found.name) != found.dimensions:
            has = ", ".join(f"{name or 'unnamed'}: {size}" for name, size in sizes.items())
            states = f"{found.name} has {found.dimensions} dimensions"
            raise LibraryError(f"{url} has vectors of other dimensions ({has}; {states}): {remedy}.")
        return found

    @property
    def own_folder(self) -> Path | None:
        return self.blobs.folder

    def engine_for_adding(self) -> Engine:
        if not self._exists:
            manifest = Manifest(self.embedder.name, self.embedder.hash, self.embedder.dimensions, ENGINE)
            self.engine.create(self.embedder.name, self.embedder.dimensions, {METADATA: manifest.facts()})
            self._exists = True
        return self.engine

    def count(self) -> int:
        return self.engine.count() if self._exists else 0

    def put(self, points: Sequence[Point]) -> None:
        if points:
            self.engine.upsert(points)

    def delete(self, ids: Sequence[str]) -> None:
        if ids and self._exists:
            self.engine.delete(ids)

    def settle(self) -> None:
        """A server indexes by itself."""

    def problems(self) -> list[str]:
        return []

    def drop(self) -> None:
        if self._exists:
            self.engine.drop()
            self._exists = False

    def close(self) -> None:
        self.engine.close()
