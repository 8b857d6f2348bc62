"""Blobs that are damaged, hostile or of other versions are refused in one sentence, before anything is allocated."""

from __future__ import annotations

import contextlib
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent8.errors import BlobError
from latent8.file_format import neighbour_coding
from latent8.file_format.blob import is_blob
from latent8.file_format.codings import NEIGHBOURS
from latent8.file_format.reader import inspect, read
from latent8.zoo.registry import OWN_ID
from tests.helpers.blobs_by_hand import header_of, packed, refusal, unpacked
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import build_blob, side_bytes, smooth_symbols


@pytest.mark.parametrize(
    "symbols",
    [
        np.zeros((4, 1, 3), np.uint8),  # another shape
        np.zeros((4, 1, 2), np.int32),  # another type
        np.full((4, 1, 2), 200, np.uint8),  # above the highest symbol
    ],
)
def test_pack_refuses_symbols_that_do_not_fit(symbols: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8 symbols below 200 of shape"):
        packed(header_of(9, 5, levels=200), symbols)


def test_empty_refused() -> None:
    assert refusal(b"") == "The file is empty: it is not a latent8 blob."


@pytest.mark.parametrize(
    "start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x89L9\n", b"\x89L8\r\n", b"L", b"\x00"]
)
def test_other_files_refused(start: bytes) -> None:
    assert refusal(start + bytes(100)) == "This is not a latent8 blob (.l8): it starts with other bytes."
    assert refusal(start[:4]) == "This is not a latent8 blob (.l8): it starts with other bytes."
    assert not is_blob(start)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_version_refused(version: int) -> None:
    wanted = f"The blob has format version {version}, this latent8 reads 1: update latent8."
    assert refusal(build_blob(version=version)) == wanted
    assert refusal(build_blob(version=version)[:5] + b"all may differ behind it") == wanted


def full_blobs() -> list[bytes]:
    coded = packed(header_of(120, 90, stem="name"), smooth_symbols(4, 12, 15, 256), b"alpha plane")
    assert coded[23] == NEIGHBOURS
    return [build_blob(stem=b"name", alpha=b"alpha plane"), coded]


@pytest.mark.parametrize("blob", full_blobs(), ids=["raw", "coded"])
def test_cut_short_at_every_length_refused(blob: bytes) -> None:
    for length in range(1, len(blob)):
        assert refusal(blob[:length]).startswith("The blob is cut short: at least "), length


def test_cut_short_tells_how_much_is_missing() -> None:
    assert refusal(build_blob()[:-3]) == (
        "The blob is cut short: at least 3 bytes are missing. Copy or download it again."
    )


def test_trailing_bytes_refused() -> None:
    assert refusal(build_blob(tail=b"hidden")) == (
        "The blob is followed by 6 bytes that do not belong to it: cut them off."
    )


@pytest.mark.parametrize("blob", full_blobs(), ids=["raw", "coded"])
def test_any_flipped_bit_refused(blob: bytes) -> None:
    unpacked(blob)
    for position in range(len(blob)):
        for bit in range(8):
            damaged = bytearray(blob)
            damaged[position] ^= 1 << bit
            with pytest.raises(BlobError):
                unpacked(bytes(damaged))


def test_damage_that_keeps_all_lengths_is_found_by_the_checksum() -> None:
    damaged = bytearray(build_blob())
    damaged[-6] ^= 1  # in the payload
    assert refusal(bytes(damaged)) == "The blob is damaged: its checksum does not match. Copy or download it again."


@pytest.mark.parametrize("flags", [8, 128])
def test_unknown_flags_refused(flags: int) -> None:
    assert refusal(build_blob(flags=flags)) == f"The blob is not valid: it states unknown flags {flags:#04x}."


def test_model_0_refused() -> None:
    assert refusal(build_blob(model_id=0)) == "The blob is not valid: it states model id 0."


@pytest.mark.parametrize("width, height", [(0, 8), (16, 0), ((1 << 20) + 1, 8), (16, (1 << 20) + 1), (0xFFFFFFFF, 1)])
def test_impossible_sizes_refused(width: int, height: int) -> None:
    wanted = f"The blob is not valid: it states a size of {width} x {height} pixels."
    assert refusal(build_blob(width=width, height=height)) == wanted


def test_too_many_pixels_refused() -> None:
    assert refusal(build_blob(width=1 << 20, height=(1 << 10) + 1)) == (
        "The blob is not valid: it states 1048576 x 1025 pixels, over 1073741824."
    )


def test_no_channels_refused() -> None:
    assert refusal(build_blob(channels=0)) == "The blob is not valid: it states 0 latent channels."


@pytest.mark.parametrize("stride", [0, 65, 255])
def test_stride_out_of_range_refused(stride: int) -> None:
    assert refusal(build_blob(stride=stride)) == f"The blob is not valid: it states a stride of {stride}."


@pytest.mark.parametrize("top", [0, 14])
def test_too_few_levels_refused(top: int) -> None:
    assert refusal(build_blob(top=top)) == f"The blob is not valid: it states {top + 1} levels, fewer than 16."


@pytest.mark.parametrize("coding", [4, 255])
def test_unknown_coding_refused(coding: int) -> None:
    assert refusal(build_blob(coding=coding)) == f"The blob is not valid: it states payload coding {coding}."


