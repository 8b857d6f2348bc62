"""Latents outside of a blob: an array, and the facts that decoding it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latent8.errors import BlobError, ModelError, PictureError
from latent8.file_format.blob import UNKNOWN_WEIGHTS, Encoded, Header
from latent8.file_format.codings import NEIGHBOURS, coding_with_id
from latent8.file_format.flat import FlatColours
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import model_of
from latent8.limits import DEFAULT_MAX_PIXELS, MAX_PIXELS, MAX_SIDE, check_size
from latent8.metadata.kept import NONE, Metadata
from latent8.zoo.latent_spaces import SPACES, LatentSpace
from latent8.zoo.registry import OWN_SPACE, Model, model_named, model_with_id, models
from latent8.zoo.settings import DEFAULTS

SPACE_NAMES = tuple(  # latent spaces that a user can name
    dict.fromkeys([*SPACES, *(m.space for m in models() if m.kind.exchanged and not m.own)])
)
LARGEST_VALUE = 100.0  # bound of z, whose variance is about 1: beyond it the latent space or its scale factor is wrong


@dataclass(frozen=True)
class Latents:
    """Latents of a picture as floating-point numbers.

    values: z, float32 [C, h, w]. space: name of their latent space. width, height: of the picture, in pixels. stride:
    pixels per latent, both ways. quantiser: of the 8-bit symbols that they were, if any. quality: of the blob that they
    come from, if its coding has one.
    """

    values: np.ndarray
    space: str
    width: int
    height: int
    stride: int
    model_id: int
    weights: bytes = UNKNOWN_WEIGHTS
    quantiser: Quantiser | None = None
    stem: str | None = None
    quality: int | None = None

    @classmethod
    def from_array(
        cls, array: np.ndarray, space: str, *, raw: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> Latents:
        """Latents of a float array [C, h, w] or [1, C, h, w].

        raw: whether the array holds raw latents, not z. Raises BlobError for an array that cannot be latents of this
        space, and ModelError for a space that is not one of SPACE_NAMES.
        """
        model = default_model(space)
        shape = shape_of_one(array.shape)
        if array.dtype.kind != "f":
            raise BlobError(f"The file holds {array.dtype} numbers: latents are floating-point ones.")
        if shape[0] != model.channels:
            raise BlobError(f"The file holds {shape[0]} latent channels, and latents in {space} have {model.channels}.")
        _, rows, columns = shape
        _check_size(columns * model.stride, rows * model.stride, max_pixels)
        with np.errstate(all="ignore"):  # what is not finite afterwards is refused
            values = array.reshape(shape).astype(np.float32)
        if not np.isfinite(values).all():
            raise BlobError("The file holds numbers that are not finite: no latents can be made of them.")
        if raw:
            with np.errstate(all="ignore"):
                values = space_with_factors(space).scaled(values)
        largest = float(np.abs(values).max())
        if largest > LARGEST_VALUE:
            raise BlobError(
                f"The file holds values up to {largest:.3g} once scaled, which latents in {space} never have: name "
                "another latent space, or say whether the values are raw."
            )
        return cls(values, space, columns * model.stride, rows * model.stride, model.stride, model.id)

    @classmethod
    def of_encoded(cls, encoded: Encoded, values: np.ndarray) -> Latents:
        """Latents of an encoded picture. values: float32 [C, h, w], as its coding decodes them."""
        header, model = encoded.header, model_of(encoded)
        return cls(
            values=values,
            space=model.space,
            width=header.width,
            height=header.height,
            stride=header.stride,
            model_id=header.model_id,
            weights=header.weights or UNKNOWN_WEIGHTS,
            quantiser=None if coding_with_id(encoded.coding).needs_network else header.quantiser,
            stem=header.stem,
            quality=encoded.quality,
        )

    @property
    def header(self) -> Header:
        """Header of a blob of these latents; without a quantiser of their own, its range is widened to hold them."""
        model = model_with_id(self.model_id, self.weights)
        return Header(
            model_id=self.model_id,
            weights=self.weights,
            width=self.width,
            height=self.height,
            channels=len(self.values),
            stride=self.stride,
            quantiser=self.quantiser or Quantiser(model.low, model.high).widened(self.values),
            stem=self.stem,
        )

    def raw(self) -> np.ndarray:
        """Raw latents, float32 [C, h, w]. Raises ModelError for a space without them."""
        return space_with_factors(self.space).raw(self.values)

    def encoded(self, coding: int = NEIGHBOURS) -> Encoded:
        """Quantise to 8-bit symbols and code them. Raises ModelError for latents that only a model codes."""
        if self.space not in (*SPACE_NAMES, OWN_SPACE):
            raise ModelError(f"{self.space} latents are kept in .l8 files alone, as they are when encoded.")
        return coding_with_id(coding)().encode(self.values, DEFAULTS, self.header)


def describe(source: Encoded | Latents, n_bytes: int | None = None) -> dict[str, str | int | float]:
    """Describe a file in words and numbers, ready for JSON or a table. n_bytes: size of a file that is no blob.

    Raises BlobError for metadata or flat colours that cannot be read.
    """
    header, model = source.header, model_of(source)
    quantiser, alpha_png, metadata, flat = header.quantiser, b"", NONE, None
    steps: dict[str, str | int | float] = {"range": f"{quantiser.low:g} to {quantiser.high:g}"}
    if isinstance(source, Latents):
        coding = "floating-point numbers"
        n_bytes = n_bytes or source.values.nbytes
    else:
        coding, alpha_png = coding_with_id(source.coding).name, source.alpha_png
        metadata = Metadata.of_chunks(source.chunks)
        flat = FlatColours.of_chunks(source.chunks, header.width, header.height)
        n_bytes = n_bytes or source.n_bytes
        steps |= {"levels": quantiser.levels, "step": round(quantiser.step, 5)}
        if source.quality is not None:  # the quantisation step is then the model's, for each channel
            steps = {"quality": source.quality}
    return {
        "model": model.name,
        "space": model.space,
        "width": header.width,
        "height": header.height,
        "latents": " x ".join(map(str, header.latent_shape)),
        **steps,
        "coding": coding,
        "bytes": n_bytes,
        "bpp": round(8 * n_bytes / (header.width * header.height), 4),
        "alpha": f"lossless, {len(alpha_png)} bytes" if alpha_png else "opaque",
        "flat_colours": str(flat or "none"),
        "metadata": metadata.describe(),
        "name": header.stem or "",
    }


def shape_of_one(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape with or without a leading 1 -> [C, h, w]. Raises BlobError for any other shape."""
    if len(shape) == 4 and shape[0] > 1:
        raise BlobError(f"The file holds a batch of {shape[0]}: save one picture's latents at a time.")
    one = shape[1:] if len(shape) == 4 else shape
    if len(one) != 3 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in one):
        raise BlobError(f"The file holds an array of shape {list(shape)[:8]}: latents are [C, h, w] or [1, C, h, w].")
    return one[0], one[1], one[2]


def default_model(space: str) -> Model:
    """The model that stands for a latent space. Raises ModelError for a name that is not one of SPACE_NAMES."""
    if space not in SPACE_NAMES:
        raise ModelError(f"There is no latent space {space!r} to read: choose {' or '.join(SPACE_NAMES)}.")
    return model_named(SPACES[space].default_model if space in SPACES else space)


def space_with_factors(name: str) -> LatentSpace:
    """The latent space of this name. Raises ModelError for one that has no raw latents."""
    if name in SPACES:
        return SPACES[name]
    others = " or ".join(space.default_model for space in SPACES.values())
    raise ModelError(f"{name} latents are for latent8 alone, without raw values: encode the picture with {others}.")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    try:
        check_size(width, height, min(max_pixels, MAX_PIXELS))
    except PictureError as error:
        raise BlobError(str(error)) from None
