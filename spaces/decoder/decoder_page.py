"""The decoder's page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import decoder_results as results
import gradio as gr
from decoder_api import Batch, Wish, compared, endpoints, open_blob, read_blob, sides_of
from decoder_library import build_library

from latent8.apps import jobs, look, parts, widgets, work
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import ORIGINAL
from latent8.file_format.reader import decoders_for
from latent8.latents import SPACE_NAMES
from latent8.pictures.intake import SUFFIXES
from latent8.pictures.output import FORMATS

TITLE = "latent8 decoder"
PURPOSE = "Opens .l8 files: gets the photo back as PNG, WebP or JPEG."
LIMITS = "What comes back is near the photo, not the same: fine detail is invented where the file does not hold it."
AS_NAMED = "the file's own"
PHOTOS = ",".join(["image/*", *sorted(SUFFIXES)])
ACCEPT = ".l8,.png,.latent,.safetensors,.npy"
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}


def build() -> gr.Blocks:
    encoder = look.link("encoder", look.encoder_url())
    purpose = f"{PURPOSE} The {encoder} makes such files, about ten times smaller than the photo."
    tabs = {"One file": build_single, "Many files": build_batch, "Compare": build_comparison, "Library": build_library}
    return parts.page(TITLE, purpose, LIMITS, tabs, [], endpoints)


def build_single() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            hint = "A .l8 file holds a photo as latents: numbers that a neural network turns back into a picture."
            blob = widgets.drop_box(".l8 file", "Drop a .l8 file, or choose one", hint, ACCEPT, "blob")
            status, stop = parts.status_and_stop("blob")
            card = widgets.result("facts", announced=True)
            with gr.Group():
                picture_format = gr.Radio(list(FORMATS), value="PNG", label="Download as", elem_id="format")
            decoder = gr.Dropdown([(AS_NAMED, "")], value="", label="Decoder", elem_id="decoder", visible="hidden")
            with gr.Accordion("Latents of other tools", open=False, elem_classes=["l8-settings"]):
                space = gr.Dropdown(
                    [("as the file says", ""), *SPACE_NAMES], value="", label="Latent space", elem_id="space"
                )
                raw = parts.raw_switch()
                legacy_range = gr.Checkbox(
                    label="Legacy range",
                    info="For PNGs of early Spaces, which look pale and bright otherwise.",
                    elem_id="legacy-range",
                )
                converted = parts.conversion(blob, space, raw)
            signal = widgets.signals()
        with gr.Column(scale=3, min_width=300):
            view = widgets.viewer("picture", "The picture appears here.")
            with gr.Accordion("What is in the file (its latents)", open=False):
                latents = widgets.lazy("latents", "Drawing the latents ...")
    done, number = gr.State(None), gr.Number(visible=False)

    outputs = [card, view, latents, done]
    began = {"js": parts.going_stale("blob"), "queue": False, **QUIET}
    brought = blob.upload(begin_with_file, [blob, space, raw], [number, decoder, converted], **began)
    set_anew = gr.on([signal.submit, decoder.input, space.input], begin_single, None, [number], **began)
    for started in (brought, set_anew):
        started.then(
            decode_single,
            [number, blob, picture_format, decoder, space, raw, legacy_range],
            outputs,
            show_progress_on=[status],
            trigger_mode="multiple",
            **PRIVATE,
            **work.TAKE_TURNS,
        )
    stop.click(stop_single, None, outputs, queue=False, **QUIET)
    looking: dict[str, Any] = {**QUIET, "concurrency_id": "looking", "concurrency_limit": 2, "trigger_mode": "multiple"}
    stale_card = (
        "(...all) => { const card = document.getElementById('facts'); card.classList.add('l8-stale'); "
        "card.inert = true; return all; }"
    )
    picture_format.input(results.in_format, [done, picture_format], [card, done], js=stale_card, **looking)
    latents.wanted(results.latents, [done], [latents], **looking)
    view.full(results.full_size, [done], [view], **looking)


def begin_single(request: gr.Request) -> int:
    """What runs for the page's last file or settings is stopped."""
    return jobs.begin(request.session_hash or "", results.SINGLE).number


