"""Silence about warnings of one package, for as long as a block of code runs, in any thread."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside: list[object] = []  # a token for each block that runs, whatever its thread
_filters: list[object] = []


@contextmanager
def without_pillows_warnings() -> Iterator[None]:
    """Keep Pillow's warnings, with their lines of source, from the user; what they warn of is checked elsewhere.

    `warnings.catch_warnings` would put back the filters of another thread when threads leave it in another order.
    """
    token = object()
    with _lock:
        _inside.append(token)
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # in front of those that came in the meantime
        _filters[:] = [warnings.filters[0]]
    try:
        yield
    finally:
        with _lock:
            _inside.remove(token)
            if not _inside and _filters[0] in warnings.filters:
                warnings.filters.remove(_filters[0])  # type: ignore[attr-defined]
