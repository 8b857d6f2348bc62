"""The encoder's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encoder_results as results
import gradio as gr
from encoder_api import Batch, Wish, endpoints, give_back, make_blob

from latent8.apps import jobs, look, parts, widgets, work
from latent8.pictures.intake import SUFFIXES
from latent8.zoo.registry import DEFAULT_MODEL, model_named, models
from latent8.zoo.settings import DEFAULT_QUALITY

TITLE = "latent8 encoder"
PURPOSE = "Makes photos about ten times smaller."
LIMITS = "Small print and far faces can come back changed: not for documents, evidence or medical pictures."
EXAMPLES_FOLDER = Path(__file__).resolve().parent / "examples"
EXAMPLES = {
    "picos.jpg": "mountains",
    "aitzgorri.jpg": "a wooded slope",
    "life.jpg": "a brook in a wood",
    "sunset.jpg": "a low sun over hills",
    "wine.jpg": "a drum on a floor",
    "seeding.jpg": "dandelions",
}
EXAMPLE_CREDITS = (
    "Examples: picos, aitzgorri, life, sunset by Aitzol Berasategi (CC BY 4.0), wine by Jakkub Mede (CC BY 4.0), "
    "seeding by Clements Engelhardt (CC0); scaled down."
)
BY_QUALITY, BY_SIZE = "Quality", "Size"
ACCEPT = ",".join(["image/*", *sorted(SUFFIXES)])  # by which phones offer the gallery and the camera
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}


def build() -> gr.Blocks:
    decoder = look.link("decoder", look.decoder_url())
    purpose = f"{PURPOSE} Open them again with the {decoder}."
    tabs = {"One photo": build_single, "Many photos": build_batch}
    return parts.page(TITLE, purpose, LIMITS, tabs, [EXAMPLE_CREDITS], endpoints)


@dataclass
class Controls:
    """What an encoding is set with, in the order in which `wish_of` takes it."""

    mode: gr.Radio
    quality: gr.Slider
    size: gr.Number
    levels: gr.Slider
    model: gr.Dropdown
    longest_side: gr.Number
    keep_name: gr.Checkbox
    keep_metadata: gr.Radio

    def all(self) -> list[gr.components.Component]:
        shape = [self.mode, self.quality, self.size, self.levels, self.model, self.longest_side]
        return [*shape, self.keep_name, self.keep_metadata]


def controls(prefix: str) -> Controls:
    """prefix: of the ids, for there is one set of them in each tab."""
    encoding = [m for m in parts.default_first(models()) if m.encodes]
    with_quality, with_levels = ([m.name for m in encoding if m.kind.option == o] for o in ("quality", "levels"))
    by_quality = model_named(DEFAULT_MODEL).kind.option == "quality"
    with gr.Group(elem_classes=["l8-settings"]):
        mode = gr.Radio([BY_QUALITY, BY_SIZE], value=BY_QUALITY, label="Choose by", visible=by_quality)
        quality = gr.Slider(
            1, 100, DEFAULT_QUALITY, step=1, label="Quality", visible=by_quality, elem_id=f"{prefix}-quality"
        )
        size = gr.Number(
            100,
            label="Size in KB, at most",
            minimum=0.1,
            visible=by_quality,
            interactive=False,
            elem_id=f"{prefix}-size",
        )
        levels = gr.Slider(
            16, 256, 256, step=1, label="Levels", info="Fewer make smaller files.", visible=not by_quality
        )
    with gr.Accordion("More settings", open=False, elem_classes=["l8-settings"]):
        model = gr.Dropdown(
            [(parts.size_of_model(m.name), m.name) for m in encoding],
            value=DEFAULT_MODEL,
            label="Model",
            elem_id=f"{prefix}-model",
        )
        longest_side = gr.Number(
            0, label="Longest side", info="Shrink to this many pixels; 0 keeps the size.", precision=0, minimum=0
        )
        keep_name = gr.Checkbox(True, label="Keep the photo's name in the file")
        keep_metadata = gr.Radio(
            [("Nothing", ""), ("All but the place", "no-gps"), ("All", "all")],
            value="",
            label="Keep of its date, camera and place",
        )
    other = "{ __type__: 'update', interactive: %s }"
    mode.input(
        None,
        [mode],
        [quality, size],
        js=f"(mode) => mode === '{BY_SIZE}' ? [{other % 'false'}, {other % 'true'}] : "
        f"[{other % 'true'}, {other % 'false'}]",
        **QUIET,
    )
    shown = "{ __type__: 'update', visible: %s }"
    model.input(
        None,
        [model],
        [mode, quality, size, levels],
        js=f"(model) => {{ const quality = {json.dumps(with_quality)}.includes(model); "
        f"const levels = {json.dumps(with_levels)}.includes(model); "
        f"return [{shown % 'quality'}, {shown % 'quality'}, {shown % 'quality'}, {shown % 'levels'}]; }}",
        **QUIET,
    )
    return Controls(mode, quality, size, levels, model, longest_side, keep_name, keep_metadata)


def wish_of(
    mode: str,
    quality: int,
    size: float,
    levels: int,
    model: str,
    longest_side: int,
    keep_name: bool,
    keep_metadata: str,
) -> Wish:
    return Wish(model, quality, size if mode == BY_SIZE else 0, levels, longest_side, keep_name, keep_metadata)


def build_single() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            photo = widgets.drop_box(
                "photo",
                "Drop a photo, or choose one",
                "Or paste one. Up to 64 MB.",
                ACCEPT,
                "photo",
                examples=[(EXAMPLES_FOLDER / name, what) for name, what in EXAMPLES.items()],
            )
            status, stop = parts.status_and_stop("photo")
            card = widgets.result("facts", announced=True)
            control = controls("photo")
            signal = widgets.signals()
        with gr.Column(scale=3, min_width=300):
            view = widgets.viewer("compare", "Your photo, and what comes back from the small file, appear here.")
            with gr.Accordion("Details", open=False) as details_part:
                details = widgets.lazy("details", "Measuring ...")
            with gr.Accordion("Size against quality, beside WebP and AVIF", open=False) as curves_part:
                measure = gr.Radio(results.MEASURES, value=results.MEASURES[0], label="Measured by", elem_id="measure")
                curves = widgets.lazy("curves", "Encoding at several qualities, which takes some seconds ...")
            with gr.Accordion("What is in the file (its latents)", open=False) as latents_part:
                latents = widgets.lazy("latents", "Drawing the latents ...")
            with gr.Accordion("Latents for other tools", open=False):
                raw = parts.raw_switch()
                parts.conversion(card_file := gr.State(None), gr.State(""), raw)
    done, number = gr.State(None), gr.Number(visible=False)

    outputs = [card, view, details, curves, latents, done, card_file, control.quality]
    started = gr.on(
        [photo.upload, signal.submit, control.model.input],
        begin_single,
        None,
        [number],
        js=parts.going_stale("photo"),
        queue=False,
        **QUIET,
    )
    started.then(
        encode_single,
        [number, photo, *control.all()],
        outputs,
        show_progress_on=[status],
        trigger_mode="multiple",
        **PRIVATE,
        **work.TAKE_TURNS,
    )
    stop.click(stop_single, None, outputs, queue=False, **QUIET)

    looking: dict[str, Any] = {**QUIET, "concurrency_id": "looking", "concurrency_limit": 2, "trigger_mode": "multiple"}
    details.wanted(results.details, [done], [details], **looking)
    latents.wanted(results.latents, [done], [latents], **looking)
    curves.wanted(results.curves, [done, measure], [curves], **looking)
    measure.input(results.curves, [done, measure], [curves], **looking)
    for name, part in zip(results.LOOKED_AT, (details_part, curves_part, latents_part), strict=True):
        part.collapse(results.closed(name), None, None, queue=False, **QUIET)
    view.wanted(results.other_side, [done], [view], **looking)
    view.full(results.full_size, [done], [view], **looking)


def begin_single(request: gr.Request) -> int:
    """What runs for the page's last photo or settings is stopped."""
    return results.begin(request.session_hash or "").number


