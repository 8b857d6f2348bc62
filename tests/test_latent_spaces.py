"""Models that share a latent space: every class of network from the Hub, their factors, and who decodes what."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ConsistencyDecoderVAE
from PIL import Image
from safetensors.torch import load_file, save_file

import latent8
from latent8 import BlobError, Codec, ModelError, own_model
from latent8.file_format.reader import read
from latent8.pool import latents_of as latents_in
from latent8.zoo.latent_spaces import SPACES, space_named
from latent8.zoo.registry import Model, decoders_of, model_named, models
from tests.helpers.hub_server import HubServer, client_environment
from tests.helpers.own_folders import FACTORS, kl_model, square
from tests.helpers.passthrough import GAIN, NOISE_LEFT, WEIGHTS, make_consistency, make_kl, make_tiny
from tests.helpers.samples import gradient

SHARED = [model for model in models() if model.space in SPACES]

# Encodes a picture with each model that does, decodes each blob with every model of its space.
ALL_WAYS = """
import sys
from pathlib import Path
import latent8

folder = Path(sys.argv[1])
for model in latent8.models():
    if model.space not in ("sd1", "sdxl", "sd3", "flux1"):
        continue
    if not model.encodes:
        continue
    blob = latent8.encode(folder / "square.png", model.name)
    (folder / f"{model.name}.l8").write_bytes(blob)
    for decoder in latent8.decoders_for(latent8.inspect(blob)):
        latent8.decode(blob, decoder).save(folder / f"{model.name} by {decoder}.png")
