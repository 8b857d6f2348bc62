"""The entropy coder: identity on any symbols, bounded size, and no crash on any payload."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent8.errors import BlobError
from latent8.file_format import context_coding, neighbour_coding
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.codings import RAW
from latent8.file_format.quantiser import Quantiser
from latent8.machine.pauses import at_pauses
from tests.helpers.blobs_by_hand import packed, unpacked
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import build_blob, side_bytes, smooth_symbols

TABLES = Path(neighbour_coding.__file__).with_name("entropy_tables.npy")
TABLES_SHA256 = "35adce0523dae74743b6200e64aa1b31d689affb8ab4de83354bd5c6865c0f32"
CONTENTS = ["constant", "lowest", "highest", "two values", "noise", "ramp", "checkers", "smooth"]


def symbols_of(content: str, shape: tuple[int, int, int], levels: int) -> np.ndarray:
    channels, height, width = shape
    k, y, x = np.mgrid[:channels, :height, :width]
    rng = np.random.default_rng(channels * 10007 + height * 101 + width)
    planes = {
        "constant": np.full(shape, levels // 3),
        "lowest": np.zeros(shape),
        "highest": np.full(shape, levels - 1),
        "two values": np.where(rng.random(shape) < 0.5, 0, levels - 1),
        "noise": rng.integers(0, levels, shape),
        "ramp": (x * 3 + y + 5 * k) % levels,  # with jumps from the highest symbol to the lowest
        "checkers": (x + y + k) % 2 * (levels - 1),
        "smooth": smooth_symbols(*shape, levels),
    }[content]
    return planes.astype(np.uint8)


def header_of(shape: tuple[int, int, int], levels: int) -> Header:
    return Header(
        model_id=1,
        weights=bytes(4),
        width=shape[2],
        height=shape[1],
        channels=shape[0],
        stride=1,
        quantiser=Quantiser(levels=levels),
    )


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("levels", [16, 17, 100, 255, 256])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 37), (4, 53, 1), (4, 2, 2), (1, 64, 65), (4, 31, 17), (16, 9, 14)])
def test_identity(shape: tuple[int, int, int], levels: int, content: str) -> None:
    symbols = symbols_of(content, shape, levels)
    payload = neighbour_coding.encode(symbols, levels)
    decoded = neighbour_coding.decode(payload, shape, levels)
    np.testing.assert_array_equal(decoded, symbols)
    assert decoded.dtype == np.uint8
    assert neighbour_coding.encode(decoded, levels) == payload  # the same bytes for the same symbols
    neighbour_coding.check_length(len(payload), shape)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 24), st.integers(1, 24)),
    levels=st.integers(16, 256),
    data=st.data(),
)
def test_identity_on_any_symbols(shape: tuple[int, int, int], levels: int, data: st.DataObject) -> None:
    few = data.draw(st.lists(st.integers(0, levels - 1), min_size=1, max_size=8), label="values")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    symbols = np.random.default_rng(seed).choice(np.array(few, np.uint8), shape)
    np.testing.assert_array_equal(
        neighbour_coding.decode(neighbour_coding.encode(symbols, levels), shape, levels), symbols
    )


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 3), (4, 40, 50), (16, 21, 8)])
def test_never_larger_than_raw(shape: tuple[int, int, int], content: str) -> None:
    symbols = symbols_of(content, shape, 256)
    assert len(packed(header_of(shape, 256), symbols)) <= 32 + symbols.size + 4


def test_smooth_symbols_shrink() -> None:
    symbols = smooth_symbols(4, 64, 64, 256)
    assert len(neighbour_coding.encode(symbols, 256)) < 0.75 * symbols.size


def test_noise_stays_raw() -> None:
    shape = (4, 40, 50)
    assert Encoded.parse(packed(header_of(shape, 256), symbols_of("noise", shape, 256))).coding == RAW


def test_the_check_on_length_lets_the_emptiest_picture_pass() -> None:
    """A large picture of one colour has the fewest bytes a symbol there can be."""
    shape = (1, 900, 900)
    symbols = np.full(shape, 128, np.uint8)
    blob = packed(header_of(shape, 256), symbols)
    assert len(blob) < 0.001 * symbols.size
    np.testing.assert_array_equal(unpacked(blob)[1], symbols)


def test_side_bytes_is_what_stands_before_the_words() -> None:
    for channels in (1, 3, 4, 16):
        payload = neighbour_coding.encode(
            np.full((channels, 5, 5), 128, np.uint8), 256
        )  # as predicted: next to no words
        assert len(payload) - side_bytes(channels) in (0, 4, 8)


# ---- hostile payloads, in blobs with a right checksum


def decoded(payload: bytes, shape: tuple[int, int, int], levels: int = 256) -> np.ndarray | None:
    """What the blob holds, or None where it is refused as it should be; anything else goes through."""
    channels, height, width = shape
    blob = build_blob(
        coding=1, stride=1, channels=channels, width=width, height=height, top=levels - 1, payload=payload
    )
    try:
        return unpacked(blob)[1]
    except BlobError as error:
        assert str(error).endswith((".", ".)")) and len(str(error)) < 120
        return None


SHAPE = (4, 20, 25)
GOOD = neighbour_coding.encode(smooth_symbols(*SHAPE, 256), 256)


@settings(deadline=None, max_examples=150)
@given(
    words=st.binary(min_size=0, max_size=400).map(lambda b: b[: len(b) // 4 * 4]),
    levels=st.sampled_from([16, 200, 256]),
    keep_side=st.booleans(),
    side=st.binary(min_size=side_bytes(4), max_size=side_bytes(4)),
)
def test_random_payloads_decode_or_are_refused(words: bytes, levels: int, keep_side: bool, side: bytes) -> None:
    symbols = decoded((GOOD[: side_bytes(4)] if keep_side else side) + words, SHAPE, levels)
    assert symbols is None or (symbols.shape == SHAPE and symbols.max() < levels)


def test_words_that_no_encoder_writes_are_refused() -> None:
    """Some words make the range coder itself fail: that must be the one sentence too."""
    rng = np.random.default_rng(0)
    side = GOOD[: side_bytes(4)]
    found = []
    for _ in range(60):
        try:
            neighbour_coding.decode(side + rng.bytes(len(GOOD) - len(side)), SHAPE, 256)
        except BlobError as error:
            found.append(str(error))
    assert set(found) == {"The blob is damaged: its latents cannot be decoded. Encode the picture again."}


def test_damaged_payloads_decode_or_are_refused() -> None:
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(GOOD)
        for position in rng.integers(0, len(GOOD), 2):
            damaged[position] = rng.integers(0, 256)
        symbols = decoded(bytes(damaged), SHAPE)
        assert symbols is None or symbols.shape == SHAPE


def test_unknown_table_refused() -> None:
    n_tables = len(np.load(TABLES))
    payload = bytearray(GOOD)
    payload[side_bytes(4) - 1] = n_tables  # the last choice of a table
    with pytest.raises(BlobError, match=r"^The blob is damaged: it names a probability table that does not exist\.$"):
        neighbour_coding.decode(bytes(payload), SHAPE, 256)
    payload[side_bytes(4) - 1] = n_tables - 1
    with contextlib.suppress(BlobError):  # other symbols, or none
        neighbour_coding.decode(bytes(payload), SHAPE, 256)


def test_payload_without_words_refused_or_decoded() -> None:
    decoded(bytes(side_bytes(1)), (1, 10, 10))


def test_impossible_lengths_refused_before_anything_is_allocated() -> None:
    n_bytes = side_bytes(1) + 76
    with allocating_at_most(10_000), pytest.raises(BlobError, match=f"{n_bytes} bytes cannot hold 1073741824 latents"):
        neighbour_coding.check_length(n_bytes, (1, 1 << 15, 1 << 15))


# ---- the frozen tables


def test_tables_are_probabilities() -> None:
    tables = np.load(TABLES, allow_pickle=False)
    assert tables.ndim == 2 and tables.shape[1] == 256 and len(tables) <= 256  # a table is named by one byte
    assert tables.min() >= 1
    assert (tables.astype(np.int64).sum(axis=1) == 65536).all()


def test_check_on_length_knows_the_likeliest_symbol() -> None:
    cheapest_bits = -np.log2(np.load(TABLES).max() / 65536)
    assert cheapest_bits * neighbour_coding.MAX_SYMBOLS_PER_BYTE > 8


def test_tables_are_frozen() -> None:
    """They are part of the format: blobs made with other tables cannot be decoded."""
    assert hashlib.sha256(TABLES.read_bytes()).hexdigest() == TABLES_SHA256


@pytest.mark.parametrize("name", ["neighbours", "contexts"])
def test_others_may_go_first_between_any_two_steps(name: str) -> None:
    """Latents of many rows have many steps."""
    height, width = 300, 3
    symbols = smooth_symbols(1, height, width, 256)

    def decode(payload: bytes) -> np.ndarray:
        if name == "contexts":
            return context_coding.decode(payload, symbols.shape)
        return neighbour_coding.decode(payload, symbols.shape, 256)

    pauses: list[str] = []
    with at_pauses(lambda: pauses.append("encoding")):
        payload = context_coding.encode(symbols) if name == "contexts" else neighbour_coding.encode(symbols, 256)
    with at_pauses(lambda: pauses.append("decoding")):
        np.testing.assert_array_equal(decode(payload), symbols)
    assert min(pauses.count("encoding"), pauses.count("decoding")) >= 2 * height + width - 3  # all but the last

    def end() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), at_pauses(end):
        decode(payload)
