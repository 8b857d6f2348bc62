"""Budget of one request: so much time, and only for as long as anyone waits for it.

`bounded` is put around every function of an app's page when it is launched; `check` is called by what the functions do,
at each file, each tile and each stage.
"""

from __future__ import annotations

import functools
import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.context import LocalContext

REQUEST_SECONDS = float(os.environ.get("LATENT8_REQUEST_SECONDS") or 120)  # of work, for one request
UNHEARD_SECONDS = 30  # of messages that nobody fetches: the client has gone, or never listened


class Cancelled(gr.Error):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__("This was stopped.", print_exception=False, visible=False)


class OutOfTime(gr.Error):
    """The request has taken all the time that one may; in a batch, for the file at work and for all that follow."""

    def __init__(self) -> None:
        super().__init__(
            f"Not done within the {REQUEST_SECONDS:.0f} seconds that one request has here: send fewer or smaller "
            "files.",
            print_exception=False,
        )


@dataclass
class Budget:
    """What is left of a request. A GPU function of ZeroGPU runs in a fork of this process, where it does not count."""

    ends: float
    process: int = field(default_factory=os.getpid)
    unheard_since: float | None = None


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


def check() -> None:
    """Raise Cancelled where nobody waits for the event that this runs in, OutOfTime where its time is over.

    Outside of an event, as in tests, it does nothing.
    """
    budget = _budget.get()
    if budget is not None and budget.process != os.getpid():
        return
    if _gone(budget):
        raise Cancelled
    if budget is not None and time.monotonic() > budget.ends:
        raise OutOfTime


def _gone(budget: Budget | None) -> bool:
    """By Gradio's queue: it forgets an event that was cancelled, and marks one whose client has left. Of a client that
    never listened it knows nothing, but its messages are left."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None or event_id is None:
        return False
    queue = blocks._queue
    event = queue.event_ids_to_events.get(event_id)
    if event is None or not event.alive:
        return True
    messages = queue.pending_messages_per_session.get(event.session_hash)
    if budget is None or messages is None or messages.empty():
        if budget is not None:
            budget.unheard_since = None
        return messages is None
    now = time.monotonic()
    budget.unheard_since = budget.unheard_since or now
    return now - budget.unheard_since > UNHEARD_SECONDS


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of an event, with the budget of one request; of a generator, over all its steps."""

    @contextmanager
    def within(budget: Budget) -> Iterator[None]:
        token = _budget.set(budget)
        try:
            yield
        finally:
            _budget.reset(token)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with within(Budget(time.monotonic() + REQUEST_SECONDS)):
            return function(*args, **kwargs)

    @functools.wraps(function)
    def run_in_steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
        budget = Budget(time.monotonic() + REQUEST_SECONDS)
        steps, end = function(*args, **kwargs), object()
        while True:
            with within(budget):  # each step may run in another thread
                found = next(steps, end)
            if found is end:
                return
            yield found

    return run_in_steps if inspect.isgeneratorfunction(function) else run
