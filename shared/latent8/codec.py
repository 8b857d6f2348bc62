"""The codec: a picture -> a blob, a blob -> a picture. File functions are thin wrappers."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latent8 import blob as l8
from latent8.blob import Header
from latent8.errors import BlobError, ModelError, PictureError
from latent8.files import picture_bytes, write_file
from latent8.models import DEFAULT_MODEL, Model, model_named, model_with_id
from latent8.pictures import Picture, Source, check_size, decode_alpha, encode_alpha, open_picture, pad_to_multiple
from latent8.quantise import Quantiser
from latent8.rgba_png import is_png, read_rgba_png, write_rgba_png

if TYPE_CHECKING:
    import torch

DEFAULT_MAX_PIXELS = 100_000_000  # tiles keep this within 8 GB of memory; measured by benchmarks/memory.py


class Codec:
    """A model loaded on a device, for many calls.

    model: a name from `models()`. device: "cpu", "cuda", "mps"; by default the best there is. dtype: of the
    layers; by default the fastest that the device is good at. max_pixels: limit for pictures in and out.
    Raises ModelError when the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Model = DEFAULT_MODEL,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ):
        import torch

        from latent8.network import Network, best_device

        self.model = model_named(model) if isinstance(model, str) else model
        try:
            self.network = Network(self.model, torch.device(device) if device else best_device(), dtype)
        except (RuntimeError, AssertionError) as error:  # torch, of a device that it does not know or have
            reason = str(error).splitlines()[0]
            raise ModelError(f"{self.model.name} cannot be loaded on the device {device}: {reason}.") from None
        self.max_pixels = max_pixels

    def encode(
        self, image: Source, *, levels: int = 256, longest_side: int | None = None, stem: str | None = None
    ) -> bytes:
        """Picture (path, bytes, open file, PIL image or uint8 array) -> blob.

        levels: of the quantiser, 16 to 256; fewer make smaller files and coarser pictures. longest_side: shrink
        larger pictures to it, in pixels. stem: file name kept in the blob, by default that of a path. The same
        picture, model and machine give the same bytes. Raises PictureError, or ValueError for `levels`.
        """
        picture = open_picture(image, self.max_pixels, longest_side)
        header, symbols, alpha = self.analyse(picture, levels, stem)
        return l8.pack(header, symbols, alpha)

    def encode_rgba_png(self, image: Source, *, levels: int = 256, longest_side: int | None = None) -> bytes:
        """Picture -> the ancestors' 8-bit RGBA PNG of its latents; transparency of the picture is not kept."""
        picture = open_picture(image, self.max_pixels, longest_side)
        header, symbols, _ = self.analyse(picture, levels)
        return write_rgba_png(header, symbols)

    def decode(self, blob: bytes) -> Image.Image:
        """Blob or latents as RGBA PNG -> PIL image, RGB or RGBA. Raises BlobError."""
        return self.synthesise(*read(blob, self.max_pixels)).image()

    def analyse(self, picture: Picture, levels: int = 256, stem: str | None = None) -> tuple[Header, np.ndarray, bytes]:
        """Picture -> header, symbols (uint8 [C, h, w]) and alpha plane (PNG bytes, empty when opaque)."""
        quantiser = Quantiser(self.model.low, self.model.high, levels)
        latents = self.network.encode_pixels(pad_to_multiple(picture.rgb, self.model.stride))
        symbols = quantiser.quantise(latents)
        header = Header(
            model_id=self.model.id,
            weights=self.network.weights_hash,
            width=picture.width,
            height=picture.height,
            channels=self.model.channels,
            stride=self.model.stride,
            quantiser=quantiser,
            stem=stem or picture.stem,
        )
        return header, symbols, encode_alpha(picture.alpha) if picture.alpha is not None else b""

    def synthesise(self, header: Header, symbols: np.ndarray, alpha_png: bytes = b"") -> Picture:
        """What `analyse` gave -> Picture. Raises BlobError when the blob is not for this model or too large."""
        self._check(header)
        alpha = decode_alpha(alpha_png, header.width, header.height) if alpha_png else None
        rgb = self.network.decode_latents(header.quantiser.dequantise(symbols))
        return Picture(np.ascontiguousarray(rgb[: header.height, : header.width]), alpha, header.stem)

    def _check(self, header: Header) -> None:
        wanted = model_with_id(header.model_id)
        if wanted.id != self.model.id:  # by id, so that a copy of the model with its weights elsewhere will do
            raise BlobError(f"The blob was made with {wanted.name}, and this codec has {self.model.name} loaded.")
        if header.weights and header.weights != self.network.weights_hash:
            raise BlobError(
                f"The blob was made with other weights of {wanted.name}: decode it with the release it is of."
            )
        _check_size(header, self.max_pixels)