@pytest.mark.parametrize(
    "low, high", [(3, -3), (1, 1), (math.nan, 3), (-3, math.nan), (-math.inf, 3), (-3, math.inf), (0.0, -0.0)]
)
def test_bad_latent_range_refused(low: float, high: float) -> None:
    wanted = f"The blob is not valid: it states a latent range from {float(low)} to {float(high)}."
    assert refusal(build_blob(low=low, high=high)) == wanted


@pytest.mark.parametrize("n_bytes", [0, 7, 9])
def test_raw_payload_of_wrong_length_refused(n_bytes: int) -> None:
    assert refusal(build_blob(payload=bytes(n_bytes))) == (
        f"The blob is not valid: it states {n_bytes} bytes of latents where 8 belong."
    )


def test_symbol_above_the_highest_refused() -> None:
    blob = build_blob(top=100, payload=bytes([0, 1, 2, 100, 4, 5, 101, 7]))
    with pytest.raises(BlobError, match=r"^The blob is damaged: a latent lies outside its range\. Encode "):
        unpacked(blob)
    unpacked(build_blob(top=100, payload=bytes([0, 1, 2, 100, 4, 5, 100, 7])))


@pytest.mark.parametrize("stem", [b"", b"n" * 201, b"n" * 255])
def test_stem_of_wrong_length_refused(stem: bytes) -> None:
    assert refusal(build_blob(stem=stem)) == f"The blob is not valid: it states a file stem of {len(stem)} bytes."


@pytest.mark.parametrize("stem", [b"\xff", b"caf\xe9", b"\xed\xa0\x80"])  # nonsense, Latin-1, a surrogate
def test_stem_that_is_not_utf8_refused(stem: bytes) -> None:
    assert refusal(build_blob(stem=stem)) == "The blob is not valid: its file stem is not UTF-8."


def test_empty_alpha_plane_refused() -> None:
    assert refusal(build_blob(alpha=b"")) == "The blob is not valid: it states an alpha plane of 0 bytes."


def test_alpha_plane_longer_than_the_blob_refused() -> None:
    blob = build_blob(flags=2)  # the first 4 bytes of the payload are taken for its length, 0x03020100
    with allocating_at_most(100_000):
        assert refusal(blob).startswith("The blob is cut short: at least ")


def test_coded_payload_as_long_as_raw_refused() -> None:
    assert refusal(build_blob(coding=1, payload=bytes(8))) == (
        "The blob is not valid: it states 8 coded bytes for 8 latents."
    )


@pytest.mark.parametrize("extra", [-1, 1, 2, 3])
def test_coded_payload_that_ends_within_a_word_refused(extra: int) -> None:
    n_bytes = side_bytes(4) + extra
    assert refusal(build_blob(coding=1, width=640, height=480, payload=bytes(n_bytes))) == (
        f"The blob is not valid: {n_bytes} bytes cannot be coded latents."
    )


@pytest.mark.parametrize(
    "width, height, channels, stride",
    [(1 << 15, 1 << 15, 1, 1), (1 << 20, 1 << 10, 1, 8), (1 << 10, 1 << 20, 1, 4)],
)
def test_few_bytes_cannot_claim_many_latents(width: int, height: int, channels: int, stride: int) -> None:
    payload = bytes(side_bytes(channels) + 64)
    blob = build_blob(coding=1, width=width, height=height, channels=channels, stride=stride, payload=payload)
    n_symbols = channels * math.ceil(width / stride) * math.ceil(height / stride)
    with allocating_at_most(100_000):
        assert refusal(blob) == f"The blob is not valid: {len(payload)} bytes cannot hold {n_symbols} latents."


def test_the_largest_claim_of_a_small_blob_stays_small() -> None:
    """What passes the check on length may allocate in proportion to the bytes that came, and no more."""
    words, side = 64, side_bytes(1)
    size = math.isqrt(int((words + 4) * neighbour_coding.MAX_SYMBOLS_PER_BYTE))
    blob = build_blob(coding=1, channels=1, stride=1, width=size, height=size, payload=bytes(side + words))
    assert len(blob) < 200
    unpacked(build_blob())  # imports and tables are loaded once, and are not part of it
    with allocating_at_most(40_000_000), contextlib.suppress(BlobError):
        unpacked(blob)


def test_an_own_models_latents_are_counted_before_they_are_decoded() -> None:
    """Its channels and stride may be anything: of 0.9 megapixels it could have 230 million latents."""
    size = {"width": 950, "height": 950, "channels": 255, "stride": 1}
    blob = build_blob(model_id=OWN_ID, coding=NEIGHBOURS, payload=bytes(side_bytes(255) + 200_000), **size)
    inspect(blob)
    with allocating_at_most(1_000_000), pytest.raises(BlobError) as found:
        read(blob)
    assert str(found.value) == "The blob states 230.1 million latents, over the limit of 1.0."


def test_payload_length_beyond_the_blob_allocates_nothing() -> None:
    blob = build_blob(payload_bytes=0xFFFFFFFF)
    with allocating_at_most(100_000):
        assert refusal(blob).startswith("The blob is cut short: at least 42949672")


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=120), with_checksum=st.booleans())
def test_random_bytes_behind_the_magic_never_crash(data: bytes, with_checksum: bool) -> None:
    body = b"\x89L8\n\x01" + data
    if with_checksum:
        body += struct.pack("<I", zlib.crc32(body))
    with pytest.raises(BlobError):
        unpacked(body)
