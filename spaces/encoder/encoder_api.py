"""What the encoder's page and its programs call: photos in, blobs out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import gradio as gr

from latent8.apps import budget, files, jobs, work
from latent8.apps.options import Option, with_options
from latent8.errors import Latent8Error, PictureError, TooFewBytesError
from latent8.evaluation.comparison import MAX_PSNR
from latent8.evaluation.metrics import psnr
from latent8.file_format.blob import Encoded, clean_stem
from latent8.file_format.reader import require_encoder
from latent8.metadata.kept import Keep, check_keep
from latent8.pictures.intake import Picture, open_picture
from latent8.zoo.registry import DEFAULT_MODEL, model_named
from latent8.zoo.settings import DEFAULT_QUALITY, Settings

BATCH_COLUMNS = ["file", "result", "upload_bytes", "blob_bytes", "ratio"]


OPTIONS = [
    Option(
        "model",
        str,
        DEFAULT_MODEL,
        "Name of the model, l8-photo, l8-tiny, taesd, taesdxl, taesd3, taef1, sd-vae-ft-mse or sdxl-vae.",
        gr.Textbox,
    ),
    Option(
        "quality",
        int,
        DEFAULT_QUALITY,
        "Of l8-photo, 1 to 100; lower makes smaller blobs.",
        partial(gr.Number, precision=0, minimum=1, maximum=100),
        "quality, of l8-photo",
    ),
    Option(
        "fit_kb",
        float,
        0,
        "With l8-photo, the best quality that fits into this many kilobytes; 0 goes by quality.",
        partial(gr.Number, minimum=0),
        "fit_kb, kilobytes; 0 goes by quality",
    ),
    Option(
        "levels",
        int,
        256,
        "Values per latent of the other models, 16 to 256; fewer make smaller blobs and coarser pictures.",
        partial(gr.Number, precision=0, minimum=16, maximum=256),
        "levels, of other models",
    ),
    Option(
        "longest_side",
        int,
        0,
        "Shrink larger pictures to this many pixels; 0 keeps the size.",
        partial(gr.Number, precision=0, minimum=0),
        "longest_side, pixels; 0 keeps the size",
    ),
    Option("keep_name", bool, True, "Whether the photo's file name goes into the blob.", gr.Checkbox),
    Option(
        "keep_metadata",
        str,
        "",
        "What is kept of EXIF and XMP data, all or no-gps (no positions); empty for nothing.",
        gr.Textbox,
        "keep_metadata, all or no-gps",
    ),
]


@dataclass(frozen=True)
class Wish:
    """What an encoding is set with, see OPTIONS. None of a number: its default. fit_kb: in place of `quality`."""

    model: str = DEFAULT_MODEL
    quality: int | None = DEFAULT_QUALITY
    fit_kb: float | None = 0
    levels: int | None = 256
    longest_side: int | None = 0
    keep_name: bool = True
    keep_metadata: str = ""

    def settings(self) -> Settings:
        """Those that the model has. Raises Latent8Error for values out of range."""
        chosen = model_named(self.model)
        if not chosen.kind.option:
            settings = Settings()
        elif chosen.kind.option == "levels":
            settings = Settings(levels=int(self.levels or 256))
        elif self.fit_kb:
            settings = Settings(target_bytes=max(1, int(1000 * self.fit_kb)))
        else:
            settings = Settings(quality=int(self.quality or DEFAULT_QUALITY))
        try:
            settings.check(chosen)
        except ValueError as error:
            raise Latent8Error(f"{error}.") from None
        return settings


@dataclass(frozen=True)
class Made:
    """A photo and its blob. stem: of the photo's file name. seconds: with reading the photo, without loading models."""

    picture: Picture
    encoded: Encoded
    blob: bytes
    stem: str
    upload_bytes: int
    seconds: float

    @property
    def ratio(self) -> float:
        return self.upload_bytes / len(self.blob)


