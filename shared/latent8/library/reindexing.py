"""Making a library in a folder anew from its journal: for a damaged index, another engine version, or other vectors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from latent8.errors import Latent8Error, LibraryError
from latent8.library import journal as journals
from latent8.library.engine import Point, batches
from latent8.library.manifest import NAME, Lock, Manifest, read_manifest
from latent8.library.places import CHECKPOINT, JOURNAL, SHARD, engine_version, is_library
from latent8.library.records import Record
from latent8.library.store import BlobStore
from latent8.library.vectors import embedder
from latent8.library.vectors.base import Embedder
from latent8.pool import CodecPool

BATCH = 512  # points
REMEDY = "add its photos and blobs to a new library"


@dataclass
class Reindexed:
    """pictures: in the library now. damaged_lines: of the journal, passed over. lost: names without a blob to embed."""

    pictures: int
    damaged_lines: int
    lost: list[str]


def reindex(
    folder: Path, vector: str | None = None, device: str | None = None, progress: Callable[[int], None] | None = None
) -> Reindexed:
    """Make the shard and library.json anew, and the journal without what was removed.

    Stored vectors are taken where they are of this release's kind; otherwise, or where `vector` names another, the
    blobs are decoded and embedded. Where something is passed over, the old journal is kept as journal.old.jsonl.
    progress: called with the number of pictures done. Raises LibraryError; nothing changes until the end.
    """
    if not is_library(folder):
        raise LibraryError(f"There is no library in {folder}.")
    lock = Lock(folder)
    try:
        return _Reindexing(folder, vector, device).run(progress)
    finally:
        lock.release()


class _Reindexing:
    def __init__(self, folder: Path, vector: str | None, device: str | None):
        self.folder, self.new = folder, folder / "reindex.partial"
        self.old = _stated(folder)
        self.embedder: Embedder = embedder(vector or self.old.vector.partition("-")[0])
        made_alike = (self.embedder.name, self.embedder.hash) == (self.old.vector, self.old.hash)
        self.pool = None if made_alike else CodecPool(device)
        self.blobs = BlobStore(folder / "blobs")
        self.damaged, self.lost = list[int](), list[str]()

    def run(self, progress: Callable[[int], None] | None) -> Reindexed:
        from latent8.library.edge import EdgeEngine

        shutil.rmtree(self.new, ignore_errors=True)
        self.new.mkdir()
        manifest = Manifest(self.embedder.name, self.embedder.hash, self.embedder.dimensions, engine_version())
        journals.begin(self.new / JOURNAL, manifest.facts())
        journal = journals.Journal(self.new / JOURNAL)
        engine = EdgeEngine(self.new / SHARD, self.embedder.name, self.embedder.dimensions)
        count = 0
        try:
            for batch in batches(self._points(), BATCH):
                journal.put(batch)
                engine.upsert(batch)
                count += len(batch)
                if progress:
                    progress(count)
            engine.optimise()
            engine.flush()
            size = journal.size
        finally:
            engine.close()
            journal.close()
        self._swap(manifest, size)
        return Reindexed(count, len(self.damaged), self.lost)

    def _points(self) -> Iterator[Point]:
        """Those that are left of the old journal, in its order, each with its vector of the new kind."""
        last: dict[str, int] = {}
        path, dimensions = self.folder / JOURNAL, self.old.dimensions
        for number, entry in enumerate(journals.entries(path, dimensions, damaged=self.damaged)):
            last[entry.id] = number
        for number, entry in enumerate(journals.entries(path, dimensions, damaged=[])):
            if entry.point and last[entry.id] == number:
                point = entry.point if self.pool is None else self._embedded(entry.point)
                if point:
                    yield point

    def _embedded(self, point: Point) -> Point | None:
        record = Record.from_payload(point.payload)
        try:
            view = self.embedder.view(self.blobs.read(record), self.pool)  # type: ignore[arg-type]
            return Point(point.id, self.embedder.vector(view), point.payload)
        except Latent8Error:
            self.lost.append(record.name)
            return None

    def _swap(self, manifest: Manifest, journal_size: int) -> None:
        """Put the new in the place of the old, such that a crash between two steps leaves what can be opened or
        indexed anew: without a shard the whole journal is read."""
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        shard, old_shard = self.folder / SHARD, self.new / "shard.old"
        if shard.exists():
            os.replace(shard, old_shard)
        if self.damaged or self.lost:
            shutil.copyfile(self.folder / JOURNAL, self.folder / "journal.old.jsonl")
        os.replace(self.new / JOURNAL, self.folder / JOURNAL)
        manifest.write(self.folder)
        os.replace(self.new / SHARD, shard)
        (self.folder / CHECKPOINT).write_text(str(journal_size))
        shutil.rmtree(self.new, ignore_errors=True)


def _stated(folder: Path) -> Manifest:
    """What the vectors in the journal are: said by its first line, or else by library.json."""
    path = folder / JOURNAL
    try:
        return Manifest.from_facts(journals.head_of(path), str(path), REMEDY)
    except LibraryError:
        if not path.exists():
            raise LibraryError(f"{path} is missing, and all of the library with it: {REMEDY}.") from None
        try:
            return read_manifest(folder)
        except LibraryError:
            message = f"{path} and {folder / NAME} are both damaged: {REMEDY}; its blobs are in {folder / 'blobs'}."
            raise LibraryError(message) from None
