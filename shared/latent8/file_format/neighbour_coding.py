"""Payload of coding 1: symbols predicted from their neighbours, then a range coder with fixed probability tables.

All of it is integer arithmetic, so every machine decodes the same symbols. Symbols q are 0 ... L - 1 (L quantiser
levels), in C channels of h rows and w columns; T = L >> 1.

Order. The symbol of channel c at row y and column x belongs to step x + 2 y + c. Steps are coded in turn. The symbols
of a step do not depend on each other, so a step is a handful of array operations.

Prediction. The neighbours are W (left), N (above), NW, NE, WW (two to the left) and NN (two above). One that lies
outside the picture, or is missing at its border, is replaced: W by N, and by T where that is missing too; N by
W; NW by W in the first row, by N in the first column; NE by W in the first row, by N in the last column; WW by
W; NN by N. With m = median(W, N, W + N - NW) and e_k the residuals of the earlier channels k at the same place,
the features are

    8, W - m, N - m, NW - m, NE - m, WW - m, NN - m, T - m, e_0, ..., e_(c-1)

and the prediction is p = clip(m + ((weights . features + 32) >> 6), 0, L - 1), with signed-byte weights that the
blob states for each channel. The residual is e = q - p; the coder codes e mod L, taken in [-L/2, L/2), as an index
mod 256. The median m is the predictor of LOCO-I (Weinberger et al., "The LOCO-I lossless image compression
algorithm", 2000).

Context. The activity of the neighbourhood and the size of earlier residuals, in the manner of CALIC (Wu and Memon,
"Context-based, adaptive, lossless image coding", 1997):

    u = 2 (max - min of W, N, NW, NE) + |W - WW| + |N - NN| + 2 |e at W| + 2 |e at N| + 4 |e_(c-1)| + 4 |e_(c-2)|

(e at W or N is that of the place which stands in for it, 0 where T does; e of a channel that is not there is 0).
The context, 0 ... 11, is the number of the edges 6, 10, 16, 24, 34, 48, 68, 96, 136, 192 and 280 that u reaches.
The blob states for each channel and context which probability table to use. The symbols of a step are coded in order
of their tables, those of one table in order of channel, row, column.

Payload: for each channel its 8 + c weights; for each channel and context one byte, the number of the table; then the
range coder's 32-bit words, little-endian. The tables are in entropy_tables.npy: 256 counts with the sum 65536 each,
every count at least 1. They never change.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import constriction
import numpy as np

from latent8.errors import BlobError
from latent8.file_format import codings
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Coding, Symbols
from latent8.file_format.extension import Chunk
from latent8.file_format.wavefront import neighbour_places, runs, steps_of, with_border_value
from latent8.machine.pauses import pause
from latent8.zoo.settings import Settings

CONTEXT_EDGES = np.array([6, 10, 16, 24, 34, 48, 68, 96, 136, 192, 280])
N_CONTEXTS = len(CONTEXT_EDGES) + 1
N_FEATURES = 8  # features of the first channel; each further channel has one more
# The likeliest symbol of any table has at most 65281 of 65536 counts, which is 0.0056 bits.
MAX_SYMBOLS_PER_BYTE = 8 / 0.0056


class NeighbourCoding(Coding):
    """Latents quantised evenly over a range, then coded without loss; stored raw where that is no larger."""

    id = codings.NEIGHBOURS
    name = "entropy-coded"

    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        return encoded_symbols(header.quantiser.quantise(latents), header, alpha_png, chunks)

    def symbols(self, encoded: Encoded) -> Symbols:
        quantiser = encoded.header.quantiser
        symbols = decode(encoded.payload, encoded.header.latent_shape, quantiser.levels)
        return Symbols(symbols, quantiser.dequantise(symbols))

    @classmethod
    def check(cls, header: Header, payload: bytes) -> None:
        n_symbols = math.prod(header.latent_shape)
        if len(payload) >= n_symbols:  # such latents are stored raw
            raise BlobError(f"The blob is not valid: it states {len(payload)} coded bytes for {n_symbols} latents.")
        check_length(len(payload), header.latent_shape)


def encoded_symbols(
    symbols: np.ndarray, header: Header, alpha_png: bytes = b"", chunks: tuple[Chunk, ...] = ()
) -> Encoded:
    """Symbols, uint8 [C, h, w], below the header's number of levels -> encoded picture.

    Raises ValueError where the symbols do not fit the header.
    """
    levels = header.quantiser.levels
    if symbols.shape != header.latent_shape or symbols.dtype != np.uint8 or symbols.max() >= levels:
        raise ValueError(f"expected uint8 symbols below {levels} of shape {header.latent_shape}")
    payload = encode(symbols, levels)
    if len(payload) < symbols.size:
        return Encoded(header, codings.NEIGHBOURS, payload, alpha_png, chunks)
    return Encoded(header, codings.RAW, symbols.tobytes(), alpha_png, chunks)


def encode(symbols: np.ndarray, levels: int) -> bytes:
    """Symbols, uint8 [C, h, w], below `levels` (16 ... 256) -> payload."""
    n_channels, height, width = symbols.shape
    values = with_border_value(symbols, levels)
    errors = np.zeros_like(values)
    places = neighbour_places(height, width)
    all_weights, all_choices, residuals, tables = [], [], [], []
    everywhere = slice(0, height * width)
    for channel in range(n_channels):
        around = values[channel][places]
        base, features, activity = _features(around, errors[:channel, everywhere], levels)
        weights = _fit_weights(features, values[channel, everywhere] - base, activity)
        predicted = _predicted(base, weights @ features, levels)
        errors[channel, everywhere] = values[channel, everywhere] - predicted
        earlier = errors[max(0, channel - 2) : channel, everywhere]
        context = _context(activity, errors[channel][places[:2]], earlier)
        half = levels // 2
        residual = ((errors[channel, everywhere] + half) % levels - half) & 255
        choices = _best_tables(context, residual)
        all_weights.append(weights.astype(np.int8).tobytes())
        all_choices.append(choices.tobytes())
        residuals.append(residual)
        tables.append(choices[context])
        pause()

    step = steps_of(n_channels, height, width)
    residual, table = np.concatenate(residuals), np.concatenate(tables)
    order = np.lexsort((table, step))
    coder = constriction.stream.queue.RangeEncoder()
    ordered, keys = residual[order], step[order].astype(np.int64) * 256 + table[order]
    for start, stop in runs(keys):
        coder.encode(ordered[start:stop], _model(int(keys[start] & 255)))
        pause()
    return b"".join([*all_weights, *all_choices, coder.get_compressed().astype("<u4").tobytes()])


def decode(payload: bytes, shape: tuple[int, int, int], levels: int) -> np.ndarray:
    """Payload -> uint8 [C, h, w], as given to `encode`. Raises BlobError for a payload that is damaged."""
    check_length(len(payload), shape)
    n_channels, height, width = shape
    weights = np.zeros((n_channels, N_FEATURES + n_channels - 1), np.int32)
    position = 0
    for row, n_features in enumerate(range(N_FEATURES, N_FEATURES + n_channels)):
        weights[row, :n_features] = np.frombuffer(payload, np.int8, n_features, position)
        position += n_features
    choices = np.frombuffer(payload, np.uint8, n_channels * N_CONTEXTS, position).reshape(n_channels, N_CONTEXTS)
    if choices.max() >= len(_tables()):
        raise BlobError("The blob is damaged: it names a probability table that does not exist.")
    words = np.frombuffer(payload, "<u4", offset=position + choices.size).astype(np.uint32)
    coder = constriction.stream.queue.RangeDecoder(words)

    values = with_border_value(np.zeros(shape, np.uint8), levels)
    errors = np.zeros_like(values)
    places = neighbour_places(height, width)
    # whether earlier channel k counts for the context of channel c: the last two do
    recent = np.array([[c - 2 <= k < c for k in range(n_channels - 1)] for c in range(n_channels)])
    step = steps_of(n_channels, height, width)
    order = np.argsort(step, kind="stable")
    channels, cells = np.divmod(order, height * width)
    for start, stop in runs(step[order]):
        channel, cell = channels[start:stop], cells[start:stop]
        around = places[:, cell]
        earlier = errors[: n_channels - 1, cell]  # of later channels: not yet known, and of weight 0
        base, features, activity = _features(values[channel, around], earlier, levels)
        predicted = _predicted(base, np.einsum("sf,fs->s", weights[channel], features), levels)
        context = _context(activity, errors[channel, around[:2]], earlier * recent[channel].T)
        table = choices[channel, context]
        by_table = np.argsort(table, kind="stable")
        index = np.empty(stop - start, np.int32)
        try:
            for first, last in runs(table[by_table]):
                group = by_table[first:last]
                index[group] = coder.decode(_model(int(table[group[0]])), last - first)
        except AssertionError:  # raised by constriction for words that no encoder writes
            raise BlobError("The blob is damaged: its latents cannot be decoded. Encode the picture again.") from None
        found = (predicted + index.astype(np.int8)) % levels
        values[channel, cell] = found
        errors[channel, cell] = found - predicted
        pause()
    return values[:, :-1].reshape(shape).astype(np.uint8)


def check_length(payload_bytes: int, shape: tuple[int, int, int]) -> None:
    """Raise BlobError where latents of this shape, [C, h, w], cannot be in so few bytes. Allocates nothing."""
    n_channels, height, width = shape
    n_symbols = n_channels * height * width
    side_bytes = n_channels * (N_FEATURES + N_CONTEXTS) + n_channels * (n_channels - 1) // 2
    coded = payload_bytes - side_bytes
    if coded < 0 or coded % 4:
        raise BlobError(f"The blob is not valid: {payload_bytes} bytes cannot be coded latents.")
    if n_symbols > (coded + 4) * MAX_SYMBOLS_PER_BYTE:
        raise BlobError(f"The blob is not valid: {payload_bytes} bytes cannot hold {n_symbols} latents.")


def _features(around: np.ndarray, earlier: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours [6, n] and residuals of earlier channels [k, n] -> median [n], features [8 + k, n], activity [n]."""
    west, north, north_west, north_east, west_west, north_north = around
    low, high = np.minimum(west, north), np.maximum(west, north)
    median = np.clip(west + north - north_west, low, high)
    own = np.concatenate([np.full_like(median, 8)[None], around - median, (levels // 2 - median)[None]])
    high = np.maximum(np.maximum(high, north_west), north_east)
    low = np.minimum(np.minimum(low, north_west), north_east)
    activity = 2 * (high - low) + np.abs(west - west_west) + np.abs(north - north_north)
    return median, np.concatenate([own, earlier]), activity


def _predicted(base: np.ndarray, weighted: np.ndarray, levels: int) -> np.ndarray:
    return np.clip(base + ((weighted + 32) >> 6), 0, levels - 1)


def _context(activity: np.ndarray, residual_west_north: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    u = activity + 2 * np.abs(residual_west_north).sum(axis=0) + 4 * np.abs(earlier).sum(axis=0)
    return np.searchsorted(CONTEXT_EDGES, u, side="right")


def _fit_weights(features: np.ndarray, target: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """Weights by regularised least squares: int32 [8 + k] in the range of a signed byte.

    Places of high activity count for less: a residual of the same size costs fewer bits where large ones are usual.
    """
    rows = features.astype(np.float64)
    weighted = rows / (8.0 + activity) ** 1.5
    gram, right = weighted @ rows.T, weighted @ target
    ridge = 1e-4 * np.diag(gram) + 1e-6 * np.trace(gram) + 1e-9
    solved = np.linalg.solve(gram + np.diag(ridge), 64 * right)
    return np.rint(solved).clip(-128, 127).astype(np.int32)


def _best_tables(context: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Number of the table that codes the residuals of each context in the fewest bits: uint8 [contexts]."""
    counts = np.bincount(context * 256 + residual, minlength=N_CONTEXTS * 256).reshape(N_CONTEXTS, 256)
    bits = -np.log2(_tables() / 65536)
    return (counts @ bits.T).argmin(axis=1).astype(np.uint8)


@cache
def _tables() -> np.ndarray:
    """Probability tables: counts of the residuals 0 ... 127, -128 ... -1, [tables, 256], each row 65536 in sum."""
    return np.load(Path(__file__).with_name("entropy_tables.npy"), allow_pickle=False).astype(np.int64)


@cache
def _model(table: int) -> constriction.stream.model.Categorical:
    probabilities = _tables()[table] / 65536  # exact in binary, so the coder's own integers are too
    return constriction.stream.model.Categorical(probabilities, perfect=False)
