"""Parts of both apps' pages: tables, galleries, conversion, the frame."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from latent8 import exchange
from latent8.apps import housekeeping
from latent8.apps.files import request_folder, save_bytes, stem_of
from latent8.apps.work import POOL, TAKE_TURNS, errors_in_the_page, required
from latent8.zoo.registry import model_named, models

CONVERSIONS = [
    ("ComfyUI .latent", "comfy"),
    (".safetensors", "safetensors"),
    (".npy", "npy"),
    ("RGBA PNG", "png"),
    (".l8", "l8"),
]

NOTICE = (
    "Fine detail is invented where the latents do not hold it: not for documents, evidence or medical pictures. "
    "Metadata such as GPS is not kept. Files are deleted from the server after an hour."
)
CSS = """
.gradio-container { width: 100%; max-width: 1100px !important; margin: auto; }
.facts table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; border: none !important; }
.facts tr { border: none !important; }
.facts td, .facts th {
    padding: 4px 8px !important; text-align: left; border: none !important;
    border-bottom: 1px solid var(--border-color-primary) !important;
}
.facts td:last-child, .facts.rivals td:not(:first-child), .facts.rivals th { text-align: right; }
.facts.models td:last-child { text-align: left; }
.facts.models { overflow-x: auto; }
.facts .warning { color: var(--error-text-color); padding: 6px 8px; margin: 0; }
.notice p { font-size: 0.9em; }
footer .divider { display: none !important; }
.grid-container {
    grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)) !important;
    grid-template-rows: none !important; grid-auto-rows: auto !important;
}
.grid-container.pt-6 { padding-top: 28px; }
.gallery-container:not(:has(.preview)) .grid-wrap { min-height: 0 !important; }
@media (max-width: 640px) { .grid-container { --grid-cols: 3 !important; } }
#differences .grid-container { --grid-cols: 3 !important; }
.caption-label {
    font-size: 11px !important; padding: 1px 4px !important; max-width: 100% !important; white-space: normal !important;
}
"""


def convert(latents: str | None, to: str = "comfy", space: str = "", raw: bool = False) -> str:
    """Turn latents from one file format into another.

    Args:
        latents: A .l8 file, latents as RGBA PNG, a ComfyUI .latent, .safetensors or .npy file; told apart by content.
        to: comfy (ComfyUI .latent), safetensors, npy, png (RGBA PNG) or l8.
        space: Latent space of a file that does not say it, sd1, sdxl, sd3, flux1 or l8-tiny.
        raw: Whether .npy and .safetensors hold the autoencoder's raw latents instead of the scaled ones.

    Returns:
        The file.
    """
    path = required(latents, "Choose a blob first.")
    with errors_in_the_page():
        data = exchange.convert(Path(path).read_bytes(), to, space=space or None, raw=raw, pool=POOL)
        return save_bytes(request_folder(), stem_of(path) + exchange.SUFFIXES[to], data)


def conversion(latents: gr.components.Component, space: gr.components.Component, raw: gr.Checkbox) -> gr.File:
    """Controls that convert what is in `latents`; gives the place of the result."""
    to = gr.Radio(CONVERSIONS, value="comfy", label="Format", elem_id="convert-to")
    button = gr.Button("Convert", size="sm", elem_id="convert")
    file = gr.File(label="Converted", interactive=False, elem_id="converted")
    button.click(convert, [latents, to, space, raw], [file], api_name="convert", **TAKE_TURNS)
    return file


def raw_switch() -> gr.Checkbox:
    return gr.Checkbox(
        label="Raw values in .npy and .safetensors",
        info="As the autoencoder gives them, before they are shifted and scaled.",
        elem_id="raw",
    )


def size_of_model(name: str) -> str:
    model = model_named(name)
    if model.own:
        return f"{name} (your own)"
    return f"{name} (bundled)" if model.bundled else f"{name} ({model.size_mb:,.0f} MB download)"


def _models_table() -> str:
    """All models as HTML."""
    head = "".join(f"<th>{name}</th>" for name in ("Model", "Latents", "MB", "Licence", "Needs", "What it is"))
    body = ""
    for model in models():
        cells = [model.name, model.space, f"{model.size_mb:g}", model.licence, model.needs, model.summary]
        body += f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
    return f'<div class="facts models"><table><tr>{head}</tr>{body}</table></div>'


def facts_table(rows: list[tuple[str, str]], warning: str = "") -> str:
    """Two columns as HTML; texts are escaped here."""
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    note = f'<p class="warning">{html.escape(warning)}</p>' if warning else ""
    return f'<div class="facts"><table>{body}</table>{note}</div>'


def figures_table(titles: list[str], rows: list[list[str]]) -> str:
    """A first column of names, then columns of figures, as HTML; texts are escaped here."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="facts rivals"><table><tr>{head}</tr>{lines}</table></div>'


def size_text(n_bytes: int) -> str:
    return f"{n_bytes:,} bytes" if n_bytes < 10_000 else f"{n_bytes / 1000:,.1f} KB"


def gallery(label: str, columns: int, elem_id: str) -> gr.Gallery:
    """Lossless pictures to look at; without Gradio's button that uploads one to a public page."""
    return gr.Gallery(
        label=label,
        format="png",
        type="filepath",
        columns=columns,
        height="auto",
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id=elem_id,
    )


def results_table(columns: list[str], types: list[str]) -> gr.Dataframe:
    """One row for each file of a batch: its name, what became of it, three facts."""
    return gr.Dataframe(
        headers=columns,
        datatype=types,  # type: ignore[arg-type]
        column_widths=[200, 320, 90, 90, 110],
        wrap=True,
        interactive=False,
        label="Results",
        elem_id="results",
    )


def page(title: str, purpose: str, tabs: dict[str, Callable[[], None]]) -> gr.Blocks:
    """An app's page: its purpose in a sentence, a tab for each function that builds one, the models, the notice."""
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, housekeeping.KEEP_SECONDS)) as demo:
        gr.Markdown(f"# {title}\n{purpose}")
        for name, build in tabs.items():
            with gr.Tab(name):
                build()
        with gr.Accordion("Models", open=False):
            gr.HTML(_models_table())
        gr.Markdown(NOTICE, elem_classes="notice")
    return demo
