"""Housekeeping: keeps a server's memory and disk from filling up over days."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from latent8.apps.quota import Quota, size_of

IDLE_SECONDS = 600  # of an upload: its client has gone
KEEP_SECONDS = 3600  # of everything else
TRIM_SECONDS = 10
SHORT_SECONDS = 120  # of everything, while the disk is nearly full
FULL, EMPTIED = 0.6, 0.4  # of the quota: where making room begins and ends
OURS = re.compile("latent8-[0-9a-f]{32}|[0-9a-f]{64}")  # folders of requests; of uploads and copies, by their hash


def keep_heap_small() -> None:
    """Settings of glibc's malloc, where that is the C library, without which memory grows with the requests.

    It raises the size from which blocks are mapped, and so given back when freed, with every larger one that is freed;
    and it has a heap for each of the threads that requests are run in. Pictures of all sizes leave holes in them all.
    """
    m_mmap_threshold, m_arena_max = -3, -8  # malloc.h
    with suppress(AttributeError, OSError, TypeError):  # other C libraries
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 4 << 20)
        libc.mallopt(m_arena_max, 1)


def give_memory_back() -> None:
    """Give free memory of the heap back to the system; it takes some milliseconds."""
    with suppress(AttributeError, OSError, TypeError):  # other C libraries
        ctypes.CDLL(None).malloc_trim(0)


def make_own(folder: Path) -> None:
    """Make the folder for uploads and results, for this user alone. Raises SystemExit where it cannot be that."""
    os.umask(0o077)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise SystemExit(f"{folder} cannot be made ({error.strerror}): name another in GRADIO_TEMP_DIR.") from None
    if not stat.S_ISDIR(found.st_mode):
        raise SystemExit(f"{folder} is a link: name a folder of your own in GRADIO_TEMP_DIR.")
    if hasattr(os, "getuid") and found.st_uid not in (os.getuid(), 0):
        raise SystemExit(f"{folder} belongs to someone else: name a folder of your own in GRADIO_TEMP_DIR.")
    if found.st_uid and folder.name.startswith("latent8-"):  # the one that we name; another is the user's own matter
        folder.chmod(0o700)


def delete_broken_uploads(folder: Path, idle_seconds: float) -> None:
    """Delete parts of uploads to which nothing was added for so long, and the empty files that Gradio makes of each.

    Uploads that are whole lie in folders of their own. In the folder that all programs share for such files they are
    left.
    """
    if folder.resolve() == Path(tempfile.gettempdir()).resolve():
        return
    for part in folder.glob("tmp*"):
        with suppress(OSError):  # finished, or deleted, since it was listed
            if part.is_file() and time.time() - part.stat().st_mtime > idle_seconds:
                part.unlink()


def delete_old(folder: Path, keep_seconds: float, kept: Collection[str] = ()) -> None:
    """Delete what was made so long ago: folders of requests, uploads, copies of results.

    Gradio deletes the files that it has given out, but neither their folders, nor what a request wrote before it
    failed, nor what came in with a call of a program. kept: files that stay, as those of the page.
    """
    for entry, newest, _ in _entries(folder, kept):
        if time.time() - newest > keep_seconds:
            shutil.rmtree(entry, ignore_errors=True)


def make_room(folder: Path, most_bytes: int, keep_seconds: float, kept: Collection[str] = ()) -> None:
    """Delete the oldest of it until what is left is below, but nothing that was made within so many seconds."""
    entries = sorted(_entries(folder, kept), key=lambda entry: entry[1])
    total = sum(n_bytes for _, _, n_bytes in entries)
    for entry, newest, n_bytes in entries:
        if total <= most_bytes or time.time() - newest < keep_seconds:
            return
        shutil.rmtree(entry, ignore_errors=True)
        total -= n_bytes


def _entries(folder: Path, kept: Collection[str]) -> Iterator[tuple[Path, float, int]]:
    """The folders of uploads and requests, when each was last changed, and its bytes."""
    keep = {str(Path(path).parent) for path in kept}
    for entry in folder.glob("*"):
        if not OURS.fullmatch(entry.name) or str(entry) in keep:
            continue
        with suppress(OSError):  # deleted since it was listed
            times = [entry.stat().st_mtime]
            if not entry.name.startswith("latent8-"):  # of an upload, `keep` is told the file
                times += [path.stat().st_mtime for path in entry.iterdir()]
            yield entry, max(times), size_of(entry)


def keep(*paths: str | Path) -> None:
    """What a long request still needs: it counts as new, for what deletes old files here and in Gradio; a file with the
    folder of a request that it lies in."""
    for path in paths:
        folder = Path(path).parent
        for one in (path, folder) if OURS.fullmatch(folder.name) else (path,):
            with suppress(OSError):
                os.utime(one)


def tidy_for_ever(quota: Quota, kept: Callable[[], Collection[str]]) -> None:
    """kept: files that are never deleted."""
    for count in itertools.count():
        give_memory_back()
        with suppress(OSError):
            if quota.measure() > FULL * quota.most:
                make_room(quota.folder, int(EMPTIED * quota.most), SHORT_SECONDS, kept())
                quota.measure()
            if count % (IDLE_SECONDS // TRIM_SECONDS) == 0:
                delete_broken_uploads(quota.folder, IDLE_SECONDS)
                delete_old(quota.folder, KEEP_SECONDS, kept())
        time.sleep(TRIM_SECONDS)
