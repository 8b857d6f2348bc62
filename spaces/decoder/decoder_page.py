"""The decoder's page."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import gradio as gr
from decoder_api import BATCH_COLUMNS, compare, decode, decode_batch, inspect, read_blob
from decoder_library import build_library

from latent8.apps import parts, work
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import COLUMNS, ORIGINAL
from latent8.file_format.reader import decoders_for
from latent8.latents import SPACE_NAMES
from latent8.pictures.output import FORMATS
from latent8.zoo.registry import models

AS_NAMED = "the blob's own"


def build() -> gr.Blocks:
    tabs = {"One blob": build_single, "Many blobs": build_batch, "Compare": build_comparison, "Library": build_library}
    return parts.page("latent8 decoder", "Drop a .l8 file, or other tools' latents: get the picture.", tabs)


def build_single() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            blob = gr.File(label="Blob", type="filepath", elem_id="blob", height=140)
            picture_format = gr.Radio(list(FORMATS), value="PNG", label="Download as", elem_id="format")
            decoder = gr.Dropdown(
                [(AS_NAMED, ""), *((parts.size_of_model(m.name), m.name) for m in models())],
                value="",
                label="Decoder",
                info="Those of the blob's latent space.",
                elem_id="decoder",
            )
            with gr.Accordion("Latents of other tools", open=False):
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
            button = gr.Button("Decode", variant="primary", elem_id="decode")
            file = gr.DownloadButton("Download picture", interactive=False, elem_id="file")
            facts_view = gr.HTML(elem_id="facts")
        with gr.Column(scale=3, min_width=300):
            view = gr.Image(
                label="Picture",
                format="png",
                type="filepath",
                interactive=False,
                buttons=["download", "fullscreen"],  # as in parts.gallery
                elem_id="picture",
            )
            latents = parts.gallery("Latents", 5, "latents")
    found = gr.JSON(visible=False, label="Header")
    header = gr.JSON(visible=False, label="Header")

    inputs, outputs = [blob, picture_format, decoder, space, raw, legacy_range], [file, view, latents, found]
    inspect_button = gr.Button("Inspect", visible=False)  # the endpoint for programs; the page shows more
    inspect_button.click(inspect, [blob], [header], api_name="inspect")
    clicked = button.click(decode, inputs, outputs, api_name="decode", **work.TAKE_TURNS)
    private: dict[str, Any] = {"api_visibility": "private", **work.TAKE_TURNS}
    fitted = gr.on(
        [blob.change, space.input, raw.input],
        fitting_decoders,
        [blob, space, raw],
        [decoder],
        api_visibility="private",
        show_progress="hidden",
    )
    blob.change(lambda: None, None, [converted], api_visibility="private", show_progress="hidden")
    # the last drop counts, also where the one before is still being decoded
    dropped = fitted.then(decode_if_any, inputs, outputs, trigger_mode="always_last", **private)
    changed = gr.on(
        [picture_format.change, decoder.input, legacy_range.input], decode_if_any, inputs, outputs, **private
    )
    for event in (clicked, dropped, changed):
        shown = event.success(facts, [found], [facts_view], api_visibility="private", show_progress="hidden")
        shown.then(ready, [file], [file], api_visibility="private", show_progress="hidden")


def fitting_decoders(blob: str | None, space: str, raw: bool):
    """Only decoders of the blob's latent space are offered, its own first."""
    choices = [(AS_NAMED, "")]
    if blob:
        with suppress(Latent8Error, OSError):  # what is wrong with it is said when it is decoded
            for name in decoders_for(read_blob(blob, space, raw)):
                choices.append((parts.size_of_model(name), name))
        if len(choices) > 1:
            choices[:2] = [(choices[1][0], "")]
    return gr.Dropdown(choices, value="")


def decode_if_any(
    blob: str | None,
    picture_format: str,
    decoder: str,
    space: str,
    raw: bool,
    legacy_range: bool,
    progress=gr.Progress(),
):
    """As `decode`, started by dropping a file; taking the file away clears the results."""
    if not blob:
        return None, None, [], None
    return decode(blob, picture_format, decoder, space, raw, legacy_range, progress)


