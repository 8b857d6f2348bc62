"""What the decoder's page and its programs call: blobs, or other tools' latents, in; pictures out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from decoder_sides import sides_of
from decoder_zips import unpacked

from latent8.apps import budget, files, jobs, work
from latent8.apps.options import Option, with_options
from latent8.codec import Codec
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import ORIGINAL, Comparison, Decoded, measured, original_of, parsed_reading
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import require_decoder, require_size
from latent8.latents import Latents, describe
from latent8.machine.parallel import failing_once
from latent8.pictures.intake import Picture
from latent8.pictures.output import FORMATS, picture_bytes
from latent8.zoo.registry import model_named

BATCH_COLUMNS = ["file", "result", "width", "height", "model"]
OPTIONS = [
    Option(
        "picture_format",
        str,
        "PNG",
        "PNG (lossless), WebP or JPEG.",
        partial(gr.Radio, list(FORMATS)),
    ),
    Option(
        "decoder",
        str,
        "",
        "Name of another model of the blob's latent space; empty for the blob's own.",
        gr.Textbox,
        "decoder, empty for the blob's own",
    ),
    Option(
        "space",
        str,
        "",
        "Latent space of a file that does not say it, sd1, sdxl, sd3, flux1 or l8-tiny.",
        gr.Textbox,
        "space, of files that do not say it",
    ),
    Option(
        "raw",
        bool,
        False,
        "Whether .npy and .safetensors hold the autoencoder's raw latents instead of the scaled ones.",
        gr.Checkbox,
    ),
    Option("legacy_range", bool, False, "For PNGs of early Spaces, which look pale and bright otherwise.", gr.Checkbox),
    Option(
        "realism",
        float,
        None,
        "Of l8-photo, from 0, faithful, to 1, vivid, which makes up fine texture; null for the model's own choice.",
        gr.Number,
        "realism, 0 to 1; null for the model's own choice",
    ),
]


@dataclass(frozen=True)
class Wish:
    """How a file is read and decoded. An empty decoder or space: what the file itself says.

    realism: of the reading, from 0, faithful, to 1, vivid; None is the model's own choice.
    """

    decoder: str = ""
    space: str = ""
    raw: bool = False
    legacy_range: bool = False
    realism: float | None = None


@dataclass(frozen=True)
class Opened:
    """One blob or file of latents, and the picture that it gives. seconds: without loading the model. realism: of the
    reading; None for a model that has one alone."""

    source: Encoded | Latents
    n_bytes: int
    picture: Picture
    decoder: str
    seconds: float
    realism: float | None

    def facts(self) -> dict:
        return {
            **describe(self.source, self.n_bytes),
            "decoder": self.decoder,
            "realism": self.realism,
            "decode_seconds": round(self.seconds, 3),
        }


def gpu_seconds(decoder: str, source: Encoded | Latents, *_: object) -> int:
    return work.gpu_seconds(decoder, source.width * source.height)


@work.gpu(duration=gpu_seconds)
def synthesise(
    decoder: str, source: Encoded | Latents, legacy_range: bool, realism: float | None, bar: work.Bar
) -> Picture:
    with work.errors_in_the_page():  # here too: from a ZeroGPU process no other error keeps its message
        codec = work.codec(decoder)
        return codec.synthesise(source, realism=realism, legacy_range=legacy_range, progress=bar)


def open_blob(path: str, bar: work.Bar, wish: Wish | None = None, codec: Callable[[str], Codec] = work.codec) -> Opened:
    """Raises Latent8Error, or gr.Error from the GPU part."""
    wish = wish or Wish()
    if wish.realism is not None and not 0 <= wish.realism <= 1:
        raise Latent8Error(f"realism must be from 0, faithful, to 1, vivid, not {wish.realism:g}.")
    source = read_blob(path, wish.space, wish.raw)
    chosen = wish.decoder or files.model_name(source)
    require_decoder(source.header, model_named(chosen))
    loaded = codec(chosen)  # which is not part of the time below
    require_size(source.header, loaded.max_pixels)
    realism = loaded.network.default_realism if wish.realism is None else wish.realism
    started = time.perf_counter()
    picture = synthesise(chosen, source, wish.legacy_range, wish.realism, bar)
    return Opened(source, Path(path).stat().st_size, picture, chosen, time.perf_counter() - started, realism)


def read_blob(path: str, space: str = "", raw: bool = False) -> Encoded | Latents:
    """A file of latents in any format. Raises Latent8Error."""
    return files.open_file_of_latents(path, space, raw)


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


@with_options(OPTIONS)
def decode(blob: str | None, **options: Any) -> tuple[str, dict]:
    """Turn a latent blob back into a picture.

    Args:
        blob: A .l8 file, latents as RGBA PNG, a ComfyUI .latent, .safetensors or .npy file; told apart by content.

    Returns:
        The picture, a file named after the blob; facts: the header in words, and the seconds of decoding.
    """
    path = work.required(blob, "Choose a blob first.")
    bar = work.Bar("Decoding", 0, 0.9)
    bar(0)
    with work.errors_in_the_page():
        picture_format = options.pop("picture_format")
        opened = open_blob(path, bar, Wish(**options))
        return save_picture(opened.picture, path, picture_format), opened.facts()


@with_options(OPTIONS)
def decode_picture(blob: str | None, **options: Any) -> str:
    """Turn a latent blob back into a picture, and give that alone.

    Args:
        blob: A .l8 file, latents as RGBA PNG, a ComfyUI .latent, .safetensors or .npy file; told apart by content.

    Returns:
        The picture, a file named after the blob.
    """
    return decode(blob, **options)[0]


def save_picture(picture: Picture, path: str, picture_format: str | None) -> str:
    """In a folder of its own, under the name of the file that it came from."""
    suffix = FORMATS[picture_format or "PNG"]
    data = picture_bytes(picture.image(), suffix)
    return files.save_bytes(files.request_folder(), f"{files.stem_of(path)}{suffix}", data)


@dataclass(frozen=True)
class Row:
    """What became of one file of many: a picture, or a sentence that says why there is none.

    n_bytes: of the file. picture_bytes, width, height: of the picture.
    """

    file: str
    path: str = ""
    n_bytes: int = 0
    picture_bytes: int = 0
    width: int = 0
    height: int = 0
    decoder: str = ""
    problem: str = ""


class Batch:
    """Many blobs, or ZIPs of them, one after another, each picture also in a ZIP; one bad file does not stop the
    rest."""

    def __init__(self, blobs: list[str], picture_format: str | None):
        self._suffix = FORMATS[picture_format or "PNG"]
        self.files, self._refused = unpacked(list(dict.fromkeys(blobs)))
        self._codec = failing_once(work.codec)
        self.rows: list[Row] = []
        self.folder = files.request_folder()
        self.archive: str | None = None
        self._taken: set[str] = set()

    def run(self, job: jobs.Job | None = None) -> Iterator[None]:
        """Yields after each blob. Raises OSError where the disk is full."""
        with files.ZipWriter(self.folder / "pictures.zip") as archive:
            for blob, bar in work.one_by_one(self.files, "Blob", self.folder, job):
                self.rows.append(self._row(blob, bar, archive))
                yield
        self.archive = archive.path_if_filled()

    def _row(self, blob: str, bar: work.Bar, archive: files.ZipWriter) -> Row:
        name = Path(blob).name
        if blob in self._refused:
            return Row(name, problem=self._refused[blob])
        try:
            budget.check()
            opened = open_blob(blob, bar, codec=self._codec)
            data = picture_bytes(opened.picture.image(), self._suffix)  # not every format takes every size
        except jobs.Cancelled:
            raise
        except (Latent8Error, gr.Error) as error:
            return Row(name, problem=work.message(error))
        picture_name = files.unique_name(files.stem_of(blob), self._suffix, self._taken)
        archive.add(picture_name, data)
        path, picture = files.save_bytes(self.folder, picture_name, data), opened.picture
        return Row(name, path, opened.n_bytes, len(data), picture.width, picture.height, opened.decoder)


def decode_batch(blobs: list[str] | None, picture_format: str | None = "PNG") -> tuple[str | None, list[list]]:
    """Turn many blobs back into pictures, in one ZIP; one bad file does not stop the rest.

    Args:
        blobs: .l8 files, ZIPs of them, latents as RGBA PNG, or files of latents that say their latent space.
        picture_format: PNG (lossless), WebP or JPEG.

    Returns:
        A ZIP of pictures, or nothing when no blob could be decoded; a table that says what happened to each.
    """
    paths = work.required(blobs, "Choose some blobs first.")
    with work.errors_in_the_page():
        batch = Batch(paths, picture_format)
        for _ in batch.run():
            pass
    return batch.archive, [table_row(row) for row in batch.rows]


def table_row(row: Row) -> list:
    if row.problem:
        return [row.file, row.problem, None, None, None]
    return [row.file, Path(row.path).name, row.width, row.height, row.decoder]


def compare(
    blob: str | None, left: str | None = "", right: str | None = "", original: str | None = None
) -> tuple[str, str, list[tuple[str, str]], list[dict]]:
    """Decode a latent blob with two decoders, or in two readings of one, or put one beside the original.

    Args:
        blob: A .l8 file, latents as RGBA PNG, or a file of latents that says its latent space.
        left: faithful, vivid, original, or a model of the blob's latent space, as "l8-photo" or "l8-photo realism 0.5".
        right: Another. Empty sides are the original, where it is given, and the blob's own model, or its two readings.
        original: The picture that the blob was made from; with it there are distances from it.

    Returns:
        Both pictures as PNG; maps of where they differ; facts: for each decoder its seconds, PSNR, SSIM, MAE and MSE.
    """
    path = work.required(blob, "Choose a blob first.")
    with work.errors_in_the_page():
        source = read_blob(path)
        sides = sides_of(source, left or "", right or "", bool(original))
        found = compared(path, source, sides, original, None)
        folder = files.request_folder()
        views = save_sides(found, folder, path)
        return views[sides[0]], views[sides[1]], save_maps(found, folder, path), found.rows()


def compared(
    path: str, source: Encoded | Latents, sides: Sequence[str], original: str | None, job: jobs.Job | None
) -> Comparison:
    """Raises Latent8Error."""
    names = list(dict.fromkeys(name for name in sides if name != ORIGINAL))
    wishes = [Wish(decoder, realism=realism) for decoder, realism in map(parsed_reading, names)]
    for wish in wishes:
        require_decoder(source.header, model_named(wish.decoder))
    if ORIGINAL in sides and not original:
        raise Latent8Error("Give the original too, or choose two decoders.")
    truth = original_of(source.header, original, work.MAX_PIXELS) if original else None
    decoded: list[Decoded] = []
    for index, (name, wish) in enumerate(zip(names, wishes, strict=True)):
        bar = work.Bar("", index / len(names), (index + 1) / len(names), job)
        decoding = bar.part(f"Decoding with {name}", 0, 0.6 if truth else 1)
        decoding(0)
        opened = open_blob(path, decoding, wish)
        measuring = bar.part("Measuring", 0.6, 1)
        measuring(0)
        decoded.append(measured(name, opened.picture, opened.seconds, truth, measuring))
    return Comparison(decoded, truth)


def save_sides(found: Comparison, folder: Path, path: str) -> dict[str, str]:
    """A PNG of each picture, by decoder or ORIGINAL."""
    stem = files.stem_of(path)
    pictures = {one.decoder: one.picture for one in found.decoded}
    if found.original:
        pictures[ORIGINAL] = found.original
    return {name: files.save_view(folder, f"{stem}.{name}.png", picture) for name, picture in pictures.items()}


def save_maps(found: Comparison, folder: Path, path: str) -> list[tuple[str, str]]:
    """(file, caption) of each map of differences."""
    maps = []
    for one in found.differences():
        name = f"{files.stem_of(path)}.{one.first}-{one.second}.difference.png"
        file = files.save_png(folder, name, one.image)
        maps.append((file, f"{one.first} and {one.second}: at most {one.greatest} of 255"))
    return maps


def endpoints() -> None:
    """The endpoints for programs, on components that the page does not show."""
    blob = gr.File(label="blob", type="filepath", visible=False)
    blobs = gr.File(label="blobs", type="filepath", file_count="multiple", visible=False)
    original = gr.File(label="original", type="filepath", visible=False)
    settings = [option.hidden() for option in OPTIONS]
    sides = [gr.Textbox("", label=label, visible=False) for label in ("left, a decoder or original", "right")]
    picture = gr.File(label="picture", visible=False)
    pictures = [gr.File(label="left", visible=False), gr.File(label="right", visible=False)]
    maps = gr.Gallery(label="differences", format="png", visible=False)
    facts, archive = gr.JSON(label="facts", visible=False), gr.File(label="zip", visible=False)
    table = gr.Dataframe(headers=BATCH_COLUMNS, label="table", visible=False)
    button = gr.Button(visible=False)
    button.click(inspect, [blob], [facts], api_name="inspect")
    button.click(decode, [blob, *settings], [picture, facts], api_name="decode", **work.TAKE_TURNS)
    button.click(decode_picture, [blob, *settings], [picture], api_name="decode_picture", **work.TAKE_TURNS)
    button.click(decode_batch, [blobs, settings[0]], [archive, table], api_name="decode_batch", **work.TAKE_TURNS)
    button.click(compare, [blob, *sides, original], [*pictures, maps, facts], api_name="compare", **work.TAKE_TURNS)
