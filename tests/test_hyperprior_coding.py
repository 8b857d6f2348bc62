"""Payloads of coding 2: any symbols come back, written as specified; damaged ones and other bytes are refused."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import constriction
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latent8 import BlobError, Codec, inspect
from latent8.file_format.hyperprior_coding import Tables, checksum
from latent8.file_format.reader import read
from latent8.l8_photo import layers as hp
from latent8.l8_photo.passes import Passes
from tests.helpers.checks import allocating_at_most
from tests.helpers.photo_symbols import (
    assert_same,
    decoded_symbols,
    encoded_symbols,
    logistic_tables,
    photo_blob,
    random_q,
)
from tests.helpers.samples import build_blob, gradient, side_bytes

DAMAGED = "The blob is damaged: its latents cannot be decoded. Encode the picture again."


@pytest.fixture(scope="module")
def coder() -> Tables:
    return Tables(logistic_tables().numpy())


def random_symbols(height: int, width: int, spread: float, seed: int) -> tuple[np.ndarray, ...]:
    """z, tables of z, q, tables of q: the tables fit nothing."""
    random = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for shape in ((64, -(-height // 4), -(-width // 4)), (hp.N_LATENTS, height, width)):
        symbols = np.rint(random.normal(0, spread, shape))
        symbols[random.random(shape) < 0.02] = -127
        symbols[random.random(shape) < 0.02] = 127
        found += [symbols.clip(-127, 127).astype(np.int8), random.integers(0, 64, shape, np.uint8)]
    return tuple(found)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    spread=st.sampled_from([0.0, 0.3, 4.0, 100.0]),
    quality=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
)
@example(height=1, width=1, spread=0.0, quality=1, seed=0)
def test_round_trip_of_any_symbols(
    coder: Tables, height: int, width: int, spread: float, quality: int, seed: int
) -> None:
    z, z_table, q, q_table = random_symbols(height, width, spread, seed)
    payload = coder.encode([(z, z_table), (q[:0], q_table[:0]), (q, q_table)], quality, checksum(z, q))
    assert (len(payload) - 5) % 4 == 0
    decoder = coder.decoder(payload)
    found = decoder.decode(z_table), decoder.decode(q_table[:0]), decoder.decode(q_table)
    assert [group.dtype for group in found] == [np.int8] * 3
    assert_same((found[0], found[2], decoder.quality), (z, q, quality))
    decoder.check(z, q)
    for wrong in ((z, q ^ 1), (z ^ 1, q)):
        with pytest.raises(BlobError, match="cannot be decoded"):
            decoder.check(*wrong)


def test_payload_is_as_specified(photo_codec: Codec) -> None:
    """Written symbol by symbol from the specification, not with the coder's own grouping."""
    layers = photo_codec.network.entropy_model.layers
    z, q = random_q(3, 4)
    quality, band = 77, 5
    passes = Passes(layers, z, quality, q.shape)
    for places in passes.in_order():
        passes.q[places] = torch.from_numpy(q[places])
    tables = passes.tables()
    encoder = constriction.stream.queue.RangeEncoder()

    def write(counts: np.ndarray, symbols: Any) -> None:
        model = constriction.stream.model.Categorical(counts / 2.0**20, perfect=False)
        for symbol in symbols:
            encoder.encode(int(symbol) + 127, model)

    for channel in range(64):
        write(layers.hyper_tables[band, channel].numpy(), z[channel].ravel())
    for row, column in ((0, 0), (1, 1), (0, 1), (1, 0)):
        there, there_tables = q[:, row::2, column::2], tables[:, row::2, column::2]
        for table in range(64):
            of_magnitudes = layers.tables[band, table].numpy()
            both_signs = np.array([of_magnitudes[abs(symbol)] for symbol in range(-127, 128)])
            write(both_signs, there[there_tables == table])
    crc = zlib.crc32(bytes(symbol & 255 for symbol in [*z.ravel().tolist(), *q.ravel().tolist()]))
    wanted = struct.pack("<BI", quality, crc) + encoder.get_compressed().astype("<u4").tobytes()
    assert encoded_symbols(photo_codec, z, q, quality) == wanted


