"""Comparison of several decoders on one blob: time, distance from the original, and maps of where they differ."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from latent8.codec import Codec
from latent8.errors import Latent8Error, PictureError
from latent8.evaluation import metrics
from latent8.file_format import reader
from latent8.file_format.blob import Encoded, Header
from latent8.latents import Latents
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures import drawing
from latent8.pictures.intake import Picture, Source, open_picture
from latent8.zoo.registry import Model, model_named

MAX_PSNR = 99.0  # dB: what is shown for equal pictures, whose PSNR is infinite
ORIGINAL = "original"
# Columns of the table: title and format of each figure.
COLUMNS = {
    "seconds": ("Seconds", ".2f"),
    "psnr_db": ("PSNR dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "mae": ("MAE", ".2f"),
    "mse": ("MSE", ".2f"),
}


@dataclass(frozen=True)
class Decoded:
    """The picture that one decoder made of the blob, with its figures.

    seconds: of decoding, without loading the model. psnr (in dB), ssim, mae (in units of 1/255) and mse (in units of
    1/255 squared) are None without an original.
    """

    decoder: str
    picture: Picture
    seconds: float
    psnr: float | None = None
    ssim: float | None = None
    mae: float | None = None
    mse: float | None = None


@dataclass(frozen=True)
class Difference:
    """A map of where two pictures differ. first, second: their names. greatest: difference, in units of 1/255."""

    first: str
    second: str
    greatest: int
    image: Image.Image


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`; printed, it is a table."""

    decoded: list[Decoded]
    original: Picture | None = None

    def rows(self) -> list[dict[str, str | float | None]]:
        """The table, ready for JSON: decoder, seconds, psnr_db, ssim, mae, mse; the last four None without original."""
        return [
            {
                "decoder": one.decoder,
                "seconds": round(one.seconds, 3),
                "psnr_db": None if one.psnr is None else round(min(one.psnr, MAX_PSNR), 2),
                "ssim": None if one.ssim is None else round(one.ssim, 4),
                "mae": None if one.mae is None else round(one.mae, 3),
                "mse": None if one.mse is None else round(one.mse, 2),
            }
            for one in self.decoded
        ]

    def differences(self) -> list[Difference]:
        """Maps between the first decoder and each other; then, with an original, between it and each decoder.

        They go from black at 0 to white at the difference that one pixel in 200 reaches. Maps with the original share
        one scale, and so do the others.
        """
        first, *others = self.decoded
        found = _maps(first.decoder, first.picture, others)
        return found + (_maps(ORIGINAL, self.original, self.decoded) if self.original else [])

    def __str__(self) -> str:
        shown = COLUMNS if self.original else {"seconds": COLUMNS["seconds"]}
        lines = [["Decoder", *(title for title, _ in shown.values())]]
        for row in self.rows():
            lines.append([str(row["decoder"]), *(format(row[name], form) for name, (_, form) in shown.items())])
        width = max(len(line[0]) for line in lines)
        return "\n".join(line[0].ljust(width) + "".join(cell.rjust(10) for cell in line[1:]) for line in lines)


