"""Alpha planes: kept to the bit, and refused where they are hostile."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latent8.errors import BlobError
from latent8.pictures.intake import decode_alpha, encode_alpha
from tests.helpers.checks import allocating_at_most
from tests.helpers.picture_files import file_of
from tests.helpers.samples import gradient, png_chunk, png_claiming


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_alpha_round_trip(width: int, height: int, seed: int) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    np.testing.assert_array_equal(decode_alpha(encode_alpha(alpha), width, height), alpha)


def test_alpha_has_no_limit_of_pillows(monkeypatch) -> None:
    """The blob's header has the size, and that has been checked."""
    alpha = np.arange(100, dtype=np.uint8).reshape(10, 10)
    png = encode_alpha(alpha)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(decode_alpha(png, 10, 10), alpha)


GOOD_ALPHA = encode_alpha(np.arange(100, dtype=np.uint8).reshape(10, 10))
WRONG_ALPHA = "The blob is not valid: its alpha plane has another size or mode than the picture."
UNREADABLE_ALPHA = "The blob is damaged: its alpha plane cannot be read."
# 16 MB of zeros in a few KB, where Pillow reads texts; and a frame that lies outside the picture.
TEXT_BOMB = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(16_000_000)))
FRAME_OUTSIDE = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(
    b"fcTL", struct.pack(">IIIIIHHBB", 0, 90, 90, 50, 50, 1, 1, 0, 0)
)


@pytest.mark.parametrize(
    "png, sentence",
    [
        (encode_alpha(np.zeros((10, 11), np.uint8)), WRONG_ALPHA),
        (encode_alpha(np.zeros((1, 1), np.uint8)), WRONG_ALPHA),
        (file_of(gradient(10, 10)), WRONG_ALPHA),
        (file_of(Image.new("1", (10, 10))), WRONG_ALPHA),
        (file_of(np.zeros((10, 10), np.uint16)), WRONG_ALPHA),
        (file_of(np.zeros((10, 10), np.uint8), "BMP"), UNREADABLE_ALPHA),
        (b"x", UNREADABLE_ALPHA),
        (GOOD_ALPHA[:40], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:50] + bytes(20) + GOOD_ALPHA[70:], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:33] + TEXT_BOMB + GOOD_ALPHA[33:], UNREADABLE_ALPHA),
        (GOOD_ALPHA[:33] + FRAME_OUTSIDE + GOOD_ALPHA[33:], UNREADABLE_ALPHA),
        (png_claiming(60_000, 60_000, 0), WRONG_ALPHA),
        (png_claiming(12_000, 12_000, 0), WRONG_ALPHA),
    ],
)
def test_hostile_alpha_planes_refused(png: bytes, sentence: str, recwarn) -> None:
    with allocating_at_most(5_000_000), pytest.raises(BlobError) as found:
        decode_alpha(png, 10, 10)
    assert str(found.value) == sentence
    assert not recwarn.list


def test_damaged_alpha_planes_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(GOOD_ALPHA)
        for position in rng.integers(8, len(damaged), 2):
            damaged[position] = rng.integers(0, 256)
        at = 8
        while at + 12 <= len(damaged):  # right checksums, so that damage gets past them
            end = at + 8 + int.from_bytes(damaged[at : at + 4], "big")
            if end + 4 > len(damaged):
                break
            damaged[end : end + 4] = struct.pack(">I", zlib.crc32(damaged[at + 4 : end]))
            at = end + 4
        try:
            assert decode_alpha(bytes(damaged), 10, 10).shape == (10, 10)
        except BlobError as error:
            assert str(error) in (WRONG_ALPHA, UNREADABLE_ALPHA)
