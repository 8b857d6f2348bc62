"""Where the blobs of a library are: in its own folder, in the record itself, or where they were added from."""

from __future__ import annotations

import base64
import binascii
import contextlib
from pathlib import Path

from latent8.errors import BlobError
from latent8.library.records import Record, require_blob
from latent8.machine.disk import write_file


class BlobStore:
    """Blobs as files below `folder`, `ab/<sha256>.l8`; None for a server's library that was opened without one."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def keep(self, blob: bytes, sha256: str) -> None:
        """Write a blob, all or nothing, unless it is there; after a power cut it is whole or not there."""
        path = self._path(sha256)
        if not _is_file_of(path, len(blob)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, blob, sync=True)

    def delete(self, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(sha256).unlink()

    def place(self, record: Record) -> Path | None:
        """The file that the record's blob is in; None where it is in the record. Raises BlobError as `read`."""
        if record.blob:
            return None
        return self._path(record.sha256) if record.kept else Path(record.path)

    def missing(self, record: Record) -> bool:
        """Whether the blob is not where it should be; looks for the file alone."""
        if record.kept and self.folder is None:
            return True
        place = self.place(record)
        return place is not None and not place.is_file()

    def is_gone(self, record: Record) -> bool:
        """Whether its file is not there or of another size, and that not for want of a folder that others may have."""
        if record.kept and self.folder is None:
            return False
        place = self.place(record)
        return place is not None and not _is_file_of(place, record.bytes)

    def read(self, record: Record) -> bytes:
        """Bytes of a record's blob. Raises BlobError where the blob has gone, or has changed since."""
        place = self.place(record)
        if place is None:
            try:
                return require_blob(base64.b64decode(record.blob, validate=True), record, "What the record holds")
            except binascii.Error:
                raise BlobError(f"The blob of {record.name} is damaged: the record's base64 cannot be read.") from None
        try:
            if not place.is_file():  # a device, say: a library from elsewhere may name any path
                raise FileNotFoundError
            changed = place.stat().st_size != record.bytes
            return require_blob(b"" if changed else place.read_bytes(), record, str(place))
        except OSError:
            raise BlobError(f"The blob of {record.name} has moved or was deleted ({place}): add it again.") from None

    def _path(self, sha256: str) -> Path:
        if self.folder is None:
            raise BlobError("The blob is in a folder that this library's users share: name it with --blobs.")
        return self.folder / sha256[:2] / f"{sha256}.l8"


def _is_file_of(path: Path, n_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == n_bytes
