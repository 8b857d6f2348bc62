"""Parts of a page that Gradio has not: a drop box, a comparison of pictures, results that know what they belong to."""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import gradio as gr

from latent8.apps import bounds, budget, jobs, look, work
from latent8.apps.jobs import Cancelled, Job
from latent8.errors import Latent8Error

LARGEST_FILE = f"{bounds.FILE_MB:,} MB"


def file_url(path: str | Path) -> str:
    """Where the page finds a file of a request, or of a folder that is served."""
    return f"gradio_api/file={quote(str(path))}"


def drop_box(
    noun: str,
    title: str,
    hint: str,
    accept: str,
    elem_id: str,
    multiple: bool = False,
    examples: Sequence[tuple[Path, str]] = (),
) -> gr.HTML:
    """Its value is None or a list of {path, name, size}; `paths_of` checks it. Its event is `upload`.

    noun: what it is replaced by, once there is one. examples: files and what they show, offered while there is no file.
    """
    shown = "".join(
        f'<li><button type="button" data-path="{html.escape(str(path))}" data-name="{html.escape(path.name)}" '
        f'data-size="{path.stat().st_size}"><img src="{file_url(path)}" loading="lazy" '
        f'alt="Example: {html.escape(name)}"></button></li>'
        for path, name in examples
    )
    offered = f'<div class="l8-examples"><span>Or try one of these:</span><ul>{shown}</ul></div>' if shown else ""
    template = (
        f'<div class="l8-drop" data-title="{html.escape(title)}" data-noun="{noun}"><label class="l8-drop-label">'
        f'<span class="l8-drop-title">{html.escape(title)}</span>'
        f'<span class="l8-hint l8-hint-drop">{html.escape(hint)}</span>'
        f'<input class="l8-unseen" type="file" accept="{accept}"{" multiple" if multiple else ""}></label>'
        f'<p class="l8-drop-total"></p>'
        f'<ul class="l8-drop-files" aria-label="Files"></ul><p class="l8-drop-said" role="status"></p>{offered}</div>'
    )
    return gr.HTML(
        None,
        html_template=template,
        js_on_load=look.script("drop"),
        multiple=multiple,
        limit=bounds.FILE_BYTES,
        largest=LARGEST_FILE,
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["l8-first"],
    )


def paths_of(value: list[dict[str, Any]] | None, examples: Path | None = None) -> list[str]:
    """Files in a drop box, or of the examples. Raises Latent8Error for what was not uploaded here.

    A path comes from the browser, which could name any file of the server.
    """
    allowed = [Path(gr.utils.get_upload_folder()).resolve(), *([examples.resolve()] if examples else [])]
    paths = []
    for file in value if isinstance(value, list) else [value] if value else []:
        path = _resolved(file)
        if path is None or not any(path.is_relative_to(folder) for folder in allowed):
            raise Latent8Error("This file was not uploaded here: choose it again.")
        if not path.is_file():
            raise Latent8Error("This file is no longer on the server, which keeps files for an hour: choose it again.")
        paths.append(str(path))
    return paths


def _resolved(file: Any) -> Path | None:
    """The path that the browser names, without links; None for what is none."""
    try:
        return Path(file["path"]).resolve()
    except (LookupError, TypeError, ValueError, OSError):
        return None


def signals() -> gr.HTML:
    """Nothing to see; its event `submit` comes once for each change of the settings in its part of the page."""
    return gr.HTML("", js_on_load=look.script("signals"), visible="hidden")


