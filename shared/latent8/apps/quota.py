"""How much of the disk uploads and results may fill, all together and of each client."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

KEPT_FOR_RESULTS = 0.25  # of the quota, which uploads do not get
MINUTE, HOUR = 60, 3600  # seconds
FREE_BYTES = 256 << 20  # of the disk, that are left for others


class Full(Exception):
    """One sentence for the client."""


class Quota:
    """Counts what comes in at once, and what there is each time that `measure` is called. For all threads.

    One client may upload in an hour as much as it leaves free: the first alone half of the room for uploads, a second
    one then a third. So few clients cannot fill it, and there is room for one more that comes with little. After
    Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches" (1998).
    """

    def __init__(self, folder: Path, most_bytes: int, clock: Callable[[], float] = time.monotonic):
        self.folder, self.most = folder, most_bytes
        self._clock, self._lock = clock, threading.Lock()
        self._used = 0
        self._taken: dict[str, deque[tuple[float, int]]] = {}  # by client: when, bytes

    @property
    def used(self) -> int:
        return self._used

    def measure(self) -> int:
        """Bytes in the folder, read from the disk."""
        found = size_of(self.folder)
        with self._lock:
            self._used = found
            for client in list(self._taken):
                self._last_hour(client)
        return found

    def take(self, client: str, n_bytes: int, to_come: int = 0) -> None:
        """Count bytes of an upload, before they are written. to_come: those that were announced. Raises Full."""
        with self._lock:
            wanted = n_bytes + to_come
            left = self.most * (1 - KEPT_FOR_RESULTS) - self._used - wanted
            if left < 0 or _free(self.folder) - wanted < FREE_BYTES:
                raise Full("The server has no room for more uploads now: try again in some minutes.")
            if self._last_hour(client) + wanted > left:
                raise Full("You have uploaded as much as one client may for now: try again later.")
            self._used += n_bytes
            if n_bytes:
                self._note(client, n_bytes)

    def take_results(self, n_bytes: int = 0) -> None:
        """Count bytes of a result. Raises OSError, as a full disk does, where no more may be written."""
        with self._lock:
            if self._used + n_bytes > self.most or _free(self.folder) - n_bytes < FREE_BYTES:
                raise OSError(28, "no room is left for results, try again in some minutes")
            self._used += n_bytes

    def _note(self, client: str, n_bytes: int) -> None:
        taken, now = self._taken.setdefault(client, deque()), self._clock()
        if taken and now - taken[-1][0] < MINUTE:  # else every block of a file would be an entry
            taken[-1] = taken[-1][0], taken[-1][1] + n_bytes
        else:
            taken.append((now, n_bytes))

    def _last_hour(self, client: str) -> int:
        taken = self._taken.get(client)
        if taken is None:
            return 0
        while taken and taken[0][0] < self._clock() - HOUR:
            taken.popleft()
        if not taken:
            del self._taken[client]
            return 0
        return sum(n_bytes for _, n_bytes in taken)


def size_of(folder: Path) -> int:
    """Bytes of all files below; what is deleted meanwhile does not count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # not made yet
        return FREE_BYTES * 4
