"""Budget of one request: so much time, turns at the model, and only for as long as anyone waits for it.

`bounded` is put around every function of an app's page when it is launched; `check` is called by what the functions do,
at each file, each tile and each stage.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import fastapi
import gradio as gr
from gradio.context import LocalContext

from latent8.apps import bounds, jobs
from latent8.apps.jobs import Cancelled, Job
from latent8.apps.turns import LOOK_SECONDS, Turn, Turns
from latent8.machine.pauses import at_pauses

__all__ = [
    "Budget",
    "Cancelled",
    "LeftOut",
    "OutOfTime",
    "bounded",
    "check",
    "client_of",
    "holding",
    "is_at_work",
    "leave_out",
]

REQUEST_SECONDS: float = bounds.REQUEST_SECONDS  # of work, without waiting
UNHEARD_SECONDS = 30  # of messages that nobody fetches: the client has gone, or never listened


class OutOfTime(gr.Error):
    """The request has taken all the time that one may; in a batch, for the file at work and for all that follow."""

    def __init__(self) -> None:
        super().__init__(
            f"Not done within the {REQUEST_SECONDS:.0f} seconds that one request has here: send fewer or smaller "
            "files.",
            print_exception=False,
        )


class LeftOut(gr.Error):
    """A file of a batch that is over what one request may have. Its text says so."""


@dataclass
class Budget:
    """What is left of a request. A GPU function of ZeroGPU runs in a fork of this process, where it does not count.

    turn: of one that uses the model. job: that the event does, of those that a page replaces. left_out: why the file
    that is next is not worked on, empty where it is.
    """

    turn: Turn | None = None
    job: Job | None = None
    begun: float = field(default_factory=time.monotonic)
    process: int = field(default_factory=os.getpid)
    unheard_since: float | None = None
    left_out: str = ""

    def spent(self) -> float:
        """Seconds of work; at the model, without those in which others had it."""
        return turns.spent(self.turn) if self.turn else time.monotonic() - self.begun


turns = Turns()
_at_work: set[str] = set()  # ids of events whose function runs in a thread, see `is_at_work`
_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


def check(job: Job | None = None) -> None:
    """Raise Cancelled where the job, or the event that this runs in, is no longer wanted, OutOfTime where its time is
    over, LeftOut for a file that is too much. Lets requests that have had less of the model go first, so it may take a
    while.

    Outside of an event, as in tests, it looks at the job alone.
    """
    if job is not None and not job.wanted():
        raise Cancelled
    budget = _here()
    if budget is None:
        return _check_wanted(None)
    _check_wanted(budget)
    if budget.spent() > REQUEST_SECONDS:
        raise OutOfTime
    if budget.left_out:
        raise LeftOut(budget.left_out, print_exception=False)
    if budget.turn:
        turns.step_back(budget.turn, lambda: _check_wanted(budget))


@contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock that is held while the model works. Waiting for it, the event has no turn at the model: whoever has
    the lock may be waiting for one. Raises Cancelled."""
    budget = _here()
    turn = budget.turn if budget else None
    waits = not lock.acquire(blocking=False)
    if waits:
        if turn:
            turns.leave(turn)
        while not lock.acquire(timeout=LOOK_SECONDS):
            _check_wanted(budget)
    try:
        if waits and turn:
            turns.take(turn, lambda: _check_wanted(budget))
        yield
    finally:
        lock.release()


def leave_out(sentence: str) -> None:
    """Of the file of a batch that is next: `check` raises this for it. Empty for one that is worked on."""
    budget = _here()
    if budget is not None:
        budget.left_out = sentence


def is_at_work(event_id: str) -> bool:
    """Whether the function of an event still runs: it ends at the next check once Gradio has forgotten the event."""
    return event_id in _at_work


def _here() -> Budget | None:
    budget = _budget.get()
    return None if budget is None or budget.process != os.getpid() else budget


def _check_wanted(budget: Budget | None) -> None:
    if _gone(budget) or _replaced(budget):
        raise Cancelled


def _replaced(budget: Budget | None) -> bool:
    return budget is not None and budget.job is not None and not budget.job.wanted()


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


def bounded(function: Callable[..., Any], takes_turns: bool = False) -> Callable[..., Any]:
    """The function of an event, with the budget of one request; of a generator, over all its steps.

    takes_turns: whether it uses the model. What is replaced while it waits for its turn ends without a result: what the
    page shows is left to the job that replaced it.
    """

    def budget_of(inputs: tuple[Any, ...]) -> Budget:
        request = LocalContext.request.get(None)
        job = jobs.begin_event(function, getattr(request, "session_hash", None), list(inputs[:1]))
        return Budget(_turn() if takes_turns else None, job)

    @contextmanager
    def within(budget: Budget) -> Iterator[None]:
        token, event_id = _budget.set(budget), LocalContext.event_id.get(None) or ""
        _at_work.add(event_id)
        try:
            _check_wanted(budget)
            if budget.turn:
                turns.take(budget.turn, lambda: _check_wanted(budget))
            with at_pauses(check):
                yield
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # the pictures in them would stay until garbage is collected
            raise
        finally:
            if budget.turn:
                turns.leave(budget.turn)
            _at_work.discard(event_id)
            _budget.reset(token)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        budget = budget_of(args)
        try:
            with within(budget):
                return function(*args, **kwargs)
        except Cancelled:
            if _replaced(budget):
                return gr.skip()
            raise

    @functools.wraps(function)
    def run_in_steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
        budget, end = budget_of(args), object()
        with closing(function(*args, **kwargs)) as steps:  # what it holds is given back at once
            while True:
                try:
                    with within(budget):  # each step may run in another thread
                        found = next(steps, end)
                except Cancelled:
                    if _replaced(budget):
                        yield gr.skip()
                        return
                    raise
                if found is end:
                    return
                yield found

    return run_in_steps if inspect.isgeneratorfunction(function) else run


def _turn() -> Turn:
    request = LocalContext.request.get(None)
    session = getattr(request, "session_hash", None) or LocalContext.event_id.get(None) or ""
    return Turn(client_of(request), session)


def client_of(request: fastapi.Request | gr.Request | None) -> str:
    """See `bounds.client_of`."""
    peer = getattr(getattr(request, "client", None), "host", None)
    headers = getattr(request, "headers", None) or {}
    return bounds.client_of(peer, headers.get("x-forwarded-for"))