def compare(
    blob: reader.Blob | Encoded | Latents,
    decoders: Sequence[str | Model] = (),
    original: Source | None = None,
    *,
    realisms: Sequence[float] = (),
    device: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Comparison:
    """Decode a blob, or latents as RGBA PNG, with several decoders, or as several readings.

    blob: bytes, the path of a file, or what `Encoded.parse` or `read_latents` gives. decoders: names from `models()`,
    or what `own_model` gives, of the blob's latent space; by default the model that it was made with. realisms: of the
    readings of each decoder, 0 to 1, see `Codec.decode`; by default each decoder's own choice. original: the picture
    that it was made from, as `encode` takes it; a larger one is shrunk as by `longest_side`. Decoders are checked
    before any is loaded. Raises BlobError, ModelError, or PictureError for an original of another shape.
    """
    source = blob if isinstance(blob, (Encoded, Latents)) else reader.read(blob, max_pixels)
    header, models = source.header, chosen_decoders(source, decoders)
    truth = None if original is None else original_of(header, original, max_pixels)

    decoded = []
    for model in models:
        loaded = Codec(model, device, max_pixels=max_pixels)
        for realism in _each(realisms):
            started = time.perf_counter()
            picture = loaded.synthesise(source, realism=realism)
            seconds = time.perf_counter() - started
            decoded.append(measured(reading_name(model.name, realism), picture, seconds, truth))
    return Comparison(decoded, truth)


def chosen_decoders(source: Encoded | Latents, chosen: Sequence[str | Model]) -> list[Model]:
    """The models that decode it in `compare`. Raises BlobError for one that cannot, Latent8Error for one twice."""
    found = [model_named(one) if isinstance(one, str) else one for one in chosen] or [reader.model_of(source)]
    names = [model.name for model in found]
    for name in names:
        if names.count(name) > 1:
            raise Latent8Error(f"The decoder {name} is named twice: name each once.")
    for model in found:
        reader.require_decoder(source.header, model)
    return found


def names_of(
    models: Sequence[Model], realisms: Sequence[float], has_original: bool
) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of what `compare` decodes, and pairs of names of the maps in `Comparison.differences`, before the work."""
    names = [reading_name(model.name, realism) for model in models for realism in _each(realisms)]
    pairs = [(names[0], name) for name in names[1:]]
    return names, pairs + [(ORIGINAL, name) for name in names if has_original]


def _each(realisms: Sequence[float]) -> list[float | None]:
    return [*dict.fromkeys(realisms)] or [None]


def reading_name(decoder: str, realism: float | None) -> str:
    """What a reading of a decoder is called in a comparison."""
    return decoder if realism is None else f"{decoder} realism {realism:g}"


def parsed_reading(name: str) -> tuple[str, float | None]:
    """What `reading_name` was given. Raises Latent8Error for a realism that is none."""
    decoder, said, text = name.partition(" realism ")
    if not said:
        return name, None
    try:
        realism = float(text)
    except ValueError:
        realism = math.nan
    if not 0 <= realism <= 1:
        raise Latent8Error(f"{name}: realism must be a number from 0, faithful, to 1, vivid.")
    return decoder, realism


def original_of(header: Header, source: Source, max_pixels: int) -> Picture:
    """The picture that a blob was made from, at the blob's size. Raises PictureError where it cannot be that."""
    picture = open_picture(source, max_pixels, longest_side=max(header.width, header.height))
    if (picture.width, picture.height) != (header.width, header.height):
        raise PictureError(
            f"The original is of another shape ({picture.width} x {picture.height} pixels) than the blob's picture "
            f"({header.width} x {header.height}): give the picture that the blob was made from."
        )
    return picture


def measured(
    decoder: str,
    picture: Picture,
    seconds: float,
    original: Picture | None,
    progress: Callable[[float], object] | None = None,
) -> Decoded:
    """A decoded picture with its distances from the original, which has the same size. progress: as of `metrics.ssim`,
    which takes longest."""
    if original is None:
        return Decoded(decoder, picture, seconds)
    a, b = original.rgb, picture.rgb
    return Decoded(
        decoder,
        picture,
        seconds,
        metrics.psnr(a, b),
        metrics.ssim(a, b, progress),
        metrics.mae(a, b),
        metrics.mse(a, b),
    )


def _maps(name: str, picture: Picture, others: Sequence[Decoded]) -> list[Difference]:
    planes = [drawing.greatest_difference(picture.rgb, other.picture.rgb) for other in others]
    white = max((drawing.percentile(plane, 99.5) for plane in planes), default=0)
    return [
        Difference(name, other.decoder, int(plane.max()), drawing.difference_map(plane, white))
        for other, plane in zip(others, planes, strict=True)
    ]