def result(elem_id: str, announced: bool = False, early: bool = True) -> gr.HTML:
    """A part of the results. Its value is None or what `shown` gives. early: on a phone it stands before settings."""
    role = ' role="status"' if announced else ""
    return gr.HTML(
        None,
        html_template=f"<div{role}>${{value ? value.html : ''}}</div>",
        js_on_load=look.script("result"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["l8-result", "l8-third"] if early else ["l8-result"],
    )


def shown(job: int, content: str, final: bool = True, alone: bool = False) -> dict[str, Any]:
    """Value of a `result`: HTML that belongs to a job; final when nothing more of it is to come. alone: the other parts
    stay as they are, and stale."""
    return {"job": job, "html": content, "final": final, "alone": alone}


def lazy(elem_id: str, waiting: str) -> gr.HTML:
    """A part that is made when it comes into view: its event is then `wanted`. Its value is None or what `due` gives.

    waiting: the sentence that stands there while it is made.
    """
    template = (
        f"<div>${{value ? value.html || `<p class='l8-waits' role='status'>{html.escape(waiting)}</p>` : ''}}</div>"
    )
    return gr.HTML(
        None,
        html_template=template,
        js_on_load=look.script("lazy"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["l8-result"],
    )


def due(job: int, content: str = "") -> dict[str, Any]:
    """Value of a `lazy` part: what belongs to a job; without content it is still to be asked for."""
    return {"job": job, "html": content}


class Result(Protocol):
    """What a page's session keeps of a result."""

    @property
    def job(self) -> Job: ...

    @property
    def paths(self) -> Sequence[str]:
        """Of what it was made from, and of what was made."""
        ...

    @property
    def anew(self) -> str:
        """What makes it once more, as the end of a sentence."""
        ...


AnyResult = TypeVar("AnyResult", bound=Result)


def made_for(
    done: AnyResult | None, name: str, number: float, content: Callable[[AnyResult, work.Bar], str]
) -> dict[str, Any] | None:
    """Value of a `lazy` part of a result, made now; nothing where the result was replaced, or the part closed.

    name, number: of the job. content: HTML, made with a bar that raises where the job is no longer wanted.
    """
    if done is None:
        return gr.skip()
    job = jobs.begin(done.job.page, name, number, part_of=done.job)
    try:
        budget.check(job)
        with still_there(done):
            found = content(done, work.Bar("Making", 0, 1, job))
        budget.check(job)
    except Cancelled:
        return gr.skip()
    except (Latent8Error, gr.Error) as error:
        found = error_html(html.escape(sentence(error)))
    return due(done.job.number, found)


@contextmanager
def still_there(done: Result) -> Iterator[None]:
    """For work on a result, whose files are deleted after an hour, maybe meanwhile. Raises Latent8Error where they are,
    and gr.Error where the disk fails otherwise: no path of the server is to be read on a page."""

    def check() -> None:
        if not all(Path(path).exists() for path in done.paths):
            text = f"This is no longer on the server, which keeps files for an hour: {done.anew}."
            raise Latent8Error(text) from None

    check()
    try:
        with work.errors_in_the_page():
            yield
    except Cancelled:
        raise
    except gr.Error:
        check()
        raise


def viewer(elem_id: str, placeholder: str) -> gr.HTML:
    """A comparison of pictures with a divider, or one picture. Its value is None or what `compared` gives.

    Its events are `wanted`, with {job, key, quality}, for a side that is still to be made, and `full`, with {job}.
    Answer by `gr.HTML(side=...)` with what `side`, or a dict with `job`, `key` and `share` or `problem`, gives.
    """
    template = (look.WEB / "viewer.html").read_text("utf-8")
    return gr.HTML(
        None,
        html_template=template.replace("></p>", f">{html.escape(placeholder)}</p>", 1),
        js_on_load=look.script("viewer"),
        side=None,
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["l8-result", "l8-second"],
    )


def side(key: str, label: str, path: str | Path, n_bytes: int = 0, **more: Any) -> dict[str, Any]:
    """One side of a `viewer`. n_bytes: of the file that it is of, written on it. more: job, note, scaled, full."""
    return {"key": key, "label": label, "url": file_url(path), "bytes": n_bytes, **more}


def compared(
    job: int, size: tuple[int, int], right: str, sides: list[dict[str, Any]], more: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Value of a `viewer`. size: width and height in pixels. more: {key, label, quality} of sides still to be made."""
    return {"job": job, "width": size[0], "height": size[1], "right": right, "sides": sides, "more": list(more)}


def error_html(message: str) -> str:
    return f'<p class="l8-error"><b>That did not work.</b> {message}</p>'


def sentence(error: Exception) -> str:
    """Text that says what an error means for the user."""
    return html.unescape(error.message) if isinstance(error, gr.Error) else str(error)


def until_cancelled(steps: Iterator[Any], failed: Callable[[str], Any]) -> Iterator[Any]:
    """The steps of a job; an error becomes a last step, that `failed` makes of its sentence, which is HTML."""
    try:
        yield from steps
    except Cancelled:
        yield gr.skip()  # what is shown now is of the job that replaced it; without a step Gradio would empty it
    except Latent8Error as error:
        yield failed(html.escape(str(error)))
    except gr.Error as error:
        yield failed(error.message)
    except Exception:  # a defect: what is on the page must not look like the result
        traceback.print_exc()
        yield failed("The server made a mistake. Try again, or with another file.")
