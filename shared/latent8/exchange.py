"""Latents that other tools write and read, told apart by content.

Beside .l8 and RGBA PNG (latent8/file_format/rgba_png.py) these are

    ComfyUI .latent   safetensors with `latent_tensor` [1, C, h, w], float32, and the empty marker
                      `latent_format_version_0`. Values are raw latents; without the marker, those times 0.18215
    .safetensors      one floating-point tensor [C, h, w] or [1, C, h, w]; of several, the one named `latents`
    .npy              one floating-point array of those shapes

The last two hold z = (raw - shift) * scale, as diffusers' pipelines give them (`output_type="latent"`), or raw latents
where the user says so. Of which latent space they are, the user says; safetensors that were written here say it
themselves, in their metadata under "latent8", with the size of the picture. What is read from outside is checked
before anything is made of it: shape, type, size, values. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latent8.codec import Codec, unpacked
from latent8.errors import BlobError, ModelError, PictureError
from latent8.file_format import blob as l8
from latent8.file_format.blob import Header
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import Blob, blob_bytes, read
from latent8.file_format.rgba_png import is_png, with_model, write_rgba_png
from latent8.limits import DEFAULT_MAX_PIXELS, MAX_PIXELS, MAX_SIDE, check_size
from latent8.zoo.latent_spaces import SPACES, LatentSpace
from latent8.zoo.registry import HYPERPRIOR, OWN_SPACE, TINY, Model, model_named, model_with_id, models

SUFFIXES = {"l8": ".l8", "png": ".encoded.png", "comfy": ".latent", "safetensors": ".safetensors", "npy": ".npy"}
SPACE_NAMES = tuple(dict.fromkeys([*SPACES, *(m.space for m in models() if m.kind == TINY)]))  # that can be named
COMFY_TENSOR, COMFY_MARKER = "latent_tensor", "latent_format_version_0"
COMFY_OLD_SCALE = 0.18215  # of files without the marker, whatever the model (ComfyUI's LoadLatent)
OUR_TENSOR, OUR_METADATA = "latents", "latent8"
LARGEST_VALUE = 100.0  # of z, which has about unit variance: beyond it the space or the scale is wrong
_NPY_MAGIC = b"\x93NUMPY"
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}  # safetensors' names; bfloat16 is widened by hand


@dataclass(frozen=True)
class Latents:
    """values: z, float32 [C, h, w]. width, height: of the picture, in pixels. quantiser: where they had 8 bits."""

    values: np.ndarray
    space: str
    width: int
    height: int
    stride: int
    model_id: int
    weights: bytes = l8.UNKNOWN_WEIGHTS
    quantiser: Quantiser | None = None
    stem: str | None = None

    @classmethod
    def from_array(
        cls, array: np.ndarray, space: str, *, raw: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> Latents:
        """float [C, h, w] or [1, C, h, w], z or raw latents of that space. Raises BlobError, and ModelError for a space
        that is not one of SPACE_NAMES."""
        model = _default_model(space)
        shape = _shape_of_one(array.shape)
        if array.dtype.kind != "f":
            raise BlobError(f"The file holds {array.dtype} numbers: latents are floating-point ones.")
        if shape[0] != model.channels:
            raise BlobError(f"The file holds {shape[0]} latent channels, and latents in {space} have {model.channels}.")
        _, rows, columns = shape
        _check_size(columns * model.stride, rows * model.stride, max_pixels)
        with np.errstate(over="ignore"):
            values = array.reshape(shape).astype(np.float32)
        if not np.isfinite(values).all():
            raise BlobError("The file holds numbers that are not finite: no latents can be made of them.")
        if raw:
            values = _space_with_factors(space).scaled(values)
        largest = float(np.abs(values).max())
        if largest > LARGEST_VALUE:
            raise BlobError(
                f"The file holds values up to {largest:.3g} once scaled, which latents in {space} never have: name "
                "another latent space, or say whether the values are raw."
            )
        return cls(values, space, columns * model.stride, rows * model.stride, model.stride, model.id)


def read_latents(
    data: Blob,
    space: str | None = None,
    *,
    raw: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    codec_named: Callable[[str], Codec] | None = None,
) -> Latents:
    """A file in any of the formats above, as bytes or its path -> Latents.

    space: needed where the file does not say it. raw: what a .npy or foreign .safetensors holds are raw latents.
    codec_named: gives the codec of a model with a hyperprior; by default one that is loaded on first use and kept.
    Raises BlobError, and ModelError where blobs of a model with a hyperprior need it and it cannot be had.
    """
    data = blob_bytes(data)
    if l8.is_blob(data) or is_png(data):
        latents = _read_ours(data, space, max_pixels, codec_named)
    elif data[: len(_NPY_MAGIC)] == _NPY_MAGIC:
        array = _read_npy(data)
        latents = Latents.from_array(array, _named(space, array.shape), raw=raw, max_pixels=max_pixels)
    elif is_safetensors(data):
        latents = _read_safetensors(data, space, raw, max_pixels)
    else:
        raise BlobError("This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy.")
    if space is not None and space != latents.space:
        raise BlobError(f"The file states the latent space {latents.space}, not {space}.")
    return latents


def write_latents(latents: Latents, to: str, *, raw: bool = False) -> bytes:
    """Latents -> bytes of a file in a format of SUFFIXES. raw: write raw latents into .npy or .safetensors.

    .l8 and png hold 8 bits for each latent; transparency has no place in any but .l8. Raises ModelError where the
    format has no place for such latents.
    """
    if to == "l8" or to == "png":
        header, symbols = _quantised(latents)
        return l8.pack(header, symbols) if to == "l8" else write_rgba_png(header, symbols)
    if to == "comfy":
        marker = np.empty(0, np.float32)
        return _safetensors(latents, {COMFY_TENSOR: _raw(latents)[None], COMFY_MARKER: marker}, raw=True)
    values = _raw(latents) if raw else latents.values
    if to == "safetensors":
        return _safetensors(latents, {OUR_TENSOR: values[None]}, raw)
    if to == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values[None], allow_pickle=False)
        return buffer.getvalue()
    raise ModelError(f"There is no format {to!r} for latents: choose {' or '.join(SUFFIXES)}.")


def convert(
    data: Blob,
    to: str,
    *,
    space: str | None = None,
    raw: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    codec_named: Callable[[str], Codec] | None = None,
) -> bytes:
    """Latents in one format -> the same in another; see `read_latents` and `write_latents`."""
    data = blob_bytes(data)
    if to == "l8" and l8.is_blob(data):
        read(data, max_pixels)
        return data
    latents = read_latents(data, space, raw=raw, max_pixels=max_pixels, codec_named=codec_named)
    return write_latents(latents, to, raw=raw)


def as_blob(data: bytes, space: str | None = None, *, raw: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """What `Codec.decode` takes: other tools' latents as a .l8 that is not compressed, all else as it is."""
    if data[: len(_NPY_MAGIC)] != _NPY_MAGIC and not is_safetensors(data):
        return _with_space(data, space)
    header, symbols = _quantised(read_latents(data, space, raw=raw, max_pixels=max_pixels))
    return l8.pack_payload(header, l8.RAW, symbols.tobytes())


