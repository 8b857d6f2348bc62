"""Where a library is: opened and checked, with its engine, vectors and blobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from latent8.errors import LibraryError
from latent8.library import journal as journals
from latent8.library.engine import Engine, Point
from latent8.library.manifest import NAME, Lock, Manifest, read_manifest, reindexing
from latent8.library.stated import checked_embedder
from latent8.library.store import BlobStore
from latent8.library.vectors import DEFAULT, embedder
from latent8.library.vectors.base import Embedder
from latent8.machine.disk import write_file

REPLAYED = 1024  # lines of the journal at once
JOURNAL, SHARD, CHECKPOINT = "journal.jsonl", "shard", "checkpoint"
OPTIMISE_AFTER = 5_000  # points added in one call; below it, comparing with each is as fast


class Place(Protocol):
    """What the library does with a folder or a server."""

    embedder: Embedder
    blobs: BlobStore

    @property
    def engine(self) -> Engine: ...

    @property
    def own_folder(self) -> Path | None:
        """None for a server."""

    def engine_for_adding(self) -> Engine:
        """The engine, made where it is not there yet."""

    def count(self) -> int: ...

    def put(self, points: Sequence[Point]) -> None:
        """Keep points; they survive a crash once this returns."""

    def delete(self, ids: Sequence[str]) -> None: ...

    def settle(self) -> None:
        """Called when an `add` is done."""

    def problems(self) -> list[str]:
        """What is wrong with the whole, a sentence each."""

    def drop(self) -> None:
        """Delete a collection of a server."""

    def close(self) -> None: ...


def open_place(place: str | os.PathLike, vector: str | None, blobs: Path | None) -> Place:
    """The place of a library: a folder or a server. Raises LibraryError where it cannot be opened."""
    text = os.fspath(place)
    if "://" in str(text):
        from latent8.library.server_place import ServerPlace

        return ServerPlace(str(text), vector, blobs)
    if blobs:
        raise LibraryError("A library in a folder keeps its blobs there: name a folder for them for a server alone.")
    return FolderPlace(Path(text), vector)


def is_library(folder: Path) -> bool:
    """Whether there is a library in this folder, if perhaps a damaged one."""
    return (folder / NAME).exists() or (folder / JOURNAL).exists()


class FolderPlace:
    """library.json, journal.jsonl, the engine's shard, blobs and a lock, in one folder."""

    engine: Engine

    def __init__(self, folder: Path, vector: str | None):
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self._journal: journals.Journal | None = None
        self._lock: Lock | None = None
        self._added, self._changed = 0, False  # since the index was built; since the checkpoint
        self._behind = False  # the shard may lack what the journal says, until it is opened again
        if folder.exists() and not folder.is_dir():
            raise LibraryError(
                f"{folder} is a file: a library is a folder, or the URL of a Qdrant server's collection."
            )
        if not is_library(folder):
            if folder.is_dir() and any(folder.iterdir()):
                raise LibraryError(f"{folder} holds other files and no library: name an empty or a new folder.")
            self.embedder = embedder(vector or DEFAULT)
            return
        self._lock = Lock(folder)
        try:
            manifest = read_manifest(folder)
            self.embedder = checked_embedder(manifest, vector, str(folder), reindexing(folder))
            if manifest.engine != engine_version():
                made = f"{folder} was made by {manifest.engine}, and here is {engine_version()}"
                raise LibraryError(f"{made}: {reindexing(folder)}.")
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        """Open the shard and the journal, and bring the shard up to date with what a crash may have kept from it."""
        from latent8.library.edge import EdgeEngine

        head = journals.head_of(self._journal_path)
        if head.get("hash") != self.embedder.hash:
            raise LibraryError(f"{self._journal_path} is of another library: {reindexing(self.folder)}.")
        self._journal = journals.Journal(self._journal_path)
        try:
            start = self._checkpoint()
            self.engine = EdgeEngine(self._shard_path, self.embedder.name, self.embedder.dimensions)
            replay(self.engine, journals.entries(self._journal_path, self.embedder.dimensions, start))
            self._changed = start < self._journal.size
        except LibraryError as error:
            self._journal.close()
            raise LibraryError(f"{str(error).rstrip('.')}: {reindexing(self.folder)}.") from None

    @property
    def own_folder(self) -> Path | None:
        return self.folder

    def engine_for_adding(self) -> Engine:
        if self._journal is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.folder)
            if is_library(self.folder):  # made by another since
                raise LibraryError(f"{self.folder} was just made by another program: try again.")
            self._manifest().write(self.folder)
            journals.begin(self._journal_path, self._manifest().facts())
            self._open()
        return self.engine

    def count(self) -> int:
        return self.engine.count() if self._journal else 0

    def put(self, points: Sequence[Point]) -> None:
        if points and self._journal:
            with self._kept_together():
                self._journal.put(points)
                self.engine.upsert(points)
            self._added += len(points)

    def delete(self, ids: Sequence[str]) -> None:
        if ids and self._journal:
            with self._kept_together():
                self._journal.remove(ids)
                self.engine.delete(ids)

    @contextmanager
    def _kept_together(self) -> Iterator[None]:
        """Around a change of the journal and then of the shard, which Ctrl-C or the engine may end in between."""
        before, self._behind = self._behind, True
        yield
        self._behind, self._changed = before, True

    def settle(self) -> None:
        if self._added >= OPTIMISE_AFTER:
            self.engine.optimise()
            self._added = 0
        self._note()

    def drop(self) -> None:
        raise LibraryError(f"A library in a folder is deleted with its folder, {self.folder}.")

    def problems(self) -> list[str]:
        """Compares the index with the journal."""
        damaged, there = list[int](), set[str]()
        for entry in journals.entries(self._journal_path, self.embedder.dimensions, damaged=damaged):
            (there.add if entry.point else there.discard)(entry.id)
        found = [f"Line {number + 1} of {self._journal_path} is damaged." for number in damaged[:5]]
        if len(there) != self.count():
            states = f"The index holds {self.count():,} pictures, and the journal {len(there):,}"
            found.append(f"{states}: {reindexing(self.folder)}.")
        return found

    def close(self) -> None:
        if self._journal:
            self._note()
            self.engine.close()
            self._journal.close()
            self._journal = None
        if self._lock:
            self._lock.release()
            self._lock = None

    def _note(self) -> None:
        """The shard holds all that the journal says up to here; where it may not, opening reads the journal again."""
        if self._journal and self._changed and not self._behind:
            self.engine.flush()
            write_file(self.folder / CHECKPOINT, str(self._journal.size).encode())
            self._changed = False

    def _checkpoint(self) -> int:
        """Where the part of the journal begins that the shard may lack: 0 for all of it."""
        if not self._shard_path.exists():
            return 0
        try:
            found = int((self.folder / CHECKPOINT).read_text())
        except (FileNotFoundError, ValueError):
            return 0
        if found > self._journal.size:  # type: ignore[union-attr]
            raise LibraryError(f"{self._journal_path} has lost its end")
        return found

    def _manifest(self) -> Manifest:
        return Manifest(self.embedder.name, self.embedder.hash, self.embedder.dimensions, engine_version())

    @property
    def _journal_path(self) -> Path:
        return self.folder / JOURNAL

    @property
    def _shard_path(self) -> Path:
        return self.folder / SHARD


def replay(engine: Engine, entries: Iterable[journals.Entry]) -> int:
    """Do to the engine what the journal says, and give the number of lines; what it has already changes nothing."""
    count, waiting = 0, dict[str, Point | None]()

    def give() -> None:
        put = [point for point in waiting.values() if point]
        if put:
            engine.upsert(put)
        gone = [key for key, point in waiting.items() if not point]
        if gone:
            engine.delete(gone)
        waiting.clear()

    for entry in entries:
        waiting[entry.id] = entry.point
        count += 1
        if len(waiting) == REPLAYED:
            give()
    give()
    return count


def engine_version() -> str:
    """Version of the installed engine. Raises LibraryError where it is not installed."""
    try:
        from latent8.library.edge import version
    except ImportError as error:
        raise LibraryError(f"{error.name} is missing: install latent8 with its extra, latent8[library].") from None
    return version()