def stop_single(request: gr.Request) -> tuple:
    return shown_alone(
        results.begin(request.session_hash or "").number,
        "<p>Stopped. Change a setting, or bring a photo, to go on.</p>",
    )


def shown_alone(number: int, content: str) -> tuple:
    """All parts of the results empty, but for a sentence."""
    return widgets.shown(number, content), None, None, None, None, None, None, gr.skip()


def encode_single(
    number: float,
    photo: list[dict] | None,
    mode: str,
    quality: int,
    size: float,
    levels: int,
    model: str,
    longest_side: int,
    keep_name: bool,
    keep_metadata: str,
    request: gr.Request,
    progress=gr.Progress(),
) -> Iterator[tuple]:
    """The blob, as soon as it is made; then the pictures. What takes longer is made when it is looked at."""
    job = jobs.Job(request.session_hash or "", results.SINGLE, int(number))

    def steps() -> Iterator[tuple]:
        jobs.check(job)
        if not photo:
            yield shown_alone(job.number, "")
            return
        with work.errors_in_the_page():
            wish = wish_of(mode, quality, size, levels, model, longest_side, keep_name, keep_metadata)
            (path,) = widgets.paths_of(photo, EXAMPLES_FOLDER)
            results.refuse_blobs(path)
            bar = work.Bar("Encoding", 0, 0.6, job)
            bar(0)
            made = make_blob(path, wish, bar)
            done = results.Done.of(job, path, wish, made)
            slider = made.encoded.quality if wish.fit_kb else gr.skip()
            same = [gr.skip()] * 4
            yield widgets.shown(job.number, results.card(done), final=False), *same, done, done.blob, slider
            back, seconds = give_back(made, work.Bar("Decoding", 0.6, 0.95, job))
            done = done.with_pictures(made, back, seconds)
            later = [widgets.due(job.number)] * 3
            jobs.check(job)
            yield widgets.shown(job.number, results.card(done)), done.compared(), *later, done, done.blob, slider

    def failed(sentence: str) -> tuple:
        return shown_alone(job.number, widgets.error_html(sentence + results.link_to_decoder(sentence)))

    yield from widgets.until_cancelled(steps(), failed)


