"""An album of pictures, and what a bulk job has written of it. A pytest plugin: the album is a fixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_metrics import busy

from latent8.bulk.ray_job import SCHEMA, Job, todo

MODEL = "l8-photo"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    for name in ("one.png", "deep/two.jpg", "same.jpg", "same.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(busy(40, 56)).save(folder / name)
    (folder / "bad.jpg").write_bytes(b"no picture")
    for name in ("notes.txt", ".hidden.png"):
        (folder / name).write_bytes(b"something else")
    return folder


def index_of(output: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted((output / "index").glob("*.parquet"))]
    assert all(table.schema == SCHEMA for table in tables)
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["name"])


def blobs_in(output: Path) -> dict[str, bytes]:
    folder = output / "blobs"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps_in(output: Path) -> dict[Path, tuple[int, int]]:
    """A file that is written again is another file, or has another time."""
    found = {path: path.stat() for path in output.rglob("*") if path.suffix in (".l8", ".parquet")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def parts(job: Job) -> dict[str, Any]:
    return todo(job).to_pydict()
