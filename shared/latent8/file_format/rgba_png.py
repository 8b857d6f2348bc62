"""The 8-bit RGBA PNG that taesd's example script introduced: one pixel for each latent, one byte each channel.

Red, green, blue and alpha are latent channels 0 to 3: byte v stands for the latent (v / 255 - 0.5) * 6. Ours
carries a text chunk "latent8" with the model, the size of the picture and the levels. A PNG without it is taken
as taesd's, or that of the model of a latent space that is named with it, of 8 times its own size.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latent8.errors import BlobError, ModelError
from latent8.file_format.blob import Header
from latent8.file_format.quantiser import Quantiser
from latent8.limits import MAX_PIXELS, MAX_SIDE
from latent8.zoo.registry import OWN_ID, model_named, model_with_id

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 33  # signature and first chunk
TEXT_KEY = "latent8"
_DAMAGED = "This PNG is damaged and cannot be read."


def write_rgba_png(header: Header, symbols: np.ndarray) -> bytes:
    """uint8 [4, h, w] -> PNG bytes. Raises ModelError for latents of another number of channels.

    The alpha plane of a transparent picture has no place in this format and is left out; latents beyond -3 ... 3 are
    clipped.
    """
    model = model_with_id(header.model_id)
    if model.id == OWN_ID:
        raise ModelError("An RGBA PNG names the model, which an autoencoder of the user's own cannot be: keep the .l8.")
    require_four_channels(model.name, header.channels)
    quantiser = header.quantiser
    if (quantiser.low, quantiser.high) != (Quantiser.low, Quantiser.high):  # the PNG has no place for another range
        symbols, quantiser = Quantiser().quantise(quantiser.dequantise(symbols)), Quantiser()
    values = np.rint(symbols.astype(np.float64) * 255 / (quantiser.levels - 1)).astype(np.uint8)
    facts = {
        "model": model.name,
        "width": header.width,
        "height": header.height,
        "levels": quantiser.levels,
        "weights": header.weights.hex(),
    }
    info = PngInfo()
    info.add_text(TEXT_KEY, json.dumps(facts))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.moveaxis(values, 0, -1))).save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def require_four_channels(model: str, channels: int) -> None:
    """Raises ModelError for any other number."""
    if channels != 4:
        raise ModelError(f"An RGBA PNG holds 4 latent channels, and {model} has {channels}: keep the .l8.")


def read_rgba_png(png: bytes) -> tuple[Header, np.ndarray]:
    """PNG bytes -> header, symbols (uint8 [4, h, w]). Raises BlobError."""
    header, image = open_rgba_png(png)
    return header, symbols_of(header, image)


def open_rgba_png(png: bytes) -> tuple[Header, Image.Image]:
    """PNG bytes -> header, picture whose values are not decoded yet. Raises BlobError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is tested below
            image = Image.open(io.BytesIO(png), formats=["PNG"])
    except Exception:  # Pillow's readers let through whatever their parsing trips over
        raise BlobError(_DAMAGED) from None
    if image.mode != "RGBA":
        raise BlobError(f"This PNG has mode {image.mode}; latents are kept as RGBA. Encode a picture first.")
    try:
        facts = _facts(image)
        header = Header(
            model_id=model_named(facts["model"]).id,
            weights=bytes.fromhex(facts["weights"]),
            width=facts["width"],
            height=facts["height"],
            channels=4,
            stride=8,
            quantiser=Quantiser(levels=facts["levels"]),
            n_bytes=len(png),
        )
    except BlobError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BlobError("This PNG is not valid: its latent8 text chunk cannot be understood.") from None
    if header.latent_shape[1:] != (image.height, image.width):
        raise BlobError("This PNG is not valid: its size does not fit the picture it states.")
    return header, image


def symbols_of(header: Header, image: Image.Image) -> np.ndarray:
    """What `open_rgba_png` gives -> uint8 [4, h, w]. Raises BlobError."""
    try:
        values = np.asarray(image)
    except Exception:  # as above
        raise BlobError(_DAMAGED) from None
    symbol_of = np.rint(np.arange(256) * (header.quantiser.levels - 1) / 255).astype(np.uint8)
    return symbol_of[np.moveaxis(values, -1, 0)]


def with_model(png: bytes, model: str) -> bytes:
    """A PNG that does not name its model, naming this one; any other as it is. Raises BlobError."""
    header, image = open_rgba_png(png)
    if TEXT_KEY in image.info:
        return png
    facts = {"model": model, "width": header.width, "height": header.height}
    chunk = b"tEXt" + TEXT_KEY.encode() + b"\0" + json.dumps(facts).encode()
    length, checksum = len(chunk) - 4, zlib.crc32(chunk)
    return png[:HEAD_BYTES] + struct.pack(f">I{len(chunk)}sI", length, chunk, checksum) + png[HEAD_BYTES:]


def is_png(data: bytes) -> bool:
    return data[: len(SIGNATURE)] == SIGNATURE


def _facts(image: Image.Image) -> dict[str, Any]:
    """The text chunk, checked; for a PNG without one, what the ancestors imply."""
    text = image.info.get(TEXT_KEY)
    if text is None:
        facts: dict[str, Any] = {"model": "taesd", "width": image.width * 8, "height": image.height * 8}
    else:
        facts = json.loads(text)
        if not isinstance(facts, dict):
            raise TypeError("not an object")
    facts.setdefault("levels", 256)
    facts.setdefault("weights", "")
    if not isinstance(facts["levels"], int) or len(facts["weights"]) not in (0, 8):
        raise ValueError("levels or weights")
    width, height = facts["width"], facts["height"]
    if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in (width, height)):
        raise ValueError(f"size {width} x {height}")
    if width * height > MAX_PIXELS:
        raise BlobError(f"This PNG states {width} x {height} pixels, more than can be decoded.")
    return facts
