"""Encoder app: photos in, .l8 blobs out, with a look at what comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
import pandas as pd

from latent8 import rivals, webui
from latent8.blob import Header, clean_stem, read_header
from latent8.codec import pack
from latent8.errors import Latent8Error
from latent8.metrics import psnr, ssim
from latent8.models import DEFAULT_MODEL, HYPERPRIOR, model_named, models
from latent8.pictures import Picture, open_picture
from latent8.rgba_png import write_rgba_png
from latent8.settings import DEFAULT_QUALITY, Settings

EXAMPLES_FOLDER = Path(__file__).resolve().parent / "examples"
EXAMPLES = sorted(EXAMPLES_FOLDER.glob("*.jpg"))
EXAMPLE_CREDITS = (
    "Examples: picos, aitzgorri, life, sunset by Aitzol Berasategi (CC BY 4.0), wine by Jakkub Mede (CC BY 4.0), "
    "seeding by Clements Engelhardt (CC0); scaled down."
)
BATCH_COLUMNS = ["File", "Result", "Bytes", "bpp", "PSNR dB"]
CURVE_QUALITIES = (1, 15, 30, 45, 60, 75, 90)
CURVE_SIDE = 768  # pixels: larger pictures are shrunk to it for the curves, so that they take a second or two
ORIGINAL = "Original"


@dataclass
class Encoded:
    """One photo, its blob, and what the blob gives back."""

    picture: Picture
    reconstruction: Picture
    header: Header
    symbols: np.ndarray
    blob: bytes
    encode_seconds: float
    decode_seconds: float

    @property
    def stem(self) -> str:
        return clean_stem(self.picture.stem or "")


def settings_of(model: str, quality: int, fit_kb: float, levels: int) -> Settings:
    """Of the page's controls, those that the model has."""
    if model_named(model).kind != HYPERPRIOR:
        return Settings(levels=int(levels))
    return Settings(target_bytes=int(1000 * fit_kb)) if fit_kb else Settings(quality=int(quality))


def encode_photo(photo: str, model: str, settings: Settings, longest_side: int) -> Encoded:
    """Raises Latent8Error for a photo or model that does not work, gr.Error from the GPU part."""
    max_pixels = webui.codec(model).max_pixels  # loads the model, which is not part of the time below
    started = time.perf_counter()
    picture = open_picture(photo, max_pixels, longest_side or None)
    opened = time.perf_counter()
    header, symbols, alpha, reconstruction, analysis_s, synthesis_s = round_trip(picture, model, settings)
    packing = time.perf_counter()
    blob = pack(header, symbols, alpha)
    encode_seconds = opened - started + analysis_s + time.perf_counter() - packing
    return Encoded(picture, reconstruction, read_header(blob), symbols, blob, encode_seconds, synthesis_s)


def gpu_seconds(picture: Picture, model: str, *_: object) -> int:
    return 2 * webui.gpu_seconds(model, picture.width * picture.height)


@webui.gpu(duration=gpu_seconds)
def round_trip(
    picture: Picture, model: str, settings: Settings
) -> tuple[Header, np.ndarray, bytes, Picture, float, float]:
    """Picture -> header, symbols, alpha plane, reconstruction, seconds of analysis and synthesis."""
    with webui.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec = webui.codec(model)
        started = time.perf_counter()
        header, symbols, alpha = codec.analyse(picture, settings)
        middle = time.perf_counter()
        reconstruction = codec.synthesise(header, symbols, alpha)
        seconds = middle - started, time.perf_counter() - middle
        return header, symbols, alpha, reconstruction, *seconds


