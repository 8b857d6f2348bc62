"""Models of the user's own in the apps: offered by whoever starts them, and never because a blob asks."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8 import BlobError, ModelError
from latent8.file_format.blob import Encoded
from latent8.zoo import registry
from latent8.zoo.own_models import offer_models, own_model
from latent8.zoo.settings import Settings
from tests.helpers.drawn_photos import photo
from tests.helpers.passthrough import make_kl
from tests.helpers.vq_folders import make_vq

SPACES = Path(__file__).parents[1] / "spaces"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("models")
    return make_vq(place / "holiday-codes"), make_kl(place / "holiday-vae", 0.5)


@pytest.fixture
def offered(folders: tuple[Path, Path]) -> Iterator[list[registry.Model]]:
    yield offer_models(f"{folders[0]}, {folders[1]}")
    registry.withdraw_all()


def test_offered_models_are_in_the_lists_and_their_blobs_find_them(offered, tmp_path) -> None:
    assert [model.name for model in latent8.models()][-2:] == ["holiday-codes", "holiday-vae"]
    for name in ("holiday-codes", "holiday-vae"):
        blob = latent8.encode(photo(64, 80), name)
        header = latent8.inspect(blob).header
        assert (header.model_id, header.weights) == (registry.OWN_ID, registry.model_named(name).weights_hash)
        assert latent8.decoders_for(latent8.inspect(blob)) == [name]
        decoded = latent8.decode(blob)
        assert decoded.size == (80, 64)
        np.testing.assert_array_equal(np.asarray(latent8.decode(blob, name)), np.asarray(decoded))
    registry.withdraw_all()
    assert [model.name for model in latent8.models()][-1] == "consistency"
    assert latent8.decoders_for(latent8.inspect(blob)) == []
    with pytest.raises(BlobError, match="^The blob was made with an autoencoder of the user's own"):
        latent8.decode(blob)


def test_in_both_apps(offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from latent8.apps.work import Bar

    for app in ("encoder", "decoder"):
        monkeypatch.syspath_prepend(SPACES / app)
    encoder, decoder = (importlib.import_module(f"{app}_api") for app in ("encoder", "decoder"))
    Image.fromarray(photo(64, 80)).save(tmp_path / "photo.png")
    for name in ("holiday-codes", "holiday-vae"):
        made = encoder.make_blob(str(tmp_path / "photo.png"), encoder.Wish(name), Bar("", 0, 1))
        assert encoder.facts_of(made)["model"] == name
        path = tmp_path / f"{name}.l8"
        path.write_bytes(made.blob)
        back = decoder.open_blob(str(path), Bar("", 0, 1)).picture
        np.testing.assert_array_equal(back.rgb, encoder.give_back(made, Bar("", 0, 1))[0].rgb)
    assert encoder.Wish("holiday-codes", levels=64).settings() == Settings()


def test_a_blob_with_other_weights_finds_no_model(offered) -> None:
    encoded = Encoded.parse(latent8.encode(photo(32, 32), "holiday-codes"))
    other = replace(encoded, header=replace(encoded.header, weights=b"\1\2\3\4"))
    with pytest.raises(BlobError, match="^The blob was made with an autoencoder of the user's own"):
        latent8.decode(other)
    with pytest.raises(
        BlobError, match="^The blob was made with another autoencoder than holiday-codes: give that one"
    ):
        latent8.decode(other, "holiday-codes")


def test_folders_that_cannot_be_offered_end_the_start_with_a_sentence(folders, tmp_path) -> None:
    for text, words in (
        (f"{folders[0]},{tmp_path / 'none'}", f"There is no folder {tmp_path / 'none'}."),
        (
            f"{folders[0]},{folders[0]}",
            f"There is a model named holiday-codes already: rename the folder {folders[0]}.",
        ),
        (str(tmp_path), f"{tmp_path} holds no readable config.json."),
    ):
        with pytest.raises(ModelError) as caught:
            offer_models(text)
        assert str(caught.value) == words
    assert all(not model.own for model in latent8.models())  # none, where one cannot be
    assert offer_models(" , ") == [] == offer_models("")
    named = make_vq(tmp_path / "l8-tiny")
    with pytest.raises(ModelError, match="^There is a model named l8-tiny already"):
        offer_models(str(named))
    assert own_model(named).name == str(named)  # of one's own choice there may be any


@pytest.mark.slow
def test_an_app_does_not_start_with_a_folder_that_is_not_there(tmp_path) -> None:
    app = SPACES / "encoder" / "app.py"
    environment = {**os.environ, "LATENT8_MODELS": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, str(app)], env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"LATENT8_MODELS: There is no folder {tmp_path}/none.",
    )