def _with_space(data: bytes, space: str | None) -> bytes:
    """An RGBA PNG that does not name its model names that of this space; all else is as it was."""
    if space is None or not is_png(data):
        return data
    model = _default_model(space)
    if model.channels != 4:
        raise BlobError(f"An RGBA PNG holds 4 latent channels, and {space} latents have {model.channels}.")
    return with_model(data, model.name)


def is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _read_ours(data: bytes, space: str | None, max_pixels: int, codec_named: Callable[[str], Codec] | None) -> Latents:
    header, symbols, _ = read(_with_space(data, space), max_pixels)
    model = model_with_id(header.model_id)
    return Latents(
        values=unpacked(header, symbols, codec_named),
        space=model.space,
        width=header.width,
        height=header.height,
        stride=header.stride,
        model_id=header.model_id,
        weights=header.weights or l8.UNKNOWN_WEIGHTS,
        quantiser=None if model.kind == HYPERPRIOR else header.quantiser,
        stem=header.stem,
    )


def _read_npy(data: bytes) -> np.ndarray:
    """As np.load, which would allocate what the header asks for before it looks for the data."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = readers[version](file)
    except Exception:  # numpy's parser lets through whatever it trips over
        raise BlobError("The .npy file is damaged: its header cannot be read.") from None
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise BlobError(f"The .npy file holds {dtype} values: latents are float16, float32 or float64.")
    shape = _shape_of_one(shape)
    stored = data[file.tell() :]
    if len(stored) != math.prod(shape) * dtype.itemsize:
        raise BlobError(f"The .npy file holds {len(stored)} bytes where its shape asks for another number.")
    return np.frombuffer(stored, dtype).reshape(shape, order="F" if by_columns else "C")


def _read_safetensors(data: bytes, space: str | None, raw: bool, max_pixels: int) -> Latents:
    from safetensors import SafetensorError, deserialize

    try:
        tensors: dict[str, Any] = dict(deserialize(data))
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    except (SafetensorError, ValueError, RecursionError):
        raise BlobError("The safetensors file is damaged: it cannot be read.") from None
    from_comfy = COMFY_TENSOR in tensors
    name = COMFY_TENSOR if from_comfy else OUR_TENSOR if OUR_TENSOR in tensors else next(iter(tensors), None)
    if name is None or (name not in (COMFY_TENSOR, OUR_TENSOR) and len(tensors) > 1):
        raise BlobError(f'The safetensors file holds {len(tensors)} tensors, and none is named "{OUR_TENSOR}".')
    array = _tensor(tensors[name])
    stated = _facts(metadata[OUR_METADATA]) if OUR_METADATA in metadata else {}
    if stated and space not in (None, stated["space"]):
        raise BlobError(f"The file states the latent space {stated['space']}, not {space}.")
    space = stated["space"] if stated else _named(space, array.shape)
    if from_comfy:
        raw = True
        if COMFY_MARKER not in tensors:
            array = array.astype(np.float64) / COMFY_OLD_SCALE
    elif stated:
        raw = stated["raw"]
    latents = Latents.from_array(array, space, raw=raw, max_pixels=max_pixels)
    if not stated:
        return latents
    width, height, stride = stated["width"], stated["height"], latents.stride
    if (math.ceil(width / stride) * stride, math.ceil(height / stride) * stride) != (latents.width, latents.height):
        raise BlobError("The safetensors file is not valid: its latents do not fit the picture it states.")
    return replace(latents, width=width, height=height, stem=stated["name"])


def _tensor(found: dict[str, Any]) -> np.ndarray:
    if found["dtype"] not in _FLOATS:
        raise BlobError(f"The safetensors file holds {found['dtype']} values: latents are floating-point numbers.")
    shape = _shape_of_one(tuple(found["shape"]))
    values = np.frombuffer(found["data"], _FLOATS[found["dtype"]]).reshape(shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if found["dtype"] == "BF16" else values


def _facts(text: str) -> dict[str, Any]:
    """Our metadata, checked."""
    try:
        facts = json.loads(text)
        space, width, height, raw, name = (facts[key] for key in ("space", "width", "height", "raw", "name"))
        sides_fit = all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height))
        known = space in {*SPACE_NAMES, OWN_SPACE, *(model.space for model in models())}
        if not known or not sides_fit or not isinstance(raw, bool) or not isinstance(name, str):
            raise ValueError
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BlobError("The safetensors file is not valid: its latent8 metadata cannot be understood.") from None
    if space not in SPACE_NAMES:
        raise BlobError(f"The file holds {space} latents, for other programs: decode the .l8 that they are of.")
    return {**facts, "name": l8.clean_stem(name) if name else None}


def _shape_of_one(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape with or without a leading 1 -> [C, h, w]."""
    if len(shape) == 4 and shape[0] > 1:
        raise BlobError(f"The file holds a batch of {shape[0]}: save one picture's latents at a time.")
    one = shape[1:] if len(shape) == 4 else shape
    if len(one) != 3 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in one):
        raise BlobError(f"The file holds an array of shape {list(shape)[:8]}: latents are [C, h, w] or [1, C, h, w].")
    return one[0], one[1], one[2]


