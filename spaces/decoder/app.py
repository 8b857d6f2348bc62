"""Decoder app: .l8 blobs, or latents as RGBA PNG, in; pictures out."""

from __future__ import annotations

import time
from pathlib import Path

import gradio as gr
import numpy as np

from latent8 import webui
from latent8.blob import Header, clean_stem
from latent8.codec import describe, read
from latent8.codec import inspect as read_header
from latent8.errors import Latent8Error
from latent8.files import FORMATS, picture_bytes
from latent8.pictures import Picture

BATCH_COLUMNS = ["File", "Result", "Width", "Height", "Model"]


def gpu_seconds(header: Header, symbols: np.ndarray, alpha: bytes) -> int:
    return 10 + header.width * header.height // 4_000_000


@webui.gpu(duration=gpu_seconds)
def synthesise(header: Header, symbols: np.ndarray, alpha: bytes) -> tuple[Picture, np.ndarray]:
    """-> picture, the latents to show."""
    model = webui.model_name(header)
    with webui.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        picture, latents = webui.codec(model).synthesise_with_latents(header, symbols, alpha)
        return picture, webui.viewed_latents(model, latents)


def decode_blob(path: str) -> tuple[Header, np.ndarray, Picture, float]:
    """Blob file -> header, latents to show, picture, seconds. Raises Latent8Error, or gr.Error from the GPU part."""
    data = Path(path).read_bytes()
    webui.codec(webui.model_name(read_header(data)))  # loads the model, which is not part of the time below
    started = time.perf_counter()
    header, symbols, alpha = read(data)
    picture, latents = synthesise(header, symbols, alpha)
    return header, latents, picture, time.perf_counter() - started


def stem_of(header: Header, path: str) -> str:
    """The original file's name where the blob holds it, else the blob's own, without endings."""
    return clean_stem(header.stem or Path(path).name.removesuffix(".png").removesuffix(".encoded").removesuffix(".l8"))


def inspect(blob: str | None) -> dict:
    """Tell what a blob holds, without decoding it.

    Args:
        blob: A .l8 file, or latents as RGBA PNG.

    Returns:
        Model, size in pixels, latents, levels, bytes, bits per pixel.
    """
    path = webui.required(blob, "Choose a blob first.")
    with webui.errors_in_the_page():
        return describe(read_header(Path(path).read_bytes()))


def decode(
    blob: str | None, picture_format: str = "PNG", progress=gr.Progress()
) -> tuple[str, str, list[tuple[str, str]], dict]:
    """Turn a latent blob back into a picture.

    Args:
        blob: A .l8 file, or latents as RGBA PNG; told apart by content.
        picture_format: PNG (lossless), WebP or JPEG.

    Returns:
        The picture as a file under its original name; the same for viewing, as PNG; pictures of the latents; the
        header in words.
    """
    path = webui.required(blob, "Choose a blob first.")
    progress(0.2, desc="Decoding")
    with webui.errors_in_the_page():
        header, latents, picture, seconds = decode_blob(path)
        progress(0.7, desc="Writing the picture")
        folder = webui.request_folder()
        stem, suffix = stem_of(header, path), FORMATS[picture_format]
        view = webui.save_view(folder, f"{stem}.view.png", picture)
        file = webui.save_bytes(folder, f"{stem}{suffix}", picture_bytes(picture.image(), suffix))
        found = {**describe(header), "decode_seconds": round(seconds, 3)}
        return file, view, webui.save_latent_views(folder, found["model"], latents), found


def decode_batch(
    blobs: list[str] | None, picture_format: str = "PNG", progress=gr.Progress()
) -> tuple[str | None, list[list]]:
    """Turn many blobs back into pictures, in one ZIP; one bad file does not stop the rest.

    Args:
        blobs: .l8 files, or latents as RGBA PNG.
        picture_format: PNG (lossless), WebP or JPEG.

    Returns:
        A ZIP of pictures, or nothing when no blob could be decoded; a table that says what happened to each.
    """
    paths = webui.required(blobs, "Choose some blobs first.")
    suffix = FORMATS[picture_format]
    with webui.errors_in_the_page():
        folder, taken = webui.request_folder(), set[str]()
    rows: list[list] = []
    with webui.errors_in_the_page(), webui.ZipWriter(folder / "pictures.zip") as archive:
        for index, blob in enumerate(paths):
            progress(index / len(paths), desc=f"Blob {index + 1} of {len(paths)}")
            name = Path(blob).name
            try:
                header, _, picture, _ = decode_blob(blob)
            except (Latent8Error, gr.Error) as error:
                rows.append([name, webui.message(error), None, None, None])
                continue
            picture_name = webui.unique_name(stem_of(header, blob), suffix, taken)
            archive.add(picture_name, picture_bytes(picture.image(), suffix))
            rows.append([name, picture_name, header.width, header.height, webui.model_name(header)])
    return archive.path_if_filled(), rows


