"""Lossless coding of latent symbols: prediction, then a range coder with frozen integer tables.

The symbols [C, h, w] are visited from coarse to fine. With S the smallest power of two that is at least
max(h, w), the rows and columns divisible by S come first (one position). Then, for s = S, S/2, ..., 2 and
d = s/2, three passes fill in

    A: rows and columns  d mod s         neighbours: the four diagonal ones at distance d
    B: rows d, columns 0 mod s           neighbours: left, right, up, down at distance d
    C: rows 0, columns d mod s           neighbours: as for B

A neighbour outside the picture is replaced by its mirror image at the position, or by 2^(b-1) where that is
outside as well (b: bits of a symbol). In a pass the channels follow each other, and all positions of one
channel are coded at once, so the work is done by a few array operations however large the picture.

Prediction, in integers. Let n1 ... n4 be the neighbours, in the order given above (A: upper left, lower right,
upper right, lower left), M = n1 + n2 + n3 + n4, and for each earlier channel k at the same position
D_k = 4 q_k - M_k. With the weights W of the channel and pass class,

    q' = clip((16 W_0 + W_1 (M - 4 T) + W_2 (n1 + n2 - n3 - n4) + sum_k W_(3+k) D_k + 32 M + 64) >> 7, 0, L - 1)

where L is the number of levels and T = L >> 1. Pass classes: 0 all passes with d > 1, then A, B, C with d = 1.
The residual r = (q - q') mod L, taken in [-L/2, L/2), is what the range coder codes, as the index r mod 256.

Its table is chosen by the context: how rough the neighbours are, and how far earlier channels missed,

    u = max(n) - min(n) + 2 sum_k |q_k - q'_k| (k the last two earlier channels)

of which the number of thresholds in CONTEXT_EDGES that it reaches is the context. Symbols of one pass and
channel are sorted by context (stable) and coded context by context.

Payload: for each channel the weights as signed bytes, 4 classes of 3 + k of them (k: number of the channel),
then for each channel and context one byte, the table; then the range coder's 32-bit words, little-endian.
The tables are in entropy_tables.npy, 65536 counts each, every count at least 1; they never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import constriction
import numpy as np

from latent8.errors import BlobError

CONTEXT_EDGES = np.array([2, 4, 6, 9, 13, 18, 25, 35, 49, 70, 100])
N_CONTEXTS = len(CONTEXT_EDGES) + 1
N_CLASSES = 4
# The likeliest symbol of any table has at most 65281 of 65536 counts, which is 0.0056 bits.
MAX_SYMBOLS_PER_BYTE = 8 / 0.0056

Slices = tuple[slice, slice]


def encode(symbols: np.ndarray, levels: int) -> bytes:
    """uint8 [C, h, w] with values below `levels` (16 ... 256) -> payload."""
    planes = symbols.astype(np.int32)
    weights = _fit_weights(planes, levels)
    residuals: list[list[np.ndarray]] = [[] for _ in planes]
    contexts: list[list[np.ndarray]] = [[] for _ in planes]

    def record(channel: int, expected: np.ndarray, context: np.ndarray, where: Slices) -> None:
        half = levels // 2
        residual = (planes[channel][where] - expected + half) % levels - half
        order = np.argsort(context, axis=None, kind="stable")
        residuals[channel].append((residual.ravel() & 255)[order])
        contexts[channel].append(context.ravel()[order])

    _walk(planes, levels, weights, record)
    bits = -np.log2(_tables() / 65536)
    choices = np.zeros((len(planes), N_CONTEXTS), np.uint8)
    for channel in range(len(planes)):
        pairs = np.concatenate(contexts[channel]) * 256 + np.concatenate(residuals[channel])
        counts = np.bincount(pairs, minlength=N_CONTEXTS * 256).reshape(N_CONTEXTS, 256)
        choices[channel] = (counts @ bits.T).argmin(axis=1)

    coder = constriction.stream.queue.RangeEncoder()
    for step in range(len(residuals[0])):
        for channel in range(len(planes)):
            ordered = residuals[channel][step].astype(np.int32)
            for context, start, stop in _runs(contexts[channel][step]):
                coder.encode(ordered[start:stop], _model(choices[channel][context]))
    side = b"".join(w.astype(np.int8).tobytes() for w in weights) + choices.tobytes()
    return side + coder.get_compressed().astype("<u4").tobytes()


def decode(payload: bytes, shape: tuple[int, int, int], levels: int) -> np.ndarray:
    """payload -> uint8 [C, h, w], as given to `encode`. Raises BlobError for a payload that cannot be one."""
    n_channels = shape[0]
    weights, position = [], 0
    for channel in range(n_channels):
        n_weights = 3 + channel
        chunk = np.frombuffer(payload, np.int8, N_CLASSES * n_weights, position)
        weights.append(chunk.reshape(N_CLASSES, n_weights).astype(np.int64))
        position += chunk.size
    choices = np.frombuffer(payload, np.uint8, n_channels * N_CONTEXTS, position).reshape(n_channels, -1)
    if choices.max() >= len(_tables()):
        raise BlobError("The blob is damaged: it names a probability table that does not exist.")
    words = np.frombuffer(payload, "<u4", offset=position + choices.size).astype(np.uint32)
    coder = constriction.stream.queue.RangeDecoder(words)
    planes = np.zeros(shape, np.int32)

    def fill(channel: int, expected: np.ndarray, context: np.ndarray, where: Slices) -> None:
        order = np.argsort(context, axis=None, kind="stable")
        indices = np.empty(context.size, np.int32)
        for value, start, stop in _runs(context.ravel()[order]):
            indices[order[start:stop]] = coder.decode(_model(choices[channel][value]), stop - start)
        planes[channel][where] = (expected + indices.reshape(expected.shape).astype(np.int8)) % levels

    _walk(planes, levels, weights, fill)
    return planes.astype(np.uint8)


def side_bytes(n_channels: int) -> int:
    """Bytes of weights and table choices in front of the coded words."""
    return sum(N_CLASSES * (3 + channel) for channel in range(n_channels)) + n_channels * N_CONTEXTS


def check_length(payload_bytes: int, shape: tuple[int, int, int]) -> None:
    """Raise BlobError where no such number of symbols can be in so few bytes, before anything is allocated."""
    coded = payload_bytes - side_bytes(shape[0])
    n_symbols = shape[0] * shape[1] * shape[2]
    if coded < 0 or coded % 4:
        raise BlobError(f"The blob is not valid: {payload_bytes} bytes cannot be coded latents.")
    if n_symbols > (coded + 4) * MAX_SYMBOLS_PER_BYTE:
        raise BlobError(f"The blob is not valid: {payload_bytes} bytes cannot hold {n_symbols} latents.")


Visit = Callable[[int, np.ndarray, np.ndarray, Slices], None]


def _walk(planes: np.ndarray, levels: int, weights: list[np.ndarray], visit: Visit) -> None:
    """Call visit(channel, expected, context, where) for every pass; `planes` must be right at `where` after it."""
    for where, neighbour_offsets, pass_class in _passes(*planes.shape[1:]):
        deviations: list[np.ndarray] = []
        misses: list[np.ndarray] = []
        for channel, plane in enumerate(planes):
            neighbours = _neighbours(plane, where, neighbour_offsets, levels)
            features = _features(neighbours, deviations, levels)
            expected = _predict(features, neighbours, weights[channel][pass_class], levels)
            roughness = neighbours.max(axis=0) - neighbours.min(axis=0) + 2 * sum(misses[-2:])
            context = np.searchsorted(CONTEXT_EDGES, roughness, side="right")
            visit(channel, expected, context, where)
            deviations.append(4 * plane[where] - neighbours.sum(axis=0))
            misses.append(np.abs(plane[where] - expected))


def _passes(height: int, width: int) -> Iterator[tuple[Slices, list[tuple[int, int]], int]]:
    """(where, offsets of the four neighbours, pass class) from coarse to fine; empty passes are left out."""
    stride = 1
    while stride < max(height, width):
        stride *= 2
    yield (slice(0, None, stride), slice(0, None, stride)), [(-stride, 0), (stride, 0), (0, -stride), (0, stride)], 0
    while stride > 1:
        d = stride // 2
        diagonal = [(-d, -d), (d, d), (-d, d), (d, -d)]
        straight = [(0, -d), (0, d), (-d, 0), (d, 0)]
        for index, (top, left, offsets) in enumerate([(d, d, diagonal), (d, 0, straight), (0, d, straight)]):
            if top < height and left < width:
                yield (slice(top, None, stride), slice(left, None, stride)), offsets, index + 1 if d == 1 else 0
        stride = d


def _neighbours(plane: np.ndarray, where: Slices, offsets: list[tuple[int, int]], levels: int) -> np.ndarray:
    """Values at the four offsets from each position of a pass, [4, rows, columns]."""
    height, width = plane.shape
    rows = np.arange(height)[where[0]]
    columns = np.arange(width)[where[1]]
    found = np.empty((4, len(rows), len(columns)), np.int32)
    for index, (dy, dx) in enumerate(offsets):
        y, y_inside = _mirrored(rows, dy, height)
        x, x_inside = _mirrored(columns, dx, width)
        found[index] = plane[np.ix_(y, x)]
        if not (y_inside.all() and x_inside.all()):
            found[index][~np.logical_and.outer(y_inside, x_inside)] = levels // 2
    return found


def _mirrored(positions: np.ndarray, offset: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions moved by an offset, the other way where that leaves the picture; and which of them are inside."""
    moved = positions + offset
    outside = (moved < 0) | (moved >= size)
    moved[outside] = positions[outside] - offset
    inside = (moved >= 0) & (moved < size)
    return np.where(inside, moved, 0), inside


