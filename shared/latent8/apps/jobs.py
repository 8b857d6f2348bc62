"""Whether work is still wanted: what was replaced or stopped, or whose client has gone, ends at its next tile.

Gradio lets a function that runs go on to its end. So a page numbers its jobs: `begin` makes the one before unwanted,
and what runs for a job asks `check` between its steps.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass

import gradio as gr
from gradio.context import LocalContext

REMEMBERED = 10_000  # pages; an older one's job counts as wanted


class Cancelled(gr.Error):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__("This was stopped.", print_exception=False, visible=False)


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
    """Raise Cancelled where the job, or the event that this runs in, is no longer wanted."""
    if job is not None and not job.wanted():
        raise Cancelled
    if _event_was_cancelled():
        raise Cancelled


def _event_was_cancelled() -> bool:
    """Of an event in Gradio's queue: its client has gone, or has cancelled it, upon which Gradio forgets it."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None or event_id is None:
        return False
    event = blocks._queue.event_ids_to_events.get(event_id)
    return event is None or not event.alive
