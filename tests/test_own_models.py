"""Autoencoders of the user's own: what they encode, who decodes it, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import latent8
from latent8 import BlobError, Codec, ModelError, own_model
from latent8.zoo.registry import OWN_ID, model_named
from tests.helpers.hub_server import HubServer, client_environment
from tests.helpers.own_folders import kl_model, square
from tests.helpers.passthrough import WEIGHTS, make_kl, make_tiny


def test_own_model_without_a_space_decodes_only_its_own(tmp_path: Path) -> None:
    folder = make_kl(tmp_path / "kl", 0.5, channels=7)
    model = own_model(folder)
    blob = latent8.encode(square(), model)
    encoded = latent8.inspect(blob)
    assert (encoded.model_id, encoded.latent_shape) == (OWN_ID, (7, 8, 9))
    assert np.abs(np.asarray(latent8.decode(blob, model)).astype(int) - square()).max() <= 2
    needs_its_own = "^The blob was made with an autoencoder of the user's own: name that one as the decoder.$"
    for decoder in (None, "taesd", kl_model(tmp_path / "sd1")):
        with pytest.raises(BlobError, match=needs_its_own):
            latent8.decode(blob, decoder)
    change = load_file(folder / WEIGHTS)
    change["decoder.conv_in.bias"] += 0.1
    other = tmp_path / "other"
    other.mkdir()
    save_file(change, other / WEIGHTS, metadata={"format": "pt"})
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(BlobError, match=f"^The blob was made with another autoencoder than {other}: give that one.$"):
        latent8.decode(blob, own_model(other))
    sd1 = latent8.encode(square(), own_model(make_tiny(tmp_path / "tiny"), "sd1"))
    with pytest.raises(BlobError, match="If .*four is of sd1 too, name that latent space with it.$"):
        latent8.decode(sd1, own_model(make_kl(tmp_path / "four", 0.18215)))


def test_own_model_in_a_known_space_leaves_blobs_that_anyone_decodes(tmp_path: Path) -> None:
    blob = latent8.encode(square(), kl_model(tmp_path / "kl", "sd3"))
    encoded = latent8.inspect(blob)
    assert (encoded.model_id, encoded.header.weights) == (model_named("taesd3").id, bytes(4))
    assert latent8.decoders_for(encoded) == ["taesd3"]
    decoded = latent8.decode(blob, own_model(make_tiny(tmp_path / "tiny", 16), "sd3"))
    assert np.abs(np.asarray(decoded).astype(int) - square()).max() <= 2
    # the registry's own decoder of it, its weights known by now
    taesd3 = replace(model_named("taesd3"), source=str((tmp_path / "tiny").resolve()))
    np.testing.assert_array_equal(np.asarray(Codec(taesd3, "cpu").decode(blob)), np.asarray(decoded))


def config(folder: Path, **values: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    "values, words",
    [
        ({"_class_name": "UNet2DModel"}, "holds UNet2DModel: AutoencoderTiny, AutoencoderKL, VQModel can be used."),
        ({}, "holds no autoencoder: "),
        ({"_class_name": "AutoencoderKL", "latent_channels": "4"}, "makes no sense"),
        ({"_class_name": "AutoencoderKL", "block_out_channels": 4}, "makes no sense"),
        ({"_class_name": "AutoencoderKL", "block_out_channels": [8] * 8}, "4 latent channels in 8 stages"),
        ({"_class_name": "AutoencoderTiny", "latent_channels": 300}, "300 latent channels in 4 stages"),
        ({"_class_name": "AutoencoderKL", "block_out_channels": []}, "4 latent channels in 0 stages"),
    ],
)
def test_folders_that_hold_no_fitting_autoencoder(tmp_path: Path, values: dict, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        own_model(config(tmp_path / "own", **values))
    assert words in str(caught.value) and str(tmp_path / "own") in str(caught.value)
    assert str(caught.value).endswith(".")


def test_own_model_refuses_in_one_sentence(tmp_path: Path) -> None:
    def said(*arguments: Any) -> str:
        with pytest.raises(ModelError) as caught:
            own_model(*arguments)
        return str(caught.value)

    folder = make_tiny(tmp_path / "tiny")
    assert said(folder, "sd3") == f"{folder} has 4 latent channels at 1/8, and latents in sd3 have 16 at 1/8."
    assert said(folder, "sd9").startswith("There is no latent space 'sd9': ")
    (tmp_path / "empty").mkdir()
    assert said(tmp_path / "empty") == f"{tmp_path / 'empty'} holds no readable config.json."
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[]")
    assert said(tmp_path / "list").endswith("makes no sense: it is no object.")
    assert said("no such/folder at all") == (
        "There is no folder no such/folder at all, and the Hugging Face Hub has no such names."
    )
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="tiny holds no readable config.json and safetensors weights.$"):
        Codec(own_model(folder), "cpu")


def run(*arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "latent8", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)


def test_own_models_and_decoders_on_the_command_line(tmp_path: Path) -> None:
    """One from the Hub, one from a folder; no model is fetched that was not asked for."""
    Image.fromarray(square()).save(tmp_path / "square.png")
    folder = make_kl(tmp_path / "kl", 0.18215)
    with HubServer({"someone/tiny": make_tiny(tmp_path / "tiny")}) as hub:
        env = client_environment(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="1")
        blob, picture = tmp_path / "square.l8", tmp_path / "back.png"
        done = run("encode", tmp_path / "square.png", "--model", "someone/tiny", "--space", "sd1", env=env)
        assert done.returncode == 0, done.stderr
        done = run("decode", blob, "--decoder", folder, "--space", "sd1", "-o", picture, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        assert np.abs(np.asarray(Image.open(picture)).astype(int) - square()).max() <= 2
        assert not any("taesd" in request for request in hub.requests)
        done = run("decode", blob, "--decoder", "sdxl-vae", "-o", picture, "--force", env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"latent8: {blob}: The blob holds sd1 latents, and sdxl-vae decodes sdxl latents: "
            "decode it with taesd or sd-vae-ft-mse or consistency.\n"
        )
        assert not any("sdxl" in request for request in hub.requests)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "vgg"], "There is no model 'vgg': choose "),
        (["--model", "consistency"], "consistency only decodes: encode with taesd or sd-vae-ft-mse"),
        (["--model", "taesd", "--space", "sdxl"], "taesd is of the latent space sd1, not of sdxl."),
        (["--model", "some/vae"], "There is no folder some/vae, and no config.json could be had from a repository"),
    ],
)
def test_models_that_cannot_encode_on_the_command_line(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    from latent8.cli import commands

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Image.fromarray(square()).save(tmp_path / "square.png")
    assert commands.main(["encode", str(tmp_path / "square.png"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"latent8: {message}")
    assert not (tmp_path / "square.l8").exists()
