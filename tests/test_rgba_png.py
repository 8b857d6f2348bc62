"""Latents as RGBA PNG: as the ancestors wrote them, with what a blob knows in a text chunk."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latent8 import BlobError, Codec, ModelError, inspect
from latent8.file_format.blob import Header
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import read
from latent8.file_format.rgba_png import TEXT_KEY, RgbaPngCoding, parse_rgba_png
from latent8.latents import describe
from latent8.pool import symbols_of
from latent8.zoo.settings import DEFAULTS
from tests.helpers.blob_calls import decoded, refusal, symbols_in
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import gradient, png_chunk, png_claiming, smooth_symbols


def rgba_header(width: int, height: int, levels: int = 256) -> Header:
    return Header(
        model_id=1,
        weights=b"\xde\xad\xbe\xef",
        width=width,
        height=height,
        channels=4,
        stride=8,
        quantiser=Quantiser(levels=levels),
    )


def written(header: Header, symbols: np.ndarray) -> bytes:
    """PNG of symbols 0 ... levels - 1, uint8 [C, h, w]."""
    return RgbaPngCoding().encode(header.quantiser.dequantise(symbols), DEFAULTS, header).to_bytes()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 70), st.integers(16, 256), st.integers(0, 2**32 - 1))
def test_rgba_png_is_exact_both_ways(width: int, height: int, levels: int, seed: int) -> None:
    header = rgba_header(width, height, levels)
    symbols = np.random.default_rng(seed).integers(0, levels, header.latent_shape, np.uint8)
    png = written(header, symbols)
    found = parse_rgba_png(png)
    np.testing.assert_array_equal(symbols_of(found).values, symbols)
    assert found.header == header
    assert found.to_bytes() == png == written(found.header, symbols) and found.n_bytes == len(png)


def test_rgba_png_holds_the_bytes_of_the_ancestors() -> None:
    header = rgba_header(80, 56)
    symbols = smooth_symbols(4, 7, 10, 256)
    with Image.open(io.BytesIO(written(header, symbols))) as image:
        np.testing.assert_array_equal(np.asarray(image), np.moveaxis(symbols, 0, -1))


@pytest.mark.parametrize("levels", [16, 100, 256])
def test_rgba_png_decodes_as_the_blob_does(codec: Codec, levels: int) -> None:
    picture = gradient(61, 43)
    png, blob = codec.encode_rgba_png(picture, levels=levels), codec.encode(picture, levels=levels)
    np.testing.assert_array_equal(symbols_of(read(png)).values, symbols_in(blob))
    np.testing.assert_array_equal(decoded(codec, png), decoded(codec, blob))
    assert inspect(png).header.weights == codec.network.weights_hash


def test_rgba_png_of_more_channels_refused() -> None:
    header = Header(**{**vars(rgba_header(80, 56)), "channels": 16})
    with pytest.raises(ModelError, match="^An RGBA PNG holds 4 latent channels, and l8-tiny has 16: keep the "):
        written(header, np.zeros((16, 7, 10), np.uint8))


def latent_png(text: str | None, size: tuple[int, int] = (2, 1), mode: str = "RGBA") -> bytes:
    info = PngInfo()
    if text is not None:
        info.add_text(TEXT_KEY, text, zip=len(text) > 1000)
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_png_without_text_is_taken_as_taesds() -> None:
    found = inspect(latent_png(None, (5, 3)))
    assert (found.width, found.height, found.latent_shape) == (40, 24, (4, 3, 5))
    assert (describe(found)["model"], found.header.quantiser) == ("taesd", Quantiser())
    assert found.header.weights == b""  # unknown


GOOD_FACTS = {"model": "l8-tiny", "width": 16, "height": 8, "levels": 100, "weights": "deadbeef"}
NOT_UNDERSTOOD = "This PNG is not valid: its latent8 text chunk cannot be understood."
SIZE_MISMATCH = "This PNG is not valid: its size does not fit the picture it states."


def test_png_with_good_facts_is_read() -> None:
    header = inspect(latent_png(json.dumps(GOOD_FACTS))).header
    assert (header.width, header.height, header.quantiser.levels) == (16, 8, 100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "5",
        "null",
        "[]",
        '"text"',
        "[" * 100_000,  # too deep for the parser
        "9" * 5000,
        *(json.dumps({k: v for k, v in GOOD_FACTS.items() if k != name}) for name in ("model", "width", "height")),
        *(
            json.dumps(GOOD_FACTS | change)
            for change in (
                {"model": "vgg"},
                {"model": None},
                {"model": ["l8-tiny"]},
                {"width": 0},
                {"width": -16},
                {"width": 16.0},
                {"width": "16"},
                {"width": None},
                {"height": (1 << 20) + 1},
                {"height": 10**30},
                {"levels": 15},
                {"levels": 257},
                {"levels": 100.5},
                {"levels": "100"},
                {"levels": None},
                {"weights": "xyz"},
                {"weights": "nothexes"},
                {"weights": "dead"},
                {"weights": "deadbeef00"},
                {"weights": 5},
                {"weights": [1] * 8},
            )
        ),
    ],
    ids=lambda text: text[:60],
)
def test_hostile_texts_in_a_png_refused(codec: Codec, text: str) -> None:
    assert refusal(codec, latent_png(text)) == NOT_UNDERSTOOD
    with pytest.raises(BlobError):
        inspect(latent_png(text))


@pytest.mark.parametrize("change", [{"width": 17}, {"width": 8}, {"height": 9}, {"width": 1 << 20, "height": 1 << 10}])
def test_lying_sizes_in_a_png_refused(codec: Codec, change: dict) -> None:
    assert refusal(codec, latent_png(json.dumps(GOOD_FACTS | change))) == SIZE_MISMATCH


def test_png_of_too_large_a_picture_refused(codec: Codec) -> None:
    facts = GOOD_FACTS | {"width": 1 << 20, "height": 1 << 11}
    assert refusal(codec, latent_png(json.dumps(facts))) == (
        "This PNG states 1048576 x 2048 pixels, more than can be decoded."
    )


def test_png_over_the_limit_is_not_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (1024, 1024)).save(buffer, "PNG")
    with allocating_at_most(1_000_000), pytest.raises(BlobError, match="over the limit of 0.0"):
        read(buffer.getvalue(), max_pixels=1000)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "1"])
def test_png_of_another_mode_refused(codec: Codec, mode: str) -> None:
    wanted = f"This PNG has mode {mode}; latents are kept as RGBA. Encode a picture first."
    assert refusal(codec, latent_png(None, mode=mode)) == wanted
    assert refusal(codec, latent_png(json.dumps(GOOD_FACTS), mode="I;16")).startswith("This PNG has mode I;16; ")


SMALL = np.array([[[9, 9, 9, 255], [200, 200, 200, 255]], [[9, 9, 9, 255], [77, 77, 77, 255]]], np.uint8)
SAVED_AGAIN = {
    "palette": (SMALL * np.array([1, 0, 1, 1], np.uint8), lambda image: image.quantize(8, dither=Image.Dither.NONE)),
    "palette with alpha": (SMALL - np.array([0, 0, 1, 55], np.uint8), lambda image: image.quantize(8)),
    "grey": (SMALL, lambda image: image.convert("L")),
    "grey and alpha": (SMALL - np.array([0, 0, 0, 30], np.uint8), lambda image: image.convert("LA")),
    "a transparent colour": (
        np.where(SMALL[..., :1] == 77, np.uint8([1, 2, 3, 0]), SMALL),
        lambda image: image.convert("RGB", dither=None),
    ),
    "colour": (SMALL - np.array([0, 5, 3, 0], np.uint8), lambda image: image.convert("RGB")),
    "black and white": (
        np.where(SMALL > 100, np.uint8(255), np.uint8([0, 0, 0, 255])),
        lambda image: image.convert("1"),
    ),
}


@pytest.mark.parametrize("name", SAVED_AGAIN)
@pytest.mark.parametrize("text_at", ["front", "end"])
def test_png_that_another_program_saved_again(name: str, text_at: str) -> None:
    pixels, change = SAVED_AGAIN[name]
    facts = json.dumps({"model": "l8-tiny", "width": 16, "height": 16, "levels": 256})
    image, buffer = change(Image.fromarray(pixels)), io.BytesIO()
    image.save(buffer, "PNG", **({"transparency": (1, 2, 3)} if name == "a transparent colour" else {}))
    png, chunk = buffer.getvalue(), png_chunk(b"tEXt", b"latent8\0" + facts.encode())
    at = 33 if text_at == "front" else len(png) - 12
    found = read(png[:at] + chunk + png[at:])
    np.testing.assert_array_equal(np.moveaxis(symbols_of(found).values, 0, -1), pixels)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_text_of_any_kind_of_chunk_counts(kind: bytes) -> None:
    text = json.dumps(GOOD_FACTS).encode()
    body = {b"tEXt": text, b"zTXt": b"\0" + zlib.compress(text), b"iTXt": b"\1\0\0\0" + zlib.compress(text)}[kind]
    png = latent_png(None)
    header = inspect(png[:-12] + png_chunk(b"tIME", bytes(7)) + png_chunk(kind, b"latent8\0" + body) + png[-12:])
    assert (header.width, header.height) == (16, 8)


@pytest.mark.parametrize("name", ["plain", "text-after-data", "palette"])
def test_odd_files_are_the_same_latents(name: str) -> None:
    folder = Path(__file__).with_name("odd")
    plain, other = (read((folder / f"{one}.encoded.png").read_bytes()) for one in ("plain", name))
    assert other.header == plain.header and (other.width, other.height) == (60, 60)
    np.testing.assert_array_equal(symbols_of(other).values, symbols_of(plain).values)


@pytest.mark.parametrize("side", [60_000, 12_000, 8_000])
def test_png_bombs_refused(codec: Codec, side: int, recwarn) -> None:
    with allocating_at_most(1_000_000):
        assert refusal(codec, png_claiming(side, side, 6)).startswith(("This PNG is damaged", "This PNG states "))
    assert not recwarn.list


def test_damaged_png_refused(codec: Codec) -> None:
    good = latent_png(json.dumps(GOOD_FACTS))
    for damaged in (good[:8], good[:30], good[:-40], good[:60] + bytes(9) + good[69:]):
        assert refusal(codec, damaged) == "This PNG is damaged and cannot be read."
