"""Whether a library is whole: every blob there and unchanged, every vector sound, index and journal of one mind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from latent8.errors import BlobError, LibraryError
from latent8.library.library import Library
from latent8.library.records import Record


@dataclass(frozen=True)
class Finding:
    """record: that was looked at, or None for what is wrong with the whole. problem: a sentence, empty where sound."""

    record: Record | None
    problem: str = ""


def check(library: Library) -> Iterator[Finding]:
    """A finding for each picture, and for each thing that is wrong with the whole."""
    for point in library.points():
        try:
            record = Record.from_payload(point.payload)
        except LibraryError as error:
            yield Finding(None, str(error))
            continue
        if record.id != point.id:
            yield Finding(record, f"{record.name}: its id does not fit its checksum.")
        elif point.vector is None or not _sound(point.vector):
            yield Finding(record, f"{record.name}: its vector is damaged.")
        else:
            yield Finding(record, _problem_of_blob(library, record))
    yield from (Finding(None, problem) for problem in library.problems())


def _sound(vector: np.ndarray) -> bool:
    return bool(np.isfinite(vector).all()) and abs(float(np.linalg.norm(vector)) - 1) < 1e-3


def _problem_of_blob(library: Library, record: Record) -> str:
    try:
        library.blobs.read(record)
    except BlobError as error:
        return str(error)
    return ""
