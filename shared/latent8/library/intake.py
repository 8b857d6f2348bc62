"""Items given to `add`: files, folders and ZIPs of photos and blobs, found and read one by one, with limits."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from latent8.errors import Latent8Error, LibraryError
from latent8.library.item import Item
from latent8.library.vectors.base import Embedder
from latent8.pictures.intake import SUFFIXES

BLOB_SUFFIX = ".l8"
MAX_ZIP_FILES, MAX_ZIP_BYTES, MAX_ZIP_RATIO = 100_000, 4 << 30, 200  # of what a ZIP holds, unpacked
MAX_FILE_BYTES = 512 << 20  # of one file in it, which is unpacked in memory
ZIP_MAGIC = b"PK\x03\x04"


Source = str | os.PathLike | Item


def items(
    sources: Iterable[Source], keep_out: Path | None = None, embedder: Embedder | None = None
) -> Iterator[Item | tuple[str, Latent8Error]]:
    """Everything to add, in order; for what cannot be opened at all its name and the error.

    keep_out: a folder whose files are not taken, the library's own. embedder: of the library, for the index of a bulk
    job. Nothing is read before its turn.
    """
    for source in sources:
        if isinstance(source, Item):
            yield source
            continue
        path = Path(source)
        try:
            if is_bulk_index(path):
                yield from _embedded(path, embedder)
            elif path.is_dir():
                yield from _folder(path, keep_out)
            elif is_zip(path):
                yield from zip_items(path)
            else:
                yield Item(path.name, path, path.read_bytes)
        except Latent8Error as error:
            yield str(source), error
        except OSError as error:
            yield str(source), LibraryError(f"It cannot be read ({error.strerror or error}).")


def uploaded(paths: Iterable[str]) -> Iterator[Item]:
    """Files that will not stay where they are, ZIPs too: their blobs are kept, and their paths are not."""

    def failing(error: Latent8Error) -> bytes:
        raise error

    for item in items(paths):
        if isinstance(item, Item):
            yield replace(item, path=None)
        else:
            yield Item(Path(item[0]).name, None, partial(failing, item[1]))


def is_bulk_index(path: Path) -> bool:
    """Whether this is the folder `index` of a bulk job's output."""
    return path.is_dir() and (path.parent / "job.json").is_file() and any(path.glob("*.parquet"))


def _embedded(path: Path, embedder: Embedder | None) -> Iterator[Item | tuple[str, Latent8Error]]:
    from latent8.library.bulk_index import embedded_items

    if embedder is None:
        raise LibraryError(f"{path} is the index of a bulk job: name the folder of its blobs.")
    return embedded_items(path, embedder.name, embedder.hash)


def is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def is_wanted(name: str) -> bool:
    """Whether a file of a folder or ZIP is a photo or a blob, by its ending; hidden ones are not."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES | {BLOB_SUFFIX} and not any(part.startswith(".") for part in path.parts)


def _folder(folder: Path, keep_out: Path | None) -> Iterator[Item]:
    """Files below it in order of their names; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not (keep_out and _same(here / name, keep_out))
        )
        for name in sorted(names):
            path = here / name
            if is_wanted(name):
                yield Item(path.relative_to(folder).as_posix(), path, path.read_bytes)


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def zip_items(path: Path) -> Iterator[Item]:
    """Photos and blobs in a ZIP, each unpacked in memory when it is read; its names are names alone, never paths.

    Raises LibraryError, before anything is unpacked, for a ZIP that is damaged, encrypted, holds another ZIP, names
    with `..`, too many files, or unpacks to too much.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise LibraryError("The ZIP is damaged: it cannot be opened.") from None
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _check(members, path.stat().st_size)
        for member in members:
            if is_wanted(member.filename):
                yield Item(member.filename, None, partial(_unpacked, archive, member))


def _check(members: list[zipfile.ZipInfo], n_bytes: int) -> None:
    if len(members) > MAX_ZIP_FILES:
        raise LibraryError(f"The ZIP holds {len(members):,} files, over the limit of {MAX_ZIP_FILES:,}: split it.")
    whole = sum(member.file_size for member in members)
    if whole > MAX_ZIP_BYTES or whole > MAX_ZIP_RATIO * n_bytes + (1 << 20):
        raise LibraryError(
            f"The ZIP unpacks to {whole / 1e9:,.1f} GB, too much for its size: give its files themselves."
        )
    if any(member.file_size > MAX_FILE_BYTES for member in members):
        raise LibraryError(f"The ZIP holds a file of over {MAX_FILE_BYTES / 1e6:,.0f} MB: give that itself.")
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
            raise LibraryError("The ZIP holds paths that lead out of it (`..`): make it anew.")
        if path.suffix.lower() in (".zip", ".7z", ".rar", ".tar", ".gz"):
            raise LibraryError(f"The ZIP holds another archive ({path.name[:80]}): unpack that first.")
        if member.flag_bits & 1:
            raise LibraryError("The ZIP is encrypted: make one without a password.")


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """At most as much as the ZIP states; the zipfile module stops there by itself, and checks the CRC."""
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise LibraryError("The ZIP is damaged: this file in it cannot be unpacked.") from None
