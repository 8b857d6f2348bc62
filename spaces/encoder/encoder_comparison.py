"""The encoder's blob against WebP and AVIF: in the same number of bytes, and over a range of sizes."""

from __future__ import annotations

import gradio as gr
import pandas as pd

from latent8.apps import parts, work
from latent8.apps.files import request_folder
from latent8.evaluation import baselines
from latent8.evaluation.comparison import MAX_PSNR
from latent8.evaluation.metrics import psnr
from latent8.pictures.intake import Picture, open_picture
from latent8.zoo.registry import model_named
from latent8.zoo.settings import Settings

CURVE_QUALITIES = (1, 15, 30, 45, 60, 75, 90)
CURVE_SIDE = 768  # pixels: larger pictures are shrunk to it for the curves, so that they take a second or two
ORIGINAL = "Original"
MAX_COMPARED = 8_000_000  # pixels: AVIF takes half a minute for so many


def compare(
    found: dict | None, pictures: tuple[str, str] | None
) -> tuple[str, list[tuple[str, str]], dict[str, str], dict[str, str]]:
    """WebP and AVIF at the same number of bytes: a table, their pictures, and by name all files for the slider, and
    why there is none.

    An alpha plane counts for neither side: the others would be given its bytes for their colours.
    """
    if not found or not pictures:
        return "", [], {}, {}
    with work.errors_in_the_page():
        original = open_picture(pictures[0], 1 << 30).rgb
        n_bytes = found["blob_bytes"] - found["alpha_bytes"]
        name = "latent8, without its alpha plane" if found["alpha_bytes"] else "latent8"
        rows = [[name, f"{n_bytes:,}", f"{found['psnr_db']:.2f}", f"{found['ssim']:.4f}"]]
        gallery, missing = [], {}
        shown = {"decoded": pictures[1], ORIGINAL: pictures[0]}
        folder = request_folder()
        compared = baselines.at_most(n_bytes, original) if original[..., 0].size <= MAX_COMPARED else []
        if not compared:
            not_tried = f"pictures over {MAX_COMPARED // 10**6} megapixels are not tried"
            rows.append([f"WebP, AVIF: {not_tried}", "", "", ""])
            missing = {name: f"{name}: {not_tried}." for name in ("WebP", "AVIF")}
        for rival in compared:
            if rival.image is None:
                least = f"smallest {rival.n_bytes:,}" if rival.n_bytes else "too large a picture"
                rows.append([rival.name, least, "", ""])
                missing[rival.name] = f"{rival.name} cannot make this picture as small as the blob is ({least})."
                continue
            rows.append([rival.name, f"{rival.n_bytes:,}", f"{rival.psnr_db:.2f}", f"{rival.ssim:.4f}"])
            path = folder / f"{rival.name.lower()}-quality-{rival.quality}.png"
            rival.image.save(path, "PNG", compress_level=1)
            gallery.append((str(path), f"{rival.name} in {rival.n_bytes:,} bytes"))
            shown[rival.name] = str(path)
    gallery.insert(0, (pictures[1], f"{name} in {n_bytes:,} bytes"))
    return parts.figures_table(["", "Bytes", "PSNR dB", "SSIM"], rows), gallery, shown, missing


def put_beside(against: str, files: dict[str, str], missing: dict[str, str]):
    """The slider, with the original or a rival on its left side, and what it shows."""
    if against not in files:
        if against != ORIGINAL:
            gr.Info(missing.get(against, f"{against} is still at work on this picture: try again in a moment."))
        against = ORIGINAL
    if not files:
        return gr.skip(), against
    return gr.ImageSlider((files[against], files["decoded"]), label=slider_label(against)), against


def slider_label(against: str) -> str:
    return f"{against} | decoded"


def curves(found: dict | None, files: dict[str, str]) -> pd.DataFrame | None:
    """Size and PSNR of this picture at several settings: the model's, WebP's and AVIF's."""
    if not found or not files:
        return None
    with work.errors_in_the_page():
        picture = open_picture(files[ORIGINAL], 1 << 30, CURVE_SIDE)
        opaque = Picture(picture.rgb)
        slow = model_named(found["model"]).kind.app_pixels is not None
        points = ([] if slow else own_curve(opaque, found["model"])) + baselines.curve(opaque.rgb)
    columns = ["codec", "setting", "KB", "PSNR dB"]
    rows = [(name, setting, n_bytes / 1000, min(distance, MAX_PSNR)) for name, setting, n_bytes, distance in points]
    return pd.DataFrame(rows, columns=columns)


@work.gpu(duration=lambda *_: 15)
def own_curve(picture: Picture, model: str) -> list[tuple[str, int, int, float]]:
    """(model, quality or levels, bytes, PSNR in dB)."""
    with work.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec, by_quality = work.codec(model), model_named(model).kind.option == "quality"
        points = []
        for value in CURVE_QUALITIES if by_quality else (16, 64, 256):
            encoded = codec.analyse(picture, Settings(quality=value) if by_quality else Settings(levels=value))
            decoded = codec.synthesise(encoded).rgb
            points.append((model, value, encoded.n_bytes, psnr(picture.rgb, decoded)))
        return points