def facts(found: dict | None) -> str:
    """The header as a table for people."""
    if not found:
        return ""
    rows = [
        ("Model", found["model"]),
        ("Latent space", found["space"]),
        ("Picture", f"{found['width']} x {found['height']} pixels"),
        ("Latents", latents_text(found)),
        ("Blob", f"{parts.size_text(found['bytes'])}, {found['coding']}"),
        ("Bits per pixel", f"{found['bpp']:.3f}"),
        ("Transparency", found["alpha"]),
    ]
    if found["name"]:
        rows.append(("Name", found["name"]))
    if "decode_seconds" in found:
        rows.append(("Decoded", f"by {found['decoder']} in {found['decode_seconds']:.2f} s"))
    return parts.facts_table(rows)


def latents_text(found: dict) -> str:
    if "quality" in found:
        return f"{found['latents']}, quality {found['quality']}"
    if "levels" in found:
        return f"{found['latents']}, {found['levels']} levels from {found['range']}"
    return f"{found['latents']}, {found['range']}"


def ready(file: str | None):
    """The download button works once there is something behind it."""
    return gr.DownloadButton(interactive=bool(file))


def build_batch() -> None:
    blobs = gr.File(label="Blobs", file_count="multiple", type="filepath", elem_id="blobs", height=200)
    picture_format = gr.Radio(list(FORMATS), value="PNG", label="Pictures as")
    button = gr.Button("Decode all", variant="primary", elem_id="decode-all")
    archive = gr.File(label="Pictures in one ZIP", elem_id="zip", interactive=False)
    table = parts.results_table(BATCH_COLUMNS, ["str", "str", "number", "number", "str"])
    button.click(
        decode_batch,
        [blobs, picture_format],
        [archive, table],
        api_name="decode_batch",
        **work.TAKE_TURNS,
    )


def build_comparison() -> None:
    names = [model.name for model in models()]
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            blob = gr.File(label="Blob", type="filepath", elem_id="compared", height=140)
            left = gr.Dropdown([*names, ORIGINAL], value=ORIGINAL, label="Left", elem_id="left")
            right = gr.Dropdown(names, value=None, label="Right", elem_id="right")
            original = gr.File(label="Original, if you have it", type="filepath", elem_id="original", height=140)
            button = gr.Button("Compare", variant="primary", elem_id="compare")
            figures_view = gr.HTML(elem_id="figures")
        with gr.Column(scale=3, min_width=300):
            sides = gr.ImageSlider(
                label="Left | right", format="png", type="filepath", interactive=False, elem_id="sides"
            )
            maps = parts.gallery("Where they differ", 3, "differences")
    found = gr.JSON(visible=False, label="Figures")

    inputs, outputs = [blob, left, right, original], [sides, maps, found]
    clicked = button.click(compare, inputs, outputs, api_name="compare", **work.TAKE_TURNS)
    blob.change(
        fitting_sides,
        [blob],
        [left, right, sides, maps, found],
        api_visibility="private",
        show_progress="hidden",
        cancels=[clicked],
    ).then(figures, [found], [figures_view], api_visibility="private", show_progress="hidden")
    shown = clicked.success(figures, [found], [figures_view], api_visibility="private", show_progress="hidden")
    shown.then(sides_named, [left, right], [sides], api_visibility="private", show_progress="hidden")


def figures(rows: list[dict] | None) -> str:
    """The rows of a comparison as a table for people, one column for each decoder."""
    if not rows:
        return ""
    lines = [
        [title, *(format(row[name], form) for row in rows)]
        for name, (title, form) in COLUMNS.items()
        if rows[0][name] is not None
    ]
    return parts.figures_table(["", *(row["decoder"] for row in rows)], lines)


def fitting_sides(blob: str | None):
    """Choices for both sides of the slider, of the decoders that fit the blob; the last results go."""
    fitting = []
    if blob:
        with work.errors_in_the_page():
            fitting = decoders_for(read_blob(blob))
    left = gr.Dropdown([*fitting, ORIGINAL], value=fitting[1] if len(fitting) > 1 else ORIGINAL)
    return left, gr.Dropdown(fitting, value=fitting[0] if fitting else None), None, [], None


def sides_named(left: str, right: str):
    return gr.ImageSlider(label=f"{left} | {right}")
