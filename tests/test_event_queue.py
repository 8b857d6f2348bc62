"""Gradio's queue, made fair: who may wait, and whose event is next."""

from __future__ import annotations

import asyncio
import itertools
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal

from latent8.apps import bounds, budget, event_queue
from latent8.apps.event_queue import FairQueue

NUMBERS = itertools.count()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FairQueue:
    """That of an app with one function that uses the model. Events are large whose data is "large"."""
    monkeypatch.setattr(event_queue, "_is_large", lambda data: data == ["large"])
    monkeypatch.setattr(event_queue, "REST_SECONDS", 0)
    with gr.Blocks(analytics_enabled=False) as demo:
        text = gr.Textbox()
        options: dict[str, Any] = {"concurrency_id": bounds.MODEL, "concurrency_limit": bounds.MODEL_SLOTS}
        gr.Button().click(lambda value: value, text, text, api_name="run", **options)
    demo.queue(max_size=bounds.EVENTS)
    fair = FairQueue(demo._queue)
    fair.active_jobs = [None] * 40
    return fair


def push(queue: FairQueue, client: str, session: str = "", data: str = "") -> tuple[bool, str, str]:
    return asyncio.run(pushed(queue, client, session, data))


async def pushed(queue: FairQueue, client: str, session: str = "", data: str = "") -> tuple[bool, str, str]:
    function = next(iter(queue.blocks.fns))
    body = PredictBodyInternal(data=[data], fn_index=function, session_hash=session or f"{client} {next(NUMBERS)}")
    request: Any = SimpleNamespace(client=SimpleNamespace(host=client), headers={})
    return await queue.push(body, request, None)


def started(queue: FairQueue, count: int) -> list[str]:
    """Clients of the events that are started, one after another."""
    found = []
    for _ in range(count):
        chosen = queue.get_events()
        if chosen is None:
            break
        queue.active_jobs[queue.active_jobs.index(None)] = chosen[0]
        queue.event_queue_per_concurrency_id[bounds.MODEL].current_concurrency += 1
        found.append(queue._of(chosen[0][0]).client)
    return found


def test_no_summary_of_all_events_is_made_after_each(queue: FairQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_get_df", lambda records: pytest.fail("all events are gone through"))
    queue.events_recorded = 5
    assert queue.compute_analytics_summary([{"function": "run", "status": "success", "process_time": 1}]) == {
        "functions": {}
    }


def test_who_has_least_at_work_is_next(queue: FairQueue) -> None:
    for client in "aaaaabc":
        assert push(queue, client)[0]
    assert started(queue, 9) == ["a", "b", "c", "a"]  # one client has at most two at work


def test_one_large_request_is_at_work_at_a_time(queue: FairQueue) -> None:
    for client, data in (("a", "large"), ("b", "large"), ("c", "")):
        push(queue, client, data=data)
    assert started(queue, 9) == ["a", "c"]


def test_a_cancelled_event_keeps_its_place_until_its_function_ends(
    queue: FairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in "aaab":
        push(queue, client)
    at_work = {event._id for event in queue.event_queue_per_concurrency_id[bounds.MODEL].queue[:2]}
    assert started(queue, 2) == ["a", "b"]
    assert started(queue, 9) == ["a"]
    monkeypatch.setattr(budget, "is_at_work", at_work.__contains__)
    queue.active_jobs = [None] * 40  # as Gradio does for a cancelled event at once
    assert started(queue, 9) == []
    at_work.clear()
    assert started(queue, 9) == ["a"]


def test_slots_are_limited(queue: FairQueue) -> None:
    for number in range(20):
        push(queue, f"client {number}")
    assert len(started(queue, 20)) == bounds.MODEL_SLOTS


def test_few_events_of_one_client_may_wait(queue: FairQueue) -> None:
    answers = [push(queue, "a") for _ in range(bounds.EVENTS_OF_CLIENT + 1)]
    assert [done for done, _, _ in answers] == [True] * bounds.EVENTS_OF_CLIENT + [False]
    assert answers[-1][1:] == (
        "Too many of your requests are waiting already: try again when they are done.",
        "queue_full",
    )
    assert push(queue, "b")[0]


def test_few_events_of_one_page_may_wait(queue: FairQueue) -> None:
    answers = [push(queue, "a", "page")[0] for _ in range(bounds.EVENTS_OF_SESSION + 1)]
    assert answers == [True] * bounds.EVENTS_OF_SESSION + [False]


def test_events_that_come_at_once_are_counted_too(queue: FairQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them pass the first look, before the files of any have been looked at."""
    come = threading.Event()

    def slow(_: Any) -> bool:
        assert come.wait(10)
        return False

    async def at_once() -> list[bool]:
        count = bounds.EVENTS_OF_CLIENT + 3
        found = [asyncio.create_task(pushed(queue, "a")) for _ in range(count)]
        await asyncio.sleep(0)  # all of them have begun
        come.set()
        return [done for done, _, _ in await asyncio.gather(*found)]

    monkeypatch.setattr(event_queue, "_is_large", slow)
    assert sum(asyncio.run(at_once())) == bounds.EVENTS_OF_CLIENT


def test_of_a_queue_with_two_places_one_client_has_one(queue: FairQueue) -> None:
    for client in "aab":
        push(queue, client)
    queue.event_queue_per_concurrency_id[bounds.MODEL].concurrency_limit = 2
    assert started(queue, 9) == ["a", "b"]


@pytest.mark.parametrize("path", ["https://example.org/photo.jpg", "{zip}"])
def test_files_that_nothing_is_known_of_count_as_large(path: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "blobs.zip", "w") as archive:
        archive.writestr("photo.l8", b"")
    named = {"path": path.format(zip=tmp_path / "blobs.zip"), "meta": {"_type": "gradio.FileData"}}
    assert event_queue._is_large([[named]])
    assert not event_queue._is_large([[{"path": "\ud800"}, {"path": "a\0b"}, {"path": str(tmp_path / "none.png")}]])


def test_a_file_is_looked_at_once_under_all_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(event_queue.sizes, "most_pixels", lambda path: seen.append(path) or 0)
    event_queue._is_large([{"path": f"{tmp_path}/{'./' * count}a.png"} for count in range(50)])
    assert seen == [str(tmp_path / "a.png")]


def test_few_events_of_all_may_wait(queue: FairQueue) -> None:
    answers = [push(queue, f"client {number}") for number in range(bounds.EVENTS + 1)]
    assert [done for done, _, _ in answers].index(False) == bounds.EVENTS
    assert answers[-1][1] == "Too many requests are waiting here: try again in a minute."
