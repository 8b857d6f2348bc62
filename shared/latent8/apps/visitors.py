"""Which library of latents a visitor of the decoder app sees: the app's, or one of their own.

The app's is the one that it was started with (LATENT8_LIBRARY, or `--library` of app.py), a folder or a server's
collection; visitors only search it. Without one, each session has a library of its own, in a folder like those of
requests: it is deleted an hour after it was last used, with the other files. No path ever comes from a visitor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gradio.context import LocalContext

from latent8.apps import budget, housekeeping, work
from latent8.apps.files import request_folder
from latent8.errors import LibraryError
from latent8.library.library import Library

VARIABLE = "LATENT8_LIBRARY"
MOST_SESSIONS = 500  # with a library of their own
MOST_PICTURES = 2_000  # in each of those


@dataclass
class Own:
    """A session's library; `busy` is held while it is open, since a folder is opened once at a time."""

    folder: Path
    client: str
    busy: threading.Lock = field(default_factory=threading.Lock)


_own: OrderedDict[str, Own] = OrderedDict()
_lock = threading.Lock()


def place_of_app() -> str:
    """Folder or URL of the app's library; empty where it has none."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--library", default=os.environ.get(VARIABLE, ""))
    is_app = Path(sys.argv[0]).name == "app.py"
    return parser.parse_known_args(sys.argv[1:] if is_app else [])[0].library


@cache
def library_of_app() -> Library | None:
    """Opened once, and kept. Raises LibraryError where it cannot be."""
    place = place_of_app()
    if not place:
        return None
    library = _opened(place)
    if not len(library):
        raise LibraryError(f"The library in {place} is empty or not there.")
    return library


def has_app_library() -> bool:
    """Whether the app has one; opened now, so that what is wrong with it is said when the app starts, and ends it."""
    try:
        return library_of_app() is not None
    except LibraryError as error:
        raise SystemExit(f"latent8: {error}") from None


@contextmanager
def searched(session: str | None) -> Iterator[Library]:
    """The library to search in. Raises LibraryError where the session has none yet."""
    library = library_of_app()
    if library is not None:
        yield library
        return
    if session not in _own:  # to search makes none
        raise LibraryError("The library is empty: add photos or blobs first.")
    with own(session) as library:
        yield library


@contextmanager
def own(session: str | None) -> Iterator[Library]:
    """The session's own library, open; made where there is none. Raises LibraryError where the app has one."""
    if library_of_app() is not None:
        raise LibraryError("This app shows the library that it was started with: nothing can be added to it.")
    if not session:  # one that all such callers shared would show them each other's pictures
        raise LibraryError("This way of calling has no session, and so no library of its own: use gradio_client.")
    found = _of(session)
    with budget.holding(found.busy), _opened(found.folder / "library") as library:
        housekeeping.keep(found.folder)
        yield library
        housekeeping.keep(found.folder)


def _opened(place: str | Path) -> Library:
    return Library(place, pool=work.POOL, max_pixels=work.MAX_PIXELS)


def _of(session: str) -> Own:
    with _lock:
        found = _own.get(session)
        if found is None or not found.folder.exists():  # deleted with the old files
            found = _own[session] = Own(request_folder(), budget.client_of(LocalContext.request.get(None)))
        _own.move_to_end(session)
        gone = [_own.pop(name) for name in _too_many()]
    for one in gone:
        shutil.rmtree(one.folder, ignore_errors=True)
    return found


def _too_many() -> list[str]:
    """Sessions whose libraries go: one that is not at work, of the client with most, and of its own the one that was
    not used for longest."""
    if len(_own) <= MOST_SESSIONS:
        return []
    counts = Counter(one.client for one in _own.values())
    idle = [name for name, one in _own.items() if not one.busy.locked()]
    return idle and [max(idle, key=lambda name: counts[_own[name].client])]