def _features(neighbours: np.ndarray, deviations: list[np.ndarray], levels: int) -> np.ndarray:
    """The terms that the weights multiply, [3 + k, rows, columns]."""
    total = neighbours.sum(axis=0)
    contrast = neighbours[0] + neighbours[1] - neighbours[2] - neighbours[3]
    return np.stack([np.full_like(total, 16), total - 4 * (levels // 2), contrast, *deviations]).astype(np.int64)


def _predict(features: np.ndarray, neighbours: np.ndarray, weights: np.ndarray, levels: int) -> np.ndarray:
    raw = np.tensordot(weights, features, axes=1) + 32 * neighbours.sum(axis=0) + 64
    return np.clip(raw >> 7, 0, levels - 1)


def _fit_weights(planes: np.ndarray, levels: int) -> list[np.ndarray]:
    """Least squares for each channel and pass class, rounded to signed bytes: int64 [4, 3 + k] per channel."""
    n_channels = len(planes)
    normal = [np.zeros((N_CLASSES, 3 + c, 4 + c)) for c in range(n_channels)]
    for where, offsets, pass_class in _passes(*planes.shape[1:]):
        deviations: list[np.ndarray] = []
        for channel, plane in enumerate(planes):
            neighbours = _neighbours(plane, where, offsets, levels)
            features = _features(neighbours, deviations, levels)
            deviations.append(4 * plane[where] - neighbours.sum(axis=0))
            rows = features.reshape(len(features), -1).astype(np.float64)
            target = 32.0 * deviations[-1].reshape(1, -1)  # what the weighted sum should be
            normal[channel][pass_class] += rows @ np.concatenate([rows, target]).T
    weights = []
    for channel in range(n_channels):
        solved = np.zeros((N_CLASSES, 3 + channel), np.int64)
        for pass_class, system in enumerate(normal[channel]):
            gram, right = system[:, :-1], system[:, -1]
            ridge = np.diag(np.full(len(gram), 1e-3 * np.trace(gram) / len(gram) + 1.0))
            solved[pass_class] = np.rint(np.linalg.solve(gram + ridge, right)).clip(-128, 127)
        weights.append(solved)
    return weights


def _runs(ordered: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(value, start, stop) of each run of equal values in a sorted array."""
    ends = np.searchsorted(ordered, np.arange(N_CONTEXTS), side="right")
    start = 0
    for value, stop in enumerate(ends):
        if stop > start:
            yield value, start, stop
        start = stop


@cache
def _tables() -> np.ndarray:
    """[tables, 256] counts of residuals 0 ... 127, -128 ... -1, each row with the sum 65536."""
    return np.load(Path(__file__).with_name("entropy_tables.npy"), allow_pickle=False).astype(np.int64)


@cache
def _model(table: int) -> constriction.stream.model.Categorical:
    probabilities = _tables()[table] / 65536  # exact in binary, so the coder's own integers are too
    return constriction.stream.model.Categorical(probabilities, perfect=False)
