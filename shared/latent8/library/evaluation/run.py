"""`latent8 library evaluate`: the ancestor's tables, and recall, on a folder of anyone's photos."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from latent8.errors import Latent8Error, LibraryError
from latent8.library.evaluation import recall, stores
from latent8.library.evaluation.tables import Table
from latent8.library.intake import BLOB_SUFFIX, items
from latent8.machine.disk import write_file
from latent8.pool import CodecPool


def evaluate(folder: Path, output: Path | None, url: str | None = None, device: str | None = None) -> int:
    """Print all tables, and write them and their plots to `output`; the exit code. Raises LibraryError."""
    output = output or folder.with_name(f"{folder.name}.evaluation")
    pool = CodecPool(device)
    with TemporaryDirectory(prefix="latent8-evaluate-") as scratch:
        photos, blobs = _encoded(folder, Path(scratch), pool)
        tables = [stores.table_of_sizes(photos, blobs)]
        _step("times")
        tables.append(stores.table_of_times(photos, blobs, pool, url))
        _step("similarity")
        tables.append(recall.table_of_similarity(photos, blobs, pool, device))
        tables += recall.tables_of_recall(photos, pool, _step)
    _step("")
    for table in tables:
        print(table.markdown())
    _write(output, tables)
    print(f"-> {output}")
    return 0


def _encoded(folder: Path, scratch: Path, pool: CodecPool) -> tuple[list[Path], list[Path]]:
    """The photos of a folder that can be encoded, and their blobs, as files in `scratch`."""
    if not folder.is_dir():
        raise LibraryError(f"There is no folder {folder}.")
    found = [item.path for item in items([folder]) if not isinstance(item, tuple) and item.path]
    paths = [path for path in found if path.suffix.lower() != BLOB_SUFFIX]
    _step(f"encoding {len(paths)} photos")
    photos, blobs = [], []
    for number, (path, blob) in enumerate(zip(paths, pool.codec("l8-photo").encode_many(paths), strict=True)):
        if isinstance(blob, Latent8Error):
            print(f"latent8: {path}: {blob}", file=sys.stderr)
            continue
        photos.append(path)
        blobs.append(scratch / f"{number}{BLOB_SUFFIX}")
        blobs[-1].write_bytes(blob)
    if not photos:
        raise LibraryError(f"There are no photos in {folder}.")
    return photos, blobs


def _write(output: Path, tables: Iterable[Table]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    tables = list(tables)
    write_file(output / "evaluation.md", "\n".join(table.markdown() for table in tables).encode())
    for table in tables:
        write_file(output / f"{table.name}.csv", table.csv().encode())
    try:
        from latent8.library.evaluation.plots import plot
    except ImportError as error:
        print(
            f"latent8: the plots are left out, since {error.name} is missing: pip install matplotlib", file=sys.stderr
        )
        return
    for table in tables:
        plot(table, output / f"{table.name}.png")


def _step(text: str) -> None:
    """Show progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
