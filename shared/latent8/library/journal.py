"""The journal of a library in a folder: every point that was added or removed, one JSON object a line.

    {"vector": "picture-1", ...}                  the first line: what library.json says
    {"put": {payload}, "vector": "base64"}        a point; its vector as little-endian float32
    {"remove": "id"}                              a point that is no more

The engine's own files are made from it: after a crash from the part that they may lack, for another version of the
engine, or when they are damaged, from the whole. It only ever grows, until the library is indexed anew. A line that a
crash has cut off at the end was never reported as added, and is cut away.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from latent8.errors import LibraryError
from latent8.library.engine import Point
from latent8.library.records import point_id
from latent8.machine.disk import append, write_file


@dataclass(frozen=True)
class Entry:
    """point: put by this line, or None where `id` was removed."""

    id: str
    point: Point | None


class Journal:
    """The file at `path`, which `begin` made, opened for adding."""

    def __init__(self, path: Path):
        self.path = path
        self._file = FileIO(path, "a+")
        end = _end_of_last_line(self._file, self.size)
        if end < self.size:
            self._file.truncate(end)

    @property
    def size(self) -> int:
        """In bytes."""
        return self._file.seek(0, os.SEEK_END)

    def put(self, points: Sequence[Point]) -> None:
        """On disk when it returns."""
        self._write([{"put": point.payload, "vector": _text(point.vector)} for point in points])

    def remove(self, ids: Sequence[str]) -> None:
        """On disk when it returns."""
        self._write([{"remove": key} for key in ids])

    def close(self) -> None:
        self._file.close()

    def _write(self, lines: list[dict[str, Any]]) -> None:
        """Append lines, all or none. Raises OSError where the disk is full."""
        append(self._file, b"".join(json.dumps(line).encode() + b"\n" for line in lines), sync=True)


def begin(path: Path, head: dict[str, Any]) -> None:
    """Write the first line of a journal that is not there yet."""
    write_file(path, json.dumps(head).encode() + b"\n")


def head_of(path: Path) -> dict[str, Any]:
    """The first line. Raises LibraryError where there is none."""
    try:
        with open(path, "rb") as file:
            head = json.loads(file.readline())
        if not isinstance(head, dict) or "put" in head or "remove" in head:
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise LibraryError(
            f"{path} is missing or damaged: the library has to be made anew from its pictures."
        ) from None
    return head


def entries(path: Path, dimensions: int, start: int = 0, damaged: list[int] | None = None) -> Iterator[Entry]:
    """What the journal says from this byte on, which is the start of a line.

    damaged: lines that cannot be read are put there by number, counted from `start`, and passed over; without it they
    raise LibraryError.
    """
    with open(path, "rb") as file:
        file.seek(start)
        for number, line in enumerate(file):
            if start == 0 and number == 0:
                continue
            try:
                yield _entry(line, dimensions)
            except (ValueError, KeyError, TypeError, RecursionError):
                if damaged is None:
                    raise LibraryError(
                        f"{path} is damaged: index the library anew with `latent8 library reindex`."
                    ) from None
                damaged.append(number)


def _entry(line: bytes, dimensions: int) -> Entry:
    found = json.loads(line)
    if "remove" in found:
        return Entry(str(found["remove"]), None)
    vector = np.frombuffer(base64.b64decode(found["vector"], validate=True), "<f4")
    payload = found["put"]
    if vector.shape != (dimensions,) or not np.isfinite(vector).all() or not isinstance(payload, dict):
        raise ValueError
    key = point_id(payload["sha256"])
    return Entry(key, Point(key, vector, payload))


def _text(vector: np.ndarray | None) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _end_of_last_line(file: FileIO, size: int) -> int:
    """Where the last whole line ends."""
    position = size
    while position:
        start = max(0, position - (1 << 16))
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
