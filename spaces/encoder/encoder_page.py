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

from latent8.apps import batches, budget, jobs, look, parts, widgets, wiring, work
from latent8.errors import Latent8Error
from latent8.pictures.intake import SUFFIXES
from latent8.zoo.registry import DEFAULT_MODEL, model_named, models
from latent8.zoo.settings import DEFAULT_QUALITY

TITLE = "latent8 encoder"
PURPOSE = "Makes photos seven to ten times smaller."
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
READING = "How this page reads the file; vivid makes up fine texture. The file itself stays the same."
ACCEPT = ",".join(["image/*", *sorted(SUFFIXES)])  # by which phones offer the gallery and the camera


def build() -> gr.Blocks:
    decoder = look.link("decoder", look.decoder_url())
    purpose = f"{PURPOSE} Open them again with the {decoder}."
    tabs = {"One photo": build_single, "Many photos": build_batch}
    return parts.page(TITLE, purpose, LIMITS, tabs, [EXAMPLE_CREDITS], endpoints)


@dataclass
class Controls:
    """What an encoding is set with. all: in the order in which `wish_of` takes it."""

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
        by = [BY_QUALITY, BY_SIZE]
        mode = gr.Radio(by, value=by[0], label="Choose by", visible=by_quality, elem_classes=["l8-choose-by"])
        quality = gr.Slider(
            1, 100, DEFAULT_QUALITY, step=1, label="Quality", visible=by_quality, elem_id=f"{prefix}-quality"
        )
        size = gr.Number(
            None,
            label="Size in KB, at most",
            info="Enter or leave the field to apply.",
            placeholder="100",
            minimum=0,
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
        **wiring.QUIET,
    )
    shown = "{ __type__: 'update', visible: %s }"
    model.input(
        None,
        [model],
        [mode, quality, size, levels],
        js=f"(model) => {{ const quality = {json.dumps(with_quality)}.includes(model); "
        f"const levels = {json.dumps(with_levels)}.includes(model); "
        f"return [{shown % 'quality'}, {shown % 'quality'}, {shown % 'quality'}, {shown % 'levels'}]; }}",
        **wiring.QUIET,
    )
    return Controls(mode, quality, size, levels, model, longest_side, keep_name, keep_metadata)


def wish_of(
    mode: str,
    quality: int,
    size: float | None,
    levels: int,
    model: str,
    longest_side: int,
    keep_name: bool,
    keep_metadata: str,
) -> Wish:
    """Raises Latent8Error where a size is still to be set."""
    by_size = mode == BY_SIZE and model_named(model).kind.option == "quality"
    if by_size and not size:
        raise Latent8Error("Enter the size in KB first, or choose by quality.")
    return Wish(
        model, None if by_size else quality, size if by_size else 0, levels, longest_side, keep_name, keep_metadata
    )


