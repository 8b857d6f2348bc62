"""Decoder app: .l8 blobs, or other tools' latents, in; pictures out."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from latent8 import webui
from latent8.blob import Header, clean_stem
from latent8.codec import DEFAULT_MAX_PIXELS, decoders_for, describe, read, require_decoder
from latent8.codec import inspect as read_header
from latent8.comparison import COLUMNS, ORIGINAL, Comparison, measured, original_of
from latent8.errors import Latent8Error
from latent8.exchange import SPACE_NAMES, as_blob
from latent8.files import FORMATS, picture_bytes
from latent8.models import model_named, model_with_id, models
from latent8.pictures import Picture

BATCH_COLUMNS = ["File", "Result", "Width", "Height", "Model"]
AS_NAMED = "the blob's own"


def gpu_seconds(decoder: str, header: Header, *_: object) -> int:
    return webui.gpu_seconds(decoder, header.width * header.height)


@webui.gpu(duration=gpu_seconds)
def synthesise(decoder: str, header: Header, symbols: np.ndarray, alpha: bytes, legacy_range: bool) -> Picture:
    with webui.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        return webui.codec(decoder).synthesise(header, symbols, alpha, legacy_range=legacy_range)


def decode_blob(
    path: str, decoder: str = "", space: str = "", raw: bool = False, legacy_range: bool = False
) -> tuple[Header, np.ndarray, Picture, float]:
    """Blob file -> header, symbols, picture, seconds. Raises Latent8Error, or gr.Error from the GPU part."""
    data = read_blob(path, space, raw)
    header = read_header(data)
    require_decoder(header, model_named(decoder) if decoder else model_with_id(header.model_id))
    chosen = decoder or webui.model_name(header)
    max_pixels = webui.codec(chosen).max_pixels  # loads the model, which is not part of the time below
    started = time.perf_counter()
    header, symbols, alpha = read(data, max_pixels)
    picture = synthesise(chosen, header, symbols, alpha, legacy_range)
    return header, symbols, picture, time.perf_counter() - started


def read_blob(path: str, space: str, raw: bool) -> bytes:
    return as_blob(Path(path).read_bytes(), space or None, raw=raw)


def stem_of(header: Header, path: str) -> str:
    """The original file's name where the blob holds it, else the blob's own, without endings."""
    return clean_stem(header.stem or webui.stem_of(path))


def inspect(blob: str | None) -> dict:
    """Tell what a blob holds, without decoding it.

    Args:
        blob: A .l8 file, latents as RGBA PNG, or a file of latents that says its latent space.

    Returns:
        Model, size in pixels, latents, levels, bytes, bits per pixel.
    """
    path = webui.required(blob, "Choose a blob first.")
    with webui.errors_in_the_page():
        return describe(read_header(read_blob(path, "", False)))


def decode(
    blob: str | None,
    picture_format: str = "PNG",
    decoder: str = "",
    space: str = "",
    raw: bool = False,
    legacy_range: bool = False,
    progress=gr.Progress(),
) -> tuple[str, str, list[tuple[str, str]], dict]:
    """Turn a latent blob back into a picture.

    Args:
        blob: A .l8 file, latents as RGBA PNG, a ComfyUI .latent, .safetensors or .npy file; told apart by content.
        picture_format: PNG (lossless), WebP or JPEG.
        decoder: Name of another model of the blob's latent space; empty for the blob's own.
        space: Latent space of a file that does not say it, sd1, sdxl, sd3, flux1 or l8-tiny.
        raw: Whether .npy and .safetensors hold the autoencoder's raw latents instead of the scaled ones.
        legacy_range: For PNGs of early Spaces, which look pale and bright otherwise.

    Returns:
        The picture as a file under its original name; the same for viewing, as PNG; pictures of the latents; the
        header in words.
    """
    path = webui.required(blob, "Choose a blob first.")
    progress(0.2, desc="Decoding")
    with webui.errors_in_the_page():
        header, symbols, picture, seconds = decode_blob(path, decoder, space, raw, legacy_range)
        progress(0.7, desc="Writing the picture")
        folder = webui.request_folder()
        stem, suffix = stem_of(header, path), FORMATS[picture_format]
        view = webui.save_view(folder, f"{stem}.view.png", picture)
        file = webui.save_bytes(folder, f"{stem}{suffix}", picture_bytes(picture.image(), suffix))
        used = {"decoder": decoder or webui.model_name(header), "decode_seconds": round(seconds, 3)}
        found = {**describe(header), **used}
        return file, view, webui.save_latent_views(folder, header, symbols), found


def decode_batch(
    blobs: list[str] | None, picture_format: str = "PNG", progress=gr.Progress()
) -> tuple[str | None, list[list]]:
    """Turn many blobs back into pictures, in one ZIP; one bad file does not stop the rest.

    Args:
        blobs: .l8 files, latents as RGBA PNG, or files of latents that say their latent space.
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


