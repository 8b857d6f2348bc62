"""Formats of latents that other tools write and read, told apart by content.

Beside .l8 and RGBA PNG (latent8/file_format/rgba_png.py) they are

    ComfyUI .latent   safetensors with `latent_tensor` [1, C, h, w], float32, and the empty marker
                      `latent_format_version_0`. Values are raw latents; without the marker, those times 0.18215
    .safetensors      one floating-point tensor [C, h, w] or [1, C, h, w]; of several, the one named `latents`
    .npy              one floating-point array of those shapes

The last two hold z = (raw - shift) * scale, as diffusers' pipelines give them (`output_type="latent"`), or raw latents
where the user says so. The user also names their latent space; safetensors that latent8 wrote state it themselves, in
their metadata under "latent8", with the size of the picture. Shape, type, size and values are checked before anything
is made of them. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np

from latent8.errors import BlobError, ModelError
from latent8.file_format import codings
from latent8.file_format.blob import MAGIC, Encoded, clean_stem, is_blob
from latent8.file_format.reader import Blob, blob_bytes, model_of, read
from latent8.file_format.rgba_png import is_png, with_model
from latent8.latents import SPACE_NAMES, Latents, default_model, shape_of_one
from latent8.limits import DEFAULT_MAX_PIXELS, MAX_SIDE
from latent8.pool import CodecPool, latents_of
from latent8.zoo.latent_spaces import SPACES
from latent8.zoo.registry import OWN_SPACE, models

SUFFIXES = {"l8": ".l8", "png": ".encoded.png", "comfy": ".latent", "safetensors": ".safetensors", "npy": ".npy"}
COMFY_TENSOR, COMFY_MARKER = "latent_tensor", "latent_format_version_0"
COMFY_OLD_SCALE = 0.18215  # factor in files without the marker, whatever the model (ComfyUI's LoadLatent)
MAX_SAFETENSORS_HEADER = 1 << 20  # bytes
OUR_TENSOR, OUR_METADATA = "latents", "latent8"
_NPY_MAGIC = b"\x93NUMPY"
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}  # safetensors' names; bfloat16 is widened by hand


def open_latents(
    data: Blob, space: str | None = None, *, raw: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Encoded | Latents:
    """Open a file in any of the formats above, given as bytes or its path, for `Codec.decode`. Loads no model.

    space: name of the latent space, needed where the file does not state it. raw: whether a .npy or foreign
    .safetensors holds raw latents. Raises BlobError for a file that cannot be used, and ModelError for a space that is
    not one of SPACE_NAMES.
    """
    data = blob_bytes(data)
    if data[: len(_NPY_MAGIC)] == _NPY_MAGIC:
        array = _read_npy(data)
        return Latents.from_array(array, _named(space, array.shape), raw=raw, max_pixels=max_pixels)
    if is_safetensors(data):
        return _read_safetensors(data, space, raw, max_pixels)
    if not is_png(data) and (not data or data[: len(MAGIC)] != MAGIC[: len(data)]):
        raise BlobError("This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy.")
    return read(_with_space(data, space), max_pixels)


def read_latents(
    data: Blob | Encoded | Latents,
    space: str | None = None,
    *,
    raw: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    pool: CodecPool | None = None,
) -> Latents:
    """Read latents as floating-point numbers: as `open_latents`, but symbols are decoded. Also takes what that gives.

    pool: source of the model if decoding needs it, as for l8-photo; by default the pool of `latent8.decode`. Raises as
    `open_latents`, and ModelError where that model cannot be loaded.
    """
    found = data if isinstance(data, (Encoded, Latents)) else open_latents(data, space, raw=raw, max_pixels=max_pixels)
    if isinstance(found, Encoded):
        stated = model_of(found).space
        if space is not None and space != stated:
            raise BlobError(f"The file states the latent space {stated}, not {space}.")
        found = Latents.of_encoded(found, latents_of(found, pool))
    return found


def write_latents(latents: Latents, to: str, *, raw: bool = False) -> bytes:
    """Latents -> bytes of a file. to: a key of SUFFIXES. raw: whether .npy and .safetensors hold raw latents, not z.

    .l8 and png hold 8 bits for each latent; only .l8 keeps transparency. Raises ModelError where the format cannot hold
    such latents.
    """
    if to == "l8" or to == "png":
        return latents.encoded(codings.NEIGHBOURS if to == "l8" else codings.RGBA_PNG).to_bytes()
    if to == "comfy":
        marker = np.empty(0, np.float32)
        return _safetensors(latents, {COMFY_TENSOR: latents.raw()[None], COMFY_MARKER: marker}, raw=True)
    values = latents.raw() if raw else latents.values
    if to == "safetensors":
        return _safetensors(latents, {OUR_TENSOR: values[None]}, raw)
    if to == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values[None], allow_pickle=False)
        return buffer.getvalue()
    raise ModelError(f"There is no format {to!r} for latents: choose {' or '.join(SUFFIXES)}.")


def formats_of(source: Encoded | Latents) -> list[str]:
    """Keys of SUFFIXES of what a file of latents can be converted to, without the .l8 file that it may be already."""
    space, found = model_of(source).space, ["safetensors", "npy"]
    if space in SPACES:
        found.append("comfy")
    if space in (*SPACE_NAMES, OWN_SPACE):
        found += ["png"] if source.header.channels == 4 else []
        found += ["l8"] if isinstance(source, Latents) else []
    return found


def convert(
    data: Blob,
    to: str,
    *,
    space: str | None = None,
    raw: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    pool: CodecPool | None = None,
) -> bytes:
    """Convert a file of latents to another format, see `read_latents` and `write_latents`."""
    data = blob_bytes(data)
    if to == "l8" and is_blob(data):
        read(data, max_pixels)
        return data
    return write_latents(read_latents(data, space, raw=raw, max_pixels=max_pixels, pool=pool), to, raw=raw)


def _with_space(data: bytes, space: str | None) -> bytes:
    """Add the default model of a latent space to an RGBA PNG that names no model; other files stay as they are."""
    if space is None or not is_png(data):
        return data
    model = default_model(space)
    if model.channels != 4:
        raise BlobError(f"An RGBA PNG holds 4 latent channels, and {space} latents have {model.channels}.")
    return with_model(data, model.name)


def stem_of(name: str) -> str:
    """File name without the ending of a format of latents, both parts of .encoded.png among them, or of any other."""
    ending = next((end for end in SUFFIXES.values() if name.lower().endswith(end)), PurePath(name).suffix)
    return name[: len(name) - len(ending)]


def is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _read_npy(data: bytes) -> np.ndarray:
    """Read an array as np.load does, which would allocate what the header asks for before it looks for the data."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        readers = {(1, 0): one, (2, 0): two, (3, 0): two}  # 3 is 2 with names of fields in UTF-8, which latents lack
        shape, by_columns, dtype = readers[version](file)
    except Exception:  # numpy's parser lets through whatever it trips over
        raise BlobError("The .npy file is damaged: its header cannot be read.") from None
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise BlobError(f"The .npy file holds {dtype} values: latents are float16, float32 or float64.")
    shape = shape_of_one(shape)
    stored = data[file.tell() :]
    if len(stored) != math.prod(shape) * dtype.itemsize:
        raise BlobError(f"The .npy file holds {len(stored)} bytes where its shape asks for another number.")
    return np.frombuffer(stored, dtype).reshape(shape, order="F" if by_columns else "C")


def _read_safetensors(data: bytes, space: str | None, raw: bool, max_pixels: int) -> Latents:
    from safetensors import SafetensorError, deserialize

    if int.from_bytes(data[:8], "little") > MAX_SAFETENSORS_HEADER:  # its parser holds up all threads meanwhile
        raise BlobError("The safetensors file has a header of over a megabyte: latents need no such.")
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
            with np.errstate(all="ignore"):  # what is not finite is refused below
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
    shape = shape_of_one(tuple(found["shape"]))
    values = np.frombuffer(found["data"], _FLOATS[found["dtype"]]).reshape(shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if found["dtype"] == "BF16" else values


def _facts(text: str) -> dict[str, Any]:
    """The metadata that latent8 writes, checked. Raises BlobError."""
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
    return {**facts, "name": clean_stem(name) if name else None}


def _named(space: str | None, shape: tuple[int, ...]) -> str:
    if space is not None:
        return space
    channels = shape_of_one(shape)[0]
    fitting = [name for name in SPACE_NAMES if default_model(name).channels == channels]
    if not fitting:
        raise BlobError(f"The file holds {channels} latent channels, which no known latent space has.")
    raise BlobError(f"The file does not say of which latent space it is: name it, {' or '.join(fitting)}.")


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
