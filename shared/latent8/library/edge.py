"""Qdrant Edge, the engine of the Qdrant server, in this process: one shard in one folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as qdrant

from latent8.errors import LibraryError
from latent8.library.engine import INDEXED, Point, Scored

PAGE = 256  # points of a scroll
HNSW_EF = 128  # candidates that a search keeps; benchmarks/library.py measures what that gives
Result = TypeVar("Result")


class EdgeEngine:
    """The shard in `folder`, opened for this process alone. vector_name and size: of its one named vector.

    Raises LibraryError when the shard is damaged.
    """

    def __init__(self, folder: Path, vector_name: str, size: int):
        self._name = vector_name
        if (folder / "edge_config.json").exists():
            with _quiet():
                self._shard = _attempt(qdrant.EdgeShard.load, str(folder))
        else:
            parameters = qdrant.EdgeVectorParams(size=size, distance=qdrant.Distance.Cosine)
            config = qdrant.EdgeConfig(vectors={vector_name: parameters})
            folder.mkdir(parents=True, exist_ok=True)
            self._shard = _attempt(qdrant.EdgeShard.create, str(folder), config)
            on_disk = qdrant.KeywordIndexParams(on_disk=True)  # else opening reads the names of all pictures
            for field in INDEXED:
                _attempt(self._shard.update, qdrant.UpdateOperation.create_field_index(field, on_disk))

    def upsert(self, points: Sequence[Point]) -> None:
        found = [qdrant.Point(point.id, {self._name: _floats(point.vector)}, point.payload) for point in points]
        _attempt(self._shard.update, qdrant.UpdateOperation.upsert_points(found))

    def delete(self, ids: Sequence[str]) -> None:
        _attempt(self._shard.update, qdrant.UpdateOperation.delete_points(list(ids)))

    def count(self) -> int:
        return _attempt(self._shard.count, qdrant.CountRequest(exact=True))

    def get(self, ids: Sequence[str], vectors: bool = False) -> list[Point]:
        return [self._point(record) for record in _attempt(self._shard.retrieve, list(ids), True, vectors)]

    def find(self, field: str, values: Sequence[str]) -> list[Point]:
        condition = qdrant.FieldCondition(key=field, match=qdrant.MatchAny(list(values)))
        return list(self._scroll(False, qdrant.Filter(must=[condition])))

    def search(
        self, vectors: np.ndarray, k: int, min_score: float | None = None, exact: bool = False
    ) -> list[list[Scored]]:
        requests = [
            qdrant.QueryRequest(
                limit=k,
                query=qdrant.Query.Nearest(_floats(vector), using=self._name),
                with_payload=True,
                score_threshold=min_score,
                params=qdrant.SearchParams(exact=exact, hnsw_ef=max(HNSW_EF, k)),
            )
            for vector in vectors
        ]
        answers = _attempt(self._shard.query_batch, qdrant.QueryBatchRequest(requests))
        return [[Scored(str(hit.id), hit.score, hit.payload or {}) for hit in answer] for answer in answers]

    def scroll(self, vectors: bool = False) -> Iterator[Point]:
        return self._scroll(vectors, None)

    def optimise(self) -> None:
        _attempt(self._shard.optimize)

    def flush(self) -> None:
        _attempt(self._shard.flush)

    def close(self) -> None:
        _attempt(self._shard.close)

    def _scroll(self, vectors: bool, condition: qdrant.Filter | None) -> Iterator[Point]:
        offset = None
        while True:
            request = qdrant.ScrollRequest(
                offset=offset, limit=PAGE, filter=condition, with_payload=True, with_vector=vectors
            )
            records, offset = _attempt(self._shard.scroll, request)
            yield from map(self._point, records)
            if offset is None:
                return

    def _point(self, record: Any) -> Point:
        vector = record.vector and np.array(record.vector[self._name], np.float32)
        return Point(str(record.id), vector, record.payload or {})


def version() -> str:
    """Version of the engine, as a library notes it: its files are read only by the same version."""
    from importlib.metadata import version as of_package

    return f"qdrant-edge-py {of_package('qdrant-edge-py')}"


def _floats(vector: np.ndarray | None) -> list[float]:
    """A vector as the engine takes it. Raises ValueError for one that the engine would take, and find nothing by."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        raise ValueError("a vector must be finite, and not zero")
    return vector.tolist()


def _attempt(call: Callable[..., Result], *arguments: Any) -> Result:
    try:
        return call(*arguments)
    except BaseException as error:  # the engine raises bare Exceptions, and PanicException, which is not one
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        text = " ".join(str(error).split())
        raise LibraryError(f"The library's index is damaged or cannot be written ({text[:200]}).") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the stack trace that the engine writes to standard error, by itself, when a shard is damaged."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
