"""Latents as an 8-bit RGBA PNG, the format of taesd's example script: one pixel for each position. Never in a blob.

Red, green, blue and alpha are latent channels 0 to 3: byte v stands for the latent (v / 255 - 0.5) * 6. A PNG that
latent8 writes has a text chunk "latent8" with the model, the size of the picture and the number of quantiser levels.
A PNG without it is taken as one of taesd, or of the default model of the latent space that the user names, and its
picture as 8 times as wide and as high as the PNG. A PNG with the text chunk, wherever in the file it stands, is read
even where another program has saved the same values in another form: with a palette, as grey, or without an alpha
channel that was full.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latent8.errors import BlobError, ModelError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.extension import Chunk
from latent8.file_format.quantiser import Quantiser
from latent8.limits import MAX_PIXELS, MAX_SIDE
from latent8.pictures import png_file
from latent8.pictures.quiet import without_pillows_warnings
from latent8.zoo.registry import OWN_ID, model_named, model_with_id
from latent8.zoo.settings import Settings

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 33  # signature and first chunk
TEXT_KEY = "latent8"
_SAVED_AGAIN = {"1", "L", "LA", "P", "PA", "RGB"}  # modes that optimisers make of RGBA
_DAMAGED = "This PNG is damaged and cannot be read."


class RgbaPngCoding(Coding):
    """Latents as an RGBA PNG; the payload is the whole file."""

    id = codings.RGBA_PNG
    name = "RGBA PNG"
    in_blobs = False

    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        """Latents [4, h, w] -> PNG. Raises ModelError for another number of channels.

        The alpha plane of a transparent picture and chunks have no place in this format and are left out; latents
        beyond -3 ... 3 are clipped.
        """
        model = model_with_id(header.model_id)
        if model.id == OWN_ID:
            raise ModelError(
                "An RGBA PNG names the model, which an autoencoder of the user's own cannot be: keep the .l8."
            )
        require_four_channels(model.name, header.channels)
        quantiser = header.quantiser
        symbols = quantiser.quantise(latents)
        if (quantiser.low, quantiser.high) != (Quantiser.low, Quantiser.high):  # the PNG has no place for another range
            symbols, quantiser = Quantiser().quantise(quantiser.dequantise(symbols)), Quantiser()
            header = replace(header, quantiser=quantiser)
        values = np.rint(symbols.astype(np.float64) * 255 / (quantiser.levels - 1)).astype(np.uint8)
        facts = {
            "model": model.name,
            "width": header.width,
            "height": header.height,
            "levels": quantiser.levels,
            "weights": header.weights.hex(),
        }
        info, buffer = PngInfo(), io.BytesIO()
        info.add_text(TEXT_KEY, json.dumps(facts))
        pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        Image.fromarray(pixels).save(buffer, "PNG", optimize=True, pnginfo=info)
        return Encoded(header, self.id, buffer.getvalue())

    def symbols(self, encoded: Encoded) -> Symbols:
        quantiser, (image, _) = encoded.header.quantiser, _open(encoded.payload)
        try:
            values = np.asarray(image.convert("RGBA"))
        except Exception:  # Pillow's readers let through whatever their parsing trips over
            raise BlobError(_DAMAGED) from None
        symbol_of = np.rint(np.arange(256) * (quantiser.levels - 1) / 255).astype(np.uint8)
        symbols = symbol_of[np.moveaxis(values, -1, 0)]
        return Symbols(symbols, quantiser.dequantise(symbols))

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        image, _ = _open(payload)
        if header.latent_shape[1:] != (image.height, image.width):
            raise BlobError("This PNG is not valid: its size does not fit the picture it states.")


def require_four_channels(model: str, channels: int) -> None:
    """Raise ModelError for any other number of latent channels than 4. model: its name."""
    if channels != 4:
        raise ModelError(f"An RGBA PNG holds 4 latent channels, and {model} has {channels}: keep the .l8.")


def parse_rgba_png(png: bytes) -> Encoded:
    """PNG bytes -> Encoded, checked but for its pixels. Raises BlobError."""
    image, text = _open(png)
    try:
        facts = _facts(image, text)
        header = Header(
            model_id=model_named(facts["model"]).id,
            weights=bytes.fromhex(facts["weights"]),
            width=facts["width"],
            height=facts["height"],
            channels=4,
            stride=8,
            quantiser=Quantiser(levels=facts["levels"]),
        )
    except BlobError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BlobError("This PNG is not valid: its latent8 text chunk cannot be understood.") from None
    RgbaPngCoding.check(header, png)
    return Encoded(header, codings.RGBA_PNG, png)


def names_its_model(png: bytes) -> bool:
    """Whether the PNG has our text chunk. Raises BlobError where it is no RGBA PNG."""
    return _open(png)[1] is not None


def with_model(png: bytes, model: str) -> bytes:
    """Add this model's name to a PNG that names none; any other PNG stays as it is. Raises BlobError."""
    image, text = _open(png)
    if text is not None:
        return png
    facts = {"model": model, "width": 8 * image.width, "height": 8 * image.height}
    chunk = b"tEXt" + TEXT_KEY.encode() + b"\0" + json.dumps(facts).encode()
    length, checksum = len(chunk) - 4, zlib.crc32(chunk)
    return png[:HEAD_BYTES] + struct.pack(f">I{len(chunk)}sI", length, chunk, checksum) + png[HEAD_BYTES:]


def _open(png: bytes) -> tuple[Image.Image, str | None]:
    """The picture, its pixels not decoded yet, and our text. Raises BlobError."""
    try:
        with without_pillows_warnings():  # the size is tested by the caller
            file = io.BytesIO(png)
            found = png_file.prepared(file, keep_key=True)
            text = png_file.text_of(file, TEXT_KEY.encode())
            if found is None:
                raise BlobError(_DAMAGED)
            image = Image.open(found.stream, formats=["PNG"])
    except Exception:  # Pillow's readers let through whatever their parsing trips over
        raise BlobError(_DAMAGED) from None
    if image.mode != "RGBA" and (text is None or image.mode not in _SAVED_AGAIN):
        raise BlobError(f"This PNG has mode {image.mode}; latents are kept as RGBA. Encode a picture first.")
    return image, text


def is_png(data: bytes) -> bool:
    return data[: len(SIGNATURE)] == SIGNATURE


def _facts(image: Image.Image, text: str | None) -> dict[str, Any]:
    """The text chunk, checked; for a PNG without one, what the ancestors imply."""
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
