"""Work that nobody waits for any more ends at its next tile."""

from __future__ import annotations

import importlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client

from latent8.apps import jobs, work

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


def test_a_replaced_job_is_cancelled_and_others_go_on() -> None:
    first, other_page = jobs.begin("page", "encode"), jobs.begin("other page", "encode")
    work.Bar("Encoding", 0, 1, first).part("tile", 0, 0.5)(0.5)
    second = jobs.begin("page", "encode")
    with pytest.raises(jobs.Cancelled):
        work.Bar("Encoding", 0, 1, first).part("tile", 0, 0.5)(0.5)
    jobs.check(second)
    jobs.check(other_page)
    jobs.check()


def test_old_pages_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REMEMBERED", 3)
    begun = [jobs.begin(f"page {number}", "encode") for number in range(9)]
    assert len(jobs._latest) <= 3
    assert all(job.wanted() for job in begun)


def test_jobs_begun_at_once_have_numbers_of_their_own() -> None:
    found = list[jobs.Job]()
    threads = [threading.Thread(target=lambda: found.append(jobs.begin("page", "at once"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(job.wanted() for job in found) == 1


def test_what_is_looked_at_stops_when_it_is_closed_or_its_result_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "spaces" / "encoder"))
    results = importlib.import_module("encoder_results")
    page = SimpleNamespace(session_hash="a page that looks")
    for stop in (results.closed("curves"), lambda page: results.begin(page.session_hash)):
        done = SimpleNamespace(job=results.begin(page.session_hash))
        steps = list[str]()

        def content(bar: work.Bar, stop: Callable[[Any], Any] = stop, steps: list[str] = steps) -> str:
            bar(0)
            steps.append("before")
            stop(page)
            bar(0.5)
            steps.append("after")
            return "curves"

        assert results._looked_at("curves", done, content) == gr.skip()
        assert steps == ["before"]
    assert (
        results._looked_at("curves", SimpleNamespace(job=results.begin("page")), lambda bar: "here")["html"] == "here"
    )
