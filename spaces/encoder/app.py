"""Encoder app: photos in, .l8 blobs out, with a look at what comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np

from latent8 import rivals, webui
from latent8.blob import Header, clean_stem, pack, read_header
from latent8.errors import Latent8Error
from latent8.metrics import psnr, ssim
from latent8.models import DEFAULT_MODEL, models
from latent8.pictures import Picture, open_picture
from latent8.rgba_png import write_rgba_png

EXAMPLES_FOLDER = Path(__file__).resolve().parent / "examples"
EXAMPLES = sorted(EXAMPLES_FOLDER.glob("*.jpg"))
EXAMPLE_CREDITS = (
    "Examples: picos, aitzgorri, life, sunset by Aitzol Berasategi (CC BY 4.0), wine by Jakkub Mede (CC BY 4.0), "
    "seeding by Clements Engelhardt (CC0); scaled down."
)
BATCH_COLUMNS = ["File", "Result", "Bytes", "bpp", "PSNR dB"]


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


def encode_photo(photo: str, model: str, levels: int, longest_side: int) -> Encoded:
    """Raises Latent8Error for a photo or model that does not work, gr.Error from the GPU part."""
    max_pixels = webui.codec(model).max_pixels  # loads the model, which is not part of the time below
    started = time.perf_counter()
    picture = open_picture(photo, max_pixels, longest_side or None)
    opened = time.perf_counter()
    header, symbols, alpha, reconstruction, analysis_s, synthesis_s = round_trip(picture, model, levels)
    packing = time.perf_counter()
    blob = pack(header, symbols, alpha)
    encode_seconds = opened - started + analysis_s + time.perf_counter() - packing
    return Encoded(picture, reconstruction, read_header(blob), symbols, blob, encode_seconds, synthesis_s)


def gpu_seconds(picture: Picture, model: str, levels: int) -> int:
    return 10 + picture.width * picture.height // 4_000_000


@webui.gpu(duration=gpu_seconds)
def round_trip(picture: Picture, model: str, levels: int) -> tuple[Header, np.ndarray, bytes, Picture, float, float]:
    """Picture -> header, symbols, alpha plane, reconstruction, seconds of analysis and of synthesis."""
    with webui.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec = webui.codec(model)
        started = time.perf_counter()
        header, symbols, alpha = codec.analyse(picture, levels)
        middle = time.perf_counter()
        reconstruction = codec.synthesise(header, symbols, alpha)
        return header, symbols, alpha, reconstruction, middle - started, time.perf_counter() - middle


def encode(
    photo: str | None, model: str = DEFAULT_MODEL, levels: int = 256, longest_side: int = 0, progress=gr.Progress()
) -> tuple[str, str | None, tuple[str, str], list[tuple[str, str]], dict]:
    """Turn a photo into a small latent blob (.l8), and show what comes back.

    Args:
        photo: JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF file.
        model: Name of the model, l8-tiny or taesd.
        levels: Values per latent, 16 to 256; fewer make smaller blobs and coarser pictures.
        longest_side: Shrink larger pictures to this many pixels; 0 keeps the size.

    Returns:
        The blob; the latents as RGBA PNG; original and reconstruction as PNG; pictures of the latents; numbers.
    """
    path = webui.required(photo, "Choose a photo first.")
    progress(0.1, desc="Encoding")
    with webui.errors_in_the_page():
        done = encode_photo(path, model, int(levels), int(longest_side or 0))
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
        return (
            blob_file,
            png_file,
            pictures,
            webui.save_latent_views(folder, done.header, done.symbols),
            numbers(path, done),
        )


def numbers(photo: str, done: Encoded) -> dict:
    """What the table shows, for machines. Sizes in bytes, PSNR in dB, bpp in bits per pixel."""
    n_upload = Path(photo).stat().st_size
    n_pixels = done.picture.width * done.picture.height
    distance = psnr(done.picture.rgb, done.reconstruction.rgb)
    return {
        "file": f"{done.stem}.l8",
        "model": webui.model_name(done.header),
        "levels": done.header.quantiser.levels,
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
    levels: int = 256,
    longest_side: int = 0,
    progress=gr.Progress(),
) -> tuple[str | None, list[list]]:
    """Turn many photos into latent blobs, in one ZIP; one bad file does not stop the rest.

    Args:
        photos: Picture files.
        model: Name of the model, l8-tiny or taesd.
        levels: Values per latent, 16 to 256.
        longest_side: Shrink larger pictures to this many pixels; 0 keeps the size.

    Returns:
        A ZIP of blobs, or nothing when no photo could be encoded; a table that says what happened to each.
    """
    paths = webui.required(photos, "Choose some photos first.")
    with webui.errors_in_the_page():
        webui.codec(model)  # a model that cannot be loaded is one error, not one for each photo
    folder, taken = webui.request_folder(), set[str]()
    rows: list[list] = []
    with webui.ZipWriter(folder / "latents.zip") as archive:
        for index, photo in enumerate(paths):
            progress(index / len(paths), desc=f"Photo {index + 1} of {len(paths)}")
            name = Path(photo).name
            try:
                done = encode_photo(photo, model, int(levels), int(longest_side or 0))
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
        ("Blob", webui.size_text(found["blob_bytes"])),
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


def compare(found: dict | None, pictures: tuple[str, str] | None) -> tuple[str, list[tuple[str, str]]]:
    """WebP and AVIF at the same number of bytes: a table and their pictures."""
    if not found or not pictures:
        return "", []
    original = open_picture(pictures[0], 1 << 30).rgb
    rows = [("latent8", found["blob_bytes"], f"{found['psnr_db']:.2f}", f"{found['ssim']:.4f}")]
    gallery = []
    folder = webui.request_folder()
    for rival in rivals.at_most(found["blob_bytes"], original):
        if rival.image is None:
            least = f"smallest {rival.n_bytes:,}" if rival.n_bytes else "too large a picture"
            rows.append((rival.name, least, "", ""))
            continue
        rows.append((rival.name, rival.n_bytes, f"{rival.psnr_db:.2f}", f"{rival.ssim:.4f}"))
        path = folder / f"{rival.name.lower()}-quality-{rival.quality}.png"
        rival.image.save(path, "PNG", compress_level=1)
        gallery.append((str(path), f"{rival.name} in {rival.n_bytes:,} bytes"))
    gallery.insert(0, (pictures[1], f"latent8 in {found['blob_bytes']:,} bytes"))
    return webui.comparison_table(rows), gallery


def build() -> gr.Blocks:
    with webui.blocks("latent8 encoder") as demo:
        gr.Markdown("# latent8 encoder\nDrop a photo: get a small file of 8-bit latents, and see what comes back.")
        with gr.Tab("One photo"):
            build_single()
        with gr.Tab("Many photos"):
            build_batch()
        gr.Markdown(webui.NOTICE, elem_classes="notice")
    return demo


def choices() -> list[gr.components.Component]:
    names = [(f"{m.name} ({'bundled' if m.bundled else 'download'})", m.name) for m in models()]
    return [
        gr.Dropdown(names, value=DEFAULT_MODEL, label="Model", min_width=220),
        gr.Slider(16, 256, value=256, step=1, label="Levels", info="Values per latent: fewer make smaller files."),
        gr.Number(
            0, label="Longest side", info="Shrink to this many pixels; 0 keeps the size.", precision=0, minimum=0
        ),
    ]


def build_single() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = gr.File(label="Photo", type="filepath", elem_id="photo", height=140)
            with gr.Accordion("Settings", open=False):
                inputs = [photo, *choices()]
            button = gr.Button("Encode", variant="primary", elem_id="encode")
            with gr.Row():
                blob = gr.DownloadButton("Download .l8", interactive=False, elem_id="blob", min_width=120, size="md")
                png = gr.DownloadButton("Latents as PNG", interactive=False, elem_id="png", min_width=120, size="md")
            facts_view = gr.HTML(elem_id="facts")
        with gr.Column(scale=3, min_width=300):
            slider = gr.ImageSlider(
                label="Original | decoded", format="png", type="filepath", interactive=False, elem_id="slider"
            )
            latents = webui.gallery("Latents", 5, "latents")
            with gr.Accordion("WebP and AVIF in the same number of bytes", open=False):
                rivals_view = gr.HTML(elem_id="rivals")
                rivals_gallery = webui.gallery("In the same bytes", 3, "rival-pictures")
    found = gr.JSON(visible=False, label="Numbers")
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

    outputs = [blob, png, slider, latents, found]
    clicked = button.click(encode, inputs, outputs, api_name="encode", **webui.TAKE_TURNS)
    changed = photo.change(
        encode_if_any, inputs, outputs, api_visibility="private", show_progress="full", **webui.TAKE_TURNS
    )
    for event in (clicked, changed):
        shown = event.success(facts, [found], [facts_view], api_visibility="private", show_progress="hidden")
        shown = shown.then(ready, [blob, png], [blob, png], api_visibility="private", show_progress="hidden")
        shown.then(
            compare, [found, slider], [rivals_view, rivals_gallery], api_visibility="private", **webui.TAKE_TURNS
        )


def encode_if_any(photo: str | None, model: str, levels: int, longest_side: int, progress=gr.Progress()):
    """As `encode`, started by dropping a file; taking the file away clears the results."""
    return encode(photo, model, levels, longest_side, progress) if photo else (None, None, None, [], None)


def example(event: gr.SelectData) -> str:
    """The example photo that was clicked, as if it had been dropped."""
    return str(EXAMPLES[event.index])


def ready(blob: str | None, png: str | None):
    """Download buttons work once there is something behind them."""
    return gr.DownloadButton(interactive=bool(blob)), gr.DownloadButton(interactive=bool(png))


def build_batch() -> None:
    photos = gr.File(label="Photos", file_count="multiple", type="filepath", elem_id="photos", height=200)
    with gr.Row():
        settings = choices()
    button = gr.Button("Encode all", variant="primary", elem_id="encode-all")
    archive = gr.File(label="Blobs in one ZIP", elem_id="zip", interactive=False)
    table = webui.results_table(BATCH_COLUMNS, ["str", "str", "number", "number", "number"])
    button.click(
        encode_batch,
        [photos, *settings],
        [archive, table],
        api_name="encode_batch",
        **webui.TAKE_TURNS,
    )


demo = build()

if __name__ == "__main__":
    webui.launch(demo, served=EXAMPLES_FOLDER)
