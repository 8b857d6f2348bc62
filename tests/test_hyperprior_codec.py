"""l8-photo as a codec: quality, size targets, exact sizes, alpha, the blob that must stay decodable, options."""

from __future__ import annotations

import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent8 import Codec, PictureError, inspect
from latent8.evaluation.metrics import psnr
from latent8.file_format.reader import read
from latent8.latents import Latents, describe
from latent8.machine.pauses import at_pauses
from latent8.zoo.registry import model_named
from latent8.zoo.settings import Settings
from tests.helpers.photo_symbols import MODEL, decoded, decoded_symbols
from tests.helpers.samples import gradient


def test_quality_makes_larger_and_better_pictures(photo_codec: Codec, sunset: np.ndarray) -> None:
    qualities = [1, *range(10, 101, 10)]
    blobs = [photo_codec.encode(sunset, quality=quality) for quality in qualities]
    sizes = [len(blob) for blob in blobs]
    assert sizes == sorted(set(sizes))
    assert [inspect(blob).quality for blob in blobs] == qualities
    found = [psnr(sunset, decoded(photo_codec, blob)) for blob in blobs]
    rising = found[: qualities.index(80) + 1]
    assert rising == sorted(set(rising)) and found[0] > 20
    if found != sorted(found):
        warnings.warn(f"PSNR falls at the top: {[round(x, 2) for x in found[-3:]]}", stacklevel=1)


def test_quality_is_50_unless_asked_for(photo_codec: Codec, sunset: np.ndarray) -> None:
    assert photo_codec.encode(sunset) == photo_codec.encode(sunset, quality=50)


def test_size_targets_are_kept_and_used(photo_codec: Codec, sunset: np.ndarray) -> None:
    smallest, largest = (len(photo_codec.encode(sunset, quality=quality)) for quality in (1, 100))
    for share in (0.05, 0.2, 0.7):
        target = round(smallest + share * (largest - smallest))
        assert 0.7 * target <= len(photo_codec.encode(sunset, target_bytes=target)) <= target
    bpp = 0.5 * (smallest + largest) * 8 / (sunset.shape[0] * sunset.shape[1])
    assert 0.7 * bpp <= inspect(photo_codec.encode(sunset, target_bpp=bpp)).bpp <= bpp
    for target in (largest, 1 << 40):
        assert inspect(photo_codec.encode(sunset, target_bytes=target)).quality == 100
    assert len(photo_codec.encode(sunset, target_bytes=smallest)) <= smallest


def test_size_targets_are_of_the_whole_blob(photo_codec: Codec, sunset: np.ndarray) -> None:
    alpha = np.random.default_rng(0).integers(0, 255, sunset.shape[:2], np.uint8)
    picture = np.dstack([sunset, alpha])
    target = len(photo_codec.encode(picture, quality=60, stem="a long name " * 10))
    blob = photo_codec.encode(picture, target_bytes=target, stem="a long name " * 10)
    assert 0.9 * target < len(blob) <= target and len(inspect(blob).alpha_png) > 0.5 * target
    assert inspect(blob).quality in range(60, 66)


@pytest.mark.parametrize("target", [{"target_bytes": 60}, {"target_bpp": 0.01}, {"target_bytes": 1}])
def test_target_that_cannot_be_met(photo_codec: Codec, target: dict[str, Any]) -> None:
    picture = gradient(200, 100)
    limit = target.get("target_bytes", 25)
    least = len(photo_codec.encode(picture, quality=1))
    with pytest.raises(PictureError) as found:
        photo_codec.encode(picture, **target)
    assert str(found.value) == (
        f"This picture cannot be kept in {limit} bytes: it takes {least:,} at the lowest quality. Shrink it, or allow "
        "more."
    )


SIZES = [(1, 1), (37, 1021), (16, 16), (64, 64), (63, 65), (65, 17)]