def facts(found: dict | None) -> str:
    """The header as a table for people."""
    if not found:
        return ""
    rows = [
        ("Model", found["model"]),
        ("Picture", f"{found['width']} x {found['height']} pixels"),
        ("Latents", latents_text(found)),
        ("Blob", f"{webui.size_text(found['bytes'])}, {found['coding']}"),
        ("Bits per pixel", f"{found['bpp']:.3f}"),
        ("Transparency", found["alpha"]),
    ]
    if found["name"]:
        rows.append(("Name", found["name"]))
    if "decode_seconds" in found:
        rows.append(("Decoded in", f"{found['decode_seconds']:.2f} s"))
    return webui.facts_table(rows)


def latents_text(found: dict) -> str:
    if "quality" in found:
        return f"{found['latents']}, quality {found['quality']}"
    return f"{found['latents']}, {found['levels']} levels from {found['range']}"


def build() -> gr.Blocks:
    with webui.blocks("latent8 decoder") as demo:
        gr.Markdown("# latent8 decoder\nDrop a .l8 file, or latents as RGBA PNG: get the picture.")
        with gr.Tab("One blob"):
            build_single()
        with gr.Tab("Many blobs"):
            build_batch()
        gr.Markdown(webui.NOTICE, elem_classes="notice")
    return demo


def build_single() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            blob = gr.File(label="Blob", type="filepath", elem_id="blob", height=140)
            picture_format = gr.Radio(list(FORMATS), value="PNG", label="Download as", elem_id="format")
            button = gr.Button("Decode", variant="primary", elem_id="decode")
            file = gr.DownloadButton("Download picture", interactive=False, elem_id="file")
            facts_view = gr.HTML(elem_id="facts")
        with gr.Column(scale=3, min_width=300):
            view = gr.Image(
                label="Picture",
                format="png",
                type="filepath",
                interactive=False,
                buttons=["download", "fullscreen"],  # as in webui.gallery
                elem_id="picture",
            )
            latents = webui.gallery("Latents", 6, "latents")
    found = gr.JSON(visible=False, label="Header")
    header = gr.JSON(visible=False, label="Header")

    inputs, outputs = [blob, picture_format], [file, view, latents, found]
    inspect_button = gr.Button("Inspect", visible=False)  # the endpoint for programs; the page shows more
    inspect_button.click(inspect, [blob], [header], api_name="inspect")
    clicked = button.click(decode, inputs, outputs, api_name="decode", **webui.TAKE_TURNS)
    for event in (
        clicked,
        *(c.change(decode_if_any, inputs, outputs, api_visibility="private", **webui.TAKE_TURNS) for c in inputs),
    ):
        shown = event.success(facts, [found], [facts_view], api_visibility="private", show_progress="hidden")
        shown.then(ready, [file], [file], api_visibility="private", show_progress="hidden")


def decode_if_any(blob: str | None, picture_format: str, progress=gr.Progress()):
    """As `decode`, started by dropping a file; taking the file away clears the results."""
    return decode(blob, picture_format, progress) if blob else (None, None, [], None)


def ready(file: str | None):
    """The download button works once there is something behind it."""
    return gr.DownloadButton(interactive=bool(file))


def build_batch() -> None:
    blobs = gr.File(label="Blobs", file_count="multiple", type="filepath", elem_id="blobs", height=200)
    picture_format = gr.Radio(list(FORMATS), value="PNG", label="Pictures as")
    button = gr.Button("Decode all", variant="primary", elem_id="decode-all")
    archive = gr.File(label="Pictures in one ZIP", elem_id="zip", interactive=False)
    table = webui.results_table(BATCH_COLUMNS, ["str", "str", "number", "number", "str"])
    button.click(
        decode_batch,
        [blobs, picture_format],
        [archive, table],
        api_name="decode_batch",
        **webui.TAKE_TURNS,
    )


demo = build()

if __name__ == "__main__":
    webui.launch(demo)
