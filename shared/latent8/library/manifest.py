"""library.json: what a library in a folder is made of, and the lock that lets one process open it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent8.errors import LibraryError
from latent8.machine.disk import write_file

FORMAT = 1
NAME = "library.json"


@dataclass(frozen=True)
class Manifest:
    """vector: name and version of the vectors; hash: of the weights that they are made with, hexadecimal."""

    vector: str
    hash: str
    dimensions: int
    engine: str
    format: int = FORMAT

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def write(self, folder: Path) -> None:
        write_file(folder / NAME, (json.dumps(self.facts(), indent=1) + "\n").encode())

    @classmethod
    def from_facts(cls, facts: Any, where: str, remedy: str) -> Manifest:
        """The manifest in JSON facts. Raises LibraryError for facts that are no manifest, or one of a later release."""
        try:
            version = facts["format"]
            found = cls(facts["vector"], facts["hash"], facts["dimensions"], facts["engine"], version)
            texts = found.vector, found.hash, found.engine
            if not all(isinstance(text, str) for text in texts) or type(version) is not int:
                raise TypeError
            if type(found.dimensions) is not int or not 1 <= found.dimensions <= 65536:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise LibraryError(f"{where} is damaged: {remedy}.") from None
        if version > FORMAT:
            raise LibraryError(f"{where} is of a later release of latent8 (format {version}): open it with that.")
        return found


def reindexing(folder: Path) -> str:
    return f"index the library anew with `latent8 library reindex {folder}`"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder. Raises LibraryError for a damaged or missing library.json."""
    path = folder / NAME
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LibraryError(f"{path} is missing: {reindexing(folder)}.") from None
    except (ValueError, RecursionError):
        raise LibraryError(f"{path} is damaged: {reindexing(folder)}.") from None
    return Manifest.from_facts(facts, str(path), reindexing(folder))


class Lock:
    """Held by the one process that has a library open. Raises LibraryError where another has."""

    def __init__(self, folder: Path):
        self._file = open(folder / "lock", "a+")  # noqa: SIM115
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise LibraryError(
                f"{folder} is in use by another program: wait for it, or keep the library on a Qdrant server, which "
                "serves many at once (see docs/LIBRARY.md)."
            ) from None

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
