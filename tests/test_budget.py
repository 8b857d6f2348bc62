"""What one request of an app may take, and that it ends where nobody waits for it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from latent8.apps import budget, work
from latent8.apps.budget import Cancelled, OutOfTime, bounded, check
from latent8.apps.turns import LEAD
from latent8.machine.pauses import pause

WAIT_SECONDS = 10


class Messages(list):
    def empty(self) -> bool:
        return not self


@pytest.fixture
def event(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An event of Gradio's queue, at work."""
    event = SimpleNamespace(alive=True, session_hash="session", messages=Messages())
    queue = SimpleNamespace(event_ids_to_events={"id": event}, pending_messages_per_session={"session": event.messages})
    tokens = LocalContext.blocks.set(SimpleNamespace(_queue=queue)), LocalContext.event_id.set("id")  # type: ignore
    event.queue = queue
    yield event
    LocalContext.blocks.reset(tokens[0])
    LocalContext.event_id.reset(tokens[1])


def test_outside_of_an_event_nothing_is_bounded() -> None:
    check()
    work.Bar("Encoding", 0, 1)(0.5)


def test_an_event_is_at_work_until_its_function_ends(event: Any) -> None:
    def stopped() -> None:
        assert budget.is_at_work("id")
        event.alive = False
        check()

    with pytest.raises(Cancelled):
        bounded(stopped)()
    assert not budget.is_at_work("id")


def test_steps_that_are_stopped_give_back_what_they_hold(event: Any) -> None:
    held: list[str] = []

    def steps() -> Iterator[int]:
        held.append("lock")
        try:
            yield 1
            event.alive = False
            check()
        finally:
            held.clear()

    running = bounded(steps)()
    assert next(running) == 1 and held
    event.alive = False
    with pytest.raises(Cancelled):
        next(running)
    assert not held


@pytest.mark.parametrize("is_generator", [False, True])
def test_what_is_stopped_leaves_nothing_in_memory(event: Any, is_generator: bool) -> None:
    class Picture:
        pass

    kept: list[weakref.ref] = []

    def function() -> None:
        picture = Picture()
        kept.append(weakref.ref(picture))
        event.alive = False
        check()
        raise AssertionError(picture)

    def generator() -> Iterator[None]:
        yield function()

    with pytest.raises(Cancelled) as caught:
        list(bounded(generator)()) if is_generator else bounded(function)()
    assert caught.value.__traceback__ and kept and kept[0]() is None


def test_steps_without_progress_end_too(event: Any) -> None:
    def entropy_coding() -> None:
        pause()
        event.alive = False
        pause()
        raise AssertionError

    with pytest.raises(Cancelled):
        bounded(entropy_coding)()
    pause()  # nobody is called any more


@pytest.mark.parametrize("gone", ["left", "stopped", "forgotten", "never listened"])
def test_work_ends_where_nobody_waits_for_it(event: Any, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def tiles() -> None:
        for tile in range(3):
            check()
            done.append(tile)
            if gone == "left":
                event.alive = False
            elif gone == "stopped":
                event.queue.event_ids_to_events.clear()
            elif gone == "forgotten":
                event.queue.pending_messages_per_session.clear()
            else:
                event.messages.append("progress")
                monkeypatch.setattr(budget, "UNHEARD_SECONDS", -1)

    with pytest.raises(Cancelled):
        bounded(tiles)()
    assert done == [0]


def test_slow_listeners_are_waited_for(event: Any) -> None:
    event.messages.append("progress")
    bounded(check)()


def test_work_ends_when_its_time_is_over(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "REQUEST_SECONDS", 0.05)
    steps = []

    def work_long() -> None:
        for step in range(100):
            check()
            steps.append(step)
            time.sleep(0.01)

    with pytest.raises(OutOfTime, match=r"Not done within the 0 seconds"):
        bounded(work_long)()
    assert len(steps) <= 6  # none is shorter, however busy the machine is


def test_a_batch_gives_what_it_has_when_time_is_over(event: Any, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(budget, "REQUEST_SECONDS", -1)
    left_out = []

    def batch() -> None:
        for path, _ in work.one_by_one(["a", "b"], "Photo", tmp_path):
            with pytest.raises(OutOfTime):
                check()
            left_out.append(path)

    bounded(batch)()
    assert left_out == ["a", "b"]


def test_the_steps_of_a_generator_share_one_budget(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "REQUEST_SECONDS", 0.05)

    def steps():
        for number in range(3):
            check()
            yield number

    found = bounded(steps)()
    assert next(found) == 0
    time.sleep(0.1)
    with pytest.raises(OutOfTime):
        next(found)


def test_names_and_parameters_stay() -> None:
    """Gradio reads them: of `progress`, and of the tools for MCP."""

    def encode(photo: str, quality: int = 50) -> str:
        """Turn a photo into a blob."""
        return photo * quality

    wrapped = bounded(encode)
    assert (wrapped.__name__, wrapped.__doc__, wrapped("a", quality=2)) == ("encode", encode.__doc__, "aa")


def test_who_waits_for_a_lock_has_no_turn_that_its_holder_needs() -> None:
    """Two events of one page, the first of which steps back for another client while it holds the lock."""
    lock, ends = threading.Lock(), list[str]()

    def holder() -> None:
        with budget.holding(lock):
            end = time.monotonic() + 2 * LEAD
            while "other" not in ends and time.monotonic() < end + WAIT_SECONDS:
                check()
                time.sleep(0.01)
        ends.append("holder")

    def waiter() -> None:
        with budget.holding(lock):
            check()
        ends.append("waiter")

    def start(function: Callable[[], None], page: str) -> threading.Thread:
        def run() -> None:
            LocalContext.request.set(SimpleNamespace(client=SimpleNamespace(host=page), headers={}, session_hash=page))
            bounded(function, takes_turns=True)()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    threads = [start(holder, "192.0.2.1")]
    while not lock.locked():
        time.sleep(0.01)
    threads.append(start(waiter, "192.0.2.1"))
    threads.append(start(lambda: ends.append("other"), "192.0.2.2"))
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert sorted(ends) == ["holder", "other", "waiter"]