def build_single() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            photo = widgets.drop_box(
                "photo",
                "Drop a photo, or choose one",
                f"Or paste one. Up to {widgets.LARGEST_FILE}.",
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
            with gr.Group(elem_classes=["l8-settings"]):
                reading = parts.reading_slider("preview", READING)
            with gr.Accordion("Details", open=False) as details_part:
                details = widgets.lazy("details", "Measuring ...")
            with gr.Accordion("Size against quality, beside WebP and AVIF", open=False) as curves_part:
                measure = gr.Radio(results.MEASURES, value=results.MEASURES[0], label="Measured by", elem_id="measure")
                curves = widgets.lazy("curves", "Encoding at several qualities, which takes some seconds ...")
            with gr.Accordion("What is in the file (its latents)", open=False) as latents_part:
                latents = widgets.lazy("latents", "Drawing the latents ...")
            with gr.Accordion("Latents for other tools", open=False):
                raw = parts.raw_switch()
                converted = parts.conversion(card_file := gr.State(None), gr.State(""), raw)
    done = gr.State(None)

    outputs = [card, view, details, curves, latents, done, card_file, *converted, raw, control.quality, reading]
    wiring.signals(control.model, "photo")
    changes = [photo.upload, signal.submit]
    wiring.runs(changes, encode_single, [photo, done, reading, *control.all()], outputs, "photo", status)
    wiring.stops(stop, stop_single, outputs, "photo")
    wiring.looks(details.wanted, results.details, [done], details)
    wiring.looks(latents.wanted, results.latents, [done], latents)
    for trigger in (curves.wanted, measure.input):
        wiring.looks(trigger, results.curves, [done, measure], curves)
    for accordion, job in zip((details_part, curves_part, latents_part), results.LOOKED_AT, strict=True):
        wiring.closes(accordion, job)
    wiring.looks(view.wanted, results.other_side, [done], view)
    wiring.looks(view.full, results.full_size, [done], view)


def stop_single(number: float, request: gr.Request) -> tuple:
    job = jobs.begin(request.session_hash, results.SINGLE, number)
    return shown_alone(job.number, "<p>Stopped. Change a setting, or bring a photo, to go on.</p>")


def shown_alone(number: int, content: str) -> tuple:
    """All parts of the results empty, but for a sentence."""
    return widgets.shown(number, content), *[None] * 6, gr.skip(), None, *[gr.skip()] * 3


@jobs.does(results.SINGLE)
def encode_single(
    number: float,
    photo: list[dict] | None,
    before: results.Done | None,
    realism: float,
    request: gr.Request,
    progress=gr.Progress(),
    *chosen: Any,
) -> Iterator[tuple]:
    """The blob, as soon as it is made; then the pictures. What takes longer is made when it is looked at.

    before: the last result, whose blob stays where only its reading is another one.
    """
    job = jobs.begin(request.session_hash, results.SINGLE, number)
    paths: list[str] = []

    def steps() -> Iterator[tuple]:
        budget.check(job)
        if not photo:
            yield shown_alone(job.number, "")
            return
        with work.errors_in_the_page():
            (path,) = widgets.paths_of(photo, EXAMPLES_FOLDER)
            paths.append(path)
            wish = wish_of(*chosen)
            results.refuse_blobs(path)
            bar = work.Bar("Encoding", 0, 0.6, job)
            bar(0)
            read = results.reading(before, wish.model, realism)
            if before and before.is_of(path, wish):
                made, done = before.made_again(), before.under(job, read)
                converted = [gr.skip()] * 3
            else:
                made = make_blob(path, wish, bar)
                done = results.Done.of(job, path, wish, made, read)
                jobs.begin(job.page, parts.CONVERSION, number)  # what is being converted is of another file
                converted = [*parts.convertible(made.encoded), results.raw_values(made.encoded)]
            slider = made.encoded.quality if wish.fit_kb else gr.skip()
            same = [gr.skip()] * 4
            card = widgets.shown(job.number, results.card(done), final=False)
            yield card, *same, done, done.blob, *converted, slider, gr.skip()
            back, seconds = give_back(made, work.Bar("Decoding", 0.6, 0.95, job), read)
            done = done.with_pictures(made, back, seconds)
            later = [widgets.due(job.number)] * 3
            budget.check(job)
            card = widgets.shown(job.number, results.card(done))
            yield card, done.compared(), *later, done, *same, slider, parts.reading_shown(read)

    def failed(sentence: str) -> tuple:
        said = widgets.error_html(sentence + results.link_to_decoder(sentence))
        if chosen[0] == BY_SIZE and before and before.decoded and paths == [before.photo]:
            return widgets.shown(job.number, said, alone=True), *[gr.skip()] * 11  # another size may do
        return shown_alone(job.number, said)

    yield from widgets.until_cancelled(steps(), failed)


def build_batch() -> None:
    def box() -> gr.HTML:
        title, hint = "Drop photos, or choose them", f"Up to {widgets.LARGEST_FILE} each."
        return widgets.drop_box("photos", title, hint, ACCEPT, "photos", multiple=True)

    def settings() -> list[gr.components.Component]:
        control = controls("photos")
        wiring.signals(control.model, "photos")
        return control.all()

    batches.build(box, settings, batches.start_button("Encode all", "encode-all"), encode_many)


@jobs.does(batches.MANY)
def encode_many(
    number: float, photos: list[dict] | None, request: gr.Request, progress=gr.Progress(), *chosen: Any
) -> Iterator[dict]:
    """The table, that grows with each photo."""

    def paths() -> list[str]:
        return widgets.paths_of(work.required(photos, "Choose some photos first."), EXAMPLES_FOLDER)

    job = jobs.begin(request.session_hash, batches.MANY, number)
    yield from batches.in_steps(job, paths, lambda found: Batch(found, wish_of(*chosen)), results.table)
