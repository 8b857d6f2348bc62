"""Records: what a library knows of a picture, as the payload of a point in the engine."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latent8.errors import BlobError, LibraryError
from latent8.file_format.reader import inspect, model_of

MAX_NAME = 1000  # characters


@dataclass(frozen=True)
class Record:
    """One picture of a library.

    name: shown to people, a file name or a path below the folder that was added. path: absolute, of the photo or blob
    that was added; empty for what came in a ZIP or as bytes. kept: the blob is in the library's own folder. blob: it is
    in the record itself, as base64. source: SHA-256 of the photo file, empty for a blob. stamp: size and time of the
    file at `path`. sha256 and bytes are the blob's; width and height in pixels; added: UTC, ISO 8601.
    """

    name: str
    sha256: str
    bytes: int
    width: int
    height: int
    model: str
    quality: int | None = None
    stem: str = ""
    path: str = ""
    kept: bool = False
    blob: str = ""
    source: str = ""
    stamp: str = ""
    added: str = ""

    @property
    def id(self) -> str:
        """Point id: the first half of the blob's SHA-256, written as a UUID, so that a moved file keeps its point."""
        return point_id(self.sha256)

    def payload(self) -> dict[str, Any]:
        """As JSON; what is empty is left out."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None, False)}

    @classmethod
    def from_payload(cls, payload: dict[str, Any] | None) -> Record:
        """The record in a payload of the engine. Raises LibraryError for a payload that is no record."""
        known = {field.name for field in fields(cls)}
        try:
            record = cls(**{name: value for name, value in (payload or {}).items() if name in known})
            texts = record.name, record.sha256, record.model, record.path, record.blob, record.source, record.added
            numbers = record.bytes, record.width, record.height
            if not all(isinstance(text, str) for text in texts) or not all(type(n) is int for n in numbers):
                raise TypeError
            if not re.fullmatch("[0-9a-f]{64}", record.sha256):
                raise ValueError
        except (TypeError, ValueError):
            raise LibraryError("A record of the library cannot be understood: it was not written by latent8.") from None
        return record

    def moved_to(self, name: str, path: str, stamp: str) -> Record:
        return replace(self, name=clean_name(name), path=path, stamp=stamp)


def record_of(blob: bytes, name: str, **more: Any) -> Record:
    """Blob -> its record; more: other fields. Raises BlobError, also for a blob that is not valid."""
    header = inspect(blob)
    return Record(
        name=clean_name(name),
        sha256=hashlib.sha256(blob).hexdigest(),
        bytes=len(blob),
        width=header.width,
        height=header.height,
        model=model_of(header).name,
        quality=header.quality,
        stem=header.stem or "",
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    )


def point_id(sha256: str) -> str:
    return str(uuid.UUID(hex=sha256[:32]))


def clean_name(name: str) -> str:
    """A name that every engine and every terminal takes: without control characters and what is no Unicode."""
    text = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in text)[-MAX_NAME:] or "unnamed"


def writable_path(path: Path) -> str:
    """Absolute path as text; empty where it cannot be kept as text, as a name that is not UTF-8."""
    text = str(path.absolute())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return text


def stamp_of(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def require_blob(data: bytes, record: Record, where: str) -> bytes:
    """Give the bytes back if they are the record's blob. Raises BlobError if not."""
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise BlobError(f"{where} is not the blob that was added ({record.name}): its checksum is another.")
    return data
