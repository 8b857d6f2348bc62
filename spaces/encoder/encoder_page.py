"""The encoder's page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from encoder_api import BATCH_COLUMNS, encode, encode_batch
from encoder_comparison import CURVE_SIDE, ORIGINAL, compare, curves, put_beside, slider_label

from latent8.apps import parts, work
from latent8.zoo.registry import DEFAULT_MODEL, model_named, models
from latent8.zoo.settings import DEFAULT_QUALITY

EXAMPLES_FOLDER = Path(__file__).resolve().parent / "examples"
EXAMPLES = sorted(EXAMPLES_FOLDER.glob("*.jpg"))
EXAMPLE_CREDITS = (
    "Examples: picos, aitzgorri, life, sunset by Aitzol Berasategi (CC BY 4.0), wine by Jakkub Mede (CC BY 4.0), "
    "seeding by Clements Engelhardt (CC0); scaled down."
)


def build() -> gr.Blocks:
    purpose = "Drop a photo: get a small file of 8-bit latents, and see what comes back."
    return parts.page("latent8 encoder", purpose, {"One photo": build_single, "Many photos": build_batch})


@dataclass
class Controls:
    """What an encoding is set with, in the order in which `encode` takes it."""

    model: gr.Dropdown
    quality: gr.Slider
    fit_kb: gr.Number
    levels: gr.Slider
    longest_side: gr.Number

    def all(self) -> list[gr.components.Component]:
        return [self.model, self.quality, self.fit_kb, self.levels, self.longest_side]


def controls() -> Controls:
    names = [(parts.size_of_model(m.name), m.name) for m in models() if m.encodes]
    by_quality = model_named(DEFAULT_MODEL).kind.option == "quality"
    quality = gr.Slider(1, 100, value=DEFAULT_QUALITY, step=1, label="Quality", visible=by_quality, elem_id="quality")
    with gr.Accordion("More settings", open=False):
        model = gr.Dropdown(names, value=DEFAULT_MODEL, label="Model", min_width=220)
        fit_kb = gr.Number(
            0,
            label="Fit into KB",
            info="The best quality that fits; 0 goes by the slider.",
            minimum=0,
            visible=by_quality,
            elem_id="fit",
        )
        levels = gr.Slider(
            16,
            256,
            value=256,
            step=1,
            label="Levels",
            info="Values per latent: fewer make smaller files.",
            visible=not by_quality,
        )
        longest_side = gr.Number(
            0, label="Longest side", info="Shrink to this many pixels; 0 keeps the size.", precision=0, minimum=0
        )
    made = Controls(model, quality, fit_kb, levels, longest_side)
    model.change(fitting_controls, [model], [quality, fit_kb, levels], api_visibility="private", show_progress="hidden")
    return made


def fitting_controls(model: str):
    """Only what the model has is shown."""
    by_quality = model_named(model).kind.option == "quality"
    return gr.Slider(visible=by_quality), gr.Number(visible=by_quality), gr.Slider(visible=not by_quality)


def build_single() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = gr.File(label="Photo", type="filepath", elem_id="photo", height=140)
            control = controls()
            inputs = [photo, *control.all()]
            button = gr.Button("Encode", variant="primary", elem_id="encode")
            with gr.Row():
                blob = gr.DownloadButton("Download .l8", interactive=False, elem_id="blob", min_width=120, size="md")
                png = gr.DownloadButton("Latents as PNG", interactive=False, elem_id="png", min_width=120, size="md")
            facts_view = gr.HTML(elem_id="facts")
            with gr.Accordion("Latents for other tools", open=False):
                raw = parts.raw_switch()
                converted = parts.conversion(blob, gr.State(""), raw)
        with gr.Column(scale=3, min_width=300):
            slider = gr.ImageSlider(
                label=slider_label(ORIGINAL),
                format="png",
                image_mode=None,  # else transparency goes
                type="filepath",
                interactive=False,
                elem_id="slider",
            )
            against = gr.Radio(
                [ORIGINAL, "WebP", "AVIF"],
                value=ORIGINAL,
                label="Compare with",
                info="WebP and AVIF in the same number of bytes.",
                elem_id="against",
            )
            latents = parts.gallery("Latents", 5, "latents")
            with gr.Accordion("WebP and AVIF in the same number of bytes", open=False):
                rivals_view = gr.HTML(elem_id="rivals")
                rivals_gallery = parts.gallery("In the same bytes", 3, "rival-pictures")
            with gr.Accordion("Size and PSNR of this picture at other qualities", open=False):
                plot = gr.LinePlot(
                    x="KB",
                    y="PSNR dB",
                    color="codec",
                    tooltip="all",
                    height=340,
                    label=f"PSNR against size, longest side at most {CURVE_SIDE} pixels",
                    buttons=[],
                    elem_id="curves",
                )
    found = gr.JSON(visible=False, label="Numbers")
    files, missing = gr.State({}), gr.State({})
    examples = gr.Gallery(
        [str(path) for path in EXAMPLES],
        label="Or start from one of these",
        columns=6,
        height="auto",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    gr.Markdown(EXAMPLE_CREDITS, elem_classes="notice")
    examples.select(example, None, [photo], api_visibility="private", show_progress="hidden")
    against.input(
        put_beside,
        [against, files, missing],
        [slider, against],
        api_visibility="private",
        show_progress="hidden",
    )

    outputs = [blob, png, slider, latents, found]
    clicked = button.click(encode, inputs, outputs, api_name="encode", **work.TAKE_TURNS)
    changed = gr.on(
        [
            photo.change,
            control.model.input,
            control.quality.release,
            control.fit_kb.submit,
            control.levels.release,
            control.longest_side.submit,
        ],
        encode_if_any,
        inputs,
        outputs,
        api_visibility="private",
        show_progress="full",
        trigger_mode="always_last",
        **work.TAKE_TURNS,
    )
    for event in (clicked, changed):
        shown = event.success(facts, [found], [facts_view], api_visibility="private", show_progress="hidden")
        shown = shown.then(
            begin_anew,
            None,
            [converted, slider, against, files, missing],
            api_visibility="private",
            show_progress="hidden",
        )
        shown = shown.then(ready, [blob, png], [blob, png], api_visibility="private", show_progress="hidden")
        compared = shown.then(
            compare,
            [found, slider],
            [rivals_view, rivals_gallery, files, missing],
            api_visibility="private",
            show_progress="hidden",
            trigger_mode="always_last",  # else that of the next photo is left out while this one's lasts
            concurrency_id="rivals",  # takes no model, and long
            concurrency_limit=1,
        )
        compared.success(
            curves,
            [found, files],
            [plot],
            api_visibility="private",
            show_progress="hidden",
            trigger_mode="always_last",
            **work.TAKE_TURNS,
        )


def facts(found: dict | None) -> str:
    """The numbers as a table for people."""
    if not found:
        return ""
    rows = [
        ("Upload", parts.size_text(found["upload_bytes"])),
        ("Pixels", f"{found['width']} x {found['height']}"),
        ("Blob", parts.size_text(found["blob_bytes"]) + (f", quality {found['quality']}" if found["quality"] else "")),
        ("Bits per pixel", f"{found['bpp']:.3f}"),
        ("Smaller than the upload", f"{found['ratio_to_upload']:g} times"),
        ("Smaller than raw RGB", f"{found['ratio_to_raw_rgb']:g} times"),
        ("PSNR", f"{found['psnr_db']:.2f} dB"),
        ("SSIM", f"{found['ssim']:.4f}"),
        ("Encode, decode", f"{found['encode_seconds']:.2f} s, {found['decode_seconds']:.2f} s"),
    ]
    larger = found["blob_bytes"] > found["upload_bytes"]
    warning = "The blob is larger than the upload: for this picture the upload itself is the better file."
    return parts.facts_table(rows, warning if larger else "")


def encode_if_any(
    photo: str | None,
    model: str,
    quality: int,
    fit_kb: float,
    levels: int,
    longest_side: int,
    progress=gr.Progress(),
):
    """As `encode`, started by a file or a setting; taking the file away clears the results."""
    if not photo:
        return None, None, None, [], None
    return encode(photo, model, quality, fit_kb, levels, longest_side, progress)


def example(event: gr.SelectData) -> str:
    """The example photo that was clicked, as if it had been dropped."""
    return str(EXAMPLES[event.index])


def begin_anew():
    """What belongs to the last photo goes: its converted latents, and what it was compared with."""
    return None, gr.ImageSlider(label=slider_label(ORIGINAL)), ORIGINAL, {}, {}


def ready(blob: str | None, png: str | None):
    """Download buttons work once there is something behind them."""
    return gr.DownloadButton(interactive=bool(blob)), gr.DownloadButton(interactive=bool(png))


def build_batch() -> None:
    photos = gr.File(label="Photos", file_count="multiple", type="filepath", elem_id="photos", height=200)
    control = controls()
    button = gr.Button("Encode all", variant="primary", elem_id="encode-all")
    archive = gr.File(label="Blobs in one ZIP", elem_id="zip", interactive=False)
    table = parts.results_table(BATCH_COLUMNS, ["str", "str", "number", "number", "number"])
    button.click(
        encode_batch,
        [photos, *control.all()],
        [archive, table],
        api_name="encode_batch",
        **work.TAKE_TURNS,
    )