def encode(
    photo: str | None,
    model: str = DEFAULT_MODEL,
    quality: int = DEFAULT_QUALITY,
    fit_kb: float = 0,
    levels: int = 256,
    longest_side: int = 0,
    progress=gr.Progress(),
) -> tuple[str, str | None, tuple[str, str], list[tuple[str, str]], dict]:
    """Turn a photo into a small latent blob (.l8), and show what comes back.

    Args:
        photo: JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF file.
        model: Name of the model, l8-photo, l8-tiny, taesd, taesdxl, taesd3, taef1, sd-vae-ft-mse or sdxl-vae.
        quality: Of l8-photo, 1 to 100; lower makes smaller blobs.
        fit_kb: With l8-photo, the best quality that fits into this many kilobytes; 0 goes by quality.
        levels: Values per latent of the other models, 16 to 256; fewer make smaller blobs and coarser pictures.
        longest_side: Shrink larger pictures to this many pixels; 0 keeps the size.

    Returns:
        The blob; the latents as RGBA PNG, of models with 4 channels; original and reconstruction as PNG; pictures of
        the latents; numbers.
    """
    path = webui.required(photo, "Choose a photo first.")
    progress(0.1, desc="Encoding")
    with webui.errors_in_the_page():
        settings = settings_of(model, quality, fit_kb, levels)
        done = encode_photo(path, model, settings, int(longest_side or 0))
        progress(0.7, desc="Measuring")
        folder = webui.request_folder()
        blob_file = webui.save_bytes(folder, f"{done.stem}.l8", done.blob)
        png_file = None
        if done.header.channels == 4:
            png = write_rgba_png(done.header, done.symbols)
            png_file = webui.save_bytes(folder, f"{done.stem}.encoded.png", png)
        pictures = (
            webui.save_view(folder, f"{done.stem}.original.png", done.picture),
            webui.save_view(folder, f"{done.stem}.decoded.png", done.reconstruction),
        )
        views = webui.save_latent_views(folder, done.header, done.symbols)
        return blob_file, png_file, pictures, views, numbers(path, done)


def numbers(photo: str, done: Encoded) -> dict:
    """What the table shows, for machines. Sizes in bytes, PSNR in dB, bpp in bits per pixel."""
    n_upload = Path(photo).stat().st_size
    n_pixels = done.picture.width * done.picture.height
    distance = psnr(done.picture.rgb, done.reconstruction.rgb)
    return {
        "file": f"{done.stem}.l8",
        "model": webui.model_name(done.header),
        "quality": done.header.quality,
        "levels": None if done.header.quality else done.header.quantiser.levels,
        "width": done.picture.width,
        "height": done.picture.height,
        "upload_bytes": n_upload,
        "blob_bytes": len(done.blob),
        "bpp": round(done.header.bpp, 4),
        "ratio_to_upload": round(n_upload / len(done.blob), 2),
        "ratio_to_raw_rgb": round(3 * n_pixels / len(done.blob), 1),
        "psnr_db": round(min(distance, 99.0), 2),
        "ssim": round(ssim(done.picture.rgb, done.reconstruction.rgb), 4),
        "encode_seconds": round(done.encode_seconds, 3),
        "decode_seconds": round(done.decode_seconds, 3),
    }


def encode_batch(
    photos: list[str] | None,
    model: str = DEFAULT_MODEL,
    quality: int = DEFAULT_QUALITY,
    fit_kb: float = 0,
    levels: int = 256,
    longest_side: int = 0,
    progress=gr.Progress(),
) -> tuple[str | None, list[list]]:
    """Turn many photos into latent blobs, in one ZIP; one bad file does not stop the rest.

    Args:
        photos: Picture files.
        model: Name of the model, l8-photo, l8-tiny, taesd, taesdxl, taesd3, taef1, sd-vae-ft-mse or sdxl-vae.
        quality: Of l8-photo, 1 to 100; lower makes smaller blobs.
        fit_kb: With l8-photo, the best quality that fits each photo into this many kilobytes; 0 goes by quality.
        levels: Values per latent of the other models, 16 to 256; fewer make smaller blobs and coarser pictures.
        longest_side: Shrink larger pictures to this many pixels; 0 keeps the size.

    Returns:
        A ZIP of blobs, or nothing when no photo could be encoded; a table that says what happened to each.
    """
    paths = webui.required(photos, "Choose some photos first.")
    with webui.errors_in_the_page():
        settings = settings_of(model, quality, fit_kb, levels)
        webui.codec(model)  # a model that cannot be loaded is one error, not one for each photo
        folder, taken = webui.request_folder(), set[str]()
    rows: list[list] = []
    with webui.errors_in_the_page(), webui.ZipWriter(folder / "latents.zip") as archive:
        for index, photo in enumerate(paths):
            progress(index / len(paths), desc=f"Photo {index + 1} of {len(paths)}")
            name = Path(photo).name
            try:
                done = encode_photo(photo, model, settings, int(longest_side or 0))
            except (Latent8Error, gr.Error) as error:
                rows.append([name, webui.message(error), None, None, None])
                continue
            blob_name = webui.unique_name(done.stem, ".l8", taken)
            archive.add(blob_name, done.blob)
            distance = min(psnr(done.picture.rgb, done.reconstruction.rgb), 99.0)
            rows.append([name, blob_name, len(done.blob), round(done.header.bpp, 3), round(distance, 2)])
    return archive.path_if_filled(), rows


