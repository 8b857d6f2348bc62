"""Payload of coding 2: the symbols of a mean-scale hyperprior, under tables that are frozen in the model's weights.

    offset  size  field
    0       1     quality, 1 ... 100
    1       4     CRC-32 of the hyper-latents z and then the latents q, one signed byte each, in [C, h, w] order
    5       .     words of a range coder, 32 bits, little-endian

z is [64, ceil(h / 4), ceil(w / 4)] and q is [160, h, w], whole numbers in [-127, 127]. The range coder holds z,
then q; of each, the symbols of the first table first, then those of the next, and so on, those of one table in
[C, h, w] order. The table of an element of z follows from its channel and the quality, that of an element of q from z
and the quality, by an integer network (latent8/photo_model.py). So every machine decodes the same symbols.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import constriction
import numpy as np

from latent8.errors import BlobError

HEAD_BYTES = 5
MAX_SYMBOL = 127
# The likeliest symbol of any table has at most 2^20 - 254 of 2^20 counts, which is 0.00034 bits.
MAX_SYMBOLS_PER_BYTE = 8 / 0.00034
_DAMAGED = "The blob is damaged: its latents cannot be decoded. Encode the picture again."


class Tables:
    """Probability tables, int [n, 255] counts of the symbols -127 ... 127, each row with the same power of 2 as sum."""

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        self._models: dict[int, constriction.stream.model.Categorical] = {}

    def _model(self, index: int) -> constriction.stream.model.Categorical:
        if index not in self._models:
            row = self._counts[index].astype(np.float64)
            # exact in binary; the coder turns it into its own integers by the same few operations everywhere
            self._models[index] = constriction.stream.model.Categorical(row / row.sum(), perfect=False)
        return self._models[index]

    def encode(self, z: np.ndarray, z_table: np.ndarray, q: np.ndarray, q_table: np.ndarray, quality: int) -> bytes:
        """int8 symbols and the table of each, all in one shape or broadcastable to it -> payload."""
        coder = constriction.stream.queue.RangeEncoder()
        for symbols, table in ((z, z_table), (q, q_table)):
            flat = symbols.ravel().astype(np.int32) + MAX_SYMBOL
            for index, group in _groups(np.broadcast_to(table, symbols.shape)):
                coder.encode(flat[group], self._model(index))
        words = coder.get_compressed().astype("<u4").tobytes()
        return bytes([quality]) + _checksum(z, q) + words

    def decode(
        self,
        payload: bytes,
        z_shape: tuple[int, int, int],
        q_shape: tuple[int, int, int],
        z_tables_of: Callable[[int], np.ndarray],
        q_tables_of: Callable[[np.ndarray, int], np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """payload -> z, q, quality. `z_tables_of` gets the quality, `q_tables_of` z and the quality.

        Raises BlobError for a payload that cannot be one.
        """
        quality = payload[0]
        words = np.frombuffer(payload, "<u4", offset=HEAD_BYTES).astype(np.uint32)
        coder = constriction.stream.queue.RangeDecoder(words)
        z = self._decode(coder, np.broadcast_to(z_tables_of(quality), z_shape))
        q = self._decode(coder, q_tables_of(z, quality))
        if q.shape != q_shape or _checksum(z, q) != payload[1:HEAD_BYTES]:
            raise BlobError(_DAMAGED)
        return z, q, quality

    def _decode(self, coder: constriction.stream.queue.RangeDecoder, table: np.ndarray) -> np.ndarray:
        flat = np.empty(table.size, np.int8)
        try:
            for index, group in _groups(table):
                flat[group] = coder.decode(self._model(index), len(group)) - MAX_SYMBOL
        except AssertionError:  # constriction, of words that no encoder writes
            raise BlobError(_DAMAGED) from None
        return flat.reshape(table.shape)


def check_payload(payload: bytes, n_symbols: int) -> None:
    """Raise BlobError where no such number of symbols can be in so few bytes, before anything is allocated."""
    coded = len(payload) - HEAD_BYTES
    if coded < 0 or coded % 4 or not 1 <= payload[0] <= 100:
        raise BlobError(f"The blob is not valid: {len(payload)} bytes cannot be coded latents.")
    if n_symbols > (coded + 4) * MAX_SYMBOLS_PER_BYTE:
        raise BlobError(f"The blob is not valid: {len(payload)} bytes cannot hold {n_symbols} latents.")


def _groups(table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(table, places of its symbols in [C, h, w] order) for each table that is used, in order."""
    flat = table.ravel()
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    edges = np.flatnonzero(np.diff(ordered)) + 1
    for group in np.split(order, edges):
        yield int(flat[group[0]]), group


def _checksum(z: np.ndarray, q: np.ndarray) -> bytes:
    return zlib.crc32(q.tobytes(), zlib.crc32(z.tobytes())).to_bytes(4, "little")
