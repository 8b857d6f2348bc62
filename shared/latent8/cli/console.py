"""Output of the command line: results on standard output, errors and progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from latent8.networks.base import Progress

BAR_DELAY, BAR_TICK = 1.0, 0.5  # seconds until a bar appears, and between its changes


def say(line: str, quiet: bool, output_is_data: bool = False) -> None:
    """A line on what was done; where standard output is the data itself, on a terminal's standard error or nowhere."""
    if quiet or (output_is_data and not sys.stderr.isatty()):
        return
    print(line, file=sys.stderr if output_is_data else sys.stdout)


def fail(error: Exception, source: Path | None = None) -> int:
    """One line on what went wrong, and with which file -> exit code."""
    text = error_text(error, source)
    print(f"latent8: {source}: {text}" if source else f"latent8: {text}", file=sys.stderr)
    return 2


def error_text(error: Exception, source: Path | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        of_source = error.filename is None or str(error.filename) == str(source)
        return f"{error.strerror}." if of_source else f"{error.strerror}: {error.filename}"
    return str(error)


def size_change(before: int, after: int) -> str:
    """Bytes of a picture and of its blob, in words: "288,622 -> 30,065 bytes, 9.6 times smaller"."""
    ratio = max(before, after) / max(1, min(before, after))
    words = f"{ratio:.0f} times" if ratio >= 100 else f"{ratio:.1f} times"
    change = "about as large" if ratio < 1.05 else f"{words} {'smaller' if after < before else 'LARGER'}"
    return f"{before:,} -> {after:,} bytes, {change}"


@contextmanager
def tile_bar(name: str, quiet: bool = False) -> Iterator[Progress]:
    """A bar for what takes longer than BAR_DELAY, on a terminal: how much of a large picture is done, and for how long.

    What comes after the tiles, entropy coding or writing a file, is told as such.
    """
    with _shown(name, "{desc}: {percentage:3.0f} %|{bar}| {elapsed}", quiet) as bar:

        def progress(share: float) -> None:
            bar.desc, bar.share = name if share < 1 else f"{name}, finishing", share
            bar.draw()

        yield progress


@contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[None]:
    """A line that says what is waited for, on a terminal, once that takes longer than BAR_DELAY."""
    with _shown(what, "{desc} {elapsed}", quiet):
        yield


@contextmanager
def _shown(desc: str, form: str, quiet: bool) -> Iterator[_Bar]:
    bar, ended = _Bar(desc, form, quiet), Event()

    def tick() -> None:
        while not ended.wait(BAR_TICK):
            bar.draw()

    ticking = Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield bar
    finally:
        ended.set()
        ticking.join()
        bar.close()


class _Bar:
    """Drawn from the thread that works and from one that ticks."""

    def __init__(self, desc: str, form: str, quiet: bool):
        self.desc, self.share = desc, 0.0
        self._form, self._shows, self._started = form, not quiet and sys.stderr.isatty(), time.time()
        self._lock = Lock()
        self._bar: tqdm | None = None

    def draw(self) -> None:
        with self._lock:
            if not self._shows or time.time() < self._started + BAR_DELAY:
                return
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=1.0, desc=self.desc, bar_format=self._form, leave=False)
                self._bar.start_t = self._started
            self._bar.n = self.share
            self._bar.set_description_str(self.desc, refresh=False)
            self._bar.refresh()

    def close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
