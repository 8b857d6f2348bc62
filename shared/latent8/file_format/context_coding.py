"""Payload of coding 3: numbers of codes, bit by bit, with probabilities that are learned on the way.

For latents of one channel, h rows and w columns, whose symbols are numbers of codes, 0 ... 255. All of it is integer
arithmetic, so every machine decodes the same symbols. `>>` rounds down, `//` of non-negative numbers too.

Order. As in coding 1 the symbol at row y and column x belongs to step x + 2 y, steps are coded in turn, and what a step
teaches counts from the next bit on. A symbol is eight bits, the highest first. Of the symbols of a step, in order of
their rows, all first bits are coded, then all second ones, and so on.

Contexts. W, N, NW and NE are the neighbours of coding 1, with T = 128. Each bit is predicted in six contexts: the bits
before it in its symbol, together with

    0   nothing more                          3   NE
    1   W                                     4   clip((2 W + 3 N - 2 NW + NE) >> 2, 0, 255)
    2   N                                     5   32 (W >> 3) + (N >> 3)

Each context counts its zeros and ones, a and b, from 0 on. Once a + b is over 250, both become (n + 1) >> 1. The
evidence of a context is s = S[((2 b + 1) << 11) // (a + b + 1)], or 0 where a + b is 0. S[i] is the smallest t in
-2047 ... 2047 with Q[t] >= 16 i, 2047 where there is none, and Q[t] is 65536 / (1 + exp(-t / 256)) rounded half to
even. So s is the logarithm of the odds of a one, in units of 1/256.

Mixing, after PAQ (Mahoney, "Adaptive weighing of context models for lossless data compression", 2005). A bit is 1 with
probability p / 65536, where p = clip(Q[clip(sum of v s >> 16, -2047, 2047)], 32, 65504). The weight v is that of this
context, this number of bits before, and this size of a + b: 0, 1, 2, 3 to 4, 5 to 7, 8 to 11, 12 to 19, 20 to 39, 40 to
99, or more. Weights begin as 256 WEIGHTS. When the n bits of a step are known, each weight grows by

    (sum, over those of these bits that it weighed, of s * (65536 bit - p) >> 8) // (n + 32)

Payload: words of a range coder, 32 bits, little-endian. Shapes with w + 2 h > 8 sqrt(h w) + 256 do not occur: in those
each step would hold a few symbols, and take as long as one of many.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context
from functools import cache

import constriction
import numpy as np

from latent8.errors import BlobError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.extension import Chunk
from latent8.file_format.neighbour_coding import encoded_symbols
from latent8.file_format.wavefront import neighbour_places, runs, steps_of, with_border_value
from latent8.machine.pauses import pause
from latent8.zoo.settings import Settings

LEVELS = 256
BITS = 8
FIRST = np.array([0, 1, 257, 513, 769, 1025]) * LEVELS  # where the counts of each kind of context begin
N_COUNTS = 2049 * LEVELS
MOST_COUNTED = 250
SIZE_EDGES = np.array([1, 2, 3, 5, 8, 12, 20, 40, 100])
LIMIT = 2047  # of the logarithm of odds, in units of 1 / 256
LEAST, MOST = 32, 65504  # of a probability, in units of 1 / 65536
SLOW = 32  # the more, the less do the weights change
MAX_SYMBOLS_PER_BYTE = 8 / (BITS * -math.log2(MOST / 65536))
_BERNOULLI = constriction.stream.model.Bernoulli(perfect=False)
# Weights that the mixing begins with, in units of 1 / 256: of each kind of context, for each size of a + b. They were
# learned on maps of codes of photos that no figure is of, and never change.
WEIGHTS = np.array(
    [
        [64, 88, 88, 98, 108, 106, 106, 114, 82, -28],
        [64, 86, 90, 90, 100, 96, 104, 120, 118, 126],
        [64, 74, 78, 78, 82, 80, 82, 78, 82, 86],
        [64, 66, 66, 74, 76, 80, 82, 86, 90, 94],
        [64, 26, 30, 16, 22, 22, 30, 26, 36, 48],
        [64, 34, 42, 38, 42, 48, 50, 48, 40, 44],
    ]
)


class ContextCoding(Coding):
    """Numbers of codes, kept without loss by whichever of the codings 0, 1 and 3 is the smallest."""

    id = codings.CONTEXTS
    name = "entropy-coded, adaptive"

    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        symbols = header.quantiser.quantise(latents)
        other = encoded_symbols(symbols, header, alpha_png, chunks)
        if not fits(header):
            return other
        payload = encode(symbols)
        return Encoded(header, self.id, payload, alpha_png, chunks) if len(payload) < len(other.payload) else other

    def symbols(self, encoded: Encoded) -> Symbols:
        symbols = decode(encoded.payload, encoded.header.latent_shape)
        return Symbols(symbols, encoded.header.quantiser.dequantise(symbols))

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        n_symbols, n_bytes = math.prod(header.latent_shape), len(payload)
        if not fits(header):
            raise BlobError(f"The blob is not valid: latents of shape {header.latent_shape} are not coded in its way.")
        if n_bytes % 4 or n_bytes >= n_symbols:  # such latents are stored raw
            raise BlobError(f"The blob is not valid: it states {n_bytes} coded bytes for {n_symbols} latents.")
        if n_symbols > (n_bytes + 4) * MAX_SYMBOLS_PER_BYTE:
            raise BlobError(f"The blob is not valid: {n_bytes} bytes cannot hold {n_symbols} latents.")


def fits(header: Header) -> bool:
    """Whether latents are numbers of codes, in a shape of few steps."""
    n_channels, height, width = header.latent_shape
    return header.quantiser.counts and n_channels == 1 and width + 2 * height <= 8 * math.isqrt(height * width) + 256


def encode(symbols: np.ndarray) -> bytes:
    """Symbols, uint8 [1, h, w] -> payload."""
    coder = constriction.stream.queue.RangeEncoder()
    flat = symbols.ravel().astype(np.int32)

    def put(cells: np.ndarray, level: int, ones: np.ndarray) -> np.ndarray:
        bits = flat[cells] >> (BITS - 1 - level) & 1
        coder.encode(bits, _BERNOULLI, ones / 65536)  # exact in binary
        return bits

    _code(symbols.shape, put)
    return coder.get_compressed().astype("<u4").tobytes()


def decode(payload: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Payload -> uint8 [1, h, w], as given to `encode`. Raises BlobError for a payload that is damaged."""
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))
    damaged = "The blob is damaged: its latents cannot be decoded. Encode the picture again."
    try:
        symbols = _code(shape, lambda cells, level, ones: coder.decode(_BERNOULLI, ones / 65536))
    except AssertionError:  # raised by constriction for words that no encoder writes
        raise BlobError(damaged) from None
    if not coder.maybe_exhausted():
        raise BlobError(damaged)
    return symbols


