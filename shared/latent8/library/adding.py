"""Adding to a library: from items to points, several at a time, each reported once it is kept."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from latent8.errors import Latent8Error
from latent8.file_format.blob import is_blob
from latent8.library.engine import Engine
from latent8.library.item import Embedded, Item
from latent8.library.records import Record, clean_name, point_id, record_of, require_blob, stamp_of, writable_path
from latent8.library.store import BlobStore
from latent8.library.vectors.base import Embedder, opaque
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.machine.parallel import map_in_order
from latent8.pictures.intake import open_picture, pixel_count

if TYPE_CHECKING:
    from latent8.pool import CodecPool
from latent8.zoo.registry import DEFAULT_MODEL

ADDED, KNOWN, UPDATED, FAILED = "added", "known", "updated", "failed"
BATCH, BATCH_SECONDS = 64, 2.0  # points that are kept together, and reported then


@dataclass(frozen=True)
class Outcome:
    """What became of one item: result is ADDED, KNOWN, UPDATED (it was known by another path) or FAILED, with error."""

    name: str
    result: str
    record: Record | None = None
    error: Latent8Error | OSError | None = None


@dataclass
class Options:
    """quality: of photos, 1 to 100. copy: keep blobs too in the library's folder. inline: keep blobs in the records."""

    quality: int | None = None
    copy: bool = False
    inline: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True)
class Prepared:
    """A point to keep, and the blob where the library keeps that."""

    record: Record
    vector: object
    blob: bytes | None = None


@dataclass
class Adder:
    """Makes points of items, see `outcomes`.

    replaced: for the SHA-256 of a photo's file, ids of records whose blobs have gone; the photo is encoded again.
    """

    engine: Engine
    embedder: Embedder
    pool: CodecPool
    options: Options
    blobs: BlobStore
    replaced: dict[str, list[str]] = field(default_factory=dict)
    _large: Lock = field(default_factory=Lock)

    def outcomes(self, found: Iterable[Item | tuple[str, Latent8Error]]) -> Iterator[Outcome | tuple[Item, Prepared]]:
        """For each item what became of it, or what is to be kept of it, in order."""
        work = self._work(found)
        return map_in_order(self._prepare, work, self._is_large)  # type: ignore[return-value]

    def _work(self, found: Iterable[Item | tuple[str, Latent8Error]]) -> Iterator[Outcome | tuple[Item, bytes]]:
        """Reads each item, in the caller's thread, and leaves out what the library has."""
        for item in found:
            if isinstance(item, tuple):
                yield Outcome(clean_name(item[0]), FAILED, error=item[1])
                continue
            try:
                yield self._read(item)
            except (Latent8Error, OSError) as error:
                yield Outcome(clean_name(item.name), FAILED, error=error)

    def _read(self, item: Item) -> Outcome | tuple[Item, bytes]:
        if isinstance(item, Embedded):
            known = [record for record in self._with_id(item.record.id) if not self.blobs.is_gone(record)]
            return Outcome(item.name, KNOWN, item.record) if known else (item, b"")
        path = writable_path(item.path) if item.path else ""
        stamp = stamp_of(item.path) if item.path else ""
        for record in self._records("path", path) if path else []:
            if record.stamp == stamp and not self.blobs.is_gone(record):
                return Outcome(record.name, KNOWN, record)
        data = item.read()
        digest = hashlib.sha256(data).hexdigest()
        records = self._with_id(point_id(digest)) if is_blob(data) else self._records("source", digest)
        whole = [record for record in records if not self.blobs.is_gone(record)]
        brings_it_back = records and path and not records[0].kept  # a blob that is referred to by its path
        if not whole and not brings_it_back:
            if records:
                self.replaced[digest] = [record.id for record in records]
            return item, data
        record = (whole or records)[0]
        if whole and (not path or (record.path and record.path != path and Path(record.path).exists())):
            return Outcome(record.name, KNOWN, record)
        return Outcome(clean_name(item.name), UPDATED, record.moved_to(item.name, path, stamp))

    def _with_id(self, key: str) -> list[Record]:
        return [Record.from_payload(point.payload) for point in self.engine.get([key])]

    def _records(self, name: str, value: str) -> list[Record]:
        return [Record.from_payload(point.payload) for point in self.engine.find(name, [value])]

    def _prepare(self, work: Outcome | tuple[Item, bytes]) -> Outcome | tuple[Item, Prepared]:
        if isinstance(work, Outcome):
            return work
        item, data = work
        try:
            if isinstance(item, Embedded):
                return item, self._of_embedded(item)
            return item, self._of_blob(item, data) if is_blob(data) else self._of_photo(item, data)
        except (Latent8Error, OSError) as error:
            return Outcome(clean_name(item.name), FAILED, error=error)

    def _of_embedded(self, item: Embedded) -> Prepared:
        if not self.options.copy and not self.options.inline:
            return Prepared(item.record, item.vector)
        blob = require_blob(item.read(), item.record, str(item.path))
        return self._placed(item.record, item.vector, blob, keep=True)

    def _of_blob(self, item: Item, blob: bytes) -> Prepared:
        record = record_of(blob, item.name, **_origin(item))
        view = self.embedder.view(blob, self.pool)
        keep = self.options.copy or not record.path
        return self._placed(record, self.embedder.vector(view), blob, keep)

    def _of_photo(self, item: Item, data: bytes) -> Prepared:
        picture = open_picture(data, self.options.max_pixels)
        vector = self.embedder.vector(opaque(picture.image()))
        stem = Path(item.name).stem
        blob = self.pool.codec(DEFAULT_MODEL).encode(picture.image(), quality=self.options.quality, stem=stem)
        record = record_of(blob, item.name, source=hashlib.sha256(data).hexdigest(), **_origin(item))
        return self._placed(record, vector, blob, keep=True)

    def _placed(self, record: Record, vector: object, blob: bytes, keep: bool) -> Prepared:
        if self.options.inline or (keep and self.blobs.folder is None):
            return Prepared(replace(record, blob=base64.b64encode(blob).decode()), vector)
        return Prepared(replace(record, kept=True), vector, blob) if keep else Prepared(record, vector)

    def _is_large(self, work: Outcome | tuple[Item, bytes]) -> bool:
        return (
            not isinstance(work, Outcome)
            and not is_blob(work[1])
            and self.pool.codec(DEFAULT_MODEL).is_large(pixel_count(work[1]))
        )


def _origin(item: Item) -> dict[str, str]:
    path = writable_path(item.path) if item.path else ""
    return {"path": path, "stamp": stamp_of(item.path) if item.path and path else ""}


def in_batches(found: Iterable[Outcome | tuple[Item, Prepared]]) -> Iterator[list[Outcome | tuple[Item, Prepared]]]:
    """So many at a time, or as many as come within two seconds."""
    batch: list[Outcome | tuple[Item, Prepared]] = []
    began = time.monotonic()
    for one in found:
        batch.append(one)
        if len(batch) >= BATCH or time.monotonic() - began > BATCH_SECONDS:
            yield batch
            batch, began = [], time.monotonic()
    if batch:
        yield batch
