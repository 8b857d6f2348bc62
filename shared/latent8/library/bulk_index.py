"""The index of a bulk job with vectors (`latent8 bulk --vectors`), for `add`: pictures that are embedded already."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from latent8.errors import Latent8Error, LibraryError
from latent8.library.item import Embedded
from latent8.library.records import Record, clean_name, writable_path

VECTOR, HASH = (
    b"latent8_vector",
    b"latent8_vector_hash",
)  # metadata of the schema: which vectors they are
ROWS = 1024  # read at once


def embedded_items(folder: Path, vector: str, vector_hash: str) -> Iterator[Embedded | tuple[str, Latent8Error]]:
    """Rows of `OUT/index` as items for a library of these vectors; their blobs are those in `OUT/blobs`.

    For a picture that could not be encoded its name and the error. Raises LibraryError for an index without vectors,
    with vectors of another kind, or a damaged one.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise LibraryError(f"{error.name} is missing: install latent8 with its extra, latent8[bulk].") from None
    for path in sorted(folder.glob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                _check(file.schema_arrow.metadata or {}, path, vector, vector_hash)
                for batch in file.iter_batches(ROWS):
                    yield from (_item(row, folder.parent / "blobs") for row in batch.to_pylist())
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, Latent8Error):
                raise
            raise LibraryError(f"{path} is damaged: delete it, and run the bulk job again.") from None


def _check(metadata: dict[bytes, bytes], path: Path, vector: str, vector_hash: str) -> None:
    found = metadata.get(VECTOR, b"").decode(), metadata.get(HASH, b"").decode()
    if not found[0]:
        raise LibraryError(f"{path.parent} holds no vectors: run the bulk job with --vectors, or add its blobs.")
    if found != (vector, vector_hash):
        raise LibraryError(f"{path.parent} holds vectors {found[0]}, and the library has {vector}: add its blobs.")


def _item(row: dict[str, Any], blobs: Path) -> Embedded | tuple[str, Latent8Error]:
    name = clean_name(row["name"])
    if row["error"] is not None:
        return name, LibraryError(row["error"])
    from latent8.bulk.names import unescaped

    path = blobs / unescaped(row["blob"])
    record = Record(
        name=name,
        sha256=row["sha256"],
        bytes=row["bytes"],
        width=row["width"],
        height=row["height"],
        model=row["model"],
        quality=row["quality"],
        stem=PurePosixPath(name).stem,
        path=writable_path(path),
        added=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    vector = np.array(row["vector"], np.float32)
    if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
        raise ValueError("no unit vector")
    return Embedded(name, path, path.read_bytes, Record.from_payload(record.payload()), vector)
