"""Pictures of latents: what is drawn is what the blob holds, and the bits add up to the payload."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8.cli import commands
from latent8.codec import Codec
from latent8.evaluation.latent_pictures import latent_pictures
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.codings import RAW
from latent8.file_format.hyperprior_coding import HyperpriorCoding, Tables
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import read
from latent8.l8_photo import bit_cost
from latent8.pictures import drawing
from latent8.zoo.registry import model_named
from tests.helpers.blobs_by_hand import packed
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import build_blob, gradient, smooth_symbols

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"


def plain_blob(channels: int = 4, height: int = 6, width: int = 9, levels: int = 256) -> tuple[bytes, np.ndarray]:
    symbols = smooth_symbols(channels, height, width, levels)
    header = Header(1, b"\x01\x02\x03\x04", 8 * width, 8 * height, channels, 8, Quantiser(levels=levels))
    return packed(header, symbols), symbols


def raw(header: Header, symbols: np.ndarray) -> Encoded:
    return Encoded(header, RAW, symbols.tobytes())


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(EXAMPLES / "picos.jpg") as image:
        image.thumbnail((250, 190))
        return image.convert("RGB")


# ---- where the bits go


@pytest.mark.parametrize(
    "size, quality", [((250, 190), 50), ((250, 190), 3), ((33, 90), 95), ((16, 16), 50), ((1, 1), 50)]
)
def test_bits_add_up_to_the_payload(
    photo_codec: Codec, photo: Image.Image, size: tuple[int, int], quality: int
) -> None:
    blob = photo_codec.encode(photo.resize(size), quality=quality)
    encoded = Encoded.parse(blob)
    found = HyperpriorCoding(photo_codec.network).symbols(encoded)
    bits, shape = found.bits, encoded.latent_shape
    assert bits is not None
    assert bits.shape == shape[1:] and found.values.shape == found.latents.shape == shape
    coded = 8 * (len(encoded.payload) - 5)  # less quality and checksum; the coder's last words are 32 bits each
    assert -0.002 * coded - 32 < coded - bits.sum() < 0.002 * coded + 96
    np.testing.assert_array_equal(found.latents, photo_codec.latents(encoded))


def test_bits_lie_where_the_detail_is(photo_codec: Codec) -> None:
    pixels = np.full((128, 256, 3), 128, np.uint8)
    pixels[:, 128:] = np.random.default_rng(0).integers(0, 256, (128, 128, 3))
    bits = HyperpriorCoding(photo_codec.network).symbols(Encoded.parse(photo_codec.encode(pixels))).bits
    assert bits is not None
    assert bits[:, 10:].mean() > 20 * bits[:, :6].mean()


def test_bits_of_known_tables() -> None:
    counts = np.ones((2, 255), np.int64)
    counts[0, 127], counts[1, 130] = 1024 - 254, 512 - 254  # symbols 0 and 3
    q = np.zeros((2, 5, 3), np.int8)
    q[1] = 3
    tables = np.stack([np.zeros((5, 3), np.uint16), np.ones((5, 3), np.uint16)])
    z = np.full((1, 2, 1), -127, np.int8)  # one of its cells covers 4 x 3 positions, the other 1 x 3
    bits = bit_cost.bits_per_position([(z, np.zeros_like(z, np.uint16)), (q, tables)], Tables(counts).bits(), (5, 3))
    own = -np.log2(770 / 1024) - np.log2(258 / 512)
    np.testing.assert_allclose(bits[:4], own + 10 / 12, rtol=1e-6)
    np.testing.assert_allclose(bits[4:], own + 10 / 3, rtol=1e-6)


# ---- the pictures


def test_of_four_channels() -> None:
    blob, symbols = plain_blob()
    latents = Quantiser().dequantise(symbols)
    found = latent_pictures(blob)
    captions = [view.caption for view in found]
    assert captions[:2] == ["1-3 as RGB", "1-4 as RGBA"]
    assert captions[2:6] == [f"{i + 1}: {c.min():.1f} to {c.max():.1f}" for i, c in enumerate(latents)]
    assert captions[6].startswith("8-bit values: ") and len(found) == 7
    np.testing.assert_array_equal(np.asarray(found[1].image), np.moveaxis(symbols, 0, -1))
    lightest = np.unravel_index(latents[2].argmax(), latents[2].shape)
    assert tuple(np.asarray(found[4].image)[lightest]) == (120, 24, 24)
    assert all(view.image.size == (9, 6) for view in found[:6])


def test_bits_per_value(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []
    monkeypatch.setattr(drawing, "histogram", lambda counts, first, title: titles.append((counts.sum(), first, title)))
    blob, symbols = plain_blob(levels=16)
    share = np.bincount(symbols.ravel()) / symbols.size
    entropy = -sum(p * np.log2(p) for p in share if p)
    coded = 8 * len(latent8.inspect(blob).payload) / symbols.size
    assert latent_pictures(blob)[-1].caption == f"8-bit values: {coded:.3g} bits each"
    assert titles.pop() == (216, 0, f"{coded:.3g} bits per value as coded, {entropy:.3g} by how often each occurs")
    latent_pictures(packed(read(blob).header, np.full_like(symbols, 3)))
    assert titles.pop()[2].endswith("as coded, 0 by how often each occurs")


def test_of_l8_photo(photo_codec: Codec, photo: Image.Image) -> None:
    blob = photo_codec.encode(photo)
    found = latent_pictures(blob, device="cpu")
    assert [view.caption.split(":")[0] for view in found] == [
        *("means as RGB", "luma", "red - blue", "red + blue - green", "across", "down"),
        *("bits per pixel", "8-bit values", "all 240 channels"),
    ]
    assert [view.wide for view in found] == [False] * 8 + [True]
    assert all(view.image.size == (16, 12) for view in found[:7])


@pytest.mark.parametrize("colour, sign", [((230, 40, 40), 1), ((40, 40, 230), -1)])
def test_means_of_l8_photo_are_colours(photo_codec: Codec, colour: tuple[int, int, int], sign: int) -> None:
    found = latent_pictures(photo_codec.encode(np.full((64, 64, 3), colour, np.uint8)), device="cpu")
    lowest, highest = map(float, found[2].caption.removeprefix("red - blue: ").split(" to "))
    assert min(sign * lowest, sign * highest) > 3  # of a flat picture, every other latent is about 0


def test_without_its_model_for_all_but_l8_photo() -> None:
    """taesd is nowhere on this machine, and its latents are shown all the same."""
    symbols = smooth_symbols(4, 5, 5, 256)
    header = Header(model_named("taesd").id, bytes(4), 40, 40, 4, 8, Quantiser())
    assert len(latent_pictures(packed(header, symbols))) == 7


def test_of_an_rgba_png(codec: Codec) -> None:
    png = codec.encode_rgba_png(gradient(80, 64))
    found = latent_pictures(png)
    assert f"{8 * len(png) / 320:.3g} bits each" in found[-1].caption


def test_of_many_channels() -> None:
    symbols = smooth_symbols(20, 7, 5, 256)
    header = Header(1, bytes(4), 40, 56, 20, 8, Quantiser())
    found = latent_pictures(raw(header, symbols))
    assert [view.caption.split(":")[0] for view in found] == [*("1-3 as RGB", "8-bit values", "all 20 channels")]


def test_huge_latents_are_shrunk(tmp_path: Path) -> None:
    symbols = np.tile(np.arange(16, dtype=np.uint8), (4, 900, 100))  # 1600 x 900 latents
    header = Header(1, bytes(4), 12800, 7200, 4, 8, Quantiser())
    with allocating_at_most(150 << 20):
        found = latent_pictures(raw(header, symbols))
        assert max(max(view.image.size) for view in found) <= drawing.MAX_SIDE
        assert drawing.sheet("", found).width == 1600
    assert found[2].caption == f"1: {-3:.1f} to {Quantiser().dequantise(np.uint8(15)):.1f}"


@pytest.mark.parametrize("size", [(8 * 70000, 8), (8, 8 * 70000)])
def test_very_long_pictures(size: tuple[int, int]) -> None:
    width, height = size
    symbols = np.zeros((4, height // 8, width // 8), np.uint8)
    header = Header(1, bytes(4), width, height, 4, 8, Quantiser())
    sheet = drawing.sheet("", latent_pictures(raw(header, symbols)))
    assert sheet.width == 1600 and sheet.height < 3000


# ---- drawing


def test_heat_map_colours() -> None:
    pixels = np.asarray(drawing.heat_map(np.array([[0.0, 1.0, 2.0, 4.0]])))
    np.testing.assert_array_equal(pixels[0], drawing.DIVERGING[[0, 1, 2, 4]])
    half = np.asarray(drawing.heat_map(np.array([[0.0, 1.0]]), 0.0, 2.0, drawing.RISING))
    np.testing.assert_array_equal(half[0], drawing.RISING[[0, 2]])
    assert (np.asarray(drawing.heat_map(np.full((3, 2), 7.5))) == drawing.DIVERGING[2]).all()


def test_shrinking_takes_means() -> None:
    channel = np.zeros((2000, 3000), np.float32)
    channel[::2] = 1
    shrunk = np.asarray(drawing.heat_map(channel, longest_side=30))
    assert shrunk.shape == (20, 30, 3)
    assert np.abs(shrunk.astype(int) - drawing.DIVERGING[2]).max() <= 1


def test_histogram_bars_stand_over_their_values() -> None:
    counts = np.zeros(256, np.int64)
    counts[[10, 200]] = 1, 1_000_000
    pixels = np.asarray(drawing.histogram(counts, 0, "")).astype(int)
    bars = (np.abs(pixels - (32, 120, 138)).sum(axis=-1) == 0).sum(axis=0)
    columns = np.flatnonzero(bars)
    values = (columns - 64) / (640 - 16 - 64) * 256
    assert {10, 200} == set(np.floor(values + 0.5 * 256 / 560).astype(int))
    assert 10 < bars[columns[0]] < 0.1 * bars[columns[-1]]  # 0.3 and 6 decades


def test_sheet_holds_every_view() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    found = [
        drawing.View("a caption that is too long for one line under its picture, surely", Image.new("RGB", (4, 3), c))
        for c in colours
    ]
    found.append(drawing.View("wide", Image.new("RGB", (1562, 40), (90, 0, 90)), wide=True))
    sheet = drawing.sheet("title", found)
    areas = {colour: n for n, colour in sheet.getcolors(1 << 20)}
    assert [areas[colour] for colour in colours] == [380 * 285] * 5
    assert areas[90, 0, 90] == 1562 * 40


# ---- the command


def test_show(tmp_path: Path, capsys) -> None:
    blob, _ = plain_blob()
    source = tmp_path / "photo.l8"
    source.write_bytes(blob)
    assert commands.main(["show", str(source)]) == 0
    with Image.open(tmp_path / "photo.latents.png") as image:
        assert image.width == 1600
        np.testing.assert_array_equal(np.asarray(image), np.asarray(latent8.latent_sheet(blob, "photo.l8")))
    assert commands.main(["show", str(source)]) == 2
    assert "photo.latents.png exists: name another file with -o" in capsys.readouterr().err
    assert commands.main(["show", str(source), "-o", str(tmp_path / "sheet.webp")]) == 0
    with Image.open(tmp_path / "sheet.webp") as image:
        assert image.format == "WEBP"


@pytest.mark.parametrize(
    "data, message",
    [
        (b"junk", "This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy."),
        (build_blob(width=10240, height=10240, payload=bytes(4 * 1280**2)), "over the limit of 100.0"),
    ],
)
def test_show_tells_what_is_wrong(tmp_path: Path, capsys, data: bytes, message: str) -> None:
    source = tmp_path / "photo.l8"
    source.write_bytes(data)
    assert commands.main(["show", str(source)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"latent8: {source}: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "photo.latents.png").exists()
