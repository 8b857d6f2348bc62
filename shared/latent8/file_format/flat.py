"""The chunk of flat colours, of which blob.py has the specification: what a blob says of its picture's plain areas."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from latent8.errors import BlobError
from latent8.file_format.extension import FLAT, Chunk, inflated

BLOCK = 32  # pixels, both ways
MAX_ENTRIES, MAX_REACH = 16, 127
_INVALID = "The blob is not valid: its chunk flat "


@dataclass(frozen=True)
class FlatColour:
    """A colour that fills plain areas. rgb: 0 ... 255. reach: 1 ... 127, the greatest difference from it, in any
    channel, of a decoded pixel that is taken for it."""

    rgb: tuple[int, int, int]
    reach: int

    def __str__(self) -> str:
        return f"#{bytes(self.rgb).hex()} (within {self.reach})"


@dataclass(frozen=True)
class FlatColours:
    """Flat colours of a picture. colours: 1 ... 16 of them. blocks: uint8 [ceil(H / 32), ceil(W / 32)], the number of
    the colour of each block of 32 x 32 pixels, from 1, or 0 for none."""

    colours: tuple[FlatColour, ...]
    blocks: np.ndarray

    def chunk(self) -> Chunk:
        """For a blob."""
        entries = b"".join(bytes([*colour.rgb, colour.reach]) for colour in self.colours)
        return FLAT, bytes([len(self.colours)]) + entries + zlib.compress(self.blocks.tobytes(), 9)

    @classmethod
    def of_chunks(cls, chunks: Iterable[Chunk], width: int, height: int) -> FlatColours | None:
        """Chunks of a blob, those of other tags among them, and the size of its picture -> None where there are none.

        Raises BlobError.
        """
        content = dict(chunks).get(FLAT)
        if content is None:
            return None
        count = content[0] if content else 0
        start = 1 + 4 * count
        if not 1 <= count <= MAX_ENTRIES or len(content) < start:
            raise BlobError(_INVALID + f"states {count} colours in {len(content)} bytes.")
        entries = [content[at : at + 4] for at in range(1, start, 4)]
        if any(not 1 <= entry[3] <= MAX_REACH for entry in entries):
            raise BlobError(_INVALID + f"has a colour with a reach beyond 1 ... {MAX_REACH}.")
        shape = blocks_of(width, height)
        found = inflated(FLAT, content[start:], shape[0] * shape[1])
        blocks = np.frombuffer(found, np.uint8)
        if blocks.size != shape[0] * shape[1]:
            raise BlobError(_INVALID + f"has {blocks.size} blocks, and its picture {shape[0] * shape[1]}.")
        if blocks.max() > count:
            raise BlobError(_INVALID + f"names the colour {blocks.max()} of {count}.")
        return cls(tuple(FlatColour((e[0], e[1], e[2]), e[3]) for e in entries), blocks.reshape(shape))

    def __str__(self) -> str:
        return ", ".join(map(str, self.colours))


def blocks_of(width: int, height: int) -> tuple[int, int]:
    """Size of a picture in pixels -> rows and columns of its blocks."""
    return -(-height // BLOCK), -(-width // BLOCK)