"""


def latents_of(blob: bytes) -> np.ndarray:
    return latents_in(read(blob))


def rename_attention(folder: Path) -> None:
    """To the names that checkpoints of 2022 have, sd-vae-ft-mse among them."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        for new, old in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        tensors[name] = tensor
    assert sum("proj_attn" in name for name in tensors) == 4  # weights and biases of encoder and decoder
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One for each repository that the registry names."""
    root = tmp_path_factory.mktemp("checkpoints")
    made = {
        "madebyollin/taesd": make_tiny(root / "taesd"),
        "madebyollin/taesdxl": make_tiny(root / "taesdxl"),
        "madebyollin/taesd3": make_tiny(root / "taesd3", 16),
        "madebyollin/taef1": make_tiny(root / "taef1", 16),
        # its config.json has no factors, and was written before there were many of the other values
        "stabilityai/sd-vae-ft-mse": make_kl(
            root / "sd", 0.18215, leave_out=("scaling_factor", "shift_factor", "force_upcast", "use_quant_conv")
        ),
        "madebyollin/sdxl-vae-fp16-fix": make_kl(root / "sdxl", 0.13025, force_upcast=False),
        "openai/consistency-decoder": make_consistency(root / "consistency"),
    }
    rename_attention(root / "sd")
    assert set(made) == {model.source for model in SHARED}
    return made


@pytest.fixture(scope="module")
def results(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what ALL_WAYS gives, run against a Hub that serves the checkpoints."""
    folder = tmp_path_factory.mktemp("results")
    Image.fromarray(square()).save(folder / "square.png")
    with HubServer(checkpoints) as hub:
        env = client_environment(hub.url, folder / "home", HF_HUB_DISABLE_XET="1")
        command = [sys.executable, "-c", ALL_WAYS, str(folder)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    for name in checkpoints:
        assert f"Downloading {name}" in done.stderr
    return folder


def test_table_of_latent_spaces() -> None:
    assert {s.name: (s.scale, s.shift, s.channels) for s in SPACES.values()} == FACTORS
    assert all(space.source and model_named(space.default_model).space == space.name for space in SPACES.values())
    with pytest.raises(ModelError, match="^There is no latent space 'sd2': choose sd1 or sdxl or sd3 or flux1.$"):
        space_named("sd2")


@pytest.mark.parametrize("name", FACTORS)
def test_raw_latents_and_z(name: str) -> None:
    scale, shift, _ = FACTORS[name]
    raw = np.array([-7.5, 0, 1.25], np.float32)
    z = SPACES[name].scaled(raw)
    np.testing.assert_allclose(z, [(value - shift) * scale for value in (-7.5, 0, 1.25)], rtol=1e-6)
    np.testing.assert_allclose(SPACES[name].raw(z), raw, rtol=1e-5, atol=1e-6)
    assert z.dtype == SPACES[name].raw(z).dtype == np.float32


def test_ids_are_those_given_once() -> None:
    assert {model.name: model.id for model in models()} == {
        "l8-tiny": 1,
        "taesd": 2,
        "l8-photo": 3,
        "taesdxl": 16,
        "taesd3": 17,
        "taef1": 18,
        "sd-vae-ft-mse": 20,
        "sdxl-vae": 21,
        "consistency": 22,
    }


@pytest.mark.parametrize("model", [model for model in SHARED if model.encodes], ids=lambda model: model.name)
def test_square_through_every_model_and_decoder(results: Path, model: Model) -> None:
    """Both ends of the range within a band, for the latents too: a factor used twice, or not at all, cancels."""
    blob = (results / f"{model.name}.l8").read_bytes()
    header = latent8.inspect(blob)
    assert (header.model_id, header.latent_shape) == (model.id, (FACTORS[model.space][2], 8, 9))
    white = square()[::8, ::8, 0] == 255
    latents = latents_of(blob)
    assert np.abs(latents[:, white] - GAIN).max() < 0.02
    assert np.abs(latents[:, ~white] + GAIN).max() < 0.02
    decoders = latent8.decoders_for(header)
    assert decoders[0] == model.name and set(decoders) == {other.name for other in decoders_of(model.space)}
    for decoder in decoders:
        found = np.asarray(Image.open(results / f"{model.name} by {decoder}.png")).astype(int)
        assert found.shape == (64, 72, 3)
        tolerance = 12 if decoder == "consistency" else 2  # its noise
        assert np.abs(found - square()).max() <= tolerance


# ---- KL


def test_kl_gives_the_numbers_of_plain_diffusers(tmp_path: Path) -> None:
    """With random weights, odd sides padded first, which diffusers would cut off, and the mode, not a sample."""
    folder = make_kl(tmp_path / "kl", 0.3611, 0.1159, 16, use_quant_conv=False, use_post_quant_conv=False)
    torch.manual_seed(3)
    plain: Any = AutoencoderKL.from_pretrained(folder)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    plain.save_pretrained(folder)
    codec = Codec(own_model(folder, "flux1"), "cpu")
    picture = gradient(43, 37)
    padded = np.pad(picture, ((0, 3), (0, 5), (0, 0)), mode="edge")
    with torch.inference_mode():
        distribution = plain.encode(torch.tensor(padded).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist
        wanted = (distribution.mode() - 0.1159) * 0.3611
        assert (distribution.sample() - distribution.mode()).abs().max() > 1  # a sample would be noticed
        blob = codec.encode(picture)
        z = torch.tensor(latents_of(blob))[None]
        rgb = (plain.decode(z / 0.3611 + 0.1159).sample / 2 + 0.5).clamp(0, 1)
    step = latent8.inspect(blob).header.quantiser.step
    assert (z - wanted).abs().max() <= step / 2 + 1e-4
    assert wanted.std() > 5 * step
    image = np.asarray(codec.decode(blob)).astype(float)
    assert image.shape == (37, 43, 3)
    assert np.abs(image - rgb[0].permute(1, 2, 0).numpy()[:37, :43] * 255).max() <= 0.51
    assert codec.encode(picture) == blob


@pytest.mark.parametrize("space", FACTORS)
def test_factors_that_config_leaves_out_are_those_of_the_space(tmp_path: Path, space: str) -> None:
    """diffusers itself would take 0.18215."""
    model = kl_model(tmp_path / "kl", space, leave_out=("scaling_factor", "shift_factor"))
    blob = latent8.encode(square(), model)
    assert np.abs(np.abs(latents_of(blob)) - GAIN).max() < 0.02
    assert np.abs(np.asarray(latent8.decode(blob, model)).astype(int) - square()).max() <= 2


def test_factors_of_another_space_are_refused(tmp_path: Path) -> None:
    folder = make_kl(tmp_path / "kl", 0.13025)
    with pytest.raises(ModelError) as caught:
        Codec(own_model(folder, "sd1"), "cpu")
    assert str(caught.value) == (
        f"The config.json of {folder} states scaling_factor 0.13025, and latents in sd1 have 0.18215: "
        "it is of another latent space."
    )
    folder = make_tiny(tmp_path / "tiny", scaling_factor=0.5)
    with pytest.raises(ModelError, match="states scaling_factor 0.5, and latents in sd1 have 1: it is of another"):
        Codec(own_model(folder, "sd1"), "cpu")
    folder = make_kl(tmp_path / "means", 0.18215, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    with pytest.raises(ModelError, match="normalises its latents channel by channel"):
        Codec(own_model(folder, "sd1"), "cpu")


@pytest.mark.parametrize("value", [0, "0.18215", float("nan"), [1.0]])
@pytest.mark.parametrize("space", [None, "sd1"])
def test_factors_that_are_no_numbers_are_refused(tmp_path: Path, space: str | None, value: Any) -> None:
    folder = make_kl(tmp_path / "kl", 0.18215)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "scaling_factor": value}))
    with pytest.raises(ModelError, match="states a scaling_factor of .*, which is no usable number"):
        Codec(own_model(folder, space), "cpu")


