"""A library of latents: pictures and blobs that are found by what they look like.

>>> with latent8.Library("photos.library") as library:
...     library.add(["holiday", "more.zip", "photo.l8"])
...     for hit in library.search("crop.jpg", k=5):
...         print(hit.score, hit.record.name)
...         hit.decode().save("found.png")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latent8.errors import LibraryError
from latent8.file_format.blob import is_blob
from latent8.library import adding
from latent8.library.adding import ADDED, FAILED, KNOWN, UPDATED, Adder, Options, Outcome, Prepared
from latent8.library.engine import Point, Scored
from latent8.library.intake import Source, items
from latent8.library.item import Item
from latent8.library.places import open_place
from latent8.library.records import Record
from latent8.library.vectors.base import opaque
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures.intake import Source as PictureSource
from latent8.pictures.intake import open_picture
from latent8.pool import CodecPool

if TYPE_CHECKING:
    from types import TracebackType

TURNS = (None, *Image.Transpose)  # the eight orientations of a picture
MAX_HITS = 10_000


@dataclass(frozen=True)
class Hit:
    """A picture that was found. score: cosine of the vectors, -1 ... 1."""

    score: float
    record: Record
    _library: Library = field(repr=False, compare=False)

    @property
    def missing(self) -> bool:
        """Whether the blob has moved or was deleted since it was added."""
        return self._library.blobs.missing(self.record)

    @property
    def blob(self) -> bytes:
        """Bytes of the blob. Raises BlobError where the blob has gone, or is another than was added."""
        return self._library.blobs.read(self.record)

    def decode(self) -> Image.Image:
        """PIL image, RGB or RGBA, from the blob alone. Raises BlobError."""
        return self._library.pool.decode(self.blob)


@dataclass
class Report:
    """What `add` did: how many pictures of each result, and what failed."""

    added: int = 0
    known: int = 0
    updated: int = 0
    failures: list[Outcome] = field(default_factory=list)

    def count(self, outcome: Outcome) -> None:
        if outcome.result == FAILED:
            self.failures.append(outcome)
        else:
            setattr(self, outcome.result, getattr(self, outcome.result) + 1)


class Library:
    """A library in a folder, or in a collection of a Qdrant server (`http://host:6333/name`).

    A folder that is not there yet is made by the first `add`; it is for one process at a time. The key of a server is
    taken from the environment variable QDRANT_API_KEY. vector: "picture" (default) or "latents", of a new library;
    that of an old one is kept, and another is refused. blobs: a folder for the blobs of photos, for a server alone,
    which otherwise keeps them in its records. pool: codecs to use. Raises LibraryError where it cannot be opened.
    """

    def __init__(
        self,
        place: str | os.PathLike,
        *,
        vector: str | None = None,
        blobs: str | os.PathLike | None = None,
        device: str | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        pool: CodecPool | None = None,
    ):
        self._place = open_place(place, vector, Path(blobs) if blobs else None)
        self.blobs = self._place.blobs
        self.pool = pool or CodecPool(device, max_pixels=max_pixels)
        self.max_pixels = max_pixels

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another process open it."""
        self._place.close()

    def __len__(self) -> int:
        return self._place.count()

    @property
    def vector(self) -> str:
        """Name of its vectors, with their version."""
        return self._place.embedder.name

    def add(self, sources: Source | Iterable[Source], **options) -> Report:
        """Add photos, blobs, folders and ZIPs of them. options: those of `add_each`, which this calls."""
        report = Report()
        for outcome in self.add_each(sources, **options):
            report.count(outcome)
        return report

    def add_each(
        self,
        sources: Source | Iterable[Source],
        *,
        quality: int | None = None,
        copy: bool = False,
        inline: bool = False,
    ) -> Iterator[Outcome]:
        """What becomes of each photo and blob, given once it is kept; one bad file does not stop the others.

        What is known, by its content, is passed over, or its path brought up to date; where its blob has gone, it is
        added again. quality: of the blobs of photos, which the library keeps. copy: keep blobs too, which are otherwise
        only referred to. inline: keep all in the records, as base64, for a server whose clients share no folder.
        """
        one = isinstance(sources, (str, os.PathLike, Item))
        found = items([sources] if one else sources, self._place.own_folder, self._place.embedder)  # type: ignore[list-item,arg-type]
        settings = Options(quality, copy, inline, self.max_pixels)
        engine = self._place.engine_for_adding()
        adder = Adder(engine, self._place.embedder, self.pool, settings, self.blobs)
        taken: dict[str, str] = {}
        for batch in adding.in_batches(adder.outcomes(found)):
            yield from self._keep(batch, taken, adder.replaced)
        self._place.settle()

    def _keep(
        self, batch: list[Outcome | tuple[Item, Prepared]], taken: dict[str, str], replaced: dict[str, list[str]]
    ) -> list[Outcome]:
        """Write blobs, journal and points of a batch, in this order. taken: names of what this call has added, by
        their content. replaced: as an `Adder` has it.
        """
        points, outcomes, gone = [], [], []
        for one in batch:
            if isinstance(one, Outcome):
                if one.result == UPDATED and one.record:
                    points += self._with_record(one.record)
                outcomes.append(one)
                continue
            _, prepared = one
            record = prepared.record
            content = record.source or record.id  # blobs of one photo differ by its name
            if content in taken:
                outcomes.append(Outcome(record.name, KNOWN, record))
                continue
            taken[content] = record.name
            if prepared.blob is not None:
                self.blobs.keep(prepared.blob, record.sha256)
            points.append(Point(record.id, np.asarray(prepared.vector), record.payload()))
            gone += [key for key in replaced.pop(record.source, ()) if key != record.id]  # of another quality
            outcomes.append(Outcome(record.name, ADDED, record))
        self._place.put(points)
        self._place.delete(gone)
        return outcomes

    def _with_record(self, record: Record) -> list[Point]:
        return [replace(point, payload=record.payload()) for point in self._place.engine.get([record.id], vectors=True)]

    def search(
        self,
        query: PictureSource | Record | Hit,
        k: int = 5,
        *,
        any_orientation: bool = False,
        min_score: float | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """The k most similar pictures, best first; fewer where the library has no more.

        query: a photo or blob (path, bytes, open file, PIL image or uint8 array), or a record or hit, for more like it.
        any_orientation: the query may be mirrored or turned. exact: compare with every picture, without an index.
        Raises LibraryError for an empty library, PictureError and BlobError for the query.
        """
        self._require(k)
        return self.search_vectors(self.vectors_of(query, any_orientation), k, min_score=min_score, exact=exact)

    def search_vectors(
        self, vectors: np.ndarray, k: int = 5, *, min_score: float | None = None, exact: bool = False
    ) -> list[Hit]:
        """The k pictures nearest to any of these vectors, float32 [n, d], as `vectors_of` gives them."""
        self._require(k)
        answers = self._place.engine.search(vectors, min(k, len(self)), min_score, exact)
        best: dict[str, Scored] = {}
        for scored in (one for answer in answers for one in answer):
            if scored.id not in best or scored.score > best[scored.id].score:
                best[scored.id] = scored
        found = sorted(best.values(), key=lambda scored: (-scored.score, scored.id))[:k]
        return [Hit(scored.score, Record.from_payload(scored.payload), self) for scored in found]

    def _require(self, k: int) -> None:
        if not 1 <= k <= MAX_HITS:
            raise LibraryError(f"k has to be from 1 to {MAX_HITS:,}.")
        if not len(self):
            raise LibraryError("The library is empty: add photos or blobs first.")

    def vectors_of(self, query: PictureSource | Record | Hit, any_orientation: bool = False) -> np.ndarray:
        """float32 [n, d]: of the query, or of its eight orientations."""
        if isinstance(query, Hit):
            query = query.record
        if isinstance(query, Record):
            points = self._place.engine.get([query.id], vectors=True)
            if not points:
                raise LibraryError(f"{query.name} is not in the library any more.")
            return np.stack([point.vector for point in points if point.vector is not None])
        view = self._view(query)
        turns = TURNS if any_orientation else TURNS[:1]
        views = [view if turn is None else view.transpose(turn) for turn in turns]
        return np.stack([self._place.embedder.vector(image) for image in views])

    def _view(self, query: PictureSource) -> Image.Image:
        if isinstance(query, (str, os.PathLike)) and Path(query).is_file():
            query = Path(query).read_bytes()
        if isinstance(query, bytes) and is_blob(query):
            return self._place.embedder.view(query, self.pool)
        return opaque(open_picture(query, self.max_pixels).image())

    def records(self) -> Iterator[Record]:
        """All of it, in the order of the ids."""
        return (Record.from_payload(point.payload) for point in self._place.engine.scroll()) if len(self) else iter(())

    def points(self) -> Iterator[Point]:
        """All of it as the engine has it, with vectors."""
        return self._place.engine.scroll(vectors=True) if len(self) else iter(())

    def problems(self) -> list[str]:
        """What is wrong with the whole, a sentence each."""
        return self._place.problems()

    def find(self, name: str) -> list[Record]:
        """Records by name, path, SHA-256 of the blob (or its first 8 digits or more), or point id."""
        if not len(self):
            return []
        engine = self._place.engine
        points = engine.find("name", [name]) or engine.find("path", [str(Path(name).absolute())])
        if not points:
            points = engine.get([name]) if _is_id(name) else []
        found = [Record.from_payload(point.payload) for point in points]
        digits = name.lower()
        if not found and len(digits) >= 8 and all(digit in "0123456789abcdef" for digit in digits):
            found = [record for record in self.records() if record.sha256.startswith(digits)]
        return found

    def by_id(self, key: str) -> Record:
        """The record of a picture. Raises LibraryError where there is no such picture."""
        points = self._place.engine.get([key]) if len(self) else []
        if not points:
            raise LibraryError(f"There is no picture {key} in the library.")
        return Record.from_payload(points[0].payload)

    def drop(self) -> None:
        """Delete a collection of a server, with all that it holds; a library in a folder is deleted with the folder."""
        self._place.drop()

    def hit(self, record: Record, score: float = 1.0) -> Hit:
        """The record with its blob and picture at hand."""
        return Hit(score, record, self)

    def remove(self, records: Iterable[Record]) -> int:
        """Forget pictures, and delete their blobs from the library's own folder; files elsewhere stay as they are."""
        chosen = list(records)
        self._place.delete([record.id for record in chosen])
        for record in chosen:
            if record.kept:
                self.blobs.delete(record.sha256)
        return len(chosen)

    def optimise(self) -> None:
        """Build the index for fast searches now; `add` does so by itself once it has added very many."""
        self._place.engine.optimise()


def _is_id(text: str) -> bool:
    from uuid import UUID

    try:
        UUID(text)
    except ValueError:
        return False
    return "-" in text
