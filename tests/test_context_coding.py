"""Coding of numbers of codes: identity, the format as it is written down, sizes, and no crash on any payload."""

from __future__ import annotations

import math

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent8.errors import BlobError
from latent8.file_format import context_coding as cc
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.codings import CONTEXTS, NEIGHBOURS, RAW
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import inspect
from latent8.pool import symbols_of
from latent8.zoo.registry import OWN_ID
from latent8.zoo.settings import DEFAULTS
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import build_blob, smooth_symbols

CODES = Quantiser(0.0, 255.0, 256)


def numbers_of(content: str, height: int, width: int) -> np.ndarray:
    """Maps of codes, uint8 [1, h, w]."""
    rng = np.random.default_rng(height * 1009 + width)
    x = np.arange(height * width).reshape(1, height, width)
    planes = {
        "constant": np.full_like(x, 77),
        "highest": np.full_like(x, 255),
        "noise": rng.integers(0, 256, x.shape),
        "few": rng.choice([3, 4, 200], x.shape, p=[0.8, 0.15, 0.05]),
        "ramp": x * 3 % 256,
        "smooth": smooth_symbols(1, height, width, 256),
    }[content]
    return planes.astype(np.uint8)


def blob_of(numbers: np.ndarray, **fields) -> bytes:
    """A blob that holds numbers of codes, with the payload given or that of the coding."""
    _, height, width = numbers.shape
    fields = {"payload": cc.encode(numbers), "coding": CONTEXTS, "width": width, "height": height, **fields}
    return build_blob(model_id=OWN_ID, channels=1, stride=1, low=0.0, high=255.0, **fields)


def encoded(numbers: np.ndarray, **fields) -> Encoded:
    _, height, width = numbers.shape
    header = Header(OWN_ID, b"abcd", width, height, 1, 1, CODES)
    return cc.ContextCoding().encode(numbers.astype(np.float32), DEFAULTS, header, **fields)


@pytest.mark.parametrize("content", ["constant", "highest", "noise", "few", "ramp", "smooth"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (53, 1), (2, 2), (31, 17), (64, 65)])
def test_identity(shape: tuple[int, int], content: str) -> None:
    numbers = numbers_of(content, *shape)
    payload = cc.encode(numbers)
    decoded = cc.decode(payload, numbers.shape)
    np.testing.assert_array_equal(decoded, numbers)
    assert decoded.dtype == np.uint8 and cc.encode(decoded) == payload
    found = Encoded.parse(encoded(numbers).to_bytes())
    np.testing.assert_array_equal(symbols_of(found).values, numbers)
    assert len(found.payload) <= numbers.size


@settings(deadline=None, max_examples=40)
@given(shape=st.tuples(st.integers(1, 24), st.integers(1, 24)), data=st.data())
def test_identity_on_any_numbers(shape: tuple[int, int], data: st.DataObject) -> None:
    few = data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=8), label="values")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    numbers = np.random.default_rng(seed).choice(np.array(few, np.uint8), (1, *shape))
    np.testing.assert_array_equal(cc.decode(cc.encode(numbers), numbers.shape), numbers)


