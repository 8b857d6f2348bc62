"""What the command line prints: results on standard output, errors and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from latent8.networks.base import Progress

BAR_DELAY = 1.0  # seconds until a bar appears


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
    """A bar for the tiles of a large picture, on a terminal."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}"
    options = {"delay": BAR_DELAY, "mininterval": 0, "leave": False, "disable": quiet or None}
    with tqdm(total=1.0, desc=name, bar_format=form, **options) as bar:
        yield lambda share: bar.update(share - bar.n)