def make_blob(photo: str, wish: Wish, bar: work.Bar) -> Made:
    """Raises Latent8Error for a photo or model that does not work, gr.Error from the GPU part."""
    max_pixels = work.codec(wish.model).max_pixels  # loads the model, which is not part of the time below
    settings, started = wish.settings(), time.perf_counter()
    picture = open_picture(photo, max_pixels, int(wish.longest_side or 0) or None, kept_of(wish.keep_metadata))
    stem = clean_stem(picture.stem or "")
    if wish.keep_name is False:
        picture = replace(picture, stem=None)
    encoded = analyse(picture, wish.model, settings, bar)
    blob = encoded.to_bytes()
    seconds, size = time.perf_counter() - started, Path(photo).stat().st_size
    return Made(picture, encoded, blob, stem, size, seconds)


def kept_of(choice: str | None) -> Keep:
    """Raises Latent8Error for what is no choice."""
    try:
        return cast(Keep, check_keep(cast(Keep, choice or None)))
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None


def gpu_seconds(picture: Picture, model: str, *_: object) -> int:
    return work.gpu_seconds(model, picture.width * picture.height)


@work.gpu(duration=gpu_seconds)
def analyse(picture: Picture, model: str, settings: Settings, bar: work.Bar) -> Encoded:
    with work.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec = work.codec(model)
        require_encoder(codec.model)
        try:
            return codec.analyse(picture, settings, progress=bar)
        except TooFewBytesError as error:
            raise PictureError(
                f"{error.limit / 1000:g} KB is too small for this photo: it takes at least "
                f"{math.ceil(error.least / 100) / 10:,} KB. Choose that, or a shorter longest side (see More settings)."
            ) from None


def gpu_seconds_back(encoded: Encoded, *_: object) -> int:
    return work.gpu_seconds(files.model_name(encoded), encoded.width * encoded.height)


@work.gpu(duration=gpu_seconds_back)
def synthesise(encoded: Encoded, realism: float | None, bar: work.Bar) -> Picture:
    with work.errors_in_the_page():
        return work.codec(files.model_name(encoded)).synthesise(encoded, realism=realism, progress=bar)


def give_back(made: Made, bar: work.Bar, realism: float | None = None) -> tuple[Picture, float]:
    """What the blob gives back, and the seconds that it takes. realism: of its reading, see `Codec.decode`."""
    started = time.perf_counter()
    return synthesise(made.encoded, realism, bar), time.perf_counter() - started


def facts_of(made: Made, back: Picture | None = None, decode_seconds: float = 0) -> dict:
    """Sizes in bytes, PSNR in dB, bpp in bits per pixel; with what comes back where it is given."""
    encoded, n_bytes = made.encoded, len(made.blob)
    found = {
        "file": f"{made.stem}.l8",
        "model": files.model_name(encoded),
        "quality": encoded.quality,
        "levels": None if encoded.quality else encoded.header.quantiser.levels,
        "width": encoded.width,
        "height": encoded.height,
        "upload_bytes": made.upload_bytes,
        "blob_bytes": n_bytes,
        "alpha_bytes": len(encoded.alpha_png),
        "bpp": round(encoded.bpp, 4),
        "ratio_to_upload": round(made.ratio, 2),
        "ratio_to_raw_rgb": round(3 * encoded.width * encoded.height / n_bytes, 1),
        "encode_seconds": round(made.seconds, 3),
    }
    if back is not None:
        found["psnr_db"] = round(min(psnr(made.picture.rgb, back.rgb), MAX_PSNR), 2)
        found["decode_seconds"] = round(decode_seconds, 3)
    return found


@with_options(OPTIONS)
def encode(photo: str | None, **options: Any) -> tuple[str, str, dict]:
    """Turn a photo into a small latent blob (.l8), and show what comes back.

    Args:
        photo: JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIC file.

    Returns:
        The blob; the picture that comes back from it, as PNG; facts: sizes in bytes, PSNR in dB, seconds.
    """
    with work.errors_in_the_page():
        made = _made(photo, Wish(**options), work.Bar("Encoding", 0, 0.5))
        back, seconds = give_back(made, work.Bar("Decoding", 0.5, 1))
        folder = files.request_folder()
        blob = files.save_bytes(folder, f"{made.stem}.l8", made.blob)
        return blob, files.save_view(folder, f"{made.stem}.png", back), facts_of(made, back, seconds)


