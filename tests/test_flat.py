"""Flat colours: pages and drawings without speckles, photos as before, blobs within their size, and the map by hand."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from latent8 import Codec, inspect
from latent8.errors import BlobError, TooFewBytesError
from latent8.evaluation.metrics import mse
from latent8.file_format import extension
from latent8.file_format.blob import Encoded
from latent8.file_format.flat import FlatColour, FlatColours
from latent8.latents import Latents, describe
from latent8.pictures import flat_colours
from latent8.pictures.intake import Picture
from tests.helpers.blobs_by_hand import refusal
from tests.helpers.samples import build_blob, gradient

PAPER, PANEL = (255, 255, 255), (240, 244, 250)
TEXT = "Pages of text come back clean, with nothing on the paper."


def page(paper=PAPER, ink=(0, 0, 0), panel=None, size=(224, 144)) -> np.ndarray:
    """Lines of text on paper; its right part is a panel of another colour where one is given."""
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    if panel:
        draw.rectangle((size[0] // 2, 0, size[0], size[1]), fill=panel)
    for line in range(size[1] // 24):
        text = TEXT[5 * line :] + TEXT[: 5 * line]
        draw.text((10, 8 + 24 * line), text[: size[0] // 8], ink, font=ImageFont.load_default(12))
    return np.asarray(image)


def clipped_sky() -> np.ndarray:
    """A smooth sky, white where it is brightest: no plain area that ends at an edge."""
    y, x = np.mgrid[:192, :256]
    light = 170 + 150 * np.exp(-((x - 128) ** 2 + (y - 96) ** 2) / 9000)
    return np.clip(np.dstack([light, light + 6, light + 20]), 0, 255).astype(np.uint8)


def without(blob: bytes) -> bytes:
    """The blob as it would be without flat colours."""
    encoded = inspect(blob)
    return replace(encoded, chunks=tuple(one for one in encoded.chunks if one[0] != extension.FLAT)).to_bytes()


def flat_of(blob: bytes) -> FlatColours | None:
    encoded = inspect(blob)
    return FlatColours.of_chunks(encoded.chunks, encoded.width, encoded.height)


def decoded(codec: Codec, blob: bytes, **options) -> np.ndarray:
    return np.asarray(codec.decode(blob, **options))


def error_near_text(rgb: np.ndarray, original: np.ndarray) -> float:
    """Mean absolute error within 32 pixels of glyphs and outside of them, in units of 1/255."""
    ink = Image.fromarray(np.uint8(255) * (original != original[0, 0]).any(axis=2))
    near, glyphs = (np.asarray(ink.filter(ImageFilter.MaxFilter(side))) > 0 for side in (65, 3))
    return float(np.abs(rgb.astype(int) - original).mean(axis=2)[near & ~glyphs].mean())


# ---- pages


@pytest.mark.parametrize(
    "paper, ink", [(PAPER, (0, 0, 0)), ((30, 30, 30), (220, 220, 220)), ((253, 246, 227), (0,) * 3)]
)
def test_pages_have_no_speckles(photo_codec: Codec, paper, ink) -> None:
    picture = page(paper, ink)
    blob = photo_codec.encode(picture)
    for realism in (None, 0, 1):
        before, after = (decoded(photo_codec, one, realism=realism) for one in (without(blob), blob))
        assert error_near_text(after, picture) < min(0.5, error_near_text(before, picture) / 2)
        assert mse(picture, after) < mse(picture, before)
    assert [colour.rgb for colour in flat_of(blob).colours][:1] == [paper]


def test_each_block_has_its_own_colour(photo_codec: Codec) -> None:
    picture = page(panel=PANEL, size=(256, 144))
    blob = photo_codec.encode(picture)
    flat = flat_of(blob)
    found = [{flat.colours[n - 1].rgb for n in np.unique(half) if n} for half in np.split(flat.blocks, 2, axis=1)]
    assert found == [{PAPER}, {PANEL}]
    assert mse(picture, decoded(photo_codec, blob)) < 0.9 * mse(picture, decoded(photo_codec, without(blob)))


def test_pages_of_any_model(codec: Codec) -> None:
    picture = page(size=(400, 300))
    blob = codec.encode(picture)
    before, after = (decoded(codec, one) for one in (without(blob), blob))
    assert error_near_text(after, picture) < error_near_text(before, picture) / 2
    assert mse(picture, after) < mse(picture, before)


def test_a_page_that_was_a_jpeg(photo_codec: Codec, tmp_path) -> None:
    Image.fromarray(page()).save(tmp_path / "page.jpg", quality=85)
    blob = photo_codec.encode(tmp_path / "page.jpg")
    assert flat_of(blob).colours[0].rgb == PAPER
    assert error_near_text(decoded(photo_codec, blob), page()) < 0.8


@pytest.mark.parametrize("quality", [1, 10, 30, 90])
def test_never_worse(photo_codec: Codec, sunset: np.ndarray, quality: int) -> None:
    bars = np.pad(sunset, ((32, 32), (0, 0), (0, 0)))  # as of a film
    dots = np.where(np.random.default_rng(0).random((96, 96, 1)) < 0.3, np.uint8([255] * 3), np.uint8([0] * 3))
    for picture in (page(), page(panel=PANEL), bars, dots, clipped_sky()):
        blob = photo_codec.encode(picture, quality=quality)
        plain = without(blob)
        after, before = (mse(picture, decoded(photo_codec, one)) for one in (blob, plain))
        assert after <= before
        assert len(blob) / len(plain) - 1 <= 1.01 * (1 - after / before)  # it earns its bytes, but for rounding


def test_photos_and_skies_are_as_they_were(photo_codec: Codec, sunset: np.ndarray) -> None:
    assert flat_colours.filling_colours(Picture(sunset)) == []
    assert flat_colours.filling_colours(Picture(gradient(200, 150))) == []
    assert flat_colours.filling_colours(Picture(clipped_sky())) == [PAPER]
    for quality in (10, 50, 90):
        assert inspect(photo_codec.encode(clipped_sky(), quality=quality)).chunks == ()


def test_what_is_hidden_does_not_count(photo_codec: Codec, sunset: np.ndarray) -> None:
    alpha = np.zeros(sunset.shape[:2], np.uint8)
    alpha[40:70, 50:90] = 255
    assert flat_colours.filling_colours(Picture(np.full_like(sunset, 255), np.zeros_like(alpha))) == []
    rgb = np.where(alpha[..., None] > 0, sunset, np.uint8(255))
    assert flat_colours.filling_colours(Picture(rgb, alpha)) == []
    picture = np.dstack([page(), np.where(np.arange(224) < 128, 255, 0) * np.ones((144, 1), int)]).astype(np.uint8)
    blob = photo_codec.encode(picture)
    found = decoded(photo_codec, blob)
    np.testing.assert_array_equal(found[..., 3], picture[..., 3])
    assert error_near_text(found[:, :128, :3], picture[:, :128, :3]) < 0.5


# ---- what else a blob is asked for


def test_sizes_hold_with_the_chunk(photo_codec: Codec) -> None:
    picture = page()
    whole, least = (len(without(photo_codec.encode(picture, quality=quality))) for quality in (40, 1))
    for n_bytes in (whole, whole // 2, least + 30, least):
        blob = photo_codec.encode(picture, target_bytes=n_bytes)
        assert len(blob) <= n_bytes
        assert mse(picture, decoded(photo_codec, blob)) <= mse(picture, decoded(photo_codec, without(blob)))
    assert flat_of(photo_codec.encode(picture, target_bytes=whole)) is not None
    with pytest.raises(TooFewBytesError):
        photo_codec.encode(picture, target_bytes=least - 1)


def test_same_bytes_twice_and_among_many(photo_codec: Codec, sunset: np.ndarray) -> None:
    pictures = [page(), sunset, page(panel=PANEL)]
    blobs = [photo_codec.encode(picture) for picture in pictures]
    assert [photo_codec.encode(picture) for picture in pictures] == blobs
    assert list(photo_codec.encode_many(pictures)) == blobs
    for blob, back in zip(blobs, photo_codec.decode_many(blobs), strict=True):
        np.testing.assert_array_equal(decoded(photo_codec, blob), np.asarray(back))


def test_progress_counts_both_halves(photo_codec: Codec, sunset: np.ndarray) -> None:
    for picture in (page(), sunset):
        shares: list[float] = []
        photo_codec.encode(picture, progress=shares.append)
        assert shares == sorted(shares) and shares[-1] == 1 and min(shares) > 0


def test_metadata_and_unknown_chunks_stand_beside_it(photo_codec: Codec, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a page"
    Image.fromarray(page()).save(tmp_path / "page.png", exif=exif)
    blob = photo_codec.encode(tmp_path / "page.png", keep_metadata="all")
    assert [tag for tag, _ in inspect(blob).chunks] == [b"exif", b"flat"]
    more = replace(inspect(blob), chunks=(*inspect(blob).chunks, (b"zzzz", b"later")))
    assert Encoded.parse(more.to_bytes()).to_bytes() == more.to_bytes()
    back = photo_codec.decode(more.to_bytes())
    np.testing.assert_array_equal(np.asarray(back), decoded(photo_codec, blob))
    assert back.getexif()[0x010E] == "a page"


def test_what_inspect_says(photo_codec: Codec, sunset: np.ndarray) -> None:
    blob = photo_codec.encode(page())
    assert str(describe(inspect(blob))["flat_colours"]).startswith("#ffffff (within ")
    assert describe(inspect(photo_codec.encode(sunset)))["flat_colours"] == "none"


def test_latents_and_pngs_have_none(codec: Codec) -> None:
    blob, png = codec.encode(page()), codec.encode_rgba_png(page())
    encoded = inspect(blob)
    plain = decoded(codec, without(blob))
    np.testing.assert_array_equal(decoded(codec, Latents.of_encoded(encoded, codec.latents(encoded))), plain)
    np.testing.assert_array_equal(decoded(codec, png), plain)


# ---- the chunk and the map


def flat_chunk(*colours: tuple[int, int, int, int], blocks=(1,)) -> bytes:
    return bytes([len(colours)]) + b"".join(map(bytes, colours)) + zlib.compress(bytes(blocks))


def test_golden_chunk_both_ways() -> None:
    flat = FlatColours((FlatColour((255, 0, 9), 48), FlatColour((1, 2, 3), 127)), np.array([[0, 1, 2]], np.uint8))
    tag, content = flat.chunk()
    assert (tag, content[:9]) == (b"flat", b"\x02\xff\x00\x09\x30\x01\x02\x03\x7f")
    assert zlib.decompress(content[9:]) == b"\x00\x01\x02"
    back = FlatColours.of_chunks([(b"aaaa", b""), flat.chunk()], 65, 32)
    assert back.colours == flat.colours
    np.testing.assert_array_equal(back.blocks, flat.blocks)
    assert str(back) == "#ff0009 (within 48), #010203 (within 127)"
    assert FlatColours.of_chunks([(b"aaaa", b"")], 65, 32) is None


@pytest.mark.parametrize(
    "content, wanted",
    [
        (b"", "states 0 colours in 0 bytes."),
        (b"\0" + zlib.compress(b"\0"), "states 0 colours in 10 bytes."),
        (flat_chunk(*[(0, 0, 0, 1)] * 17), "states 17 colours in 78 bytes."),
        (b"\x02\xff\xff\xff\x10", "states 2 colours in 5 bytes."),
        (flat_chunk((255, 255, 255, 0)), "has a colour with a reach beyond 1 ... 127."),
        (flat_chunk((255, 255, 255, 128)), "has a colour with a reach beyond 1 ... 127."),
        (b"\1\xff\xff\xff\x10", "is not one whole zlib stream."),
        (b"\1\xff\xff\xff\x10abcdef", "is no zlib stream."),
        (flat_chunk((255, 255, 255, 16))[:-1], "is not one whole zlib stream."),
        (flat_chunk((255, 255, 255, 16)) + b"x", "is not one whole zlib stream."),
        (flat_chunk((255, 255, 255, 16), blocks=(1,) * 10_000), "has more than 2 bytes."),
        (flat_chunk((255, 255, 255, 16), blocks=(1,)), "has 1 blocks, and its picture 2."),
        (flat_chunk((255, 255, 255, 16), blocks=(1, 2)), "names the colour 2 of 1."),
    ],
)
def test_chunks_that_are_not_valid(codec: Codec, content: bytes, wanted: str) -> None:
    area = b"flat" + len(content).to_bytes(4, "little") + content
    blob = build_blob(area=area, width=33, height=8, payload=bytes(20), weights=bytes(4))
    for call in (codec.decode, lambda blob: describe(inspect(blob))):
        with pytest.raises(BlobError) as found:
            call(blob)
        assert str(found.value) == f"The blob is not valid: its chunk flat {wanted}"
    twice = build_blob(area=2 * area)
    assert refusal(twice) == "The blob is not valid: it has more than one chunk flat."


def restored(rgb: np.ndarray, colour: tuple[int, int, int], reach: int) -> np.ndarray:
    found = rgb.copy()
    blocks = np.ones((-(-rgb.shape[0] // 32), -(-rgb.shape[1] // 32)), np.uint8)
    flat_colours.restore(found, FlatColours((FlatColour(colour, reach),), blocks))
    return found


def test_the_map_by_hand() -> None:
    pixels = np.array([[[250, 255, 240], [239, 255, 255], [231, 250, 255], [223, 255, 255], [90, 0, 7]]], np.uint8)
    wanted = [[255] * 3, [255] * 3, [239, 252, 255], [223, 255, 255], [90, 0, 7]]  # 24 from white goes to 16, 5 to 3
    assert restored(pixels, PAPER, 16)[0].tolist() == wanted


@pytest.mark.parametrize("colour, reach", [(PAPER, 48), ((0, 0, 0), 127), ((200, 90, 3), 1), ((128, 128, 128), 20)])
def test_the_map_draws_no_edges(colour, reach) -> None:
    rng = np.random.default_rng(reach)
    pixels = rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    near = np.clip(pixels + rng.integers(-1, 2, pixels.shape), 0, 255).astype(np.uint8)
    one, other = (restored(some, colour, reach).astype(int) for some in (pixels, near))
    assert np.abs(one - other).max() <= 2
    assert (np.abs(one - colour) <= np.abs(pixels.astype(int) - colour)).all()  # nothing moves away, or past it
    line = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert (np.diff(restored(line, colour, reach).astype(int), axis=1) >= 0).all()


def test_blocks_at_the_edges_and_without_a_colour() -> None:
    rgb = np.full((40, 70, 3), 250, np.uint8)
    blocks = np.array([[0, 1, 0], [0, 0, 2]], np.uint8)
    flat_colours.restore(rgb, FlatColours((FlatColour(PAPER, 8), FlatColour((246, 250, 250), 8)), blocks))
    assert (rgb[:32, 32:64] == 255).all() and (rgb[32:, 64:] == (246, 250, 250)).all()
    rgb[:32, 32:64] = rgb[32:, 64:] = 250
    assert (rgb == 250).all()


def test_gains_are_what_restoring_takes_away() -> None:
    """Of the true picture after `restore`, but for its rounding."""
    rng, original = np.random.default_rng(0), page(panel=PANEL, size=(250, 170))
    noisy = np.clip(original + rng.normal(0, 9, original.shape), 0, 255).astype(np.uint8)
    flat = flat_colours.chosen(Picture(original), noisy, [PAPER, PANEL], 5000)
    error, gains = flat_colours._gains(Picture(original), noisy, [PAPER, PANEL])
    assert error == np.square(noisy.astype(int) - original).sum()
    entries = [(colour, int(reach)) for colour in (PAPER, PANEL) for reach in flat_colours.REACHES]
    for number, (colour, reach) in enumerate(entries):
        for block in (0, 1, 7, 15, 47):
            if gains[number, block]:
                rows, columns = (slice(32 * at, 32 * at + 32) for at in divmod(block, 8))
                after = restored(noisy[rows, columns], colour, reach)
                wanted = original[rows, columns].astype(int)
                taken = np.square(noisy[rows, columns] - wanted).sum() - np.square(after - wanted).sum()
                assert abs(gains[number, block] - taken) < 0.02 * np.square(noisy[rows, columns] - wanted).sum()
    flat_colours.restore(noisy, flat)
    assert np.square(noisy.astype(int) - original).sum() < 0.4 * error
