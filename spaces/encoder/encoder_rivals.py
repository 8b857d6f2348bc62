"""What other codecs, and ours at other qualities, make of the encoder's photo: made when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from latent8.apps import parts, work
from latent8.errors import Latent8Error
from latent8.evaluation import baselines, perceptual
from latent8.evaluation.comparison import MAX_PSNR
from latent8.evaluation.metrics import psnr
from latent8.pictures.intake import Picture
from latent8.zoo.registry import model_named
from latent8.zoo.settings import Settings

NAMES = baselines.names()
OURS = "ours"
MEASURES = ["PSNR in dB", *(["SSIMULACRA2"] if perceptual.has_ssimulacra2() else [])]
CURVE_SIDE = 768  # pixels: larger pictures are shrunk to it for the curves, so that they take some seconds
CURVE_QUALITIES = (1, 15, 30, 45, 60, 75, 90)
CURVE_LEVELS = (16, 64, 256)
MUCH_SMALLER = 0.95  # of the bytes that a rival may have: below that it is said why it has no more
MAX_COMPARED = 8_000_000  # pixels: AVIF takes half a minute for so many


@dataclass(frozen=True)
class Rival:
    """name: for its file. note: why it is not of the same size, where it is much smaller."""

    name: str
    label: str
    n_bytes: int
    picture: Picture
    note: str = ""


def label_of(key: str) -> str:
    return "latent8" if key == OURS else key


def search(name: str, rgb: np.ndarray, n_bytes: int) -> baselines.Search:
    """Raises Latent8Error for what is not compared."""
    if name not in NAMES:
        raise Latent8Error(f"There is no codec {name} to compare with.")
    if rgb[..., 0].size > MAX_COMPARED:
        raise Latent8Error(f"{name}: pictures over {MAX_COMPARED // 10**6} megapixels are not tried.")
    return baselines.Search(name, rgb, n_bytes)


def rival(found: baselines.Search) -> Rival:
    """Of a search that has ended. Raises Latent8Error where nothing fits."""
    name = found.name
    if not found.file:
        least = f"its smallest is {found.next_larger:,} bytes" if found.next_larger else "the photo is too large for it"
        raise Latent8Error(f"{name} cannot make this photo as small as the blob is ({least}).")
    label = f"{name}, quality {found.quality}"
    picture = Picture(baselines.pixels(found.file))
    return Rival(f"{name}-{found.quality}", label, len(found.file), picture, _note(found))


def _note(found: baselines.Search) -> str:
    """That a much smaller file is the nearest there is."""
    if len(found.file) >= MUCH_SMALLER * found.n_bytes:
        return ""
    if not found.next_larger:
        return "its highest quality"
    return f"quality {found.quality + 1} would be larger than ours, {parts.size_text(found.next_larger)}"


def ours(picture: Picture, model: str, quality: int, realism: float | None, check: Callable[[float], None]) -> Rival:
    """At another quality, in the same reading."""
    codec = work.codec(model)
    encoded = codec.analyse(picture, Settings(quality=quality), progress=check)
    back = codec.synthesise(encoded, realism=realism, progress=check)
    return Rival(f"{model}-quality-{quality}", f"{model}, quality {quality}", encoded.n_bytes, back)


def curves(picture: Picture, model: str, measure: str, bar: work.Bar) -> dict[str, list[tuple[float, float, str]]]:
    """By codec its points: size in KB, what was measured, and the setting in words."""
    measured = _measure(measure)
    found: dict[str, list[tuple[float, float, str]]] = {}
    kind = model_named(model).kind
    by_quality = kind.option == "quality"
    values = (CURVE_QUALITIES if by_quality else CURVE_LEVELS) if kind.app_pixels is None else ()  # others are slow
    others = [(name, quality) for name in NAMES for quality in baselines.CURVE_QUALITIES[name]]
    n_points = len(values) + len(others)
    for index, value in enumerate(values):
        codec = work.codec(model)
        settings = Settings(quality=value) if by_quality else Settings(levels=value)
        encoded = codec.analyse(picture, settings, progress=bar.part("", index / n_points, (index + 0.5) / n_points))
        back = codec.synthesise(encoded, progress=bar.part("", (index + 0.5) / n_points, (index + 1) / n_points))
        point = encoded.n_bytes / 1000, measured(picture.rgb, back.rgb), f"{kind.option} {value}"
        found.setdefault(model, []).append(point)
    image = Image.fromarray(picture.rgb)
    for index, (name, quality) in enumerate(others, len(values)):
        bar(index / n_points)
        data = baselines.saved(image, name, quality)
        if data:
            point = len(data) / 1000, measured(picture.rgb, baselines.pixels(data)), f"quality {quality}"
            found.setdefault(name, []).append(point)
    return found


def _measure(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    if name == MEASURES[0]:
        return lambda a, b: min(psnr(a, b), MAX_PSNR)
    return perceptual.ssimulacra2