def read(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[Header, np.ndarray, bytes]:
    """Blob or RGBA PNG, told apart by content -> header, symbols (uint8 [C, h, w]), alpha plane (PNG bytes).

    Raises BlobError; also for a model that is unknown or of another latent shape, and for pictures over the limit.
    """
    header = inspect(data)
    _check_size(header, max_pixels)  # before the symbols are decoded: a few bytes may claim very many
    if is_png(data):
        return *read_rgba_png(data), b""
    return l8.unpack(data)


def inspect(data: bytes) -> Header:
    """The header of a blob or RGBA PNG, all of it checked; no model is loaded. Raises BlobError."""
    header = read_rgba_png(data)[0] if is_png(data) else l8.read_header(data)
    _check_model(header)
    return header


def describe(header: Header) -> dict[str, str | int | float]:
    """A header in words and numbers, ready for JSON or a table."""
    quantiser = header.quantiser
    return {
        "model": model_with_id(header.model_id).name,
        "width": header.width,
        "height": header.height,
        "latents": " x ".join(map(str, header.latent_shape)),
        "levels": quantiser.levels,
        "range": f"{quantiser.low:g} to {quantiser.high:g}",
        "step": round(quantiser.step, 5),
        "coding": "entropy-coded" if header.coding == l8.ENTROPY_CODED else "raw",
        "bytes": header.n_bytes,
        "bpp": round(header.bpp, 4),
        "alpha": f"lossless, {header.alpha_bytes} bytes" if header.alpha_bytes else "opaque",
        "name": header.stem or "",
    }


def _check_size(header: Header, max_pixels: int) -> None:
    try:
        check_size(header.width, header.height, max_pixels)
    except PictureError as error:
        raise BlobError(str(error)) from None


def _check_model(header: Header) -> None:
    model = model_with_id(header.model_id)
    if (header.channels, header.stride) != (model.channels, model.stride):
        latents = f"{header.channels} latent channels at 1/{header.stride}"
        raise BlobError(f"The blob is not valid: {latents} are not those of {model.name}.")


@lru_cache(maxsize=2)
def _loaded(model: str, device: str | None) -> Codec:
    return Codec(model, device)


def encode(
    image: Source,
    model: str = DEFAULT_MODEL,
    *,
    levels: int = 256,
    longest_side: int | None = None,
    stem: str | None = None,
    device: str | None = None,
) -> bytes:
    """`Codec.encode` with a codec that is loaded on first use and kept."""
    return _loaded(model, device).encode(image, levels=levels, longest_side=longest_side, stem=stem)


def decode(blob: bytes, *, device: str | None = None) -> Image.Image:
    """`Codec.decode` with the model that the blob names, loaded on first use and kept."""
    return _loaded(model_with_id(inspect(blob).model_id).name, device).decode(blob)


def encode_file(source: str | os.PathLike, target: str | os.PathLike, model: str = DEFAULT_MODEL, **options) -> None:
    """Picture file -> .l8 file; options as for `encode`."""
    write_file(target, encode(Path(source), model, **options))


def decode_file(source: str | os.PathLike, target: str | os.PathLike, **options) -> None:
    """.l8 file -> picture file, its format by the ending; options as for `decode`."""
    image = decode(Path(source).read_bytes(), **options)
    write_file(target, picture_bytes(image, Path(target).suffix))
