"""What the encoder's page and its programs call: photos in, blobs out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from latent8.apps import files, jobs, work
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import MAX_PSNR
from latent8.evaluation.metrics import psnr, ssim
from latent8.exchange import convert
from latent8.file_format.blob import Encoded, clean_stem
from latent8.file_format.reader import require_encoder
from latent8.pictures.intake import Picture, open_picture
from latent8.zoo.registry import DEFAULT_MODEL, model_named
from latent8.zoo.settings import DEFAULT_QUALITY, Settings

BATCH_COLUMNS = ["File", "Result", "Bytes", "bpp", "PSNR dB"]


@dataclass(frozen=True)
class RoundTrip:
    """An encoded picture, and what it gives back."""

    encoded: Encoded
    reconstruction: Picture
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Done:
    """One photo, its blob, and what the blob gives back."""

    picture: Picture
    reconstruction: Picture
    encoded: Encoded
    blob: bytes
    encode_seconds: float
    decode_seconds: float

    @property
    def stem(self) -> str:
        return clean_stem(self.picture.stem or "")


def settings_of(model: str, quality: int, fit_kb: float, levels: int) -> Settings:
    """Those of the page's controls that the model has. Raises Latent8Error for values out of range."""
    chosen = model_named(model)
    if not chosen.kind.option:
        settings = Settings()
    elif chosen.kind.option == "levels":
        settings = Settings(levels=int(levels))
    elif fit_kb:
        settings = Settings(target_bytes=max(1, int(1000 * fit_kb)))
    else:
        settings = Settings(quality=int(quality))
    try:
        settings.check(chosen)
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    return settings


def encode_photo(photo: str, model: str, settings: Settings, longest_side: int, bar: work.Bar) -> Done:
    """Raises Latent8Error for a photo or model that does not work, gr.Error from the GPU part."""
    max_pixels = work.codec(model).max_pixels  # loads the model, which is not part of the time below
    started = time.perf_counter()
    picture = open_picture(photo, max_pixels, longest_side or None)
    opened = time.perf_counter()
    found = round_trip(picture, model, settings, bar)
    packing = time.perf_counter()
    blob = found.encoded.to_bytes()
    encode_seconds = opened - started + found.encode_seconds + time.perf_counter() - packing
    return Done(picture, found.reconstruction, found.encoded, blob, encode_seconds, found.decode_seconds)


def gpu_seconds(picture: Picture, model: str, *_: object) -> int:
    return 2 * work.gpu_seconds(model, picture.width * picture.height)


@work.gpu(duration=gpu_seconds)
def round_trip(picture: Picture, model: str, settings: Settings, bar: work.Bar) -> RoundTrip:
    with work.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec = work.codec(model)
        require_encoder(codec.model)
        encoding, decoding = bar.part("Encoding", 0, 0.5), bar.part("Decoding", 0.5, 1)
        started = time.perf_counter()
        encoded = codec.analyse(picture, settings, progress=encoding)
        middle = time.perf_counter()
        decoding(0)
        reconstruction = codec.synthesise(encoded, progress=decoding)
        return RoundTrip(encoded, reconstruction, middle - started, time.perf_counter() - middle)


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
    path = work.required(photo, "Choose a photo first.")
    progress(0.1, desc="Encoding")
    with work.errors_in_the_page():
        settings = settings_of(model, quality, fit_kb, levels)
        done = encode_photo(path, model, settings, int(longest_side or 0), work.Bar("", 0.1, 0.7))
        progress(0.7, desc="Measuring")
        folder = files.request_folder()
        blob_file = files.save_bytes(folder, f"{done.stem}.l8", done.blob)
        png_file = None
        if done.encoded.header.channels == 4:
            png = convert(done.blob, "png")
            png_file = files.save_bytes(folder, f"{done.stem}.encoded.png", png)
        pictures = (
            files.save_view(folder, f"{done.stem}.original.png", done.picture),
            files.save_view(folder, f"{done.stem}.decoded.png", done.reconstruction),
        )
        views = files.save_latent_views(folder, done.encoded)
        return blob_file, png_file, pictures, views, numbers(path, done)


def numbers(photo: str, done: Done) -> dict:
    """What the table shows, for machines. Sizes in bytes, PSNR in dB, bpp in bits per pixel."""
    n_upload = Path(photo).stat().st_size
    n_pixels = done.picture.width * done.picture.height
    distance = psnr(done.picture.rgb, done.reconstruction.rgb)
    return {
        "file": f"{done.stem}.l8",
        "model": files.model_name(done.encoded),
        "quality": done.encoded.quality,
        "levels": None if done.encoded.quality else done.encoded.header.quantiser.levels,
        "width": done.picture.width,
        "height": done.picture.height,
        "upload_bytes": n_upload,
        "blob_bytes": len(done.blob),
        "alpha_bytes": len(done.encoded.alpha_png),
        "bpp": round(done.encoded.bpp, 4),
        "ratio_to_upload": round(n_upload / len(done.blob), 2),
        "ratio_to_raw_rgb": round(3 * n_pixels / len(done.blob), 1),
        "psnr_db": round(min(distance, MAX_PSNR), 2),
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
    paths = work.required(photos, "Choose some photos first.")
    with work.errors_in_the_page():
        settings = settings_of(model, quality, fit_kb, levels)
        work.codec(model)  # a model that cannot be loaded is one error, not one for each photo
        folder, taken = files.request_folder(), set[str]()
    rows: list[list] = []
    with work.errors_in_the_page(), files.ZipWriter(folder / "latents.zip") as archive:
        for photo, bar in work.one_by_one(paths, "Photo", folder):
            name = Path(photo).name
            try:
                done = encode_photo(photo, model, settings, int(longest_side or 0), bar)
            except jobs.Cancelled:
                raise
            except (Latent8Error, gr.Error) as error:
                rows.append([name, work.message(error), None, None, None])
                continue
            blob_name = files.unique_name(done.stem, ".l8", taken)
            archive.add(blob_name, done.blob)
            distance = min(psnr(done.picture.rgb, done.reconstruction.rgb), MAX_PSNR)
            rows.append([name, blob_name, len(done.blob), round(done.encoded.bpp, 3), round(distance, 2)])
    return archive.path_if_filled(), rows