@pytest.mark.parametrize("width, height", SIZES)
def test_sizes_are_exact(photo_codec: Codec, width: int, height: int) -> None:
    picture = gradient(width, height)
    blob = photo_codec.encode(picture, quality=60)
    header = inspect(blob)
    assert (header.width, header.height) == (width, height)
    assert header.latent_shape == (240, -(-height // 16), -(-width // 16))
    result = photo_codec.decode(blob)
    assert (result.size, result.mode) == ((width, height), "RGB")
    if min(width, height) >= 16:
        assert psnr(picture, np.asarray(result)) > 25


def test_alpha_is_kept_bit_for_bit(photo_codec: Codec) -> None:
    alpha = np.random.default_rng(0).integers(0, 255, (43, 61), np.uint8)
    result = photo_codec.decode(photo_codec.encode(np.dstack([gradient(61, 43), alpha])))
    assert (result.mode, result.size) == ("RGBA", (61, 43))
    np.testing.assert_array_equal(np.asarray(result)[..., 3], alpha)


def test_same_bytes_twice(photo_codec: Codec, sunset: np.ndarray) -> None:
    for options in ({}, {"quality": 7}, {"target_bpp": 1.5}):
        blob = photo_codec.encode(sunset, **options)
        assert photo_codec.encode(sunset, **options) == blob
        np.testing.assert_array_equal(decoded(photo_codec, blob), decoded(photo_codec, blob))


def test_describe(photo_codec: Codec) -> None:
    blob = photo_codec.encode(gradient(50, 40), quality=37, stem="x")
    found = describe(inspect(blob))
    assert found == {
        "model": "l8-photo",
        "space": "l8-photo",
        "width": 50,
        "height": 40,
        "latents": "240 x 3 x 4",
        "quality": 37,
        "coding": "entropy-coded, hyperprior",
        "bytes": len(blob),
        "bpp": round(len(blob) * 8 / 2000, 4),
        "alpha": "opaque",
        "flat_colours": "none",
        "metadata": "none",
        "name": "x",
    }


def test_golden_photo_blob_stays_decodable(photo_codec: Codec, golden) -> None:
    """The blob, a checksum of its symbols and the picture they stand for, as they were when it was written."""
    y, x = np.mgrid[:75, :101]
    picture = np.dstack([gradient(101, 75), (x * 5 + y * 3) % 256]).astype(np.uint8)
    picture[20:50, 30:70, :3] ^= 0x55  # something with edges
    blob = golden("photo.l8", lambda: photo_codec.encode(picture, quality=60, stem="golden photo"))
    found = read(blob)
    assert (found.width, found.height, found.stem) == (101, 75, "golden photo")
    assert (found.model_id, found.quality, found.latent_shape) == (3, 60, (240, 5, 7))

    z, q, _ = decoded_symbols(photo_codec, found)
    crc = f"{zlib.crc32(z.tobytes() + q.tobytes()):08x}\n".encode()
    assert golden("photo.crc32", lambda: crc) == crc

    result = photo_codec.decode(blob)
    pixels = np.asarray(result)
    wanted = np.frombuffer(golden("photo.rgba", pixels.tobytes), np.uint8).reshape(75, 101, 4)
    np.testing.assert_array_equal(pixels[..., 3], picture[..., 3])
    difference = np.abs(pixels.astype(int) - wanted)
    assert difference.max() <= 2 and difference.mean() < 0.1
    visible = picture[..., 3] > 0
    assert psnr(picture[visible][None, :, :3], pixels[visible][None, :, :3]) > 20


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quality": 0}, "quality must be from 1 to 100, not 0"),
        ({"quality": 101}, "quality must be from 1 to 100, not 101"),
        ({"target_bytes": 0}, "target_bytes must be above 0, not 0"),
        ({"target_bpp": 0.0}, "target_bpp must be a number above 0, not 0.0"),
        ({"target_bpp": -1.5}, "target_bpp must be a number above 0, not -1.5"),
        ({"target_bpp": float("nan")}, "target_bpp must be a number above 0, not nan"),
        ({"target_bpp": float("inf")}, "target_bpp must be a number above 0, not inf"),
        ({"levels": 64}, "levels is for models without a hyperprior: l8-photo takes quality"),
        ({"quality": 9, "target_bytes": 9}, "give either quality or target_bytes"),
        ({"target_bytes": 9, "target_bpp": 0.5}, "give either target_bytes or target_bpp"),
    ],
    ids=str,
)
def test_wrong_options(photo_codec: Codec, options: dict[str, Any], message: str) -> None:
    for check in (lambda: Settings(**options).check(MODEL), lambda: photo_codec.encode(gradient(9, 9), **options)):
        with pytest.raises(ValueError) as found:
            check()
        assert str(found.value) == message


@pytest.mark.parametrize("option", ["quality", "target_bytes", "target_bpp"])
def test_options_for_models_with_a_hyperprior_alone(codec: Codec, option: str) -> None:
    wanted = f"^{option} is for models with a hyperprior: l8-tiny takes levels$"
    with pytest.raises(ValueError, match=wanted):
        codec.encode(gradient(9, 9), **{option: 50})
    with pytest.raises(ValueError, match=wanted.replace("l8-tiny", "taesd")):
        Settings(**{option: 50}).check(model_named("taesd"))


def test_good_options() -> None:
    for options in ({}, {"quality": 1}, {"quality": 100}, {"target_bytes": 1}, {"target_bpp": 0.01}):
        Settings(**options).check(MODEL)
    for options in ({}, {"levels": 16}, {"levels": 256}):
        Settings(**options).check(model_named("l8-tiny"))


def test_latents_decode_as_the_blob_that_they_come_from(photo_codec: Codec, sunset: np.ndarray) -> None:
    for quality in (15, 85):
        blob = photo_codec.encode(sunset, quality=quality)
        latents = Latents.of_encoded(read(blob), photo_codec.latents(read(blob)))
        np.testing.assert_array_equal(np.asarray(photo_codec.decode(latents)), np.asarray(photo_codec.decode(blob)))


class Ending:
    """Ends the work at a step, if there is one; counts the steps before it."""

    def __init__(self, step: int = -1):
        self.step, self.steps = step, 0

    def __call__(self) -> None:
        if self.steps == self.step:
            raise InterruptedError
        self.steps += 1


def test_entropy_coding_can_be_ended_between_its_steps(photo_codec: Codec) -> None:
    image = Image.fromarray(gradient(320, 200))
    blob = photo_codec.encode(image)
    for work in (lambda: photo_codec.encode(image), lambda: photo_codec.decode(blob)):
        ending = Ending()
        with at_pauses(ending):
            whole = work()
        assert ending.steps > 8
        for step in range(0, ending.steps, 4):
            with pytest.raises(InterruptedError), at_pauses(Ending(step)):
                work()
        assert work() == whole
