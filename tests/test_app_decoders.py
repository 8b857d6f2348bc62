"""Other decoders of a latent space in the apps, alone and beside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import latent8
from tests.helpers.app_calls import assert_same_pixels, caller, pixels_of, refused, sd1_blob, sentence_of, written
from tests.helpers.hub_server import HubServer
from tests.helpers.passthrough import make_kl, make_tiny
from tests.helpers.samples import DEFAULT_REALISM, gradient

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]


def test_other_decoders_of_the_blobs_space(app_server: type[AppServer], tmp_path: Path) -> None:
    checkpoints = {
        "madebyollin/taesd": make_tiny(tmp_path / "taesd"),
        "stabilityai/sd-vae-ft-mse": make_kl(tmp_path / "kl", 0.18215),
    }
    square = np.zeros((48, 40, 3), np.uint8)
    square[16:32, 8:24] = 255
    square[:8] = 96  # which a tiny autoencoder's soft limit changes
    codec = latent8.Codec(latent8.own_model(checkpoints["stabilityai/sd-vae-ft-mse"], "sd1"), "cpu")
    blob = written(tmp_path / "square.l8", codec.encode(square))
    with HubServer(checkpoints) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        with app_server("decoder", tmp_path / "app", **variables) as server:
            call = caller(server, tmp_path / "results")
            own, *_ = call("/decode", blob=blob)
            better, found = call("/decode", blob=blob, decoder="sd-vae-ft-mse")
            with refused(server, sentence_of(lambda: latent8.decode(blob.read_bytes(), "taesdxl"))):
                call("/decode", blob=blob, decoder="taesdxl")
            latent = Path(call("/convert", latents=blob, to="comfy"))
            again, *_ = call("/decode", blob=latent, decoder="sd-vae-ft-mse")
    assert (found["model"], found["decoder"], found["space"]) == ("taesd", "sd-vae-ft-mse", "sd1")
    assert_same_pixels(better, codec.decode(blob.read_bytes()))
    assert_same_pixels(again, better)
    assert np.abs(pixels_of(own).astype(int) - square)[8:].max() <= 2
    assert not np.array_equal(pixels_of(own), pixels_of(better))
    assert latent.read_bytes() == latent8.convert(blob.read_bytes(), "comfy")


def test_a_decoder_beside_the_original(decode: Callable[..., Any], photo: Path, blob: Path) -> None:
    left, right, maps, rows = decode("/compare", blob=blob, original=photo)
    assert [Path(path).name for path in (left, right)] == ["renamed.original.png", "renamed.l8-photo.png"]
    assert_same_pixels(left, photo)
    assert_same_pixels(right, latent8.decode(blob.read_bytes()))
    expected = latent8.compare(blob.read_bytes(), original=photo)
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in expected.rows()]
    [found], [difference] = maps, expected.differences()
    assert found["caption"] == f"original and l8-photo: at most {difference.greatest} of 255"
    assert_same_pixels(found["image"], difference.image)


def test_two_decoders_of_one_latent_space(
    app_server: type[AppServer], checkpoints: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    blob = written(tmp_path / "photo.l8", sd1_blob(photo))
    with HubServer(checkpoints) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "", "NO_PROXY": "127.0.0.1"}
        with app_server("decoder", tmp_path / "decoder", **variables) as server:
            call = caller(server, tmp_path / "results")
            left, right, maps, rows = call("/compare", blob=blob, left="sd-vae-ft-mse", original=photo)
            assert [row["decoder"] for row in rows] == ["sd-vae-ft-mse", "taesd"]
            assert [Path(path).name for path in (left, right)] == ["photo.sd-vae-ft-mse.png", "photo.taesd.png"]
            assert [found["caption"].split(":")[0] for found in maps] == [
                *("sd-vae-ft-mse and taesd", "original and sd-vae-ft-mse", "original and taesd")
            ]
            for path, row in zip((left, right), rows, strict=True):
                error = np.mean((pixels_of(path).astype(float) - pixels_of(photo)) ** 2)
                assert row["mse"] == pytest.approx(error, abs=0.01)
            with refused(server, "Both sides are taesd: choose two that differ."):
                call("/compare", blob=blob, left="taesd")
            *_, maps, rows = call("/compare", blob=blob, left="sd-vae-ft-mse", right="taesd")
            assert len(maps) == 1 and rows[0]["psnr_db"] is None


def test_a_reading_is_chosen(decoder: AppServer, decode: Callable[..., Any], blob: Path, tmp_path: Path) -> None:
    data = blob.read_bytes()
    vivid = latent8.decode(data, realism=1)
    picture, facts = decode("/decode", blob=blob, realism=1)
    assert_same_pixels(picture, vivid)
    assert facts["realism"] == 1 and decode("/decode", blob=blob)[1]["realism"] == DEFAULT_REALISM
    assert_same_pixels(decode("/decode_picture", blob=blob, realism=0.5), latent8.decode(data, realism=0.5))
    for wrong in (1.5, -0.1):
        with refused(decoder, f"realism must be from 0, faithful, to 1, vivid, not {wrong:g}."):
            decode("/decode", blob=blob, realism=wrong)
    tiny = written(tmp_path / "tiny.l8", latent8.encode(gradient(24, 16), "l8-tiny"))
    assert decode("/decode", blob=tiny)[1]["realism"] is None
    with refused(decoder, sentence_of(lambda: latent8.decode(tiny.read_bytes(), realism=0.5))):
        decode("/decode_picture", blob=tiny, realism=0.5)


def test_readings_are_compared(decoder: AppServer, decode: Callable[..., Any], photo: Path, blob: Path) -> None:
    left, right, _maps, rows = decode("/compare", blob=blob, left="original", right="vivid", original=photo)
    assert_same_pixels(left, photo)
    assert_same_pixels(right, latent8.decode(blob.read_bytes(), realism=1))
    expected = latent8.compare(blob.read_bytes(), original=photo, realisms=[1]).rows()
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in expected]
    left, right, *_ = decode("/compare", blob=blob, left="l8-photo realism 0.5", right="faithful")
    assert_same_pixels(left, latent8.decode(blob.read_bytes(), realism=0.5))
    assert_same_pixels(right, latent8.decode(blob.read_bytes(), realism=0))
    assert decode("/compare", blob=blob, left="faithful")[3][1]["decoder"] == "l8-photo"
    by_itself = f"l8-photo realism {DEFAULT_REALISM}"
    for left, right, name in (("faithful", "faithful", "l8-photo realism 0"), ("l8-photo", by_itself, "l8-photo")):
        with refused(decoder, f"Both sides are {name}: choose two that differ."):
            decode("/compare", blob=blob, left=left, right=right)
    with refused(decoder, "l8-photo realism 2: realism must be a number from 0, faithful, to 1, vivid."):
        decode("/compare", blob=blob, left="l8-photo realism 2")


def test_comparisons_that_are_refused(
    decoder: AppServer, decode: Callable[..., Any], blob: Path, cutout: Path, tmp_path: Path
) -> None:
    data = blob.read_bytes()
    with refused(decoder, "Choose a blob first."):
        decode("/compare", blob=None)
    with refused(decoder, "Give the original too, or choose two decoders."):
        decode("/compare", blob=blob, left="original")
    with refused(decoder, sentence_of(lambda: latent8.decode(data, "l8-tiny"))):
        decode("/compare", blob=blob, left="l8-tiny")
    with refused(decoder, sentence_of(lambda: latent8.compare(data, original=cutout))):
        decode("/compare", blob=blob, original=cutout)
    with refused(decoder, sentence_of(lambda: latent8.read_latents(b"junk"))):
        decode("/compare", blob=written(tmp_path / "junk.l8", b"junk"))