def begin_with_file(blob: list[dict] | None, space: str, raw: bool, request: gr.Request) -> tuple:
    """Only decoders of the file's latent space are offered, its own first; what was converted is of another file."""
    choices = [(AS_NAMED, "")]
    if blob:
        with suppress(Latent8Error, OSError):  # what is wrong with it is said when it is decoded
            (path,) = widgets.paths_of(blob)
            names = decoders_for(read_blob(path, space, raw))
            if names:
                choices = [(parts.size_of_model(names[0]), ""), *((parts.size_of_model(n), n) for n in names[1:])]
    return begin_single(request), gr.Dropdown(choices, value="", visible=len(choices) > 1 or "hidden"), ""


def stop_single(request: gr.Request) -> tuple:
    return shown_alone(begin_single(request), "<p>Stopped. Bring a file, or change a setting, to go on.</p>")


def shown_alone(number: int, content: str) -> tuple:
    """All parts of the results empty, but for a sentence."""
    return widgets.shown(number, content), None, None, None


def decode_single(
    number: float,
    blob: list[dict] | None,
    picture_format: str,
    decoder: str,
    space: str,
    raw: bool,
    legacy_range: bool,
    request: gr.Request,
    progress=gr.Progress(),
) -> Iterator[tuple]:
    job = jobs.Job(request.session_hash or "", results.SINGLE, int(number))

    def steps() -> Iterator[tuple]:
        jobs.check(job)
        if not blob:
            yield shown_alone(job.number, "")
            return
        with work.errors_in_the_page():
            (path,) = widgets.paths_of(blob)
            results.refuse_photos(path)
            bar = work.Bar("Decoding", 0, 0.9, job)
            bar(0)
            wish = Wish(decoder, space, raw, legacy_range)
            opened = open_blob(path, bar, wish)
            jobs.check(job)
            done = results.Done.of(job, path, wish, opened, picture_format)
            jobs.check(job)
            yield widgets.shown(job.number, results.card(done)), done.viewed(), widgets.due(job.number), done

    yield from widgets.until_cancelled(
        steps(), lambda text: shown_alone(job.number, widgets.error_html(text + results.link_to_encoder(text)))
    )


def build_batch() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            title = "Drop .l8 files, or choose them"
            blobs = widgets.drop_box("files", title, "As many as you like.", ACCEPT, "blobs", multiple=True)
            with gr.Group(elem_classes=["l8-settings"]):
                picture_format = gr.Radio(list(FORMATS), value="PNG", label="Pictures as", elem_id="formats")
            signal = widgets.signals()
            button = gr.Button("Decode all", variant="primary", elem_id="decode-all", elem_classes=["l8-start"])
            status, stop = parts.status_and_stop("blobs")
        with gr.Column(scale=3, min_width=300):
            table = widgets.result("results", announced=True, early=False)
    number = gr.Number(visible=False)
    gr.on(
        [blobs.upload, signal.submit],
        begin_batch,
        None,
        [number],
        js=parts.going_stale("blobs", busy=False),
        queue=False,
        **QUIET,
    )
    started = button.click(begin_batch, None, [number], js=parts.going_stale("blobs"), queue=False, **QUIET)
    started.then(
        decode_many,
        [number, blobs, picture_format],
        [table],
        show_progress_on=[status],
        trigger_mode="multiple",
        **PRIVATE,
        **work.TAKE_TURNS,
    )
    stop.click(stop_batch, None, [table], queue=False, **QUIET)


def begin_batch(request: gr.Request) -> int:
    return jobs.begin(request.session_hash or "", results.MANY).number


def stop_batch(request: gr.Request) -> dict:
    return widgets.shown(begin_batch(request), "<p>Stopped.</p>")


def decode_many(
    number: float, blobs: list[dict] | None, picture_format: str, request: gr.Request, progress=gr.Progress()
) -> Iterator[dict]:
    """The table, that grows with each file."""
    job = jobs.Job(request.session_hash or "", results.MANY, int(number))

    def steps() -> Iterator[dict]:
        jobs.check(job)
        with work.errors_in_the_page():
            paths = widgets.paths_of(work.required(blobs, "Choose some files first."))
            batch = Batch(paths, picture_format)
            for _ in batch.run(job):
                if len(batch.rows) < len(paths):
                    yield widgets.shown(job.number, results.table(batch, len(paths)), final=False)
            yield widgets.shown(job.number, results.table(batch, len(paths)))

    yield from widgets.until_cancelled(steps(), lambda text: widgets.shown(job.number, widgets.error_html(text)))


