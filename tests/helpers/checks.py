"""What tests look at: a folder's files, memory that is allocated."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Run = Callable[..., tuple[int, list[str], list[str]]]  # what the fixture `run` gives


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def allocating_at_most(n_bytes: int) -> Iterator[None]:
    """Fail when Python and NumPy together take more memory than that at any moment of the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= n_bytes, f"{peak} bytes were allocated"
