"""The decoder's page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import decoder_results as results
import gradio as gr
from decoder_api import Batch, Wish, compared, endpoints, open_blob, read_blob
from decoder_library import build_library
from decoder_sides import as_offered, label_of, offered, sides_of, with_all_readings

from latent8.apps import batches, budget, files, jobs, look, parts, widgets, wiring, work
from latent8.evaluation.comparison import ORIGINAL
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import decoders_for
from latent8.latents import SPACE_NAMES, Latents
from latent8.pictures.intake import SUFFIXES
from latent8.pictures.output import FORMATS

TITLE = "latent8 decoder"
PURPOSE = "Opens .l8 files: gets the photo back as PNG, WebP or JPEG."
LIMITS = "What comes back is near the photo, not the same: fine detail is invented where the file does not hold it."
AS_NAMED = "the file's own"
PHOTOS = ",".join(["image/*", *sorted(SUFFIXES)])
ACCEPT = ".l8,.png,.latent,.safetensors,.npy"
READING = "Vivid is sharper and makes up fine texture; faithful stays nearer to the photo."


def build() -> gr.Blocks:
    encoder = look.link("encoder", look.encoder_url())
    purpose = f"{PURPOSE} The {encoder} makes such files, seven to ten times smaller than the photo."
    tabs = {"One file": build_single, "Many files": build_batch, "Compare": build_comparison, "Library": build_library}
    return parts.page(TITLE, purpose, LIMITS, tabs, [], endpoints)


def build_single() -> None:
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            hint = "A .l8 file holds a photo as latents: numbers that a neural network turns back into a picture."
            blob = widgets.drop_box(".l8 file", "Drop a .l8 file, or choose one", hint, ACCEPT, "blob")
            status, stop = parts.status_and_stop("blob")
            card = widgets.result("facts", announced=True)
            with gr.Group(elem_classes=["l8-settings"]):
                picture_format = gr.Radio(list(FORMATS), value="PNG", label="Download as", elem_id="format")
                reading = parts.reading_slider("reading", READING)
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
            with gr.Accordion("What is in the file (its latents)", open=False) as latents_part:
                latents = widgets.lazy("latents", "Drawing the latents ...")
    done = gr.State(None)

    outputs = [card, view, latents, done, reading, decoder, *converted]
    inputs = [blob, done, picture_format, reading, decoder, space, raw, legacy_range]
    for choice in (decoder, space):
        wiring.signals(choice, "blob")
    changes = [blob.upload, signal.submit]
    wiring.runs(changes, decode_single, inputs, outputs, "blob", status)
    wiring.stops(stop, stop_single, outputs, "blob")
    wiring.looks(latents.wanted, results.latents, [done], latents)
    wiring.closes(latents_part, results.LATENTS)
    wiring.looks(view.full, results.full_size, [done], view)


def stop_single(number: float, request: gr.Request) -> tuple:
    job = jobs.begin(request.session_hash, results.SINGLE, number)
    return shown_alone(job.number, "<p>Stopped. Bring a file, or change a setting, to go on.</p>")


def shown_alone(number: int, content: str) -> tuple:
    """All parts of the results empty, but for a sentence."""
    return widgets.shown(number, content), None, None, None, *[gr.skip()] * 4


def decoders_of(source: Encoded | Latents, chosen: str) -> tuple[gr.Dropdown, str]:
    """The list of decoders that fit a file, its own first, and the one that is chosen, if it is one of them."""
    names = decoders_for(source)
    chosen = chosen if chosen in names else ""
    choices = [(parts.size_of_model(name), name if index else "") for index, name in enumerate(names)]
    shown: Literal[True, "hidden"] = True if len(names) > 1 else "hidden"
    return gr.Dropdown(choices or [(AS_NAMED, "")], value=chosen, visible=shown), chosen


@jobs.does(results.SINGLE)
def decode_single(
    number: float,
    blob: list[dict] | None,
    before: results.Done | None,
    picture_format: str,
    realism: float,
    decoder: str,
    space: str,
    raw: bool,
    legacy_range: bool,
    request: gr.Request,
    progress=gr.Progress(),
) -> Iterator[tuple]:
    """before: the last result, whose picture stays where only its format is another one."""
    job = jobs.begin(request.session_hash, results.SINGLE, number)
    same = [gr.skip()] * 3

    def steps() -> Iterator[tuple]:
        budget.check(job)
        if not blob:
            yield *shown_alone(job.number, "")[:-1], ""
            return
        with work.errors_in_the_page():
            (path,) = widgets.paths_of(blob)
            results.refuse_photos(path)
            source = read_blob(path, space, raw)
            decoders, chosen = decoders_of(source, decoder)
            wish = Wish(chosen, space, raw, legacy_range, results.reading(before, path, chosen, realism))
            if before and before.is_of(path, wish):
                done = before.in_format(job, picture_format)
                budget.check(job)
                yield widgets.shown(job.number, results.card(done)), done.viewed(), gr.skip(), done, *[gr.skip()] * 4
                return
            jobs.begin(job.page, parts.CONVERSION, number)  # what is being converted may be of another file
            yield gr.skip(), *same, gr.skip(), decoders, *parts.convertible(source)
            bar = work.Bar("Decoding", 0, 0.9, job)
            bar(0)
            opened = open_blob(path, bar, wish)
            budget.check(job)
            done = results.Done.of(job, path, wish, opened, picture_format)
            budget.check(job)
            shown = widgets.shown(job.number, results.card(done)), done.viewed(), widgets.due(job.number), done
            yield *shown, parts.reading_shown(opened.realism), *same

    def failed(sentence: str) -> tuple:
        return shown_alone(job.number, widgets.error_html(sentence + results.link_to_encoder(sentence)))

    yield from widgets.until_cancelled(steps(), failed)


def build_batch() -> None:
    def box() -> gr.HTML:
        title, hint = "Drop .l8 files, or choose them", "Or ZIPs of them, as the encoder gives."
        return widgets.drop_box("files", title, hint, f"{ACCEPT},.zip", "blobs", multiple=True)

    def settings() -> list[gr.components.Component]:
        with gr.Group(elem_classes=["l8-settings"]):
            return [gr.Radio(list(FORMATS), value="PNG", label="Pictures as", elem_id="formats")]

    batches.build(box, settings, batches.start_button("Decode all", "decode-all"), decode_many)


@jobs.does(batches.MANY)
def decode_many(
    number: float, blobs: list[dict] | None, picture_format: str, request: gr.Request, progress=gr.Progress()
) -> Iterator[dict]:
    """The table, that grows with each file."""

    def paths() -> list[str]:
        return widgets.paths_of(work.required(blobs, "Choose some files first."))

    job = jobs.begin(request.session_hash, batches.MANY, number)
    yield from batches.in_steps(job, paths, lambda found: Batch(found, picture_format), results.table)


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
            signal = widgets.signals()
            status, stop = parts.status_and_stop("compared")
            card = widgets.result("figures", announced=True)
        with gr.Column(scale=3, min_width=300):
            view = widgets.viewer("sides", "Two pictures of one file appear here, to be compared.")
            with gr.Accordion("Where they differ", open=False) as maps_part:
                maps = widgets.lazy("differences", "Drawing the differences ...")
    done = gr.State(None)

    outputs = [card, view, maps, done, left, right]
    brought = [blob.upload, original.upload]
    wiring.runs(brought, compare_in_page, [blob, original], outputs, "compared", status)
    for choice in (left, right):
        wiring.signals(choice, "compared")
    wiring.runs([signal.submit], compare_in_page, [blob, original, left, right], outputs, "compared", status)
    wiring.stops(stop, stop_comparison, outputs, "compared")
    wiring.looks(maps.wanted, results.differences, [done], maps)
    wiring.closes(maps_part, results.DIFFERENCES)


def stop_comparison(number: float, request: gr.Request) -> tuple:
    job = jobs.begin(request.session_hash, results.COMPARISON, number)
    return compared_alone(job.number, "<p>Stopped.</p>")


def compared_alone(number: int, content: str) -> tuple:
    return widgets.shown(number, content), None, None, None, gr.skip(), gr.skip()


@jobs.does(results.COMPARISON)
def compare_in_page(
    number: float,
    blob: list[dict] | None,
    original: list[dict] | None,
    left: str = "",
    right: str = "",
    request: gr.Request = None,  # type: ignore[assignment]
    progress=gr.Progress(),
) -> Iterator[tuple]:
    """left, right: empty where files were brought, for which sides are then chosen."""
    job = jobs.begin(request.session_hash, results.COMPARISON, number)

    def steps() -> Iterator[tuple]:
        budget.check(job)
        if not blob:
            text = "<p>Bring the .l8 file that was made from this photo.</p>" if original else ""
            yield *compared_alone(job.number, text)[:-2], *lists_of([], "", "", "")
            return
        with work.errors_in_the_page():
            (path,) = widgets.paths_of(blob)
            truth = next(iter(widgets.paths_of(original)), None)
            results.refuse_photos(path)
            source = read_blob(path)
            own = files.model_name(source)
            names = [*([ORIGINAL] if truth else []), *offered(source)]
            sides = as_offered(sides_of(source, left or "", right or "", bool(truth)))
            yield *[gr.skip()] * 4, *lists_of(names, *sides, own)
            found = compared(path, source, with_all_readings(sides), truth, job)
            budget.check(job)
            done = results.Compared.of(job, path, truth, own, found, sides)
            shown = widgets.shown(job.number, results.figures(done)), done.viewed(), widgets.due(job.number), done
            yield *shown, gr.skip(), gr.skip()

    def failed(sentence: str) -> tuple:
        return compared_alone(job.number, widgets.error_html(sentence + results.link_to_encoder(sentence)))

    yield from widgets.until_cancelled(steps(), failed)


def lists_of(names: list[str], left: str, right: str, own: str) -> list[gr.Dropdown]:
    """Of what each side can be; shown where there is a choice."""
    choices: Any = [(label_of(name, own), name) for name in names]
    return [
        gr.Dropdown(choices, value=name or None, visible=True if len(names) > 2 else "hidden") for name in (left, right)
    ]
