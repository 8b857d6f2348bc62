"""Parts of both apps' pages: the frame, conversion, tables, downloads."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from latent8 import exchange
from latent8.apps import files, housekeeping, jobs, look, wiring
from latent8.apps.files import request_folder, save_bytes, save_latent_views, stem_of
from latent8.apps.widgets import file_url, paths_of
from latent8.apps.work import MAX_PIXELS, POOL, TAKE_TURNS, Bar, errors_in_the_page, required
from latent8.file_format.blob import Encoded
from latent8.latents import Latents
from latent8.zoo.registry import DEFAULT_MODEL, Model, model_named, models

CONVERSIONS = [  # the first for any latents
    (".safetensors", "safetensors"),
    (".npy", "npy"),
    ("ComfyUI .latent", "comfy"),
    ("RGBA PNG", "png"),
    (".l8", "l8"),
]
CONVERSION = "conversion"  # name of the jobs
NOTICE = (
    "Metadata such as GPS is kept only where you say so. Files are deleted from the server after an hour, and used for "
    "nothing else."
)


def page(
    title: str,
    purpose: str,
    limits: str,
    tabs: dict[str, Callable[[], None]],
    notices: Sequence[str],
    endpoints: Callable[[], None],
) -> gr.Blocks:
    """An app's page: what it is for and what not, a tab for each function that builds one, the models, notices.

    purpose: HTML. endpoints: adds those for programs, which the page does not show.
    """
    source = f" {look.link('Source code', look.source_url())}." if look.source_url() else ""
    heading = f'<header class="l8-head"><h1>{html.escape(title)}</h1><p>{purpose}</p>'
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, housekeeping.KEEP_SECONDS)) as demo:
        gr.HTML(f'{heading}<p class="l8-notice">{html.escape(limits)}{source}</p></header>', apply_default_css=False)
        for name, build in tabs.items():
            with gr.Tab(name):
                build()
        with gr.Accordion("Models", open=False):
            gr.HTML(models_list(), apply_default_css=False)
        said = "".join(f"<p>{html.escape(text)}</p>" for text in (NOTICE, *notices))
        gr.HTML(f'<div class="l8-notice">{said}</div>', apply_default_css=False)
        endpoints()
        convert_endpoint()
    return demo


def status_and_stop(prefix: str) -> tuple[gr.HTML, gr.Button]:
    """Where progress is shown, and the button that stops what runs; there while something does."""
    status = gr.HTML(
        "", elem_id=f"{prefix}-status", elem_classes=["l8-status", "l8-first"], apply_default_css=False, min_height=0
    )
    return status, gr.Button("Stop", size="sm", elem_id=f"{prefix}-stop", elem_classes=["l8-stop", "l8-first"])


# Conversion


def convert(
    latents: str | None, to: str | None = "safetensors", space: str | None = "", raw: bool | None = False
) -> str:
    """Turn latents from one file format into another.

    Args:
        latents: A .l8 file, latents as RGBA PNG, a ComfyUI .latent, .safetensors or .npy file; told apart by content.
        to: safetensors, npy, comfy (ComfyUI .latent), png (RGBA PNG) or l8.
        space: Latent space of a file that does not say it, sd1, sdxl, sd3, flux1 or l8-tiny.
        raw: Whether .npy and .safetensors hold the autoencoder's raw latents instead of the scaled ones.

    Returns:
        The file.
    """
    path, to = required(latents, "Choose a blob first."), to or "safetensors"
    with errors_in_the_page():
        files.open_file_of_latents(path, space or "", bool(raw))  # refuses what the app cannot take
        data = exchange.convert(
            Path(path).read_bytes(), to, space=space or None, raw=bool(raw), max_pixels=MAX_PIXELS, pool=POOL
        )
        return save_bytes(request_folder(), stem_of(path) + exchange.SUFFIXES[to], data)


def convert_endpoint() -> None:
    """The endpoint for programs, on components that the page does not show."""
    inputs = [
        gr.File(label="latents", type="filepath", visible=False),
        gr.Radio([name for _, name in CONVERSIONS], value="safetensors", label="to", visible=False),
        gr.Textbox("", label="space", visible=False),
        gr.Checkbox(False, label="raw", visible=False),
    ]
    file = gr.File(label="file", visible=False)
    gr.Button(visible=False).click(convert, inputs, [file], api_name="convert", **TAKE_TURNS)


def conversion(
    latents: gr.components.Component, space: gr.components.Component, raw: gr.Checkbox
) -> list[gr.components.Component]:
    """Controls that convert what is in `latents`, a drop box or a state with a path.

    Gives what each new file changes: the list of formats and the place of the result; `convertible` gives their values.
    """
    to = gr.Radio(CONVERSIONS, value="safetensors", label="Format", elem_id="convert-to")
    button = gr.Button("Convert", size="sm", elem_id="convert")
    found = gr.HTML(elem_id="converted", elem_classes=["l8-result"], apply_default_css=False)

    @jobs.does(CONVERSION)
    def convert_in_page(number: float, value: Any, to: str, space: str, raw: bool) -> str:
        try:
            with errors_in_the_page():
                # a state is kept on the server; what a box holds comes from the browser, which may name any file
                path = value if isinstance(latents, gr.State) else next(iter(paths_of(value)), None)
                return download(convert(path, to, space, raw))
        except gr.Error as error:
            return f'<p class="l8-error" role="alert">{error.message}</p>'

    wiring.looks(button.click, convert_in_page, [latents, to, space, raw], found, TAKE_TURNS)
    wiring.clears([to.input, raw.input], CONVERSION, found)
    return [to, found]


def convertible(source: Encoded | Latents | None) -> list[Any]:
    """Only formats that can hold the latents are offered; what was converted is of another file."""
    formats = [name for _, name in CONVERSIONS] if source is None else exchange.formats_of(source)
    choices: Any = [(title, name) for title, name in CONVERSIONS if name in formats]
    return [gr.Radio(choices, value=formats[0]), ""]


def raw_switch() -> gr.Checkbox:
    return gr.Checkbox(
        label="Raw values in .npy and .safetensors",
        info="As the autoencoder gives them, before they are shifted and scaled.",
        elem_id="raw",
    )


# Models


def default_first(found: Sequence[Model]) -> list[Model]:
    return sorted(found, key=lambda model: model.name != DEFAULT_MODEL)


def size_of_model(name: str) -> str:
    model = model_named(name)
    if model.own:
        return f"{name} (your own)"
    return f"{name} (bundled)" if model.bundled else f"{name} ({model.size_mb:,.0f} MB download)"


def models_list() -> str:
    """All models as HTML."""
    items = ""
    for model in default_first(models()):
        facts = f"latents {model.space}; {model.size_mb:g} MB; licence {model.licence}; needs {model.needs}"
        said = f"<b>{html.escape(model.name)}</b>: {html.escape(model.summary)}"
        items += f"<li>{said}<small>{html.escape(facts)}</small></li>"
    return f'<ul class="l8-models">{items}</ul>'


# Readings


def reading_slider(elem_id: str, info: str) -> gr.Slider:
    """How a blob is read, by models that have more than one reading; there where such a model has read one."""
    label = "Faithful (0) or vivid (1)"
    return gr.Slider(0, 1, 0, step=0.05, label=label, info=info, visible="hidden", elem_id=elem_id)


def reading_shown(realism: float | None) -> gr.Slider:
    """The slider at the reading that is shown; None where the model has one alone."""
    return gr.Slider(visible="hidden") if realism is None else gr.Slider(value=realism, visible=True)


def reading_name(realism: float) -> str:
    return {0.0: "faithful", 1.0: "vivid"}.get(realism, f"realism {realism:g}")


# Texts


class Html(str):
    """Text that is HTML already."""


def escaped(text: str) -> str:
    return text if isinstance(text, Html) else html.escape(text)


def size_text(n_bytes: int) -> str:
    """In KB of 1000 bytes up to 1 MB, as a person reads it."""
    return f"{n_bytes / 1e3:,.1f} KB" if n_bytes < 1_000_000 else f"{n_bytes / 1e6:,.1f} MB"


def download(path: str, text: str = "") -> str:
    """The button that is next: a link to a file of a request, under its own name."""
    name = Path(path).name
    return (
        f'<a class="l8-download" href="{html.escape(file_url(path))}" download="{html.escape(name)}">'
        f"{html.escape(text or f'Download {name}')}</a>"
    )


def small_download(path: str) -> str:
    name = html.escape(Path(path).name)
    return f'<a href="{html.escape(file_url(path))}" download="{name}">{name}</a>'


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns as HTML; texts are escaped here."""
    body = "".join(f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>' for name, value in rows)
    return f'<table class="l8-table"><tbody>{body}</tbody></table>'


def rows_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Names in the first two columns, figures in the others, as HTML; texts but `Html` are escaped here.

    A row whose figures after the first are empty is marked as one that failed.
    """
    head = "".join(
        f'<th scope="col" class="{"l8-number" if index > 1 else ""}">{html.escape(title)}</th>'
        for index, title in enumerate(titles)
    )
    lines = ""
    for row in rows:
        cells = "".join(
            f'<td class="{"l8-number" if index > 1 else ""}" data-title="{html.escape(titles[index])}">'
            f"{escaped(cell)}</td>"
            for index, cell in enumerate(row)
        )
        lines += f'<tr class="{"" if any(row[3:]) else "l8-failed"}">{cells}</tr>'
    return f'<table class="l8-table l8-rows"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def figures_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A first column of names, then columns of figures, as HTML; texts are escaped here."""
    first, *others = (html.escape(title) for title in titles)
    head = f"<td>{first}</td>" + "".join(f'<th scope="col" class="l8-number">{title}</th>' for title in others)
    lines = ""
    for name, *figures in rows:
        cells = "".join(f'<td class="l8-number">{html.escape(figure)}</td>' for figure in figures)
        lines += f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>'
    return f'<table class="l8-table"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def latents_html(folder: Path, source: Encoded | Latents, bar: Bar) -> str:
    """Pictures of latents, with captions."""
    bar(0)
    return pictures_html(save_latent_views(folder, source))


def pictures_html(found: Sequence[tuple[str, str]], wide: bool = False) -> str:
    """(file, caption) of each -> HTML. wide: for few, of which detail matters."""
    figures = "".join(
        f'<figure><a href="{html.escape(file_url(path))}" target="_blank"><img src="{html.escape(file_url(path))}" '
        f'alt="{html.escape(caption)}"></a><figcaption>{html.escape(caption)}</figcaption></figure>'
        for path, caption in found
    )
    return f'<div class="l8-views{" l8-wide" if wide else ""}">{figures}</div>'
