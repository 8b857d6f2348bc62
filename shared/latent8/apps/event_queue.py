"""Gradio's queue, made fair: how many events may wait, and whose turn it is to start."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import fastapi
import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from gradio.queueing import Event, EventQueue, Queue

from latent8.apps import bounds, budget, jobs, sizes
from latent8.apps.bounds import MODEL
from latent8.apps.budget import client_of

LOOKS = CapacityLimiter(2)  # threads that read headers of files
REST_SECONDS = 0.02  # after a look that found nothing to start: Gradio looks a thousand times a second


@dataclass(frozen=True)
class Facts:
    """client: see `bounds.client_of`. large: of those, one is worked on at a time, for their memory."""

    client: str
    large: bool


class FairQueue(Queue):
    """Takes a few events of each client, starts at most `SLOTS_OF_CLIENT` of them, those of whom has fewest first.

    An event that is cancelled keeps its place until its function has ended.
    """

    def __init__(self, like: Queue):
        super().__init__(
            live_updates=like.live_updates,
            concurrency_count=like.max_thread_count,
            update_intervals=like.update_intervals,
            max_size=like.max_size,
            blocks=like.blocks,
            default_concurrency_limit=like.default_concurrency_limit,
        )
        self._facts: WeakKeyDictionary[Event, Facts] = WeakKeyDictionary()
        self._started: list[Event] = []
        self._rest_until = 0.0

    async def push(self, body: Any, request: fastapi.Request, username: str | None) -> Any:
        client = client_of(request)
        if body.fn_index in self.blocks.fns:  # what it replaces ends now, not when this one's turn comes
            jobs.begin_event(self.blocks.fns[body.fn_index].fn, body.session_hash, body.data)
        refusal = self._refusal(client, body.session_hash)
        if refusal:
            return False, refusal, "queue_full"
        large = await run_sync(_is_large, body.data, limiter=LOOKS)
        refusal = self._refusal(client, body.session_hash)  # others have come meanwhile
        if refusal:
            return False, refusal, "queue_full"
        done, event_id, state = await super().push(body, request, username)
        event = self.event_ids_to_events.get(event_id) if done and isinstance(event_id, str) else None
        if event is not None:
            self._facts[event] = Facts(client, large)
        return done, event_id, state

    def _refusal(self, client: str, session: str | None) -> str:
        """One sentence where no more may wait; else empty."""
        waiting = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        if len(waiting) >= bounds.EVENTS:
            return "Too many requests are waiting here: try again in a minute."
        own = [event for event in waiting if self._of(event).client == client]
        of_session = [event for event in own if event.session_hash == session]
        if len(own) >= bounds.EVENTS_OF_CLIENT or len(of_session) >= bounds.EVENTS_OF_SESSION:
            return "Too many of your requests are waiting already: try again when they are done."
        return ""

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The next event to start, in place of the one that came first."""
        now = time.monotonic()
        if now < self._rest_until:
            return None
        all_at_work = self._at_work()
        for name, queue in self.event_queue_per_concurrency_id.items():
            at_work = [event for event in all_at_work if event.concurrency_id == name]
            if queue.concurrency_limit is None or len(at_work) < queue.concurrency_limit:
                event = self._choice(queue, at_work)
                if event is not None:
                    queue.queue.remove(event)
                    self._started.append(event)
                    return [event], False, name
        self._rest_until = now + REST_SECONDS
        return None

    def _at_work(self) -> list[Event]:
        """Events that were started and have not ended, the cancelled ones too."""
        active = {event._id for job in self.active_jobs for event in job or ()}
        self._started = [event for event in self._started if event._id in active or budget.is_at_work(event._id)]
        return self._started

    def _choice(self, queue: EventQueue, at_work: list[Event]) -> Event | None:
        slots = Counter(self._of(event).client for event in at_work)
        most = min(bounds.SLOTS_OF_CLIENT, (queue.concurrency_limit or bounds.EVENTS) - 1) or 1  # one is for others
        large_at_work = queue.concurrency_id == MODEL and any(self._of(event).large for event in at_work)
        able = [
            event
            for event in queue.queue
            if slots[self._of(event).client] < most and not (large_at_work and self._of(event).large)
        ]
        return min(able, key=lambda event: slots[self._of(event).client], default=None)  # the first of equals

    async def process_events(self, events: list[Event], *args: Any, **kwargs: Any) -> None:
        bounds.CLIENT.set(self._of(events[0]).client)
        await super().process_events(events, *args, **kwargs)

    async def reset_iterators(self, event_id: str) -> None:
        """Gradio waits here until the step of a cancelled generator is over, and forgets its event only then. Forgotten
        before, the step ends at its next check."""
        self.event_ids_to_events.pop(event_id, None)
        await super().reset_iterators(event_id)

    def compute_analytics_summary(self, records: Any) -> Any:
        """Nothing: monitoring is off, and Gradio's summary goes through up to 10,000 events after each of them."""
        return self.cached_event_analytics_summary

    def _of(self, event: Event) -> Facts:
        return self._facts.get(event) or Facts("unknown", False)


def _is_large(data: Any) -> bool:
    """Whether the files that are named in the data of an event hold much, as far as their headers tell. Of those that
    are still to be fetched nothing is known."""
    folder = Path(gr.utils.get_upload_folder()).resolve()
    named = _paths(data)
    if any(path.startswith(("http://", "https://")) for path in named):
        return True
    real = {path for path in map(_real, named) if path is not None and path.is_relative_to(folder)}  # any may be named
    looked_at = islice(real, bounds.REQUEST_FILES)  # no more of them are worked on
    return any(sizes.most_pixels(str(path)) > bounds.LARGE_PIXELS for path in looked_at)


def _real(path: str) -> Path | None:
    try:
        return Path(os.path.realpath(path))
    except (ValueError, OSError):
        return None


def _paths(data: Any, depth: int = 0) -> set[str]:
    """Of Gradio's file objects in some JSON."""
    if isinstance(data, dict):
        path = data.get("path")
        if isinstance(path, str):
            return {path}
    inner = data if isinstance(data, list) else list(data.values()) if isinstance(data, dict) else []
    if depth > 4 or len(inner) > bounds.LISTED_FILES:
        return set()
    return set().union(*(_paths(one, depth + 1) for one in inner))
