"""A kind of model and a coding that are added from outside work everywhere, with nothing else told of them."""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8.file_format import codings
from latent8.zoo import kinds, registry
from tests.helpers import toy_model
from tests.helpers.checks import Run
from tests.helpers.samples import build_blob, gradient

SPACES = Path(__file__).parents[1] / "spaces"
PICTURE = gradient(50, 40)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test: the tables are copies."""
    monkeypatch.setattr(codings, "_CODINGS", dict(codings._CODINGS))
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    monkeypatch.setattr(registry, "_MODELS", registry._MODELS)
    toy_model.register()


def assert_boxes(picture: Image.Image) -> None:
    """The mean of each 8 x 8 box, within half a step of 1/255 and rounding."""
    found = np.asarray(picture).astype(int)
    assert found.shape == PICTURE.shape
    assert np.abs(found[:8, :8] - PICTURE[:8, :8].mean(axis=(0, 1))).max() <= 1


def test_in_the_library() -> None:
    assert "toy" in [model.name for model in latent8.models()]
    blob = latent8.encode(PICTURE, "toy")
    assert latent8.inspect(blob).coding == 200
    assert_boxes(latent8.decode(blob))
    assert next(view.caption for view in latent8.latent_pictures(blob)) == "1-3 as RGB"
    assert np.load(io.BytesIO(latent8.convert(blob, "npy"))).shape == (1, 3, 5, 7)
    with pytest.raises(latent8.BlobError, match="so few bytes cannot hold its latents"):
        latent8.inspect(build_blob(model_id=60000, coding=200, channels=3, width=9000, height=9000, payload=b"x"))
    with pytest.raises(ValueError, match="taken"):
        codings.register(toy_model.Deflated)


def test_on_the_command_line(run: Run, small_photo: Path) -> None:
    assert run("encode", small_photo, "--model", "toy")[0] == 0
    blob = small_photo.with_suffix(".l8")
    assert latent8.inspect(blob).model_id == 60000
    assert run("decode", blob, "-o", small_photo.with_name("back.png"))[0] == 0
    assert_boxes(Image.open(small_photo.with_name("back.png")))
    assert any("deflated" in line for line in run("inspect", blob)[1])
    assert "toy: boxes of 8 x 8 pixels" in run("models")[1]


def test_in_both_apps(monkeypatch: pytest.MonkeyPatch, small_photo: Path, tmp_path: Path) -> None:
    from latent8.apps.work import Bar

    for app in ("encoder", "decoder"):
        monkeypatch.syspath_prepend(SPACES / app)
    encoder, decoder = (importlib.import_module(f"{app}_api") for app in ("encoder", "decoder"))
    done = encoder.make_blob(str(small_photo), encoder.Wish("toy"), Bar("", 0, 1))
    path = tmp_path / "toy.l8"
    path.write_bytes(done.encoded.to_bytes())
    assert_boxes(encoder.give_back(done, Bar("", 0, 1))[0].image())
    assert_boxes(decoder.open_blob(str(path), Bar("", 0, 1)).picture.image())


def test_unknown_ones_are_errors_by_name() -> None:
    with pytest.raises(latent8.ModelError, match="^There is no kind of model 'Diffuser': known are AutoencoderTiny, "):
        kinds.kind_named("Diffuser")
    with pytest.raises(latent8.BlobError, match="^The blob is not valid: it states payload coding 77"):
        latent8.inspect(build_blob(coding=77))
