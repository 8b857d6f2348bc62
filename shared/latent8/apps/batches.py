"""The tab for many files, which both apps have: a box, settings, a button, a table that grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import gradio as gr
from gradio.components import Component

from latent8.apps import budget, jobs, parts, widgets, wiring, work

MANY = "many"  # name of the jobs


class Batch(Protocol):
    """Files that are done one after another, a row for each."""

    files: list[str]
    rows: list[Any]

    def run(self, job: jobs.Job | None = None) -> Iterator[None]:
        """Yields after each file."""
        ...


AnyBatch = TypeVar("AnyBatch", bound=Batch)


def build(
    box: Callable[[], gr.HTML], settings: Callable[[], Sequence[Component]], button: gr.Button, function: Callable
) -> None:
    """The tab. function: of the event that begins, on the number, the box and the settings; a `jobs.does(MANY)`."""
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            files = box()
            inputs = settings()
            signal = widgets.signals()
            button.render()
            part = str(files.elem_id)
            status, stop = parts.status_and_stop(part)
        with gr.Column(scale=3, min_width=300):
            table = widgets.result("results", announced=True, early=False)
    wiring.outdates([files.upload, signal.submit], MANY, part)
    wiring.runs([button.click], function, [files, *inputs], [table], part, status)
    wiring.stops(stop, stopped, [table], part)


def start_button(text: str, elem_id: str) -> gr.Button:
    return gr.Button(text, variant="primary", elem_id=elem_id, elem_classes=["l8-start"], render=False)


def stopped(number: float, request: gr.Request) -> dict:
    return widgets.shown(jobs.begin(request.session_hash, MANY, number).number, "<p>Stopped.</p>")


def in_steps(
    job: jobs.Job,
    paths: Callable[[], list[str]],
    batch_of: Callable[[list[str]], AnyBatch],
    table: Callable[[AnyBatch, int], str],
) -> Iterator[dict]:
    """Values of the table: with each file, then of all. table: HTML for a batch of so many files."""

    def steps() -> Iterator[dict]:
        budget.check(job)
        with work.errors_in_the_page():
            batch = batch_of(paths())
            n_files = len(batch.files)
            for _ in batch.run(job):
                if len(batch.rows) < n_files:
                    yield widgets.shown(job.number, table(batch, n_files), final=False)
            yield widgets.shown(job.number, table(batch, n_files))

    yield from widgets.until_cancelled(steps(), lambda text: widgets.shown(job.number, widgets.error_html(text)))
