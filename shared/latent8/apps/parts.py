"""What the two apps share: loaded models, folders for a request, errors in the page, looks, launch settings."""

from __future__ import annotations

import html
import os
import signal
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # no network at start-up; read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# isort: off
try:
    import spaces  # on ZeroGPU it must come before torch
except ImportError:  # the apps run without it wherever ZeroGPU is not meant
    spaces = None  # type: ignore[assignment]

import gradio as gr
import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse

from latent8 import exchange
from latent8.apps import housekeeping
from latent8.pictures import drawing
from latent8.file_format.blob import HYPERPRIOR_CODED, Header, clean_stem
from latent8.codec import Codec
from latent8.file_format.reader import DEFAULT_MAX_PIXELS
from latent8.errors import Latent8Error
from latent8.evaluation.latent_pictures import pictures_of
from latent8.zoo.registry import CONSISTENCY, DEFAULT_MODEL, KL, model_named, model_with_id, models
from latent8.pictures.intake import Picture

MAX_UPLOAD = "64mb"
T = TypeVar("T")
TAKE_TURNS: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # for events that run a model

# Slow models would keep everyone waiting with a large picture.
MAX_PIXELS = {KL: 4_000_000, CONSISTENCY: 1_000_000}
PIXELS_PER_GPU_SECOND = {KL: 500_000, CONSISTENCY: 50_000}  # cautious
LOADED_MODELS = 3  # the largest takes gigabytes

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


def gpu(duration: Callable[..., int]) -> Callable:
    """Decorator for the one function that needs a GPU; `duration` gets the same arguments, gives seconds."""
    if spaces is None:
        return lambda function: function
    return spaces.GPU(duration=duration)  # type: ignore[attr-defined]


def gpu_seconds(model: str, n_pixels: int) -> int:
    return 10 + n_pixels // PIXELS_PER_GPU_SECOND.get(model_named(model).kind, 4_000_000)


@dataclass(frozen=True)
class Bar:
    """A stretch of the page's progress bar, called with the share of it that is done, 0 ... 1.

    It can be given to a GPU function, which ZeroGPU runs in another process. Outside of an event it does nothing.
    """

    text: str
    begin: float
    end: float

    def __call__(self, share: float) -> None:
        gr.Progress()(self._at(share), desc=self.text)  # made here: it looks up the event that it runs in

    def part(self, text: str, begin: float, end: float) -> Bar:
        """From one share of this stretch to another; its text goes after this one's."""
        return Bar(f"{self.text}: {text.lower()}" if self.text else text, self._at(begin), self._at(end))

    def _at(self, share: float) -> float:
        return self.begin + share * (self.end - self.begin)


def one_by_one(paths: list[str], noun: str, folder: Path, progress: gr.Progress) -> Iterator[tuple[str, Bar]]:
    """Each file of a batch, with its stretch of the progress bar, whose text counts them.

    `folder`, of the request, and the files to come are kept for as long as it lasts.
    """
    for index, path in enumerate(paths):
        housekeeping.keep(folder, *paths[index:])
        bar = Bar(f"{noun} {index + 1} of {len(paths)}", index / len(paths), (index + 1) / len(paths))
        progress(bar.begin, desc=bar.text)
        yield path, bar


@lru_cache(maxsize=LOADED_MODELS)
def codec(model: str) -> Codec:
    """One codec per model, shared by all requests. Raises ModelError."""
    return Codec(model, max_pixels=MAX_PIXELS.get(model_named(model).kind, DEFAULT_MAX_PIXELS))


@contextmanager
def errors_in_the_page():
    """Turn the library's errors into a message in the page (and for API clients)."""
    try:
        yield
    except Latent8Error as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from None
    except OSError as error:
        reason = error.strerror or "the file cannot be read or written"
        raise gr.Error(f"The server could not do this: {html.escape(reason)}.", print_exception=False) from None


def required(value: T | None, message: str) -> T:
    """What the user has to choose first; an empty choice is an error in the page."""
    if not value:
        raise gr.Error(message, print_exception=False)
    return value


def request_folder() -> Path:
    """A new folder that is served as it is and deleted with the rest of the cache after an hour."""
    folder = Path(gr.utils.get_upload_folder()) / f"latent8-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def save_bytes(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def save_view(folder: Path, name: str, picture: Picture) -> str:
    """A lossless PNG for the page: written fast, not small."""
    path = folder / name
    picture.image().save(path, "PNG", compress_level=1)
    return str(path)


def save_latent_views(folder: Path, header: Header, symbols: np.ndarray) -> list[tuple[str, str]]:
    """Symbols as `contents.read` gives them -> (file, caption) of each picture of the latents."""
    saved, hyperprior = [], header.coding == HYPERPRIOR_CODED
    for index, view in enumerate(pictures_of(header, symbols, codec(model_name(header)) if hyperprior else None)):
        path = folder / f"latents-{index}.png"
        image = view.image if view.wide else drawing.enlarged(view.image)
        image.save(path, "PNG", compress_level=1)
        saved.append((str(path), view.caption))
    return saved


def unique_name(stem: str, suffix: str, taken: set[str]) -> str:
    """stem + suffix, or stem-2 + suffix and so on; remembers it in `taken`."""
    name, number = f"{stem}{suffix}", 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name


class ZipWriter:
    """A ZIP that grows file by file on disk, and is dropped when nothing went into it."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)  # the contents are compressed already

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            self._archive.close()
        finally:
            if failed or not self.count:
                self.path.unlink()

    def add(self, name: str, data: bytes) -> None:
        self._archive.writestr(name, data)
        self.count += 1

    def path_if_filled(self) -> str | None:
        return str(self.path) if self.count else None


def stem_of(path: str) -> str:
    """Of a file of latents, without its endings."""
    name = Path(path).name
    for suffix in exchange.SUFFIXES.values():
        name = name.removesuffix(suffix)
    return clean_stem(name.removesuffix(".png"))


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
        data = exchange.convert(Path(path).read_bytes(), to, space=space or None, raw=raw, codec_named=codec)
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


def message(error: Exception) -> str:
    """The sentence in an error, for a table."""
    return error.message if isinstance(error, gr.Error) else str(error)


def model_name(header: Header) -> str:
    return model_with_id(header.model_id).name


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


async def storage_error(request: Request, error: Exception) -> JSONResponse:
    """The answer where an upload cannot be kept, in place of an internal error."""
    reason = getattr(error, "strerror", None) or "the file cannot be written"
    return JSONResponse({"detail": f"The server could not do this: {reason}."}, 507)


def launch(demo: gr.Blocks, served: Path | None = None) -> None:
    """Load the bundled model, then start; host and port come from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

    `served` is a folder whose files the page shows, wherever the app is started from.
    """
    housekeeping.keep_heap_small()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: requests, then the server
    threading.Thread(target=housekeeping.tidy_for_ever, args=(Path(gr.utils.get_upload_folder()),), daemon=True).start()
    codec(DEFAULT_MODEL)
    demo.queue(max_size=32, default_concurrency_limit=4)
    demo.launch(
        theme=gr.themes.Soft(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"]),
        css=CSS,
        allowed_paths=[str(served)] if served else None,
        max_file_size=MAX_UPLOAD,
        mcp_server=True,
        ssr_mode=False,
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=["api"],
        app_kwargs={"exception_handlers": {OSError: storage_error}},
    )
    if not demo.is_running or demo.server.should_exit:  # stopped, and not in an interactive session
        os._exit(0)  # to take apart what is loaded would last seconds more, over what a container is given