def compare(
    blob: str | None,
    left: str = ORIGINAL,
    right: str | None = None,
    original: str | None = None,
    progress=gr.Progress(),
) -> tuple[tuple[str, str], list[tuple[str, str]], list[dict]]:
    """Decode a latent blob with two decoders, or with one and put it beside the original.

    Args:
        blob: A .l8 file, latents as RGBA PNG, or a file of latents that says its latent space.
        left: A model of the blob's latent space, or "original".
        right: Another; by default the model that the blob was made with.
        original: The picture that the blob was made from; with it there are distances from it.

    Returns:
        Both pictures as PNG; maps of where they differ; for each decoder its seconds, PSNR, SSIM, MAE and MSE.
    """
    path = webui.required(blob, "Choose a blob first.")
    with webui.errors_in_the_page():
        header = read_header(read_blob(path, "", False))
        made_with = model_with_id(header.model_id)
        right = right or made_with.name
        if left == right:
            raise Latent8Error(f"Both sides are {left}: choose two that differ.")
        decoders = [name for name in (left, right) if name != ORIGINAL]
        for name in decoders:
            require_decoder(header, made_with if name == made_with.name else model_named(name))
        if len(decoders) < 2 and not original:
            raise Latent8Error("Give the original too, or choose two decoders.")
        truth = original_of(header, original, DEFAULT_MAX_PIXELS) if original else None
        decoded = []
        for index, name in enumerate(decoders):
            progress(index / len(decoders), desc=f"Decoding with {name}")
            _, _, picture, seconds = decode_blob(path, name)
            decoded.append(measured(name, picture, seconds, truth))
        found, folder, stem = Comparison(decoded, truth), webui.request_folder(), stem_of(header, path)
        views = {one.decoder: webui.save_view(folder, f"{stem}.{one.decoder}.png", one.picture) for one in decoded}
        if truth:
            views[ORIGINAL] = webui.save_view(folder, f"{stem}.{ORIGINAL}.png", truth)
        maps = []
        for one in found.differences():
            file = folder / f"{stem}.{one.first}-{one.second}.difference.png"
            one.image.save(file, compress_level=1)
            maps.append((str(file), f"{one.first} and {one.second}: at most {one.greatest} of 255"))
        return (views[left], views[right]), maps, found.rows()


def figures(rows: list[dict] | None) -> str:
    """The rows of a comparison as a table for people, one column for each decoder."""
    if not rows:
        return ""
    lines = [
        [title, *(format(row[name], form) for row in rows)]
        for name, (title, form) in COLUMNS.items()
        if rows[0][name] is not None
    ]
    return webui.figures_table(["", *(row["decoder"] for row in rows)], lines)


def fitting_sides(blob: str | None):
    """Choices for both sides of the slider, of the decoders that fit the blob; the last results go."""
    fitting = []
    if blob:
        with webui.errors_in_the_page():
            fitting = decoders_for(read_header(read_blob(blob, "", False)))
    left = gr.Dropdown([*fitting, ORIGINAL], value=fitting[1] if len(fitting) > 1 else ORIGINAL)
    return left, gr.Dropdown(fitting, value=fitting[0] if fitting else None), None, [], None


def sides_named(left: str, right: str):
    return gr.ImageSlider(label=f"{left} | {right}")