def test_as_it_is_written_down() -> None:
    """The text on top of the module, symbol by symbol and in plain numbers."""
    height, width = 19, 23
    numbers = smooth_symbols(1, height, width, 256)[0].astype(int)
    q = [round(65536 / (1 + math.exp(-t / 256))) for t in range(-2047, 2048)]
    s = [next((t for t in range(-2047, 2048) if q[t + 2047] >= 16 * i), 2047) for i in range(4096)]
    sizes = [1, 2, 3, 5, 8, 12, 20, 40, 100]
    starts = [256 * w for w in cc.WEIGHTS]
    weights = [[[int(w) for w in row] for row in starts] for _ in range(8)]
    counts: dict[tuple, list[int]] = {}
    coder = constriction.stream.queue.RangeEncoder()
    for step in range(width + 2 * height):
        cells = [(y, step - 2 * y) for y in range(height) if 0 <= step - 2 * y < width]
        before = dict.fromkeys(cells, "")
        for level in range(8):
            lessons, news = [], []
            for y, x in cells:
                west = numbers[y, x - 1] if x else numbers[y - 1, x] if y else 128
                north = numbers[y - 1, x] if y else west
                corner = west if y == 0 else north if x == 0 else numbers[y - 1, x - 1]
                east = west if y == 0 else north if x == width - 1 else numbers[y - 1, x + 1]
                slope = min(max((2 * west + 3 * north - 2 * corner + east) // 4, 0), 255)
                contexts = (0, west, north, east, slope, (west >> 3, north >> 3))
                bit = numbers[y, x] >> 7 - level & 1
                mixed, used = 0, []
                for kind, context in enumerate(contexts):
                    zeros, ones = counts.setdefault((kind, context, before[y, x]), [0, 0])
                    evidence = s[(2 * ones + 1 << 11) // (zeros + ones + 1)] if zeros + ones else 0
                    size = sum(zeros + ones >= edge for edge in sizes)
                    mixed += weights[level][kind][size] * evidence
                    used.append((kind, size, evidence))
                    news.append(((kind, context, before[y, x]), bit))
                chance = min(max(q[min(max(mixed >> 16, -2047), 2047) + 2047], 32), 65504)
                coder.encode(int(bit), constriction.stream.model.Bernoulli(chance / 65536, perfect=False))
                lessons += [(kind, size, evidence * ((int(bit) << 16) - chance) >> 8) for kind, size, evidence in used]
                before[y, x] += str(bit)
            for kind in range(6):
                for size in range(10):
                    change = sum(lesson for k, n, lesson in lessons if (k, n) == (kind, size))
                    weights[level][kind][size] += change // (len(cells) + 32)
            for key, bit in news:
                counts[key][bit] += 1
            for key in {key for key, _ in news}:
                if sum(counts[key]) > 250:
                    counts[key] = [n + 1 >> 1 for n in counts[key]]
    assert coder.get_compressed().astype("<u4").tobytes() == cc.encode(numbers[None].astype(np.uint8))


def test_the_golden_blob_stays_decodable(golden) -> None:
    y, x = np.mgrid[:60, :80]  # integers only: the same on every machine
    slope = (y * 3 + x * 2) // 3 + (x * y) // 97 + ((x * 40503 + y * 30011) >> 7) % 5
    numbers = (slope % 256).astype(np.uint8)[None]
    blob = golden("codes.l8", lambda: blob_of(numbers))
    found = inspect(blob)  # no model is needed
    assert found.coding == CONTEXTS
    np.testing.assert_array_equal(symbols_of(found).values, numbers)
    assert blob_of(numbers) == blob


def test_the_smallest_coding_is_taken() -> None:
    assert encoded(numbers_of("noise", 40, 50)).coding == RAW
    assert encoded(numbers_of("few", 40, 50)).coding == CONTEXTS
    few = encoded(numbers_of("few", 90, 110))
    entropy = -(0.8 * math.log2(0.8) + 0.15 * math.log2(0.15) + 0.05 * math.log2(0.05)) / 8
    assert few.coding == CONTEXTS and len(few.payload) < 1.15 * entropy * 90 * 110
    # a shape of many steps, each of a few symbols
    assert encoded(numbers_of("constant", 1, 5000)).coding == NEIGHBOURS


# ---- hostile payloads, in blobs with a right checksum


def test_shapes_of_many_steps_are_refused() -> None:
    numbers = numbers_of("few", 1, 2000)
    with pytest.raises(BlobError, match=r"^The blob is not valid: latents of shape \(1, 1, 2000\) are not coded in"):
        Encoded.parse(blob_of(numbers, payload=bytes(100)))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"payload": bytes(7)}, "it states 7 coded bytes for 2000 latents."),
        ({"payload": bytes(2000)}, "it states 2000 coded bytes for 2000 latents."),
        ({"payload": bytes(4), "width": 5000, "height": 5000}, "4 bytes cannot hold 25000000 latents."),
        ({"payload": bytes(400), "top": 254}, "latents of shape (1, 40, 50) are not coded in its way."),
    ],
)
def test_impossible_payloads_are_refused_before_anything_is_allocated(fields: dict, words: str) -> None:
    blob = blob_of(numbers_of("few", 40, 50), **fields)
    with allocating_at_most(20_000), pytest.raises(BlobError) as caught:
        Encoded.parse(blob)
    assert str(caught.value) == f"The blob is not valid: {words}"


def test_the_emptiest_map_passes_the_check_on_length() -> None:
    numbers = np.full((1, 300, 300), 128, np.uint8)
    blob = blob_of(numbers)
    assert len(blob) < 0.02 * numbers.size
    np.testing.assert_array_equal(symbols_of(Encoded.parse(blob)).values, numbers)
    assert cc.MAX_SYMBOLS_PER_BYTE * -8 * math.log2(cc.MOST / 65536) >= 8


@settings(deadline=None, max_examples=100)
@given(payload=st.binary(min_size=0, max_size=400).map(lambda b: b[: len(b) // 4 * 4]))
def test_random_payloads_decode_or_are_refused(payload: bytes) -> None:
    try:
        assert cc.decode(payload, (1, 20, 25)).shape == (1, 20, 25)
    except BlobError as error:
        assert str(error) == "The blob is damaged: its latents cannot be decoded. Encode the picture again."


def test_words_that_are_left_are_refused() -> None:
    numbers = numbers_of("smooth", 20, 25)
    good = cc.encode(numbers)
    with pytest.raises(BlobError, match="^The blob is damaged: its latents cannot be decoded. Encode the picture"):
        cc.decode(good + bytes(range(1, 13)), numbers.shape)
