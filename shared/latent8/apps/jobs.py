"""Whether work is still wanted: what was replaced or stopped, or whose client has gone, ends at its next tile.

Gradio lets a function that runs go on to its end. So a page numbers its jobs: `begin` makes the one before unwanted,
and what runs for a job asks `check` between its steps.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass

from latent8.apps import budget
from latent8.apps.budget import Cancelled

__all__ = ["Cancelled", "Job", "begin", "check"]

REMEMBERED = 10_000  # pages; an older one's job counts as wanted


@dataclass(frozen=True)
class Job:
    """page: the session of the page that asks. name: what it asks for; of one name the latest job alone is wanted."""

    page: str
    name: str
    number: int

    def wanted(self) -> bool:
        return _latest.get((self.page, self.name), self.number) == self.number


_numbers = itertools.count(1)
_latest: OrderedDict[tuple[str, str], int] = OrderedDict()
_lock = threading.Lock()


def begin(page: str, name: str) -> Job:
    """A new job; the one before it of this name is no longer wanted."""
    with _lock:
        job = Job(page, name, next(_numbers))
        _latest[page, name] = job.number
        _latest.move_to_end((page, name))
        while len(_latest) > REMEMBERED:
            _latest.popitem(last=False)
    return job


def check(job: Job | None = None) -> None:
    """Raise Cancelled where the job, or the event that this runs in, is no longer wanted; OutOfTime by its budget."""
    if job is not None and not job.wanted():
        raise Cancelled
    budget.check()
