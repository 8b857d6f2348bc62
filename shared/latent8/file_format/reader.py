"""Reading of blobs and RGBA PNGs of latents: told apart, checked against their model; and which models decode them.

Loads no model.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Protocol

from latent8.errors import BlobError, ModelError, PictureError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.rgba_png import is_png, parse_rgba_png
from latent8.limits import DEFAULT_MAX_PIXELS, MIN_LATENTS, check_size
from latent8.zoo.kinds import kinds
from latent8.zoo.registry import OWN_ID, OWN_SPACE, Model, decoders_of, model_with_id

Blob = bytes | bytearray | memoryview | str | os.PathLike  # the last two: the path of a file


class WithHeader(Protocol):
    """A source of a picture that has a header: an encoded picture, or latents."""

    @property
    def header(self) -> Header: ...


def read(data: Blob, max_pixels: int = DEFAULT_MAX_PIXELS) -> Encoded:
    """Read a blob or RGBA PNG as `inspect` does, and refuse pictures of more than `max_pixels` pixels.

    Raises BlobError.
    """
    encoded = inspect(data)
    require_size(encoded.header, max_pixels)  # before the symbols are decoded: a few bytes may claim very many
    return encoded


def inspect(data: Blob) -> Encoded:
    """Read a blob or RGBA PNG, as bytes or a path: all checks but those of the symbols. Loads no model.

    Raises BlobError for a file that is damaged, of another format, or not of its model.
    """
    data = blob_bytes(data)
    encoded = parse_rgba_png(data) if is_png(data) else Encoded.parse(data)
    _check_model(encoded)
    return encoded


def model_of(source: WithHeader) -> Model:
    """The model that a blob names."""
    return model_of_header(source.header)


def model_of_header(header: Header) -> Model:
    return model_with_id(header.model_id, header.weights)


def decoders_for(source: WithHeader) -> list[str]:
    """Names of the models that can decode this blob, the one it was made with first."""
    made_with = model_of(source)
    if made_with.own:  # no other decodes it, and it only where it is offered
        return [made_with.name] if made_with.weights_hash else []
    return sorted((model.name for model in decoders_of(made_with.space)), key=lambda name: name != made_with.name)


def require_decoder(header: Header, model: Model) -> None:
    """Raise BlobError unless the model decodes the latent space that the header names. Loads nothing."""
    made_with = model_of_header(header)
    if made_with.space == model.space and (header.channels, header.stride) == (model.channels, model.stride):
        return
    if made_with.space == OWN_SPACE:
        raise BlobError("The blob was made with an autoencoder of the user's own: name that one as the decoder.")
    fitting = " or ".join(other.name for other in decoders_of(made_with.space))
    hint = ""
    if model.space == OWN_SPACE:
        hint = f" If {model.name} is of {made_with.space} too, name that latent space with it."
    raise BlobError(
        f"The blob holds {made_with.space} latents, and {model.name} decodes {model.space} latents: "
        f"decode it with {fitting}.{hint}"
    )


def require_encoder(model: Model) -> None:
    """Raise ModelError for a model that only decodes."""
    if not model.encodes:
        others = " or ".join(other.name for other in decoders_of(model.space) if other.encodes)
        raise ModelError(f"{model.name} only decodes: encode with {others}, whose latents it takes.")


def blob_bytes(blob: Blob) -> bytes:
    """Bytes as they are, or the content of the file at a path. Raises BlobError where it cannot be read."""
    if not isinstance(blob, (str, os.PathLike)):
        return bytes(blob)
    try:
        return Path(blob).read_bytes()
    except OSError as error:
        raise BlobError(f"The file cannot be read ({error.strerror or error}).") from None


def blob_pixels(blob: Blob) -> int:
    """Number of pixels of the picture in a blob; 0 where the blob cannot be read."""
    try:
        encoded = inspect(blob)
    except BlobError:
        return 0
    return encoded.width * encoded.height


def require_size(header: Header, max_pixels: int) -> None:
    """Raise BlobError for a picture of more than `max_pixels` pixels, or of more latents than pixels.

    No model here makes so many.
    """
    try:
        check_size(header.width, header.height, max_pixels)
    except PictureError as error:
        raise BlobError(str(error)) from None
    count, most = math.prod(header.latent_shape), max(header.width * header.height, MIN_LATENTS)
    if count > most:
        raise BlobError(f"The blob states {count / 1e6:,.1f} million latents, over the limit of {most / 1e6:,.1f}.")


def _check_model(encoded: Encoded) -> None:
    header, model = encoded.header, model_of(encoded)
    if not model.encodes:
        raise BlobError(f"The blob is not valid: {model.name} makes no latents.")
    if model.id != OWN_ID and (header.channels, header.stride) != (model.channels, model.stride):
        latents = f"{header.channels} latent channels at 1/{header.stride}"
        raise BlobError(f"The blob is not valid: {latents} are not those of {model.name}.")
    known = model.kind.codings
    if model.own and not model.weights_hash:  # of any kind that users bring
        known = tuple(coding for kind in kinds() if kind.default_stages for coding in kind.codings)
    if codings.coding_with_id(encoded.coding).in_blobs and encoded.coding not in known:
        raise BlobError(f"The blob is not valid: {model.name} does not code latents in its way.")