@with_options(OPTIONS)
def encode_blob(photo: str | None, **options: Any) -> str:
    """Turn a photo into a small latent blob (.l8), and nothing more: about half the work of /encode.

    Args:
        photo: JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIC file.

    Returns:
        The blob.
    """
    with work.errors_in_the_page():
        made = _made(photo, Wish(**options), work.Bar("Encoding", 0, 1))
        return files.save_bytes(files.request_folder(), f"{made.stem}.l8", made.blob)


def _made(photo: str | None, wish: Wish, bar: work.Bar) -> Made:
    path = work.required(photo, "Choose a photo first.")
    bar(0)
    return make_blob(path, wish, bar)


@dataclass(frozen=True)
class Row:
    """What became of one photo of many: its blob, a file, or a sentence that says why there is none."""

    file: str
    upload_bytes: int
    blob_bytes: int = 0
    path: str = ""
    problem: str = ""

    @property
    def ratio(self) -> float:
        return self.upload_bytes / self.blob_bytes


class Batch:
    """Many photos, one after another, each blob also in a ZIP; one bad file does not stop the rest."""

    def __init__(self, photos: list[str], wish: Wish):
        self.files, self._wish = list(dict.fromkeys(photos)), wish
        wish.settings()
        work.codec(wish.model)  # a model that cannot be loaded is one error, not one for each photo
        self.rows: list[Row] = []
        self.folder = files.request_folder()
        self.archive: str | None = None
        self._taken: set[str] = set()

    def run(self, job: jobs.Job | None = None) -> Iterator[None]:
        """Yields after each photo. Raises OSError where the disk is full."""
        with files.ZipWriter(self.folder / "latents.zip") as archive:
            for photo, bar in work.one_by_one(self.files, "Photo", self.folder, job):
                self.rows.append(self._row(photo, bar, archive))
                yield
        self.archive = archive.path_if_filled()

    def _row(self, photo: str, bar: work.Bar, archive: files.ZipWriter) -> Row:
        name, size = Path(photo).name, Path(photo).stat().st_size
        try:
            budget.check()
            made = make_blob(photo, self._wish, bar)
        except jobs.Cancelled:
            raise
        except (Latent8Error, gr.Error) as error:
            return Row(name, size, problem=work.message(error))
        blob_name = files.unique_name(made.stem, ".l8", self._taken)
        archive.add(blob_name, made.blob)
        return Row(name, size, len(made.blob), files.save_bytes(self.folder, blob_name, made.blob))


@with_options(OPTIONS)
def encode_batch(photos: list[str] | None, **options: Any) -> tuple[str | None, list[list]]:
    """Turn many photos into latent blobs, in one ZIP; one bad file does not stop the rest.

    Args:
        photos: Picture files. The options hold for each of them.

    Returns:
        A ZIP of blobs, or nothing when no photo could be encoded; a table that says what happened to each.
    """
    paths = work.required(photos, "Choose some photos first.")
    with work.errors_in_the_page():
        batch = Batch(paths, Wish(**options))
        for _ in batch.run():
            pass
    return batch.archive, [table_row(row) for row in batch.rows]


def table_row(row: Row) -> list:
    if row.problem:
        return [row.file, row.problem, row.upload_bytes, None, None]
    return [row.file, Path(row.path).name, row.upload_bytes, row.blob_bytes, round(row.ratio, 2)]


def endpoints() -> None:
    """The endpoints for programs, on components that the page does not show."""
    photo = gr.File(label="photo", type="filepath", visible=False)
    photos = gr.File(label="photos", type="filepath", file_count="multiple", visible=False)
    settings = [option.hidden() for option in OPTIONS]
    blob, picture = gr.File(label="blob", visible=False), gr.File(label="picture", visible=False)
    facts = gr.JSON(label="facts", visible=False)
    archive = gr.File(label="zip", visible=False)
    table = gr.Dataframe(headers=BATCH_COLUMNS, label="table", visible=False)
    button = gr.Button(visible=False)
    button.click(encode, [photo, *settings], [blob, picture, facts], api_name="encode", **work.TAKE_TURNS)
    button.click(encode_blob, [photo, *settings], [blob], api_name="encode_blob", **work.TAKE_TURNS)
    button.click(encode_batch, [photos, *settings], [archive, table], api_name="encode_batch", **work.TAKE_TURNS)
