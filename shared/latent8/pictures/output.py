"""Pictures and blobs as files."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import time
from pathlib import Path

from PIL import Image

from latent8.errors import PictureError

FORMATS = {"PNG": ".png", "WebP": ".webp", "JPEG": ".jpg"}
_PARTIAL, _PARTIAL_SECONDS = re.compile(r"\.[0-9a-f]{16}\.partial"), 60  # of a file that is being written
_LOSSY = {"JPEG": {"quality": 95}, "WEBP": {"quality": 95}}


def picture_bytes(image: Image.Image, suffix: str) -> bytes:
    """PIL image -> bytes of a file in the format of that ending. Raises PictureError for an ending without one.

    JPEG has no transparency: the picture is laid on white.
    """
    name = Image.registered_extensions().get(suffix.lower())
    if name is None or name not in Image.SAVE:
        raise PictureError(
            f"No picture can be written as {suffix or 'a name without ending'}: use .png, .webp or .jpg."
        )
    if name == "JPEG" and image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    buffer = io.BytesIO()
    try:
        image.save(buffer, name, **_LOSSY.get(name, {}))
    except (OSError, ValueError) as error:
        raise PictureError(f"The picture cannot be written as {suffix} ({error}): use .png.") from None
    return buffer.getvalue()


def write_file(target: str | os.PathLike, data: bytes) -> None:
    """Write all or nothing: into a temporary name, then renamed. OSError names the target.

    The temporary name is another each time: two runs that write the same file must not write into each other's.
    """
    partial = Path(target).parent / f".{secrets.token_hex(8)}.partial"
    try:
        partial.write_bytes(data)
        os.replace(partial, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(target)) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def delete_partial_files(folder: Path) -> None:
    """Delete what runs that were killed left of files that they were writing, a minute ago or earlier."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):  # renamed or deleted since it was listed
            if _PARTIAL.fullmatch(path.name) and time.time() - path.stat().st_mtime > _PARTIAL_SECONDS:
                path.unlink()
