"""Files: written all or nothing, told apart, and cleaned up after runs that were killed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from io import FileIO
from pathlib import Path

_PARTIAL, _PARTIAL_SECONDS = re.compile(r"\.[0-9a-f]{16}\.partial"), 60  # name and least age of a leftover
_DESCRIPTORS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")  # open files, which are written into


def write_file(target: str | os.PathLike, data: bytes, sync: bool = False) -> None:
    """Write a file all or nothing: under a temporary name, then renamed. Raises OSError, which names the target.

    A file that is replaced keeps its mode and its owner; a link is followed and stays. Devices and pipes are written
    into. Temporary names are random, so that two runs that write the same file do not write into each other's.
    sync: its bytes are on disk before it gets its name, so that a power cut leaves no part of it under that.
    """
    try:
        if is_special(target):
            with open(target, "wb") as file:
                file.write(data)
        else:
            _replace(Path(os.path.realpath(target)), data, sync)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(target)) from None


def append(file: FileIO, data: bytes, sync: bool = False) -> None:
    """Write at the end of a file that was opened unbuffered, all or nothing. Raises OSError where there is no room.

    sync: it is on disk when this returns.
    """
    before = file.seek(0, os.SEEK_END)
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
        if sync:
            os.fsync(file.fileno())
    except BaseException:
        file.truncate(before)
        raise


def is_special(target: str | os.PathLike) -> bool:
    """Whether the target is there and neither a regular file nor a folder: a device, a pipe, an open descriptor."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or os.path.abspath(target).startswith(_DESCRIPTORS)


def identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """Device and inode of a regular file, equal for all its names and links; None where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name that holds a zero byte
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def delete_partial_files(folder: Path) -> None:
    """Delete temporary files, at least a minute old, that runs left in the folder when they were killed."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):  # renamed or deleted since it was listed
            if _PARTIAL.fullmatch(path.name) and time.time() - path.stat().st_mtime > _PARTIAL_SECONDS:
                path.unlink()


def _replace(target: Path, data: bytes, sync: bool) -> None:
    partial = target.parent / f".{secrets.token_hex(8)}.partial"
    try:
        with open(partial, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            _take_over(target, partial)
        os.replace(partial, target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _take_over(target: Path, partial: Path) -> None:
    """Give the new file the mode and owner of the one that it replaces. Raises PermissionError for a read-only one."""
    found = target.stat()
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only an administrator may give files away
            os.chown(partial, found.st_uid, found.st_gid)
    os.chmod(partial, stat.S_IMODE(found.st_mode))