def facts(found: dict | None) -> str:
    """The numbers as a table for people."""
    if not found:
        return ""
    rows = [
        ("Upload", webui.size_text(found["upload_bytes"])),
        ("Pixels", f"{found['width']} x {found['height']}"),
        ("Blob", webui.size_text(found["blob_bytes"]) + (f", quality {found['quality']}" if found["quality"] else "")),
        ("Bits per pixel", f"{found['bpp']:.3f}"),
        ("Smaller than the upload", f"{found['ratio_to_upload']:g} times"),
        ("Smaller than raw RGB", f"{found['ratio_to_raw_rgb']:g} times"),
        ("PSNR", f"{found['psnr_db']:.2f} dB"),
        ("SSIM", f"{found['ssim']:.4f}"),
        ("Encode, decode", f"{found['encode_seconds']:.2f} s, {found['decode_seconds']:.2f} s"),
    ]
    larger = found["blob_bytes"] > found["upload_bytes"]
    warning = "The blob is larger than the upload: for this picture the upload itself is the better file."
    return webui.facts_table(rows, warning if larger else "")


def compare(
    found: dict | None, pictures: tuple[str, str] | None
) -> tuple[str, list[tuple[str, str]], dict[str, str], str]:
    """WebP and AVIF at the same number of bytes: a table, their pictures, and all files for the slider by name."""
    if not found or not pictures:
        return "", [], {}, ORIGINAL
    original = open_picture(pictures[0], 1 << 30).rgb
    rows = [["latent8", f"{found['blob_bytes']:,}", f"{found['psnr_db']:.2f}", f"{found['ssim']:.4f}"]]
    gallery = []
    files = {"decoded": pictures[1], ORIGINAL: pictures[0]}
    folder = webui.request_folder()
    for rival in rivals.at_most(found["blob_bytes"], original):
        if rival.image is None:
            least = f"smallest {rival.n_bytes:,}" if rival.n_bytes else "too large a picture"
            rows.append([rival.name, least, "", ""])
            continue
        rows.append([rival.name, f"{rival.n_bytes:,}", f"{rival.psnr_db:.2f}", f"{rival.ssim:.4f}"])
        path = folder / f"{rival.name.lower()}-quality-{rival.quality}.png"
        rival.image.save(path, "PNG", compress_level=1)
        gallery.append((str(path), f"{rival.name} in {rival.n_bytes:,} bytes"))
        files[rival.name] = str(path)
    gallery.insert(0, (pictures[1], f"latent8 in {found['blob_bytes']:,} bytes"))
    return webui.figures_table(["", "Bytes", "PSNR dB", "SSIM"], rows), gallery, files, ORIGINAL


def put_beside(against: str, files: dict[str, str]):
    """The slider, with the original or a rival on its left side."""
    if not files:
        return gr.skip()
    if against not in files:
        gr.Info(f"{against} cannot make this picture as small as the blob is.")
        against = ORIGINAL
    return gr.ImageSlider((files[against], files["decoded"]), label=f"{against} | decoded")


def curves(found: dict | None, pictures: tuple[str, str] | None) -> pd.DataFrame | None:
    """Size and PSNR of this picture at several settings: the model's, WebP's and AVIF's."""
    if not found or not pictures:
        return None
    with webui.errors_in_the_page():
        picture = open_picture(pictures[0], 1 << 30, CURVE_SIDE)
        opaque = Picture(picture.rgb)
        slow = model_named(found["model"]).kind in webui.MAX_PIXELS
        points = ([] if slow else own_curve(opaque, found["model"])) + rivals.curve(opaque.rgb)
    columns = ["codec", "setting", "KB", "PSNR dB"]
    rows = [(name, setting, n_bytes / 1000, min(distance, 99.0)) for name, setting, n_bytes, distance in points]
    return pd.DataFrame(rows, columns=columns)


@webui.gpu(duration=lambda *_: 15)
def own_curve(picture: Picture, model: str) -> list[tuple[str, int, int, float]]:
    """(model, quality or levels, bytes, PSNR in dB)."""
    codec, hyperprior = webui.codec(model), model_named(model).kind == HYPERPRIOR
    points = []
    for value in CURVE_QUALITIES if hyperprior else (16, 64, 256):
        settings = Settings(quality=value) if hyperprior else Settings(levels=value)
        header, symbols, alpha = codec.analyse(picture, settings)
        decoded = codec.synthesise(header, symbols, alpha).rgb
        points.append((model, value, len(pack(header, symbols, alpha)), psnr(picture.rgb, decoded)))
    return points


