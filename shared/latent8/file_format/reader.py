"""What a blob or an RGBA PNG of latents holds: told, checked and read; and which models go with it. Loads no model."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from latent8.errors import BlobError, ModelError, PictureError
from latent8.file_format import blob as l8
from latent8.file_format.blob import Header
from latent8.file_format.rgba_png import is_png, open_rgba_png, read_rgba_png, symbols_of
from latent8.limits import DEFAULT_MAX_PIXELS, MIN_LATENTS, check_size
from latent8.zoo.registry import HYPERPRIOR, OWN_ID, OWN_SPACE, Model, decoders_of, model_with_id

Blob = bytes | bytearray | memoryview | str | os.PathLike  # of the last two, the path of a file
CODINGS = {l8.RAW: "raw", l8.ENTROPY_CODED: "entropy-coded", l8.HYPERPRIOR_CODED: "entropy-coded, hyperprior"}


def pack(header: Header, symbols: np.ndarray, alpha_png: bytes = b"") -> bytes:
    """What `Codec.analyse` gave -> blob."""
    if header.coding == l8.HYPERPRIOR_CODED:
        return l8.pack_payload(header, header.coding, symbols.tobytes(), alpha_png)
    return l8.pack(header, symbols, alpha_png)


def read(data: Blob, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[Header, np.ndarray, bytes]:
    """Blob or RGBA PNG, told apart by content -> header, symbols and alpha plane, as `Codec.analyse` gives them.

    Raises BlobError; also for a model that is unknown or of another latent shape, and for pictures over the limit.
    """
    data = blob_bytes(data)
    if is_png(data):
        header, image = open_rgba_png(data)
        _check_model(header)
        require_size(header, max_pixels)
        return header, symbols_of(header, image), b""
    header = inspect(data)
    require_size(header, max_pixels)  # before the symbols are decoded: a few bytes may claim very many
    if header.coding == l8.HYPERPRIOR_CODED:
        header, alpha, payload = l8.read_payload(data)
        return header, np.frombuffer(payload, np.uint8), alpha
    return l8.unpack(data)


def inspect(data: Blob) -> Header:
    """The header of a blob or RGBA PNG, as bytes or a path, all of it checked; no model is loaded. Raises BlobError."""
    data = blob_bytes(data)
    header = read_rgba_png(data)[0] if is_png(data) else l8.read_header(data)
    _check_model(header)
    return header


def decoders_for(header: Header) -> list[str]:
    """Names of the models that can decode this blob, the one it was made with first."""
    made_with = model_with_id(header.model_id)
    return sorted((model.name for model in decoders_of(made_with.space)), key=lambda name: name != made_with.name)


def require_decoder(header: Header, model: Model) -> None:
    """Raises BlobError unless the model decodes the blob's latent space. Loads nothing."""
    made_with = model_with_id(header.model_id)
    if made_with.space == model.space and (header.channels, header.stride) == (model.channels, model.stride):
        return
    if made_with.space == OWN_SPACE:
        raise BlobError("The blob was made with an autoencoder of the user's own: name that one as the decoder.")
    fitting = " or ".join(decoders_for(header))
    hint = ""
    if model.space == OWN_SPACE:
        hint = f" If {model.name} is of {made_with.space} too, name that latent space with it."
    raise BlobError(
        f"The blob holds {made_with.space} latents, and {model.name} decodes {model.space} latents: "
        f"decode it with {fitting}.{hint}"
    )


def require_encoder(model: Model) -> None:
    """Raises ModelError for a model that only decodes."""
    if not model.encodes:
        others = " or ".join(other.name for other in decoders_of(model.space) if other.encodes)
        raise ModelError(f"{model.name} only decodes: encode with {others}, whose latents it takes.")


def blob_bytes(blob: Blob) -> bytes:
    """The bytes themselves, or those of the file. Raises BlobError where it cannot be read."""
    if not isinstance(blob, (str, os.PathLike)):
        return bytes(blob)
    try:
        return Path(blob).read_bytes()
    except OSError as error:
        raise BlobError(f"The file cannot be read ({error.strerror or error}).") from None


def blob_pixels(blob: Blob) -> int:
    """Size of the picture in a blob, in pixels; 0 where it cannot be told."""
    try:
        header = inspect(blob)
    except BlobError:
        return 0
    return header.width * header.height


def describe(header: Header) -> dict[str, str | int | float]:
    """A header in words and numbers, ready for JSON or a table."""
    quantiser = header.quantiser
    described_quantiser: dict[str, str | int | float] = {
        "levels": quantiser.levels,
        "range": f"{quantiser.low:g} to {quantiser.high:g}",
        "step": round(quantiser.step, 5),
    }
    if header.quality is not None:  # the quantisation step is then the model's, for each channel
        described_quantiser = {"quality": header.quality}
    return {
        "model": model_with_id(header.model_id).name,
        "space": model_with_id(header.model_id).space,
        "width": header.width,
        "height": header.height,
        "latents": " x ".join(map(str, header.latent_shape)),
        **described_quantiser,
        "coding": CODINGS[header.coding],
        "bytes": header.n_bytes,
        "bpp": round(header.bpp, 4),
        "alpha": f"lossless, {header.alpha_bytes} bytes" if header.alpha_bytes else "opaque",
        "name": header.stem or "",
    }


def require_size(header: Header, max_pixels: int) -> None:
    """Raises BlobError for a picture of more pixels, or one with far more latents than any model here has of it."""
    try:
        check_size(header.width, header.height, max_pixels)
    except PictureError as error:
        raise BlobError(str(error)) from None
    count, most = math.prod(header.latent_shape), max(max_pixels, MIN_LATENTS)
    if count > most:
        raise BlobError(f"The blob states {count / 1e6:,.1f} million latents, over the limit of {most / 1e6:,.1f}.")


def _check_model(header: Header) -> None:
    model = model_with_id(header.model_id)
    if not model.encodes:
        raise BlobError(f"The blob is not valid: {model.name} makes no latents.")
    if model.id != OWN_ID and (header.channels, header.stride) != (model.channels, model.stride):
        latents = f"{header.channels} latent channels at 1/{header.stride}"
        raise BlobError(f"The blob is not valid: {latents} are not those of {model.name}.")
    if (header.coding == l8.HYPERPRIOR_CODED) != (model.kind == HYPERPRIOR):
        raise BlobError(f"The blob is not valid: {model.name} does not code latents in its way.")
