"""TIFF files written tag by tag, of kinds that Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

BYTES = {"B": 1, "H": 3, "I": 4, "f": 11, "d": 12, "b": 6, "h": 8, "i": 9}
NONE, LZW, DEFLATE = 1, 5, 8


def tiff(
    samples: np.ndarray,
    *,
    photometric: int | None = None,
    bits: int | None = None,
    endian: str = "<",
    planar: bool = False,
    rows_per_strip: int | None = None,
    tile: int | None = None,
    compression: int = NONE,
    predictor: int = 1,
    big: bool = False,
    **tags: tuple[str, Any],
) -> bytes:
    """[H, W] or [H, W, C] -> a TIFF of one page. Further tags as t256=("H", (64,))."""
    samples = samples[..., None] if samples.ndim == 2 else samples
    height, width, channels = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    bits = bits or 8 * samples.dtype.itemsize
    photometric = photometric if photometric is not None else 2 if channels >= 3 else 1
    planes = [samples[..., index : index + 1] for index in range(channels)] if planar else [samples]
    step = tile or rows_per_strip or height
    blocks = []
    for plane in planes:
        for top in range(0, height, step):
            for left in range(0, width, tile or width):
                block = plane[top : top + step, left : left + (tile or width)]
                if tile:
                    block = np.pad(block, ((0, tile - len(block)), (0, tile - block.shape[1]), (0, 0)))
                blocks.append(compressed(stored(block, bits, endian, predictor), compression))
    entries: dict[int, tuple[str, Any]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * channels),
        259: ("H", (compression,)),
        262: ("H", (photometric,)),
        277: ("H", (channels,)),
        284: ("H", (1 + planar,)),
        317: ("H", (predictor,)),
        339: ("H", (kind,) * channels),
    }
    entries |= {322: ("I", (tile,)), 323: ("I", (tile,))} if tile else {278: ("I", (step,))}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    return pages([(entries, blocks, bool(tile))], endian, big)


def pages(
    parts: list[tuple[dict[int, tuple[str, Any]], list[bytes], bool]], endian: str = "<", big: bool = False
) -> bytes:
    """Entries, blocks and whether these are tiles, for each page -> a TIFF."""
    code, field = ("Q", 8) if big else ("I", 4)
    mark = (b"II" if endian == "<" else b"MM") + struct.pack(
        endian + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,))
    )
    body, start = b"", len(mark) + field
    offsets = []
    for entries, blocks, tiled in parts:
        places = []
        for block in blocks:
            places.append(start + len(body))
            body += block + bytes(len(block) % 2)
        full = {(324 if tiled else 273): (code, places), (325 if tiled else 279): (code, [len(b) for b in blocks])}
        full |= entries
        values = {}
        for tag, (letter, numbers) in full.items():
            data = struct.pack(f"{endian}{len(numbers)}{letter}", *numbers)
            values[tag] = (16 if letter == "Q" else BYTES[letter], len(numbers), data)
        offset = start + len(body)
        offsets.append(offset)
        behind = offset + (8 if big else 2) + len(values) * (20 if big else 12) + field
        table, tail = struct.pack(endian + ("Q" if big else "H"), len(values)), b""
        for tag, (kind, count, data) in sorted(values.items()):
            if len(data) > field:
                data, tail = struct.pack(endian + code, behind + len(tail)), tail + data + bytes(len(data) % 2)
            table += struct.pack(f"{endian}HH{code}", tag, kind, count) + data.ljust(field, b"\0")
        body += table + bytes(field) + tail  # where the next page is follows below
    data = bytearray(mark + struct.pack(endian + code, offsets[0]) + body)
    for index, offset in enumerate(offsets):
        count = struct.unpack_from(endian + ("Q" if big else "H"), data, offset)[0]
        place = offset + (8 if big else 2) + count * (20 if big else 12)
        struct.pack_into(endian + code, data, place, offsets[index + 1] if index + 1 < len(offsets) else 0)
    return bytes(data)


def stored(block: np.ndarray, bits: int, endian: str, predictor: int) -> bytes:
    """[rows, columns, samples] -> bytes as a page holds them before compression."""
    if predictor == 2:
        block = np.diff(
            block.view(f"u{block.itemsize}"), axis=1, prepend=np.zeros_like(block[:, :1]).view(f"u{block.itemsize}")
        )
    if predictor == 3:
        big = block.astype(block.dtype.newbyteorder(">")).reshape(len(block), -1)
        planes = (
            big.view(np.uint8)
            .reshape(len(block), -1, block.itemsize)
            .transpose(0, 2, 1)
            .reshape(len(block), -1, block.shape[2])
        )
        return np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1])).tobytes()
    if bits != 8 * block.dtype.itemsize:
        places = np.arange(bits - 1, -1, -1)
        spread = (block.reshape(len(block), -1, 1) >> places & 1).astype(np.uint8).reshape(len(block), -1)
        return np.packbits(spread, axis=1).tobytes()
    return block.astype(block.dtype.newbyteorder(endian)).tobytes()


def compressed(data: bytes, compression: int) -> bytes:
    """LZW by way of a page of Pillow's."""
    if compression == DEFLATE:
        return zlib.compress(data)
    if compression == NONE:
        return data
    buffer = io.BytesIO()
    Image.frombytes("L", (len(data), 1), data).save(buffer, "TIFF", compression="tiff_lzw", tiffinfo={278: 1, 317: 1})
    with Image.open(buffer) as image:
        offset, count = image.tag_v2[273][0], image.tag_v2[279][0]
    return buffer.getvalue()[offset : offset + count]


def pages_of_long_values(n_pages: int, n_values: int) -> bytes:
    """Pages whose compression, colours and subdirectories are so many numbers each, the same bytes for all."""
    values, n_entries, parts = 8, 3, []
    size = 2 + 12 * n_entries + 4
    for index in range(n_pages):
        entries = [(259, 3), (262, 3), (330, 4)]
        table = b"".join(struct.pack("<HHII", tag, kind, n_values, values) for tag, kind in entries)
        following = values + 4 * n_values + size * (index + 1) if index + 1 < n_pages else 0
        parts.append(struct.pack("<H", n_entries) + table + struct.pack("<I", following))
    head = b"II*\0" + struct.pack("<I", values + 4 * n_values)
    return head + struct.pack("<H", 1) * (2 * n_values) + b"".join(parts)
