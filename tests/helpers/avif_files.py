"""AVIF files with tables that no program writes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import numpy as np

from tests.helpers.picture_files import file_of


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + length]
        at += length


@cache
def small() -> bytes:
    return file_of(np.zeros((64, 64, 3), np.uint8), "AVIF", speed=10)


def with_box(kind: bytes, body: bytes) -> bytes:
    """A small picture, with another box of this kind in what describes it."""
    meta = dict(boxes(small()))[b"meta"]
    inner = {**dict(boxes(meta[4:])), kind: body}
    described = meta[:4] + b"".join(box(*one) for one in inner.items())
    return b"".join(box(name, described if name == b"meta" else content) for name, content in boxes(small()))


def with_film(kind: bytes, body: bytes) -> bytes:
    """A small picture, before what describes it a film of one track, with that box."""
    (first, brands), *others = boxes(small())
    film = box(b"moov", box(b"trak", box(kind, body)))
    return box(first, brands) + film + b"".join(box(*one) for one in others)


def places(n_items: int, n_extents: int) -> bytes:
    """An iloc box in which each item has so many extents, which take no bytes."""
    return struct.pack(">BxxxHH", 0, 0, n_items) + b"".join(
        struct.pack(">HHH", number + 1, 0, n_extents) for number in range(n_items)
    )


def associations(n_items: int) -> bytes:
    """An iprp box in which each item has 255 properties, the first of all each time."""
    entries = b"".join(struct.pack(">IB", number + 1, 255) + b"\1" * 255 for number in range(n_items))
    properties = dict(boxes(dict(boxes(dict(boxes(small()))[b"meta"][4:]))[b"iprp"]))[b"ipco"]
    return box(b"ipco", properties) + box(b"ipma", struct.pack(">BxxxI", 1, n_items) + entries)
