"""Models from the Hub: downloads, the cache, broken checkpoints, and the same numbers as plain diffusers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file

from latent8 import ModelError, inspect
from latent8.networks.tiny import TinyNetwork
from latent8.zoo.registry import Model, model_named
from latent8.zoo.weights import weights_hash
from tests.helpers.hub_server import HubServer, client_environment, unreachable_url

REPOSITORY = "madebyollin/taesd"
WEIGHTS = "diffusion_pytorch_model.safetensors"
NO_FULL_SIZE_BLOCKS: dict[str, Any] = {"num_encoder_blocks": (0, 1, 1, 1), "num_decoder_blocks": (1, 1, 1, 0)}

LOAD_EACH = """
import json, sys
from dataclasses import replace
from latent8.errors import ModelError
from latent8.zoo.registry import model_named
from latent8.zoo.weights import load_autoencoder

def outcome(repository):
    try:
        return type(load_autoencoder(replace(model_named("taesd"), source=repository))).__name__
    except ModelError as error:
        return str(error)

print(json.dumps({repository: outcome(repository) for repository in sys.argv[1:]}))
"""


def make_checkpoint(folder: Path, **config: Any) -> Path:
    """A checkpoint of AutoencoderTiny as save_pretrained writes it: random weights, 8 channels, mid-grey pictures."""
    torch.manual_seed(1)
    stages = len(config.get("num_encoder_blocks", (1, 3, 3, 3)))
    widths = {"encoder_block_out_channels": (8,) * stages, "decoder_block_out_channels": (8,) * stages}
    autoencoder: Any = AutoencoderTiny(**widths, **config)
    with torch.no_grad():
        autoencoder.encoder.layers[-1].weight.mul_(10)  # latents that are more than their bias
        autoencoder.decoder.layers[-1].weight.mul_(4)
        autoencoder.decoder.layers[-1].bias.fill_(0.5)
    autoencoder.save_pretrained(folder)
    return folder


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "good")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(path)
    return path


def latent8(*arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "latent8", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_first_use_downloads_and_later_uses_need_no_hub(good: Path, photo: Path, tmp_path: Path) -> None:
    first_blob, second_blob, decoded = tmp_path / "first.l8", tmp_path / "second.l8", tmp_path / "decoded.png"
    with HubServer({REPOSITORY: good}) as hub:
        env = client_environment(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="1")
        first = latent8("encode", photo, "--model", "taesd", "-o", first_blob, env=env)
        assert first.returncode == 0, first.stderr
        assert f"Downloading {REPOSITORY}" in first.stderr
        assert any(request.startswith("GET") and request.endswith(WEIGHTS) for request in hub.requests)

    second = latent8("encode", photo, "--model", "taesd", "-o", second_blob, env=env)
    assert (second.returncode, second.stderr) == (0, "")
    assert second_blob.read_bytes() == first_blob.read_bytes()
    header = inspect(first_blob.read_bytes())
    assert header.model_id == model_named("taesd").id
    assert header.header.weights == weights_hash(AutoencoderTiny.from_pretrained(good))

    result = latent8("decode", first_blob, "-o", decoded, env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert Image.open(decoded).size == (70, 50)


@pytest.mark.parametrize("more", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["no network", "offline mode"])
def test_without_hub_and_cache_one_line_names_the_bundled_model(
    photo: Path, tmp_path: Path, more: dict[str, str]
) -> None:
    env = client_environment(unreachable_url(), tmp_path / "home", **more)
    result = latent8("encode", photo, "--model", "taesd", env=env)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert REPOSITORY in result.stderr and "l8-photo" in result.stderr
    assert not photo.with_suffix(".l8").exists()


def test_broken_checkpoints_are_refused_in_one_sentence(tmp_path: Path) -> None:
    names = ("good", "missing-key", "extra-key", "channels", "stages", "sizes", "truncated", "bad-config", "pickle")
    structures: dict[str, dict[str, Any]] = {
        "channels": {"latent_channels": 16},
        "stages": {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)},
    }
    folders = {f"broken/{name}": make_checkpoint(tmp_path / name, **structures.get(name, {})) for name in names}
    change_weights(tmp_path / "missing-key", lambda tensors: tensors.pop("decoder.layers.0.bias"))
    change_weights(tmp_path / "extra-key", lambda tensors: tensors.update(extra=torch.zeros(1)))
    change_config(tmp_path / "sizes", encoder_block_out_channels=[4] * 4)
    (tmp_path / "truncated" / WEIGHTS).write_bytes((tmp_path / "truncated" / WEIGHTS).read_bytes()[:3000])
    (tmp_path / "bad-config" / "config.json").write_text("{")
    torch.save(load_file(tmp_path / "pickle" / WEIGHTS), tmp_path / "pickle" / "diffusion_pytorch_model.bin")
    (tmp_path / "pickle" / WEIGHTS).unlink()

    with HubServer(folders) as hub:
        env = client_environment(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="1")
        command = [sys.executable, "-c", LOAD_EACH, *folders, "broken/absent"]
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    outcomes = {name.removeprefix("broken/"): text for name, text in json.loads(result.stdout).items()}

    assert outcomes.pop("good") == "AutoencoderTiny"
    expected = {
        "missing-key": "missing_keys",
        "extra-key": "unexpected_keys",
        "channels": "16 latent channels",
        "stages": "a stride other than 8",
        "sizes": "shapes",
        "truncated": "no readable config.json and safetensors",
        "bad-config": "no readable config.json and safetensors",
        "pickle": "no readable config.json and safetensors",
        "absent": "could not be downloaded",
    }
    assert outcomes.keys() == expected.keys()
    for name, words in expected.items():
        assert words in outcomes[name]
        assert f"broken/{name}" in outcomes[name]
        assert outcomes[name].endswith(".") and "\n" not in outcomes[name]
    assert not any(request.endswith(".bin") for request in hub.requests)
    assert all(line.startswith("Downloading broken/") for line in result.stderr.splitlines())


def bundled(folder: Path) -> Model:
    return replace(model_named("taesd"), name="test", source=str(folder), bundled=True)


def test_bundled_weights_that_are_gone_or_damaged_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing: install latent8 again"):
        TinyNetwork(bundled(tmp_path / "absent"), torch.device("cpu"))
    folder = make_checkpoint(tmp_path / "damaged")
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged: install latent8 again"):
        TinyNetwork(bundled(folder), torch.device("cpu"))


def outputs(folder: Path, side: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """[latents, picture in 0 ... 1] of Network, and those of plain diffusers, for the same random inputs."""
    autoencoder = AutoencoderTiny.from_pretrained(folder).eval()
    network = TinyNetwork(bundled(folder), torch.device("cpu"), torch.float32)
    generator = torch.Generator().manual_seed(2)
    rgb = torch.rand(1, 3, side, side, generator=generator)
    latents = torch.randn(1, 4, side // 8, side // 8, generator=generator) * 2
    with torch.inference_mode():
        plain_latents = autoencoder.encode(rgb * 2 - 1).latents
        plain_rgb = (autoencoder.decode(latents).sample + 1) / 2
    assert plain_latents.std() > 0.05 and plain_rgb.std() > 0.05  # not equal for being flat
    assert ((plain_rgb > 0) & (plain_rgb < 1)).float().mean() > 0.5
    return [network.analysis(rgb), network.synthesis(latents).clamp(0, 1)], [plain_latents, plain_rgb.clamp(0, 1)]


def test_default_structure_gives_the_numbers_of_plain_diffusers(good: Path) -> None:
    for ours, plain in zip(*outputs(good, 64), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4)


def test_folded_structure_gives_the_numbers_of_plain_diffusers_inside(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "folded", **NO_FULL_SIZE_BLOCKS)
    (latents, rgb), (plain_latents, plain_rgb) = outputs(folder, 256)
    reach = 8  # latents that the edge of the picture is seen from, through the encoder's 14 convolutions
    inside = slice(reach, -reach)
    torch.testing.assert_close(latents[..., inside, inside], plain_latents[..., inside, inside], rtol=0, atol=1e-4)
    torch.testing.assert_close(rgb[..., 1:-1, 1:-1], plain_rgb[..., 1:-1, 1:-1], rtol=0, atol=1e-4)
    assert not torch.allclose(latents, plain_latents, rtol=0, atol=1e-4)  # else it was not folded
    assert not torch.allclose(rgb, plain_rgb, rtol=0, atol=1e-4)
