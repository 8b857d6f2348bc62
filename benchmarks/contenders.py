"""Codecs that are measured: readings of l8-photo, l8-tiny, and what Pillow writes."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, features

from latent8 import Codec

PHOTO, TINY, JPEG_XL = "l8-photo", "l8-tiny", "JPEG XL"
# From the smallest files to about 1.2 bits per pixel on photos, as far as a codec goes
VALUES: dict[str, list[int]] = {
    PHOTO: [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    TINY: [16, 64, 256],
    "JPEG": [3, 5, 10, 20, 30, 40, 50, 70],
    "WebP": [0, 1, 5, 15, 30, 50, 70, 80],
    "AVIF": [5, 15, 25, 35, 45, 55, 65, 70],
    "AVIF psnr": [5, 15, 25, 35, 45, 55, 65, 70],
    JPEG_XL: [1, 5, 10, 20, 35, 50, 65, 80],
}
OPTIONS = {name: "levels" if name == TINY else "quality" for name in VALUES}
EFFORTS: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": True},
    "WebP": {"method": 6},
    "AVIF": {"speed": 4},  # libavif tunes for the eye (tune=iq) from 1.4 on, and halves the colours' size
    "AVIF psnr": {"speed": 4, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}},
    JPEG_XL: {"effort": 7},
}
FORMATS = {"AVIF psnr": "AVIF", JPEG_XL: "JXL"}  # Pillow's, where they have another name


@dataclass(frozen=True)
class Contender:
    """encode: picture, uint8 [H, W, 3], name of its file and value of the option -> file. decode: file -> picture."""

    name: str
    option: str
    values: Sequence[int]
    encode: Callable[[np.ndarray, str, int], bytes]
    decode: Callable[[bytes], np.ndarray]


def latent8_contender(codec: Codec, values: Sequence[int], realism: float | None = None) -> Contender:
    """A reading of l8-photo other than the default one is a contender of its own, named with its realism."""
    option = OPTIONS[codec.model.name]
    reading: dict[str, Any] = {} if realism is None else {"realism": realism}
    name = codec.model.name if realism is None else f"{codec.model.name} realism {realism:g}"

    def encode(rgb: np.ndarray, stem: str, value: int) -> bytes:
        options: dict[str, Any] = {option: value}
        return codec.encode(rgb, stem=stem, **options)

    def decode(data: bytes) -> np.ndarray:
        return np.asarray(codec.decode(data, **reading).convert("RGB"))

    return Contender(name, option, values, encode, decode)


def pillow_contender(name: str, values: Sequence[int]) -> Contender:
    if name == JPEG_XL:
        import pillow_jxl  # noqa: F401  # adds the format to Pillow

    def encode(rgb: np.ndarray, stem: str, value: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, FORMATS.get(name, name), quality=value, **EFFORTS[name])
        return buffer.getvalue()

    def decode(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    return Contender(name, OPTIONS[name], values, encode, decode)


def has_jpeg_xl() -> bool:
    """By pillow-jxl-plugin, which is GPL: for benchmarks alone."""
    return importlib.util.find_spec("pillow_jxl") is not None


def encoders_of(names: Sequence[str]) -> str:
    """What the files of these codecs were written with."""
    modules = {"JPEG": "jpg", "WebP": "webp", "AVIF": "avif"}
    parts = []
    for name in names:
        module = modules.get(FORMATS.get(name, name))
        effort = ", ".join(f"{k} {v if isinstance(v, (str, dict)) else int(v)}" for k, v in EFFORTS[name].items())
        parts.append(f"{name} {features.version(module) or '' if module else ''} ({effort})".replace("  ", " "))
    return ", ".join(parts)
