"""Export from a library: a table of its records, or blobs or pictures in a folder or ZIP."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from latent8.errors import Latent8Error, LibraryError
from latent8.file_format.blob import clean_stem
from latent8.library.library import Hit
from latent8.library.records import Record
from latent8.machine.disk import write_file
from latent8.pictures.output import picture_bytes

BLOBS, PICTURES = "blobs", "pictures"
COLUMNS = ["score", *(field.name for field in fields(Record) if field.name not in ("blob", "stamp"))]


@dataclass(frozen=True)
class Exported:
    """name: of the file that was written; error: why there is none."""

    record: Record
    name: str
    error: Latent8Error | None = None


def write_table(file: TextIO, hits: Iterable[Hit]) -> int:
    """A row for each hit, as CSV; the number of rows. What a spreadsheet would run as a formula gets a `'` in front."""
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    count = 0
    for hit in hits:
        values = [getattr(hit.record, name) for name in COLUMNS[1:]]
        rows.writerow([round(hit.score, 6), *map(_harmless, values)])
        count += 1
    return count


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def write_folder(folder: Path, hits: Iterable[Hit], what: str) -> Iterator[Exported]:
    """Blobs or pictures (PNG) as files of a folder, which is made; no file that is there is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = {path.name.lower() for path in folder.iterdir()}
    yield from _written(hits, what, taken, lambda name, data: write_file(folder / name, data))


def write_zip(path: Path, hits: Iterable[Hit], what: str) -> Iterator[Exported]:
    """The same in a ZIP, which appears when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            yield from _written(hits, what, set(), archive.writestr)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _written(
    hits: Iterable[Hit], what: str, taken: set[str], write: Callable[[str, bytes], object]
) -> Iterator[Exported]:
    for hit in hits:
        try:
            data, suffix = (hit.blob, ".l8") if what == BLOBS else (picture_bytes(hit.decode(), ".png"), ".png")
        except Latent8Error as error:
            yield Exported(hit.record, "", error)
            continue
        name = free_name(hit.record, suffix, taken)
        write(name, data)
        yield Exported(hit.record, name)


def free_name(record: Record, suffix: str, taken: set[str]) -> str:
    """A file name that is not taken yet, even but for case, and taken from now on."""
    stem = clean_stem(record.stem or Path(record.name).stem) or record.sha256[:8]
    name, number = f"{stem}{suffix}", 2
    while name.lower() in taken:
        name, number = f"{stem} {number}{suffix}", number + 1
    taken.add(name.lower())
    return name


def table_text(hits: Iterable[Hit]) -> str:
    text = io.StringIO(newline="")
    write_table(text, hits)
    return text.getvalue()


def group_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of `duplicates` as CSV."""
    text = io.StringIO(newline="")
    columns = ["group", *COLUMNS]
    table = csv.DictWriter(text, columns, extrasaction="ignore", restval="")
    table.writeheader()
    for row in rows:
        table.writerow({name: _harmless(value) for name, value in row.items()})
    return text.getvalue()


def chosen_way(target: str, what: str | None) -> str:
    """ "table", "zip" or "folder", by the ending of the target. Raises LibraryError where `what` does not fit."""
    suffix = Path(target).suffix.lower()
    if suffix == ".csv":
        if what:
            raise LibraryError("A CSV holds a table alone: name a folder or a .zip for blobs or pictures.")
        return "table"
    return "zip" if suffix == ".zip" else "folder"
