"""Places between two steps of long work where its caller may let others go first, or end it by an exception.

Tiles of a picture and steps of entropy coding end with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_call: ContextVar[Callable[[], object] | None] = ContextVar("call", default=None)


def pause() -> None:
    """Called by long work between two steps, each well under a second for any picture."""
    call = _call.get()
    if call is not None:
        call()


@contextmanager
def at_pauses(call: Callable[[], object]) -> Iterator[None]:
    """Have it called at each pause of the work within, in this thread; it may wait, or raise."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
