"""What the decoder's page and its programs call: blobs, or other tools' latents, in; pictures out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from latent8.apps import files, jobs, work
from latent8.codec import Codec
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import ORIGINAL, Comparison, measured, original_of
from latent8.exchange import open_latents
from latent8.file_format.blob import Encoded, clean_stem
from latent8.file_format.reader import model_of, require_decoder, require_size
from latent8.latents import Latents, describe
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.machine.parallel import failing_once
from latent8.pictures.intake import Picture
from latent8.pictures.output import FORMATS, picture_bytes
from latent8.zoo.registry import model_named

BATCH_COLUMNS = ["File", "Result", "Width", "Height", "Model"]


@dataclass(frozen=True)
class Decoded:
    """One blob or file of latents, and the picture that it gives. seconds: without loading the model."""

    source: Encoded | Latents
    decoder: str
    picture: Picture
    seconds: float


def gpu_seconds(decoder: str, source: Encoded | Latents, *_: object) -> int:
    return work.gpu_seconds(decoder, source.width * source.height)


@work.gpu(duration=gpu_seconds)
def synthesise(decoder: str, source: Encoded | Latents, legacy_range: bool, bar: work.Bar) -> Picture:
    with work.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        return work.codec(decoder).synthesise(source, legacy_range=legacy_range, progress=bar)


def decode_blob(
    source: Encoded | Latents,
    bar: work.Bar,
    decoder: str = "",
    legacy_range: bool = False,
    codec: Callable[[str], Codec] = work.codec,
) -> Decoded:
    """Raises Latent8Error, or gr.Error from the GPU part."""
    chosen = decoder or files.model_name(source)
    require_decoder(source.header, model_named(chosen))
    require_size(source.header, codec(chosen).max_pixels)  # loads the model, which is not part of the time below
    started = time.perf_counter()
    picture = synthesise(chosen, source, legacy_range, bar)
    return Decoded(source, chosen, picture, time.perf_counter() - started)


def read_blob(path: str, space: str = "", raw: bool = False) -> Encoded | Latents:
    """A file of latents in any format. Raises Latent8Error."""
    return open_latents(path, space or None, raw=raw)


def stem_of(source: Encoded | Latents, path: str) -> str:
    """The original file's name where the blob holds it, else the blob's own, without endings."""
    return clean_stem(source.header.stem or files.stem_of(path))


def inspect(blob: str | None) -> dict:
    """Tell what a blob holds, without decoding it.

    Args:
        blob: A .l8 file, latents as RGBA PNG, or a file of latents that says its latent space.

    Returns:
        Model, size in pixels, latents, levels, bytes, bits per pixel.
    """
    path = work.required(blob, "Choose a blob first.")
    with work.errors_in_the_page():
        return describe(read_blob(path), Path(path).stat().st_size)


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
    path = work.required(blob, "Choose a blob first.")
    bar = work.Bar("Decoding", 0.2, 0.7)
    progress(bar.begin, desc=bar.text)
    with work.errors_in_the_page():
        done = decode_blob(read_blob(path, space, raw), bar, decoder, legacy_range)
        progress(bar.end, desc="Writing the picture")
        folder = files.request_folder()
        stem, suffix = stem_of(done.source, path), FORMATS[picture_format]
        file = files.save_bytes(folder, f"{stem}{suffix}", picture_bytes(done.picture.image(), suffix))
        view = files.save_view(folder, f"{stem}.view.png", done.picture)
        used = {"decoder": done.decoder, "decode_seconds": round(done.seconds, 3)}
        found = {**describe(done.source, Path(path).stat().st_size), **used}
        return file, view, files.save_latent_views(folder, done.source), found


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
    paths = work.required(blobs, "Choose some blobs first.")
    suffix = FORMATS[picture_format]
    with work.errors_in_the_page():
        folder, taken = files.request_folder(), set[str]()
    rows: list[list] = []
    codec = failing_once(work.codec)
    with work.errors_in_the_page(), files.ZipWriter(folder / "pictures.zip") as archive:
        for blob, bar in work.one_by_one(paths, "Blob", folder):
            name = Path(blob).name
            try:
                done = decode_blob(read_blob(blob), bar, codec=codec)
                data = picture_bytes(done.picture.image(), suffix)  # not every format takes every size
            except jobs.Cancelled:
                raise
            except (Latent8Error, gr.Error) as error:
                rows.append([name, work.message(error), None, None, None])
                continue
            picture_name = files.unique_name(stem_of(done.source, blob), suffix, taken)
            archive.add(picture_name, data)
            rows.append([name, picture_name, done.picture.width, done.picture.height, done.decoder])
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
    path = work.required(blob, "Choose a blob first.")
    with work.errors_in_the_page():
        source = read_blob(path)
        made_with = model_of(source)
        right = right or made_with.name
        if left == right:
            raise Latent8Error(f"Both sides are {left}: choose two that differ.")
        decoders = [name for name in (left, right) if name != ORIGINAL]
        for name in decoders:
            require_decoder(source.header, made_with if name == made_with.name else model_named(name))
        if len(decoders) < 2 and not original:
            raise Latent8Error("Give the original too, or choose two decoders.")
        truth = original_of(source.header, original, DEFAULT_MAX_PIXELS) if original else None
        decoded = []
        for index, name in enumerate(decoders):
            bar = work.Bar(f"Decoding with {name}", index / len(decoders), (index + 1) / len(decoders))
            progress(bar.begin, desc=bar.text)
            done = decode_blob(source, bar, name)
            decoded.append(measured(name, done.picture, done.seconds, truth))
        found, folder, stem = Comparison(decoded, truth), files.request_folder(), stem_of(source, path)
        views = {one.decoder: files.save_view(folder, f"{stem}.{one.decoder}.png", one.picture) for one in decoded}
        if truth:
            views[ORIGINAL] = files.save_view(folder, f"{stem}.{ORIGINAL}.png", truth)
        maps = []
        for one in found.differences():
            file = folder / f"{stem}.{one.first}-{one.second}.difference.png"
            one.image.save(file, compress_level=1)
            maps.append((str(file), f"{one.first} and {one.second}: at most {one.greatest} of 255"))
        return (views[left], views[right]), maps, found.rows()