def test_payload_takes_what_its_tables_say(photo_codec: Codec) -> None:
    network = photo_codec.network
    picture = (gradient(128, 128) + np.random.default_rng(0).integers(0, 40, (128, 128, 3))).astype(np.uint8)
    y = network.encode_pixels(picture)
    for quality in (40, 80):
        bits = 0.0
        model = network.entropy_model
        for symbols, tables in model.symbols_and_tables(y, quality):
            bits += model.bits[tables.ravel(), symbols.ravel().astype(int) + 127].sum(dtype=np.float64)
        assert 8 * len(model.pack(y, quality)) == pytest.approx(bits + 8 * 5, rel=0.001, abs=64)


def refusal(codec: Codec, blob: bytes, in_header: bool) -> str:
    """The sentence that a blob is refused with; `in_header`: already by `inspect`, without a model."""
    with pytest.raises(BlobError) as found:
        codec.decode(blob)
    if in_header:
        with pytest.raises(BlobError) as found_in_header:
            inspect(blob)
        assert str(found_in_header.value) == str(found.value)
    else:
        inspect(blob)
    return str(found.value)


HEAD = b"\x32" + bytes(4)  # quality 50


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x32", HEAD[:4], b"\x00" + bytes(8), b"\x65" + bytes(8), b"\xff" + bytes(8), HEAD + b"1", HEAD + b"12345"],
    ids=["empty", "quality alone", "half a head", "quality 0", "quality 101", "quality 255", "odd", "odd, longer"],
)
def test_payloads_that_cannot_be_latents_refused(photo_codec: Codec, payload: bytes) -> None:
    blob = photo_blob(payload, photo_codec.network.weights_hash)
    wanted = f"The blob is not valid: {len(payload)} bytes cannot be coded latents."
    assert refusal(photo_codec, blob, in_header=True) == wanted


def test_too_few_bytes_for_the_size_refused(photo_codec: Codec) -> None:
    sides = {"width": 1 << 12, "height": 1 << 12}
    n_symbols = 240 * 256 * 256
    n_bytes = n_symbols * 0.00034 / 8
    short, enough = (HEAD + bytes(round(n_bytes / 4) * 4 + extra) for extra in (-40, 40))
    with allocating_at_most(100_000):
        message = refusal(photo_codec, photo_blob(short, photo_codec.network.weights_hash, **sides), in_header=True)
    assert message == f"The blob is not valid: {len(short)} bytes cannot hold {n_symbols} latents."
    assert inspect(photo_blob(enough, **sides)).latent_shape == (240, 256, 256)


def test_the_likeliest_symbols_are_not_refused(coder: Tables) -> None:
    """The bound on symbols per byte must hold for what an encoder can write."""
    counts = np.ones((1, 255), np.int64)
    counts[0, 127] = (1 << 20) - 254
    z, q = np.zeros((64, 64, 64), np.int8), np.zeros((240, 256, 256), np.int8)
    payload = Tables(counts).encode([(z, np.zeros_like(z)), (q, np.zeros_like(q))], 1, checksum(z, q))
    assert inspect(photo_blob(payload, width=1 << 12, height=1 << 12)).quality == 1


def test_symbols_that_are_not_those_of_the_checksum_refused(photo_codec: Codec) -> None:
    pictures = gradient(40, 30), gradient(40, 30)[::-1]
    first, second = (read(photo_codec.encode(picture)).payload for picture in pictures)
    fields = {"weights": photo_codec.network.weights_hash, "width": 40, "height": 30}
    for payload in (first, second):
        assert photo_codec.decode(photo_blob(payload, **fields)).size == (40, 30)
    for payload in (first[:5] + second[5:], first[:1] + bytes([first[1] ^ 1]) + first[2:]):
        assert refusal(photo_codec, photo_blob(payload, **fields), in_header=False) == DAMAGED
    other_quality = bytes([100]) + first[1:]
    assert refusal(photo_codec, photo_blob(other_quality, **fields), in_header=False) == DAMAGED


