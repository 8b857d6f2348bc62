"""The contract of a library with its vector engine; `edge` and `remote` are the two engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

INDEXED = ("name", "path", "source")  # fields of the payload that points are looked up by


@dataclass(frozen=True)
class Point:
    """id: a UUID as text. vector: float32 [d] of unit length; None where it was not asked for."""

    id: str
    vector: np.ndarray | None
    payload: dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """score: cosine, -1 ... 1."""

    id: str
    score: float
    payload: dict[str, Any]


class Engine(Protocol):
    """Points with a vector and a JSON payload each. Every method raises LibraryError when the engine fails."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Add points, or replace those with the same ids. When it returns, the engine has them."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are passed over."""

    def count(self) -> int: ...

    def get(self, ids: Sequence[str], vectors: bool = False) -> list[Point]:
        """Those of the points that exist, in any order."""

    def find(self, field: str, values: Sequence[str]) -> list[Point]:
        """Points whose payload has one of these values in one of the INDEXED fields."""

    def search(
        self, vectors: np.ndarray, k: int, min_score: float | None = None, exact: bool = False
    ) -> list[list[Scored]]:
        """float32 [n, d] -> for each the k nearest points by cosine, best first. exact: compare with every point."""

    def scroll(self, vectors: bool = False) -> Iterator[Point]:
        """All points, by id."""

    def optimise(self) -> None:
        """Build the index that makes searches fast; returns when it is done."""

    def flush(self) -> None:
        """Write to disk what is only in memory."""

    def close(self) -> None: ...


def batches(points: Iterable[Point], size: int) -> Iterator[list[Point]]:
    batch: list[Point] = []
    for point in points:
        batch.append(point)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
