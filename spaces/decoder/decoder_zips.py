"""ZIPs among many files of latents: unpacked with the bounds of the library's, and of an upload."""

from __future__ import annotations

from pathlib import Path

from latent8.apps import bounds, budget, files
from latent8.errors import Latent8Error
from latent8.library.intake import BLOB_SUFFIX, is_zip, zip_items


def unpacked(paths: list[str]) -> tuple[list[str], dict[str, str]]:
    """Files, with those of ZIPs in place of the ZIPs; and by its path a sentence on each ZIP that is refused, which
    stays in the list. Raises OSError where the disk is full."""
    found: list[str] = []
    refused: dict[str, str] = {}
    room = bounds.UPLOAD_BYTES  # for all ZIPs together
    for path in paths:
        if not is_zip(Path(path)):
            found.append(path)
            continue
        try:
            blobs, n_bytes = _blobs_of(path, bounds.LISTED_FILES - len(found), room)
            found += blobs
            room -= n_bytes
        except Latent8Error as error:
            found.append(path)
            refused[path] = str(error)
    return found, refused


def _blobs_of(path: str, most: int, most_bytes: int) -> tuple[list[str], int]:
    """At most so many files and bytes, and how many bytes they are. Raises Latent8Error for a ZIP that is not taken."""
    folder, total = files.request_folder(), 0
    taken: set[str] = set()
    saved: list[str] = []
    for item in zip_items(Path(path)):
        budget.check()
        name = Path(item.name.replace("\\", "/")).name
        if not name.lower().endswith(BLOB_SUFFIX):
            continue
        if len(saved) >= most:
            raise Latent8Error(f"The ZIP holds too many files: send at most {bounds.LISTED_FILES:,} at a time.")
        data = item.read()
        total += len(data)
        if total > most_bytes:
            raise Latent8Error(f"Unpacked it would be over {bounds.UPLOAD_MB:,} MB in all: send fewer files at a time.")
        unique = files.unique_name(files.clean_stem(name[: -len(BLOB_SUFFIX)]), BLOB_SUFFIX, taken)
        saved.append(files.save_bytes(folder, unique, data))
    if not saved:
        raise Latent8Error("The ZIP holds no .l8 files.")
    return saved, total