@settings(deadline=None, max_examples=60)
@given(
    quality=st.integers(1, 100),
    rest=st.binary(max_size=600),
    fill=st.sampled_from([None, b"\x00", b"\xff"]),
    width=st.integers(1, 100),
    height=st.integers(1, 60),
)
@example(quality=1, rest=b"", fill=b"\x00", width=1, height=1)
@example(quality=100, rest=bytes(600), fill=b"\xff", width=100, height=60)
def test_random_payloads_refused(
    photo_codec: Codec, quality: int, rest: bytes, fill: bytes | None, width: int, height: int
) -> None:
    rest = rest[: len(rest) // 4 * 4]
    words = fill * len(rest) if fill else rest
    for crc in (bytes(4), rest[-4:].rjust(4)):
        blob = photo_blob(bytes([quality]) + crc + words, photo_codec.network.weights_hash, width=width, height=height)
        assert refusal(photo_codec, blob, in_header=False) == DAMAGED


def test_no_flipped_bit_gives_other_symbols(photo_codec: Codec) -> None:
    """With the checksum of the blob put right: refused, or what the coder's last bits leave open."""
    encoded = read(photo_codec.encode(gradient(64, 64), quality=70))
    good = encoded.payload
    wanted = decoded_symbols(photo_codec, encoded)
    refused = 0
    for position in (*range(5), *range(5, len(good), 7), len(good) - 1):
        damaged = bytearray(good)
        damaged[position] ^= 1 << position % 8
        blob = photo_blob(bytes(damaged), photo_codec.network.weights_hash, width=64, height=64)
        try:
            photo_codec.decode(blob)
        except BlobError:
            refused += 1
        else:
            assert_same(decoded_symbols(photo_codec, replace(encoded, payload=bytes(damaged)))[:2] + (70,), wanted)
    assert refused > 10


def test_symbols_at_their_limits_decode(photo_codec: Codec, half_photo_codec: Codec) -> None:
    network = photo_codec.network
    for z_value, q_value in ((127, -127), (-127, 127)):
        z, q = np.full((64, 1, 1), z_value, np.int8), np.full((hp.N_LATENTS, 2, 3), q_value, np.int8)
        for quality in (1, 100):
            payload = encoded_symbols(photo_codec, z, q, quality)
            blob = photo_blob(payload, network.weights_hash, width=48, height=32)
            for codec in (photo_codec, half_photo_codec):
                assert codec.decode(blob).size == (48, 32)


def test_codings_of_other_models_refused(codec: Codec, photo_codec: Codec) -> None:
    hyperprior = build_blob(coding=2, payload=HEAD + bytes(8), weights=codec.network.weights_hash)
    wanted = "The blob is not valid: l8-tiny does not code latents in its way."
    assert refusal(codec, hyperprior, in_header=True) == wanted

    fields: dict[str, Any] = {"model_id": 3, "channels": 240, "stride": 16, "width": 256, "height": 256}
    for coding, n_bytes in ((0, 240 * 16 * 16), (1, side_bytes(240) + 4000)):
        blob = build_blob(coding=coding, payload=bytes(n_bytes), weights=photo_codec.network.weights_hash, **fields)
        wanted = "The blob is not valid: l8-photo does not code latents in its way."
        assert refusal(photo_codec, blob, in_header=True) == wanted


def test_blob_for_another_codec_refused(codec: Codec, photo_codec: Codec) -> None:
    blob = photo_codec.encode(gradient(20, 20))
    wanted = "The blob holds l8-photo latents, and l8-tiny decodes l8-tiny latents: decode it with l8-photo."
    assert refusal(codec, blob, in_header=False) == wanted
    good = photo_codec.network.weights_hash
    other = photo_blob(read(blob).payload, bytes([good[0] ^ 1]) + good[1:], width=20, height=20)
    wanted = "The blob was made with other weights of l8-photo: decode it with the release it is of."
    assert refusal(photo_codec, other, in_header=False) == wanted