def facts(found: dict | None) -> str:
    """The header as a table for people."""
    if not found:
        return ""
    rows = [
        ("Model", found["model"]),
        ("Latent space", found["space"]),
        ("Picture", f"{found['width']} x {found['height']} pixels"),
        ("Latents", latents_text(found)),
        ("Blob", f"{webui.size_text(found['bytes'])}, {found['coding']}"),
        ("Bits per pixel", f"{found['bpp']:.3f}"),
        ("Transparency", found["alpha"]),
    ]
    if found["name"]:
        rows.append(("Name", found["name"]))
    if "decode_seconds" in found:
        rows.append(("Decoded", f"by {found['decoder']} in {found['decode_seconds']:.2f} s"))
    return webui.facts_table(rows)


def latents_text(found: dict) -> str:
    if "quality" in found:
        return f"{found['latents']}, quality {found['quality']}"
    return f"{found['latents']}, {found['levels']} levels from {found['range']}"


def build() -> gr.Blocks:
    with webui.blocks("latent8 decoder") as demo:
        gr.Markdown("# latent8 decoder\nDrop a .l8 file, or other tools' latents: get the picture.")
        with gr.Tab("One blob"):
            build_single()
        with gr.Tab("Many blobs"):
            build_batch()
        with gr.Tab("Compare"):
            build_comparison()
        with gr.Accordion("Models", open=False):
            gr.HTML(webui.models_table())
        gr.Markdown(webui.NOTICE, elem_classes="notice")
    return demo


def build_single() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            blob = gr.File(label="Blob", type="filepath", elem_id="blob", height=140)
            picture_format = gr.Radio(list(FORMATS), value="PNG", label="Download as", elem_id="format")
            decoder = gr.Dropdown(
                [(AS_NAMED, ""), *((webui.size_of_model(m.name), m.name) for m in models())],
                value="",
                label="Decoder",
                info="Those of the blob's latent space.",
                elem_id="decoder",
            )
            with gr.Accordion("Latents of other tools", open=False):
                space = gr.Dropdown(
                    [("as the file says", ""), *SPACE_NAMES], value="", label="Latent space", elem_id="space"
                )
                raw = webui.raw_switch()
                legacy_range = gr.Checkbox(
                    label="Legacy range",
                    info="For PNGs of early Spaces, which look pale and bright otherwise.",
                    elem_id="legacy-range",
                )
                webui.conversion(blob, space, raw)
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
            latents = webui.gallery("Latents", 5, "latents")
    found = gr.JSON(visible=False, label="Header")
    header = gr.JSON(visible=False, label="Header")

    inputs, outputs = [blob, picture_format, decoder, space, raw, legacy_range], [file, view, latents, found]
    inspect_button = gr.Button("Inspect", visible=False)  # the endpoint for programs; the page shows more
    inspect_button.click(inspect, [blob], [header], api_name="inspect")
    clicked = button.click(decode, inputs, outputs, api_name="decode", **webui.TAKE_TURNS)
    private: dict[str, Any] = {"api_visibility": "private", **webui.TAKE_TURNS}
    fitted = gr.on(
        [blob.change, space.input, raw.input],
        fitting_decoders,
        [blob, space, raw],
        [decoder],
        api_visibility="private",
        show_progress="hidden",
    )
    dropped = fitted.then(decode_if_any, inputs, outputs, **private)
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
            for name in decoders_for(read_header(read_blob(blob, space, raw))):
                choices.append((webui.size_of_model(name), name))
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
            maps = webui.gallery("Where they differ", 3, "differences")
    found = gr.JSON(visible=False, label="Figures")

    blob.change(
        fitting_sides,
        [blob],
        [left, right, sides, maps, found],
        api_visibility="private",
        show_progress="hidden",
    ).then(figures, [found], [figures_view], api_visibility="private", show_progress="hidden")
    inputs, outputs = [blob, left, right, original], [sides, maps, found]
    clicked = button.click(compare, inputs, outputs, api_name="compare", **webui.TAKE_TURNS)
    shown = clicked.success(figures, [found], [figures_view], api_visibility="private", show_progress="hidden")
    shown.then(sides_named, [left, right], [sides], api_visibility="private", show_progress="hidden")


demo = build()

if __name__ == "__main__":
    webui.launch(demo)