def test_range_is_widened_to_the_latents_and_stated(tmp_path: Path) -> None:
    model = kl_model(tmp_path / "kl", gain=5.3)
    blob = latent8.encode(square(), model)
    quantiser = latent8.inspect(blob).header.quantiser
    assert -5.31 < quantiser.low <= -5.3 and 5.3 <= quantiser.high < 5.31
    assert np.abs(np.abs(latents_of(blob)) - 5.3).max() < 0.03
    assert np.abs(np.asarray(latent8.decode(blob, model)).astype(int) - square()).max() <= 2


def test_tiles_of_kl_are_faded_into_each_other(tmp_path: Path, monkeypatch) -> None:
    """With a bias that depends on the tile, as group norms give, there is a slope and no seam."""
    codec = Codec(kl_model(tmp_path / "kl"), "cpu")
    network = codec.network
    flat = np.full((64, 512, 3), 128, np.uint8)
    blob = codec.encode(flat)
    whole = np.asarray(codec.decode(blob)).astype(int)
    monkeypatch.setattr(network, "max_bytes", 1)  # tiles of the halo's size
    np.testing.assert_array_equal(np.asarray(codec.decode(blob)), whole)
    assert np.abs(latents_of(codec.encode(flat)) - latents_of(blob)).max() < 0.03

    calls, run = [], network.synthesis.run

    def drifting(call: Callable, latents: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(latents.shape)
        return (run(call, latents)[0] + 0.2 * (len(calls) % 2),)

    monkeypatch.setattr(network.synthesis, "run", drifting)
    row = np.asarray(codec.decode(blob)).astype(int)[20, :, 0]
    assert len(calls) == 8
    assert row.max() - row.min() > 45
    assert np.abs(np.diff(row)).max() <= 1


# ---- the consistency decoder


@pytest.fixture(scope="module")
def consistency(checkpoints: dict[str, Path]) -> Model:
    return replace(model_named("consistency"), source=str(checkpoints["openai/consistency-decoder"].resolve()))


def test_consistency_decodes_alike_each_time(consistency: Model, tmp_path: Path) -> None:
    blob = latent8.encode(square(), kl_model(tmp_path / "kl"))
    codec = Codec(consistency, "cpu", torch.float32)
    first = np.asarray(codec.decode(blob)).astype(int)
    torch.manual_seed(1)
    np.testing.assert_array_equal(np.asarray(codec.decode(blob)), first)
    np.testing.assert_array_equal(np.asarray(Codec(consistency, "cpu", torch.float32).decode(blob)), first)
    plain: Any = ConsistencyDecoderVAE.from_pretrained(consistency.source)
    raw = torch.tensor(latents_of(blob))[None] / 0.18215
    decoded = []
    for seed in (0, 1):
        with torch.inference_mode():
            sample = plain.decode(raw, generator=torch.Generator().manual_seed(seed)).sample
        decoded.append(((sample[0] / 2 + 0.5).clamp(0, 1) * 255).round().int().permute(1, 2, 0).numpy())
    assert np.abs(decoded[0] - first).max() <= 1
    assert np.abs(decoded[1] - first).max() >= 30 * NOISE_LEFT  # another seed is another picture


def test_consistency_is_tiled_at_512(consistency: Model, tmp_path: Path, monkeypatch) -> None:
    codec = Codec(consistency, "cpu")
    sides = []

    def decoded(call: Callable, latents: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sides.append(latents.shape[2:])
        return (torch.zeros(1, 3, latents.shape[2] * 8, latents.shape[3] * 8),)

    monkeypatch.setattr(codec.network.synthesis, "run", decoded)
    codec.network.decode_latents(np.zeros((4, 64, 64), np.float32))
    assert sides == [(64, 64)]
    codec.network.decode_latents(np.zeros((4, 64, 200), np.float32))
    assert len(sides) > 2 and max(max(side) for side in sides) == 64


def test_what_only_decodes_is_not_asked_to_encode(consistency: Model) -> None:
    wanted = "^consistency only decodes: encode with taesd or sd-vae-ft-mse, whose latents it takes.$"
    for encode in (
        lambda: latent8.encode(square(), "consistency"),
        lambda: Codec(consistency, "cpu").encode(square()),
        lambda: Codec(consistency, "cpu").encode_rgba_png(square()),
    ):
        with pytest.raises(ModelError, match=wanted):
            encode()


# ---- who decodes what


def test_decoder_of_another_space_is_refused_before_it_is_looked_for(tmp_path: Path) -> None:
    blob = latent8.encode(square(), kl_model(tmp_path / "kl"))
    for decoder, of in (("taesdxl", "sdxl"), ("l8-tiny", "l8-tiny"), ("taef1", "flux1"), ("l8-photo", "l8-photo")):
        with pytest.raises(BlobError) as caught:
            latent8.decode(blob, decoder)
        assert str(caught.value) == (
            f"The blob holds sd1 latents, and {decoder} decodes {of} latents: "
            "decode it with taesd or sd-vae-ft-mse or consistency."
        )
    with pytest.raises(ModelError, match="^There is no model 'vae': choose "):
        latent8.decode(blob, "vae")


def test_codec_decodes_with_another_model_and_keeps_it(tmp_path: Path, codec: Codec) -> None:
    tiny, kl = own_model(make_tiny(tmp_path / "tiny"), "sd1"), kl_model(tmp_path / "kl")
    loaded = Codec(tiny, "cpu", torch.float32)
    blob = loaded.encode(gradient(48, 40))
    by_itself, by_kl = (np.asarray(loaded.decode(blob, decoder)) for decoder in (None, kl))
    np.testing.assert_array_equal(np.asarray(loaded.decode(blob, tiny)), by_itself)
    np.testing.assert_array_equal(np.asarray(Codec(kl, "cpu").decode(blob)), by_kl)
    assert not np.array_equal(by_itself, by_kl)  # the soft limit of one
    shutil.rmtree(tmp_path / "kl")
    np.testing.assert_array_equal(np.asarray(loaded.decode(blob, kl)), by_kl)
    with pytest.raises(BlobError, match="^The blob holds sd1 latents, and l8-tiny decodes l8-tiny latents"):
        loaded.decode(blob, "l8-tiny")
