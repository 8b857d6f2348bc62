"""Small pictures, symbols, PNGs, and blobs of any fields whatever."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "spaces" / "encoder" / "examples"
GOLDEN = Path(__file__).parents[1] / "golden"
DEFAULT_REALISM = 0.4  # of the bundled l8-photo


def build_blob(
    *,
    magic: bytes = b"\x89L8\n",
    version: int = 1,
    flags: int | None = None,
    model_id: int = 1,
    weights: bytes = b"\xde\xad\xbe\xef",
    width: int = 16,
    height: int = 8,
    channels: int = 4,
    stride: int = 8,
    top: int = 255,
    coding: int = 0,
    low: float = -3.0,
    high: float = 3.0,
    payload: bytes = bytes(range(8)),
    payload_bytes: int | None = None,
    stem: bytes | None = None,
    alpha: bytes | None = None,
    area: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A blob of any fields whatever, with a right checksum; written from the field table, not from the packer."""
    if flags is None:
        flags = (stem is not None) + 2 * (alpha is not None) + 4 * (area is not None)
    body = magic + struct.pack("<BBH", version, flags, model_id) + weights + struct.pack("<II", width, height)
    body += struct.pack("<BBBBee", channels, stride, top, coding, low, high)
    body += struct.pack("<I", len(payload) if payload_bytes is None else payload_bytes)
    if stem is not None:
        body += struct.pack("<B", len(stem)) + stem
    if alpha is not None:
        body += struct.pack("<I", len(alpha)) + alpha
    if area is not None:
        body += struct.pack("<I", len(area)) + area
    body += payload
    return body + struct.pack("<I", zlib.crc32(body)) + tail


def side_bytes(channels: int) -> int:
    """Bytes that a coded payload has before its words: 8 + c weights, and a table for each of 12 contexts."""
    return sum(8 + channel + 12 for channel in range(channels))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, colour_type: int, *chunks: bytes) -> bytes:
    """A PNG of 8 bits a channel that states this size and holds a few bytes of picture data."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(bytes(64))), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gradient(width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]: a ramp along each axis and one across, easy for any codec."""
    y, x = np.mgrid[:height, :width] / max(width, height, 2)
    return np.rint(np.stack([40 + 160 * x, 60 + 130 * y, 200 - 80 * (x + y)], axis=-1)).astype(np.uint8)


def smooth_symbols(channels: int, height: int, width: int, levels: int, seed: int = 0) -> np.ndarray:
    """uint8 [channels, height, width] such as a photo gives: soft slopes, related channels, some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.sin(x / 5 + 1) + np.cos(y / 4) + rng.normal(0, 0.1, (height, width))
    planes = [0.5 + 0.12 * base * np.cos(k) + 0.05 * np.sin((x + k * y) / 3) for k in range(channels)]
    return np.rint(np.clip(planes, 0, 1) * (levels - 1)).astype(np.uint8)
