"""Payload of coding 2: the symbols of a mean-scale hyperprior, range-coded with the model's probability tables.

    offset  size  field
    0       1     quality, 1 ... 100
    1       4     CRC-32 of the hyper-latents z and then the latents q, one signed byte each, in [C, h, w] order
    5       .     words of a range coder, 32 bits, little-endian

z is [64, ceil(h / 4), ceil(w / 4)] and q is [240, h, w], whole numbers in [-127, 127]. The range coder holds five
groups: z; then q at even rows and columns; at odd rows and columns; at even rows and odd columns; at odd rows and even
columns. The last two groups are one pass. A group is ordered by probability table, symbols of one table in [C, h, w]
order.

The tables are part of the model's weights. The table of an element of z is given by its channel and the quality. The
table of an element of q is given by the quality and by a scale index, which integer networks predict from z and from
the elements of q in earlier passes (latent8/l8_photo/model.py). So every machine decodes the same symbols.
"""

from __future__ import annotations

import bisect
import math
import zlib
from collections.abc import Callable, Iterable, Iterator

import constriction
import numpy as np

from latent8.errors import BlobError, TooFewBytesError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.extension import Chunk
from latent8.machine.pauses import pause
from latent8.zoo.settings import DEFAULT_QUALITY, QUALITIES, Settings

HEAD_BYTES = 5
MAX_SYMBOL = 127
# The likeliest symbol of any table has at most 2^20 - 254 of 2^20 counts, which is 0.00034 bits.
MAX_SYMBOLS_PER_BYTE = 8 / 0.00034
_DAMAGED = "The blob is damaged: its latents cannot be decoded. Encode the picture again."


class HyperpriorCoding(Coding):
    """Latents as whole numbers of steps around predicted means, at a quality or within a number of bytes.

    The network's `entropy_model` predicts means and probabilities, see latent8/l8_photo/entropy_model.py.
    """

    id = codings.HYPERPRIOR
    name = "entropy-coded, hyperprior"
    needs_network = True

    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        limit = settings.most_bytes(header.width * header.height)
        if limit is None:
            payload = self.network.entropy_model.pack(latents, settings.quality or DEFAULT_QUALITY)
            return Encoded(header, self.id, payload, alpha_png, chunks)
        frame = Encoded(header, self.id, b"", alpha_png, chunks).frame_bytes
        encoded = Encoded(header, self.id, self._largest_payload(latents, limit - frame), alpha_png, chunks)
        if encoded.n_bytes > limit:
            raise TooFewBytesError(limit, encoded.n_bytes)
        return encoded

    def symbols(self, encoded: Encoded) -> Symbols:
        model = self.network.entropy_model
        passes = model.unpack(encoded.payload, encoded.header.latent_shape)
        bits = model.bits_per_position(passes)
        return Symbols(passes.q.numpy(), model.latents(passes), -MAX_SYMBOL, bits)

    def decode(self, encoded: Encoded) -> np.ndarray:
        model = self.network.entropy_model
        return model.latents(model.unpack(encoded.payload, encoded.header.latent_shape))

    def _largest_payload(self, latents: np.ndarray, n_bytes: int) -> bytes:
        """The payload of the highest quality that fits, as size rises with quality; of quality 1 where none does."""
        payloads: dict[int, bytes] = {}

        def size(quality: int) -> int:
            payloads[quality] = self.network.entropy_model.pack(latents, quality)
            return len(payloads[quality])

        qualities = range(QUALITIES[0], QUALITIES[1] + 1)
        n_fitting = bisect.bisect_right(qualities, n_bytes, key=size)
        return payloads[qualities[max(0, n_fitting - 1)]]

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        n_symbols, coded = math.prod(header.latent_shape), len(payload) - HEAD_BYTES
        if coded < 0 or coded % 4 or not QUALITIES[0] <= payload[0] <= QUALITIES[1]:
            raise BlobError(f"The blob is not valid: {len(payload)} bytes cannot be coded latents.")
        if n_symbols > (coded + 4) * MAX_SYMBOLS_PER_BYTE:
            raise BlobError(f"The blob is not valid: {len(payload)} bytes cannot hold {n_symbols} latents.")

    @classmethod
    def quality(cls, payload: bytes) -> int | None:
        return payload[0] if payload else None


class Tables:
    """Probability tables (PMFs), and the range coder that uses them.

    counts: int [n, 255], counts of the symbols -127 ... 127, each row with the same power of 2 as its sum.
    """

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        self._models: dict[int, constriction.stream.model.Categorical] = {}

    def _model(self, index: int) -> constriction.stream.model.Categorical:
        if index not in self._models:
            row = self._counts[index].astype(np.float64)
            # exact in binary; the coder turns it into its own integers by the same few operations everywhere
            self._models[index] = constriction.stream.model.Categorical(row / row.sum(), perfect=False)
        return self._models[index]

    def bits(self) -> np.ndarray:
        """Bits of each symbol under each table, -log2 of its probability: float32 [n, 255]."""
        return (np.log2(self._counts.sum(axis=1, keepdims=True)) - np.log2(self._counts)).astype(np.float32)

    def encode(self, groups: Iterable[tuple[np.ndarray, np.ndarray]], quality: int, checksum: bytes) -> bytes:
        """Groups of int8 symbols, and the number of each symbol's table in the same shape -> payload.

        quality: 1 ... 100. checksum: the 4 bytes that `checksum` gives.
        """
        coder = constriction.stream.queue.RangeEncoder()
        for symbols, table in groups:
            flat = symbols.ravel().astype(np.int32) + MAX_SYMBOL
            for index, places in _by_table(table):
                coder.encode(flat[places], self._model(index))
                pause()
        return bytes([quality]) + checksum + coder.get_compressed().astype("<u4").tobytes()

    def decoder(self, payload: bytes) -> Decoder:
        """A decoder at the first group of a payload."""
        return Decoder(self._model, payload)


class Decoder:
    """A range decoder that gives the groups of a payload in the order of encoding; `quality` is known at once."""

    def __init__(self, model: Callable[[int], constriction.stream.model.Categorical], payload: bytes):
        self._model = model
        self.quality, self._checksum = payload[0], payload[1:HEAD_BYTES]
        words = np.frombuffer(payload, "<u4", offset=HEAD_BYTES).astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, table: np.ndarray) -> np.ndarray:
        """Number of each symbol's table -> int8 symbols in the same shape. Raises BlobError for a damaged payload."""
        flat = np.empty(table.size, np.int8)
        try:
            for index, places in _by_table(table):
                flat[places] = self._coder.decode(self._model(index), len(places)) - MAX_SYMBOL
                pause()
        except AssertionError:  # raised by constriction for words that no encoder writes
            raise BlobError(_DAMAGED) from None
        return flat.reshape(table.shape)

    def check(self, z: np.ndarray, q: np.ndarray) -> None:
        """Raise BlobError where z and q are not the symbols that were encoded."""
        if checksum(z, q) != self._checksum:
            raise BlobError(_DAMAGED)


def checksum(z: np.ndarray, q: np.ndarray) -> bytes:
    """CRC-32 of z and then q, both int8, as 4 bytes."""
    return zlib.crc32(q.tobytes(), zlib.crc32(z.tobytes())).to_bytes(4, "little")


def _by_table(table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give (table, places of its symbols in [C, h, w] order) for each table that is used, in order of their numbers."""
    flat = table.ravel()
    if not flat.size:
        return
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    edges = np.flatnonzero(np.diff(ordered)) + 1
    for places in np.split(order, edges):
        yield int(flat[places[0]]), places