def _named(space: str | None, shape: tuple[int, ...]) -> str:
    if space is not None:
        return space
    channels = _shape_of_one(shape)[0]
    fitting = [name for name in SPACE_NAMES if _default_model(name).channels == channels]
    if not fitting:
        raise BlobError(f"The file holds {channels} latent channels, which no known latent space has.")
    raise BlobError(f"The file does not say of which latent space it is: name it, {' or '.join(fitting)}.")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    try:
        check_size(width, height, min(max_pixels, MAX_PIXELS))
    except PictureError as error:
        raise BlobError(str(error)) from None


def _default_model(space: str) -> Model:
    if space not in SPACE_NAMES:
        raise ModelError(f"There is no latent space {space!r} to read: choose {' or '.join(SPACE_NAMES)}.")
    return model_named(SPACES[space].default_model if space in SPACES else space)


def _space_with_factors(name: str) -> LatentSpace:
    if name in SPACES:
        return SPACES[name]
    others = " or ".join(space.default_model for space in SPACES.values())
    raise ModelError(f"{name} latents are for latent8 alone, without raw values: encode the picture with {others}.")


def _raw(latents: Latents) -> np.ndarray:
    return _space_with_factors(latents.space).raw(latents.values)


def _quantised(latents: Latents) -> tuple[Header, np.ndarray]:
    if latents.space not in (*SPACE_NAMES, OWN_SPACE):
        raise ModelError(f"{latents.space} latents are kept in .l8 files alone, as they are when encoded.")
    model = model_with_id(latents.model_id)
    quantiser = latents.quantiser or Quantiser(model.low, model.high).widened(latents.values)
    header = Header(
        model_id=latents.model_id,
        weights=latents.weights,
        width=latents.width,
        height=latents.height,
        channels=len(latents.values),
        stride=latents.stride,
        quantiser=quantiser,
        stem=latents.stem,
    )
    return header, quantiser.quantise(latents.values)


def _safetensors(latents: Latents, tensors: dict[str, np.ndarray], raw: bool) -> bytes:
    from safetensors.numpy import save

    facts = {
        "space": latents.space,
        "width": latents.width,
        "height": latents.height,
        "raw": raw,
        "name": latents.stem or "",
    }
    in_order = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}  # `save` looks at memory alone
    return save(in_order, metadata={OUR_METADATA: json.dumps(facts)})