def build_batch() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            photos = widgets.drop_box(
                "photos", "Drop photos, or choose them", "Up to 64 MB each.", ACCEPT, "photos", multiple=True
            )
            control = controls("photos")
            signal = widgets.signals()
            button = gr.Button("Encode all", variant="primary", elem_id="encode-all", elem_classes=["l8-start"])
            status, stop = parts.status_and_stop("photos")
        with gr.Column(scale=3, min_width=300):
            table = widgets.result("results", announced=True, early=False)
    number = gr.Number(visible=False)
    gr.on(
        [photos.upload, signal.submit, control.model.input],
        begin_batch,
        None,
        [number],
        js=parts.going_stale("photos", busy=False),
        queue=False,
        **QUIET,
    )
    started = button.click(begin_batch, None, [number], js=parts.going_stale("photos"), queue=False, **QUIET)
    started.then(
        encode_many,
        [number, photos, *control.all()],
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


def encode_many(
    number: float,
    photos: list[dict] | None,
    mode: str,
    quality: int,
    size: float,
    levels: int,
    model: str,
    longest_side: int,
    keep_name: bool,
    keep_metadata: str,
    request: gr.Request,
    progress=gr.Progress(),
) -> Iterator[dict]:
    """The table, that grows with each photo."""
    job = jobs.Job(request.session_hash or "", results.MANY, int(number))

    def steps() -> Iterator[dict]:
        jobs.check(job)
        with work.errors_in_the_page():
            wish = wish_of(mode, quality, size, levels, model, longest_side, keep_name, keep_metadata)
            paths = widgets.paths_of(work.required(photos, "Choose some photos first."), EXAMPLES_FOLDER)
            batch = Batch(paths, wish)
            for _ in batch.run(job):
                if len(batch.rows) < len(paths):
                    yield widgets.shown(job.number, results.table(batch, len(paths)), final=False)
            yield widgets.shown(job.number, results.table(batch, len(paths)))

    yield from widgets.until_cancelled(steps(), lambda text: widgets.shown(job.number, widgets.error_html(text)))
