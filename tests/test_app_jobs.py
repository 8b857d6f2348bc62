"""Work that nobody waits for any more ends at its next tile."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client

from latent8.apps import budget, jobs, widgets, work
from latent8.apps.event_queue import FairQueue
from latent8.apps.turns import Turn

WAIT_SECONDS = 10


def settles(good: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_SECONDS
    while not good() and time.monotonic() < end:
        time.sleep(0.05)
    return good()


@pytest.fixture
def endless() -> Iterator[tuple[gr.Blocks, list[str]]]:
    """An app whose one endpoint calls its bar for ever, and what became of each call."""
    ends = list[str]()

    def run(progress=gr.Progress()) -> str:
        bar = work.Bar("Encoding", 0, 1)
        try:
            for _ in itertools.count():
                bar(0.5)
                ends[:] = ends or ["runs"]
                time.sleep(0.02)
        except jobs.Cancelled:
            ends.append("cancelled")
            raise

    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Button().click(run, None, gr.Textbox(), api_name="run")
    demo.queue().launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield demo, ends
    demo.close()


def test_a_client_that_cancels_stops_the_work(endless: tuple[gr.Blocks, list[str]]) -> None:
    demo, ends = endless
    job = Client(demo.local_url, verbose=False, analytics_enabled=False).submit(api_name="/run")
    assert settles(lambda: ends == ["runs"])
    job.cancel()
    assert settles(lambda: ends == ["runs", "cancelled"])


def test_a_page_that_stops_a_job_in_mid_step_is_answered_when_its_tile_is_done() -> None:
    """Gradio waits for the step under a lock that all pages need."""
    ends = list[str]()

    def run() -> Iterator[str]:
        yield "first"
        try:
            for _ in itertools.count():
                budget.check()
                ends[:] = ends or ["runs"]
                time.sleep(0.02)
        except jobs.Cancelled:
            ends.append("cancelled")
            raise

    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Button().click(budget.bounded(run), None, gr.Textbox(), api_name="run")
    demo.queue()
    demo._queue = FairQueue(demo._queue)
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        job = Client(demo.local_url, verbose=False, analytics_enabled=False).submit(api_name="/run")
        assert settles(lambda: ends == ["runs"])
        job.cancel()
        assert settles(lambda: ends == ["runs", "cancelled"])
        assert settles(lambda: not demo.app.lock.locked())
    finally:
        ends.append("over")
        demo.close()


def test_a_replaced_job_is_cancelled_and_others_go_on() -> None:
    first, other_page = jobs.begin("page", "encode", 1), jobs.begin("other page", "encode", 1)
    part = jobs.begin("page", "details", 2, part_of=first)
    work.Bar("Encoding", 0, 1, first).part("tile", 0, 0.5)(0.5)
    budget.check(part)
    second = jobs.begin("page", "encode", 3)
    with pytest.raises(jobs.Cancelled):
        work.Bar("Encoding", 0, 1, first).part("tile", 0, 0.5)(0.5)
    with pytest.raises(jobs.Cancelled):
        budget.check(part)
    budget.check(second)
    budget.check(other_page)
    budget.check()


def test_the_highest_number_is_wanted_in_whatever_order_jobs_arrive() -> None:
    for order in itertools.permutations((1, 2, 3)):
        page = f"page of {order}"
        begun = {number: jobs.begin(page, "encode", number) for number in order}
        assert [begun[number].wanted() for number in (1, 2, 3)] == [False, False, True]
        assert jobs.begin(page, "encode", 3).wanted()  # as its function begins it again


@pytest.mark.parametrize("number", [0, -1, math.nan, math.inf, 1e300, None, "7", [7], {}])
def test_a_number_that_no_page_gives_changes_nothing(number: Any) -> None:
    before = jobs.begin("page of a stranger", "encode", 5)
    assert not jobs.begin("page of a stranger", "encode", number).wanted()
    assert before.wanted()


def test_no_page_touches_anothers_jobs_or_fills_the_memory() -> None:
    own = jobs.begin("own", "encode", 1)
    jobs.begin("a stranger's", "encode", jobs.GREATEST)
    jobs.begin(None, "encode", 9)
    assert own.wanted()
    before = len(jobs._pages)
    assert not jobs.begin("x" * 1_000_000, "encode", 1).wanted()
    assert len(jobs._pages) == before


def test_old_pages_are_forgotten_but_for_those_whose_jobs_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REMEMBERED", 3)
    held = jobs.begin("page", "encode", 1)
    jobs.begin("page", "encode", 2)
    before = len(jobs._pages)
    for number in range(9):  # as a stranger may, with any names of pages
        assert jobs.begin(f"page {number}", "encode", 1).wanted()
    gc.collect()
    assert len(jobs._pages) <= before + 3
    assert not held.wanted()
    del held
    assert jobs.begin("page", "encode", 1).wanted()


def test_of_jobs_that_begin_at_once_one_is_wanted() -> None:
    found = list[jobs.Job]()
    threads = [
        threading.Thread(target=lambda number=number: found.append(jobs.begin("page", "at once", number)))
        for number in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [job.number for job in found if job.wanted()] == [20]


@pytest.mark.parametrize("is_generator", [False, True])
def test_what_is_replaced_while_it_waits_for_its_turn_ends_without_a_word(is_generator: bool) -> None:
    """An error would empty the page, which shows what is of the job that replaced it."""
    ran, name = list[str](), f"waiting, {is_generator}"

    @jobs.does(name)
    def function(number: float) -> str:
        ran.append("function")
        return "result"

    @jobs.does(name)
    def generator(number: float) -> Iterator[str]:
        ran.append("generator")
        yield "result"

    event = budget.bounded(generator if is_generator else function, takes_turns=True)
    other, got = Turn("another client", "its page"), list[Any]()
    budget.turns.take(other, lambda: None)
    try:
        thread = threading.Thread(target=lambda: got.extend(event(1) if is_generator else [event(1)]))
        thread.start()
        assert settles(lambda: bool(budget.turns._waiting))
        jobs.begin("", name, 2)  # outside of an event the page has no name
        thread.join(WAIT_SECONDS)
    finally:
        budget.turns.leave(other)
    assert got == [gr.skip()] and ran == []


def test_what_is_looked_at_stops_when_it_is_closed_or_its_result_replaced() -> None:
    result = SimpleNamespace(job=jobs.begin("a page that looks", "encode", 1), paths=[])
    for asked, name in ((2, "curves"), (4, "encode")):
        steps = list[str]()

        def content(done: Any, bar: work.Bar, name: str = name, asked: int = asked, steps: list = steps) -> str:
            bar(0)
            steps.append("before")
            jobs.begin("a page that looks", name, asked + 1)
            bar(0.5)
            steps.append("after")
            return "curves"

        assert widgets.made_for(result, "curves", asked, content) == gr.skip()
        assert steps == ["before"]
    result = SimpleNamespace(job=jobs.begin("page", "look", 1), paths=[])
    shown = widgets.made_for(result, "curves", 2, lambda done, bar: "here")
    assert shown and shown["html"] == "here"