def _code(shape: tuple[int, ...], bits_of: Callable[[np.ndarray, int, np.ndarray], np.ndarray]) -> np.ndarray:
    """Go through all bits -> the symbols that they are, uint8 of this shape, [1, h, w].

    bits_of: cells of a step, [n], how many bits came before, and 65536 times the probability that the next is 1, [n] ->
    these bits, int32 [n].
    """
    _, height, width = shape
    values = with_border_value(np.zeros(shape, np.uint8), LEVELS)[0]
    places, step = neighbour_places(height, width), steps_of(1, height, width)
    order, mixture = np.argsort(step, kind="stable"), Mixture()
    for start, stop in runs(step[order]):
        cells = order[start:stop]
        contexts, before = _contexts(values[places[:, cells]]), np.ones(len(cells), np.int32)
        for level in range(BITS):
            bits = bits_of(cells, level, mixture.predict(contexts + before, level))
            mixture.learn(bits)
            before = 2 * before + bits
        values[cells] = before - LEVELS
        pause()
    return values[:-1].reshape(shape).astype(np.uint8)


def _contexts(around: np.ndarray) -> np.ndarray:
    """Neighbours, [6, n] -> where the counts of each context begin, int32 [kinds, n]."""
    west, north, north_west, north_east, _, _ = around
    slope = ((2 * west + 3 * north - 2 * north_west + north_east) >> 2).clip(0, LEVELS - 1)
    both = 32 * (west >> 3) + (north >> 3)
    return LEVELS * np.stack([np.zeros_like(west), west, north, north_east, slope, both]) + FIRST[:, None]


class Mixture:
    """Counts of all contexts, and the weights by which their evidence is mixed. Its size is fixed."""

    def __init__(self) -> None:
        self.counts = np.zeros((2, N_COUNTS), np.int32)  # of zeros, of ones
        self.weights = np.repeat(256 * WEIGHTS.astype(np.int64)[None], BITS, axis=0)  # [bits before, kinds, sizes]
        self._kinds = np.arange(len(FIRST))[:, None] * len(WEIGHTS[0])

    def predict(self, contexts: np.ndarray, level: int) -> np.ndarray:
        """Contexts of the next bits, int [kinds, n] -> 65536 times the probability that each is 1, int64 [n]."""
        zeros, ones = self.counts[0].take(contexts), self.counts[1].take(contexts)
        total = zeros + ones
        evidence = _log_odds()[((2 * ones + 1) << 11) // (total + 1)]  # 0 where nothing was counted
        weights = self.weights[level].reshape(-1)
        used = self._kinds + np.searchsorted(SIZE_EDGES, total, side="right")
        mixed = ((weights[used] * evidence).sum(axis=0) >> 16).clip(-LIMIT, LIMIT)
        probability = _probabilities()[mixed + LIMIT].clip(LEAST, MOST)
        self._last = contexts, evidence, weights, used, probability
        return probability

    def learn(self, bits: np.ndarray) -> None:
        """Learn from the bits that were predicted last, int [n]."""
        contexts, evidence, weights, used, probability = self._last
        change = np.zeros_like(weights)
        np.add.at(change, used, evidence * ((bits.astype(np.int64) << 16) - probability) >> 8)
        weights += change // (len(bits) + SLOW)
        for counts, seen in zip(self.counts, (1 - bits, bits), strict=True):
            np.add.at(counts, contexts, np.broadcast_to(seen, contexts.shape))
        full = contexts[self.counts[0].take(contexts) + self.counts[1].take(contexts) > MOST_COUNTED]
        if full.size:
            full = np.unique(full)
            self.counts[:, full] = (self.counts[:, full] + 1) >> 1


@cache
def _probabilities() -> np.ndarray:
    """Q of the text above, int64 [2 LIMIT + 1]. Decimal rounds correctly on every machine, which floats need not."""
    decimal = Context(prec=20)
    places = [decimal.divide(t, 256) for t in range(-LIMIT, LIMIT + 1)]
    exact = [decimal.divide(65536, decimal.add(1, decimal.exp(decimal.minus(place)))) for place in places]
    return np.array([int(decimal.to_integral_value(value)) for value in exact], np.int64)


@cache
def _log_odds() -> np.ndarray:
    """S of the text above, int64 [4096]."""
    return (np.searchsorted(_probabilities(), 16 * np.arange(4096)) - LIMIT).clip(max=LIMIT)
