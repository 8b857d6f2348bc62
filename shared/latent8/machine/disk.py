"""Files written all or nothing."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

_PARTIAL, _PARTIAL_SECONDS = re.compile(r"\.[0-9a-f]{16}\.partial"), 60  # of a file that is being written


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