def build_comparison() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            blob = widgets.drop_box(".l8 file", "Drop a .l8 file, or choose one", "", ACCEPT, "compared")
            original = widgets.drop_box(
                "photo",
                "The photo it was made from, if you have it",
                "",
                PHOTOS,
                "original",
            )
            left = gr.Dropdown([], label="Left", elem_id="left", visible="hidden")
            right = gr.Dropdown([], label="Right", elem_id="right", visible="hidden")
            status, stop = parts.status_and_stop("compared")
            card = widgets.result("figures", announced=True)
        with gr.Column(scale=3, min_width=300):
            view = widgets.viewer("sides", "Two pictures of one file appear here, to be compared.")
            with gr.Accordion("Where they differ", open=False):
                maps = widgets.lazy("differences", "Drawing the differences ...")
    done, number = gr.State(None), gr.Number(visible=False)

    outputs = [card, view, maps, done]
    began = {"js": parts.going_stale("compared"), "queue": False, **QUIET}
    brought = gr.on([blob.upload, original.upload], begin_with_sides, [blob, original], [number, left, right], **began)
    chosen = gr.on([left.input, right.input], begin_comparison, None, [number], **began)
    for started in (brought, chosen):
        started.then(
            compare_in_page,
            [number, blob, original, left, right],
            outputs,
            show_progress_on=[status],
            trigger_mode="multiple",
            **PRIVATE,
            **work.TAKE_TURNS,
        )
    stop.click(stop_comparison, None, outputs, queue=False, **QUIET)
    looking: dict[str, Any] = {**QUIET, "concurrency_id": "looking", "concurrency_limit": 2, "trigger_mode": "multiple"}
    maps.wanted(results.differences, [done], [maps], **looking)


def begin_comparison(request: gr.Request) -> int:
    return jobs.begin(request.session_hash or "", results.COMPARISON).number


def stop_comparison(request: gr.Request) -> tuple:
    return shown_alone(begin_comparison(request), "<p>Stopped.</p>")


def begin_with_sides(blob: list[dict] | None, original: list[dict] | None, request: gr.Request) -> tuple:
    """Choices for both sides, of the decoders that fit the file; they are shown where there is a choice."""
    fitting: list[str] = []
    if blob:
        with suppress(Latent8Error, OSError):  # what is wrong with it is said when it is decoded
            (path,) = widgets.paths_of(blob)
            fitting = decoders_for(read_blob(path))
    offered = [*([ORIGINAL] if original else []), *fitting]
    first = ORIGINAL if original else (fitting[1] if len(fitting) > 1 else None)
    shown: Literal[True, "hidden"] = True if len(fitting) > 1 else "hidden"
    return (
        begin_comparison(request),
        gr.Dropdown(offered, value=first, visible=shown),
        gr.Dropdown(fitting, value=fitting[0] if fitting else None, visible=shown),
    )


def compare_in_page(
    number: float,
    blob: list[dict] | None,
    original: list[dict] | None,
    left: str | None,
    right: str | None,
    request: gr.Request,
    progress=gr.Progress(),
) -> Iterator[tuple]:
    job = jobs.Job(request.session_hash or "", results.COMPARISON, int(number))

    def steps() -> Iterator[tuple]:
        jobs.check(job)
        if not blob:
            text = "<p>Bring the .l8 file that was made from this photo.</p>" if original else ""
            yield shown_alone(job.number, text)
            return
        with work.errors_in_the_page():
            (path,) = widgets.paths_of(blob)
            truth = next(iter(widgets.paths_of(original)), None)
            results.refuse_photos(path)
            source = read_blob(path)
            sides = sides_of(source, left or "", right or "", bool(truth))
            found = compared(path, source, sides, truth, job)
            jobs.check(job)
            done = results.Compared.of(job, path, truth, found, sides)
            yield widgets.shown(job.number, results.figures(done)), done.viewed(), widgets.due(job.number), done

    yield from widgets.until_cancelled(
        steps(), lambda text: shown_alone(job.number, widgets.error_html(text + results.link_to_encoder(text)))
    )
