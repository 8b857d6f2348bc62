"""How the events of a page are wired: the page's script numbers each, and by the number the last one is wanted.

Functions of these events get that number as their first input; `jobs.does` says what job it is of.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from latent8.apps import bounds, jobs, widgets
from latent8.apps.work import TAKE_TURNS

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "trigger_mode": "multiple"}
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
LOOKING: dict[str, Any] = {"concurrency_id": bounds.LOOKING, "concurrency_limit": 2}  # not in the model's queue
NUMBERED = "(number, ...inputs) => [window.l8.next(), ...inputs]"
NOT_TAKEN = widgets.error_html("The server did not take this: try again in a minute.")


def runs(
    triggers: Sequence[Callable],
    function: Callable,
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    part: str,
    status: Component,
) -> None:
    """Events that begin a job: what the part of the page shows is stale until it has a result.

    outputs: the first is a `widgets.result`. part: id of anything in that part. status: where progress is shown.
    """
    begun = gr.on(
        list(triggers),
        function,
        [_number(), *inputs],
        list(outputs),
        js=_changed(part),
        show_progress_on=[status],
        trigger_mode="multiple",
        **PRIVATE,
        **TAKE_TURNS,
    )
    shown = [output for output in outputs if isinstance(output, gr.HTML)]
    refused = f"() => window.l8.refused('{part}', {json.dumps(NOT_TAKEN)}, {len(shown)})"
    begun.failure(None, None, shown, js=refused, **QUIET)


def outdates(triggers: Sequence[Callable], job: str, part: str) -> None:
    """Events upon which what is shown is stale and what runs is stopped, and that begin nothing."""
    gr.on(list(triggers), jobs.ended(job), [_number()], None, js=_changed(part, busy=False), **AT_ONCE)


def signals(choice: gr.Dropdown, part: str) -> None:
    """A list of choices is a setting like others of its part of the page, whose `widgets.signals` tells of it."""
    work = f"window.l8.work(document.getElementById('{part}'))"
    choice.input(None, None, None, js=f"() => {{ {work}.dispatchEvent(new Event('l8-list')); }}", **QUIET)


def stops(button: gr.Button, function: Callable, outputs: Sequence[Component], part: str) -> None:
    button.click(function, [_number()], list(outputs), js=_changed(part), **AT_ONCE)


def looks(
    trigger: Callable, function: Callable, inputs: Sequence[Component], output: Component, queue: dict | None = None
) -> None:
    """For what is made of a result when somebody looks at it, or asks for it. queue: by default not the model's."""
    options = {**QUIET, **(LOOKING if queue is None else queue)}
    if any(isinstance(one.default, gr.Progress) for one in inspect.signature(function).parameters.values()):
        options["show_progress"] = "full"
    trigger(function, [_number(), *inputs], [output], js=NUMBERED, **options)


def clears(triggers: Sequence[Callable], job: str, output: Component) -> None:
    """Events upon which what the job has made, or makes, does not hold."""
    gr.on(list(triggers), jobs.ended(job), [_number()], [output], js=NUMBERED, **AT_ONCE)


def closes(accordion: gr.Accordion, job: str) -> None:
    """What is made for an accordion ends when it is closed."""
    accordion.collapse(jobs.ended(job), [_number()], None, js=NUMBERED, **AT_ONCE)


def _number() -> gr.Number:
    """Not to be seen: the script of the event writes what is sent of it."""
    return gr.Number(visible=False)


def _changed(part: str, busy: bool = True) -> str:
    return f"(number, ...inputs) => [window.l8.changed('{part}', {str(busy).lower()}), ...inputs]"
