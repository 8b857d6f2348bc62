"""A file put together from pieces of another one, without a copy: what a decoder has no use for is left out of it."""

from __future__ import annotations

import bisect
import io
from collections.abc import Callable, Sequence
from typing import BinaryIO

Piece = bytes | tuple[int, int]  # bytes themselves, or those of the file from the first position up to the second


class _Raw(io.RawIOBase):
    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces, self._at = file, pieces, 0
        self._starts, self._size = [], 0
        for piece in pieces:
            self._starts.append(self._size)
            self._size += len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer) -> int:
        if self._at >= self._size or not len(buffer):
            return 0
        index = bisect.bisect_right(self._starts, self._at) - 1
        piece, within = self._pieces[index], self._at - self._starts[index]
        if isinstance(piece, bytes):
            part = piece[within : within + len(buffer)]
        else:
            self._file.seek(piece[0] + within)
            part = self._file.read(min(len(buffer), piece[1] - piece[0] - within))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def spliced(file: BinaryIO, pieces: Sequence[Piece]) -> BinaryIO:
    """The pieces one after the other, as a file to read and seek in. `file` must stay open."""
    return io.BufferedReader(_Raw(file, pieces), 1 << 16)


class Counted:
    """A file to read and seek in, that raises what `refusal` gives once it was read `most` times.

    Pillow reads headers block by block in Python: files of millions of tiny ones would keep it busy for minutes.
    """

    closed = False

    def __init__(self, file: BinaryIO, most: int, refusal: Callable[[], Exception]) -> None:
        self._file, self._left, self._refusal = file, most, refusal
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self._count()
        return self._file.read(size)

    def readline(self, size: int = -1) -> bytes:
        self._count()
        return self._file.readline(size)

    def allow(self, most: int) -> None:
        """So many times from now on."""
        self._left = most

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._refusal()


def size_of_file(file: BinaryIO) -> int:
    """Bytes; the file is left at its start."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def read_at(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    """At most so many bytes from there."""
    file.seek(offset)
    return file.read(n_bytes)
