"""Housekeeping: keeps a server's memory and disk from filling up over days."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

IDLE_SECONDS = 600  # of an upload: its client has gone
KEEP_SECONDS = 3600  # of everything else
TRIM_SECONDS = 10
REQUEST_NAME = re.compile("latent8-[0-9a-f]{32}")  # of the folder that a request writes to


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


def delete_broken_uploads(folder: Path, idle_seconds: float) -> None:
    """Delete the parts of uploads to which nothing was added for so long.

    Gradio forgets them where a client vanishes or the disk is full; uploads that are whole lie in folders of their own.
    In the folder that all programs share for such files they are left.
    """
    if folder.resolve() == Path(tempfile.gettempdir()).resolve():
        return
    for part in folder.glob("tmp*"):
        with suppress(OSError):  # finished, or deleted, since it was listed
            if part.is_file() and time.time() - part.stat().st_mtime > idle_seconds:
                part.unlink()


def delete_old_results(folder: Path, keep_seconds: float) -> None:
    """Delete the folders of requests that were made so long ago.

    Gradio deletes the files that it has given out, but not their folders, nor what a request wrote before it failed.
    """
    for request in folder.glob("latent8-*"):
        if REQUEST_NAME.fullmatch(request.name):
            with suppress(OSError):  # deleted since it was listed
                if time.time() - request.stat().st_mtime > keep_seconds:
                    shutil.rmtree(request)


def keep(*paths: str | Path) -> None:
    """What a long request still needs: it counts as new, for what deletes old files here and in Gradio."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def tidy_for_ever(uploads: Path) -> None:
    for count in itertools.count():
        give_memory_back()
        if count % (IDLE_SECONDS // TRIM_SECONDS) == 0:
            delete_broken_uploads(uploads, IDLE_SECONDS)
            delete_old_results(uploads, KEEP_SECONDS)
        time.sleep(TRIM_SECONDS)