def build() -> gr.Blocks:
    with webui.blocks("latent8 encoder") as demo:
        gr.Markdown("# latent8 encoder\nDrop a photo: get a small file of 8-bit latents, and see what comes back.")
        with gr.Tab("One photo"):
            build_single()
        with gr.Tab("Many photos"):
            build_batch()
        with gr.Accordion("Models", open=False):
            gr.HTML(webui.models_table())
        gr.Markdown(webui.NOTICE, elem_classes="notice")
    return demo


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
    names = [(webui.size_of_model(m.name), m.name) for m in models() if m.encodes]
    hyperprior = model_named(DEFAULT_MODEL).kind == HYPERPRIOR
    quality = gr.Slider(1, 100, value=DEFAULT_QUALITY, step=1, label="Quality", visible=hyperprior, elem_id="quality")
    with gr.Accordion("More settings", open=False):
        model = gr.Dropdown(names, value=DEFAULT_MODEL, label="Model", min_width=220)
        fit_kb = gr.Number(
            0,
            label="Fit into KB",
            info="The best quality that fits; 0 goes by the slider.",
            minimum=0,
            visible=hyperprior,
            elem_id="fit",
        )
        levels = gr.Slider(
            16,
            256,
            value=256,
            step=1,
            label="Levels",
            info="Values per latent: fewer make smaller files.",
            visible=not hyperprior,
        )
        longest_side = gr.Number(
            0, label="Longest side", info="Shrink to this many pixels; 0 keeps the size.", precision=0, minimum=0
        )
    made = Controls(model, quality, fit_kb, levels, longest_side)
    model.change(fitting_controls, [model], [quality, fit_kb, levels], api_visibility="private", show_progress="hidden")
    return made


def fitting_controls(model: str):
    """Only what the model has is shown."""
    hyperprior = model_named(model).kind == HYPERPRIOR
    return gr.Slider(visible=hyperprior), gr.Number(visible=hyperprior), gr.Slider(visible=not hyperprior)


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
                raw = webui.raw_switch()
                converted = webui.conversion(blob, gr.State(""), raw)
        with gr.Column(scale=3, min_width=300):
            slider = gr.ImageSlider(
                label=f"{ORIGINAL} | decoded", format="png", type="filepath", interactive=False, elem_id="slider"
            )
            against = gr.Radio(
                [ORIGINAL, "WebP", "AVIF"],
                value=ORIGINAL,
                label="Compare with",
                info="WebP and AVIF in the same number of bytes.",
                elem_id="against",
            )
            latents = webui.gallery("Latents", 5, "latents")
            with gr.Accordion("WebP and AVIF in the same number of bytes", open=False):
                rivals_view = gr.HTML(elem_id="rivals")
                rivals_gallery = webui.gallery("In the same bytes", 3, "rival-pictures")
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
    files = gr.State({})
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
    against.input(put_beside, [against, files], [slider], api_visibility="private", show_progress="hidden")

    outputs = [blob, png, slider, latents, found]
    clicked = button.click(encode, inputs, outputs, api_name="encode", **webui.TAKE_TURNS)
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
        **webui.TAKE_TURNS,
    )
    for event in (clicked, changed):
        shown = event.success(facts, [found], [facts_view], api_visibility="private", show_progress="hidden")
        shown = shown.then(lambda: None, None, [converted], api_visibility="private", show_progress="hidden")
        shown = shown.then(ready, [blob, png], [blob, png], api_visibility="private", show_progress="hidden")
        compared = shown.then(
            compare,
            [found, slider],
            [rivals_view, rivals_gallery, files, against],
            api_visibility="private",
            show_progress="hidden",
            **webui.TAKE_TURNS,
        )
        compared.success(
            curves, [found, slider], [plot], api_visibility="private", show_progress="hidden", **webui.TAKE_TURNS
        )


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


def ready(blob: str | None, png: str | None):
    """Download buttons work once there is something behind them."""
    return gr.DownloadButton(interactive=bool(blob)), gr.DownloadButton(interactive=bool(png))


def build_batch() -> None:
    photos = gr.File(label="Photos", file_count="multiple", type="filepath", elem_id="photos", height=200)
    control = controls()
    button = gr.Button("Encode all", variant="primary", elem_id="encode-all")
    archive = gr.File(label="Blobs in one ZIP", elem_id="zip", interactive=False)
    table = webui.results_table(BATCH_COLUMNS, ["str", "str", "number", "number", "number"])
    button.click(
        encode_batch,
        [photos, *control.all()],
        [archive, table],
        api_name="encode_batch",
        **webui.TAKE_TURNS,
    )


demo = build()

if __name__ == "__main__":
    webui.launch(demo, served=EXAMPLES_FOLDER)
