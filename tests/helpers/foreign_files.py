"""Files of latents as other tools write them, made byte by byte."""

from __future__ import annotations

import ast
import json
import struct
import zlib
from typing import Any

import numpy as np

from latent8.file_format.reader import read
from latent8.pool import symbols_of
from tests.helpers.samples import build_blob, png_chunk

FACTORS = {  # scale, shift, channels
    "sd1": (0.18215, 0.0, 4),
    "sdxl": (0.13025, 0.0, 4),
    "sd3": (1.5305, 0.0609, 16),
    "flux1": (0.3611, 0.1159, 16),
}
MODELS = {"sd1": 2, "sdxl": 16, "sd3": 17, "flux1": 18, "l8-tiny": 1}
ROWS, COLUMNS = 3, 5


def npy(shape: tuple, data: bytes, dtype: str = "<f4", by_columns: bool = False, version: int = 1) -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': {by_columns}, 'shape': {shape}, }}"
    return npy_with_header(header, data, version)


def npy_with_header(header: str, data: bytes, version: int = 1) -> bytes:
    head = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(head))
    return b"\x93NUMPY" + bytes([version, 0]) + length + head + data


def npy_parts(file: bytes) -> tuple[dict, bytes]:
    assert file[:8] == b"\x93NUMPY\x01\x00"
    (length,) = struct.unpack("<H", file[8:10])
    return ast.literal_eval(file[10 : 10 + length].decode()), file[10 + length :]


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_parts(file: bytes) -> tuple[dict[str, tuple[str, list[int], bytes]], dict[str, str]]:
    (length,) = struct.unpack("<Q", file[:8])
    header, data = json.loads(file[8 : 8 + length]), file[8 + length :]
    metadata = header.pop("__metadata__", {})
    return {
        name: (facts["dtype"], facts["shape"], data[slice(*facts["data_offsets"])]) for name, facts in header.items()
    }, metadata


def comfy(raw: np.ndarray, marker: bool = True, **more: tuple[str, list[int], bytes]) -> bytes:
    tensors = {"latent_tensor": ("F32", list(raw.shape), floats(raw)), **more}
    if marker:
        tensors["latent_format_version_0"] = ("F32", [0], b"")
    return safetensors(tensors, {"prompt": "{}", "workflow": '{"nodes": []}'})


def floats(values: np.ndarray) -> bytes:
    flat = values.ravel().tolist()
    return struct.pack(f"<{len(flat)}f", *flat)


def rgba_png(pixels: np.ndarray) -> bytes:
    """uint8 [h, w, 4]; no text chunk."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def z_of(space: str, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """float32 [C, 3, 5], of the latent space's variance."""
    channels = FACTORS[space][2] if space in FACTORS else 4
    return np.random.default_rng(seed).normal(0, spread, (channels, ROWS, COLUMNS)).astype(np.float32)


def raw_of(space: str, z: np.ndarray) -> np.ndarray:
    scale, shift, _ = FACTORS[space]
    return (z.astype(np.float64) / scale + shift).astype(np.float32)


def blob_of(space: str, **fields: Any) -> bytes:
    """A blob of a picture 37 x 20, in the default model's name."""
    channels = FACTORS[space][2] if space in FACTORS else 4
    symbols = np.random.default_rng(1).integers(0, 256, (channels, ROWS, COLUMNS)).astype(np.uint8)
    given = {"model_id": MODELS[space], "width": 37, "height": 20, "channels": channels, "stem": b"photo", **fields}
    return build_blob(payload=symbols.tobytes(), **given)


def z_in(blob: bytes) -> np.ndarray:
    encoded = read(blob)
    quantiser = encoded.header.quantiser
    return quantiser.low + symbols_of(encoded).values.astype(np.float64) * quantiser.step


GOOD = z_of("sd1")
DATA = floats(GOOD)
