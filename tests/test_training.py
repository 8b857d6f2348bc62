"""The trainer: same network as diffusers', sane steps, resuming, photos, the optimiser."""

from __future__ import annotations

import copy
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from latent8.file_format.quantiser import Quantiser
from tests.helpers.drawn_photos import photo, rows_of
from tests.helpers.small_networks import busy_network, save_checkpoint
from training import average, train
from training.export import export, export_as
from training.group_norm import normalise_in_float32
from training.log import Log
from training.network import TinyAutoencoder, quantise_in_the_loop
from training.optimiser import Muon, make_optimisers, orthogonalised
from training.photos import CropSource, photo_files
from training.task import TrainingError
from training.tiny import TinyTask

pytest_plugins = ["tests.helpers.drawn_photos"]


# The network


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyAutoencoder, AutoencoderTiny]:
    """Ours, and diffusers' with the exported config and our weights in full precision."""
    ours = busy_network()
    folder = tmp_path_factory.mktemp("twins")
    export(save_checkpoint(ours, folder / "checkpoint.pt"), folder)
    theirs = AutoencoderTiny.from_config(json.loads((folder / "config.json").read_text()))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs.eval().requires_grad_(False)


def test_encoder_equals_that_of_diffusers_far_from_the_border(twins):
    ours, theirs = twins
    border = 26  # latents that see the outermost ring of pixels, through 29 convolutions at three sizes
    side = 8 * (2 * border + 4)
    x = torch.from_numpy(photo(side, side)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        z, expected = ours.encoder(x), theirs.encode(x * 2 - 1).latents
    inner = (..., slice(border, -border), slice(border, -border))
    assert z.shape == expected.shape == (1, 4, side // 8, side // 8)
    assert expected[inner].std() > 0.1
    torch.testing.assert_close(z[inner], expected[inner], rtol=1e-4, atol=1e-4)


def test_decoder_equals_that_of_diffusers_but_for_the_outermost_ring(twins):
    ours, theirs = twins
    z = torch.randn(2, 4, 6, 9, generator=torch.Generator().manual_seed(1)) * 2
    with torch.inference_mode():
        output, expected = ours.decoder(z), theirs.decode(z).sample / 2 + 0.5
    assert output.shape == expected.shape == (2, 3, 48, 72)
    torch.testing.assert_close(output[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(output, expected, rtol=1e-4, atol=1e-4)  # else the folding would not be in use


def test_export_rounds_weights_to_fp16_and_nothing_else(tmp_path):
    network = busy_network()
    export(save_checkpoint(network, tmp_path / "checkpoint.pt"), tmp_path / "weights")
    exported = AutoencoderTiny.from_pretrained(tmp_path / "weights", low_cpu_mem_usage=False, torch_dtype=torch.float32)
    for name, tensor in exported.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name].half().float()), name


def test_export_refuses_weights_of_another_architecture(tmp_path):
    torch.save({"ema": {"encoder.layers.0.weight": torch.zeros(1)}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="^The weights of .* do not fit l8-tiny: name the model that they are of.$"):
        export_as("l8-tiny", tmp_path / "checkpoint.pt", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_average_lies_between_two_checkpoints(tmp_path, capsys):
    paths = [tmp_path / name for name in ("first.pt", "second.pt", "other.pt")]
    weights = [{"a": torch.tensor([0.0, 4.0])}, {"a": torch.tensor([10.0, 4.0])}, {"a": torch.zeros(3)}]
    for path, ema in zip(paths, weights, strict=True):
        torch.save({"ema": ema, "step": 7}, path)
    out = tmp_path / "between.pt"
    average.main([str(paths[0]), str(paths[1]), "0.7", "--out", str(out)])
    torch.testing.assert_close(torch.load(out, weights_only=True), {"ema": {"a": torch.tensor([7.0, 4.0])}})
    for second, share, words in ((paths[2], "0.5", "of different networks"), (paths[1], "1.1", "from 0 to 1, not 1.1")):
        with pytest.raises(SystemExit):
            average.main([str(paths[0]), str(second), share, "--out", str(out)])
        assert words in capsys.readouterr().err


def test_crops_cover_what_is_asked(tmp_path):
    """A photo whose brightness is its place tells what a crop covers."""
    ramp = np.broadcast_to(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (400, 400, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    for options, low, high in (({"cover": 0.8, "zoom_out": 100}, 0.75, 1), ({"cover": 1.0}, 0.97, 1), ({}, 0.08, 0.25)):
        crops = CropSource([tmp_path / "ramp.png"], 32, 40, **options).next()
        seen = crops.amax((1, 2, 3)) - crops.amin((1, 2, 3))
        assert low <= seen.min() and seen.max() <= high, options
    with pytest.raises(SystemExit):
        train.parse_args([str(tmp_path), "--out", "run", "--cover", "1.2"])


def test_a_log_goes_on_where_its_run_does(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path, ["step", "loss", "lpips"], 0)
    assert path.read_text() == "step,loss,lpips\n" and log.means() == {}
    for step in (50, 100, 150):
        log.add({"loss": step, "lpips": math.nan})
        log.add({"loss": step + 2, "lpips": 0.5})
        log.write({"step": step}, log.means())
    Log(path, ["step", "loss", "lpips"], 100)  # the last checkpoint is of step 100
    assert [(row["step"], row["loss"], row["lpips"]) for row in rows_of(path)] == [
        ("50", "51", "0.5"),
        ("100", "101", "0.5"),
    ]
    Log(path, ["step", "loss", "kl"], 120)
    assert rows_of(path) == [] and len(rows_of(tmp_path / "log-to-step-120.csv")) == 2


@pytest.mark.slow
def test_ctrl_c_ends_with_all_saved(photos, tmp_path):
    command = [sys.executable, "-m", "training.train", str(photos), "--out", str(tmp_path / "run"), "--model", "vae"]
    options = ["--width", "8", "--crop", "32", "--batch", "1", "--watch", "2", "--device", "cpu", "--stages", "2"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if "step 50" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 0 and "stopped, the same command goes on: " in said
    step = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"]
    assert step >= 50 and rows_of(tmp_path / "run" / "log.csv")[-1]["step"] == str(step)
    assert (tmp_path / "run" / "curves.png").exists()


def test_groups_are_normalised_in_float32_within_half_precision():
    layer = torch.nn.GroupNorm(2, 8)
    torch.nn.init.normal_(layer.weight)
    ours = torch.nn.Sequential(copy.deepcopy(layer))
    normalise_in_float32(ours)
    assert list(ours.state_dict()) == ["0.weight", "0.bias"]
    x = 30 + torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), layer(x))
    half = x.bfloat16().requires_grad_()
    output = ours(half)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, layer(half.float()).bfloat16())
    output.float().square().sum().backward()
    assert half.grad.dtype == torch.bfloat16 and torch.isfinite(half.grad).all()


def test_quantise_in_the_loop_gives_what_a_blob_gives_back():
    quantiser = Quantiser()
    offsets = np.array([-0.4, -0.1, 0.2, 0.45], np.float32)[:, None] * quantiser.step  # halves could round either way
    z = quantiser.dequantise(np.arange(256, dtype=np.uint8)) + offsets
    z = np.concatenate([z.reshape(-1), [-50, -3.3, 3.3, 50]]).astype(np.float32)
    expected = quantiser.dequantise(quantiser.quantise(z))
    np.testing.assert_allclose(quantise_in_the_loop(torch.from_numpy(z)).numpy(), expected, atol=1e-5)


def test_quantise_in_the_loop_passes_gradients_straight_through():
    z = torch.linspace(-4, 4, 50, requires_grad=True)
    weights = torch.arange(50.0)
    (quantise_in_the_loop(z) * weights).sum().backward()
    assert torch.equal(z.grad, weights)


# Training


def trainer(photos: Path, out: Path, *options: str) -> train.Trainer:
    common = ["--out", str(out), "--crop", "64", "--batch", "2", "--device", "cpu"]
    return train.Trainer(train.parse_args([str(photos), *common, *options]))


def test_three_steps_write_checkpoint_log_and_grid_then_resume(photos, tmp_path, monkeypatch, lpips_file, capsys):
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    out = tmp_path / "run"
    trainer(photos, out, "--steps", "3", "--lpips", str(lpips_file("alexnet"))).run()

    first = torch.load(out / "checkpoint.pt", weights_only=True)
    assert first["step"] == 3 and first["seconds"] > 0
    rows = rows_of(out / "log.csv")
    assert list(rows[0]) == ["step", "minutes", "loss", *TinyTask.columns, "learning_rate", "skipped"]
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert not any(int(row["skipped"]) for row in rows)
    assert Image.open(out / "grid.png").size == (2 * 64, 3 * 64)  # a column for each photo of the batch

    trainer(photos, out, "--steps", "5", "--lpips", str(lpips_file("alexnet"))).run()
    assert "resumed at step 3" in capsys.readouterr().out
    second = torch.load(out / "checkpoint.pt", weights_only=True)
    assert second["step"] == 5 and second["seconds"] > first["seconds"]
    rows = rows_of(out / "log.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5"]
    minutes = [float(row["minutes"]) for row in rows]
    assert minutes == sorted(minutes)
    momentum = second["optimisers"][0]["state"][0]["momentum"]
    assert momentum.abs().sum() > 0


def test_a_spent_budget_trains_no_further(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "--minutes", "1")
    run.seconds = 60.0
    run.run()
    assert run.step == 0 and run.checkpoint.exists()


def test_log_holds_means_also_of_fewer_rows(photos, tmp_path, monkeypatch):
    """A run resumed between two rows of the log writes its first row after fewer steps."""
    monkeypatch.setattr(train, "LOG_EVERY", 4)
    run = trainer(photos, tmp_path / "run", "--steps", "4")
    run.step = 2
    row = {"loss": 8.0, "psnr_db": 20.0, "lpips": 0.5, "latent_std": 1.0, "learning_rate": 1e-3}

    def step(_) -> dict[str, float]:
        run.step += 1
        return row

    monkeypatch.setattr(run, "train_step", step)
    run.run()
    (logged,) = rows_of(tmp_path / "run" / "log.csv")
    assert {name: float(logged[name]) for name in row} == row


def test_loss_falls_on_one_batch(photos, tmp_path):
    torch.manual_seed(0)
    run = trainer(photos, tmp_path / "run", "--lr", "3e-3")
    batch = CropSource(photo_files(photos), 64, 2).next()
    losses = [run.train_step(batch)["loss"] for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]


def test_spike_guard_skips_bad_losses_and_asks_to_go_back_after_several():
    guard = train.SpikeGuard(factor=4, patience=3)
    assert guard.accepts(1.0, 1.0) and guard.accepts(2.0, 1.0)
    assert not guard.accepts(math.nan, 1.0) and not guard.accepts(1.0, math.inf)
    assert not guard.must_go_back()
    assert guard.accepts(1.0, 1.0)  # a good one ends the series
    for bad in (1e6, math.nan, math.inf):
        assert not guard.must_go_back()
        assert not guard.accepts(bad, 1.0)
    assert guard.must_go_back() and guard.skipped == 5
    guard.start_again()
    assert not guard.must_go_back() and guard.skipped == 5 and guard.accepts(1e6, 1.0)


def test_bad_batches_change_nothing_and_then_the_last_good_state_returns(photos, tmp_path):
    run = trainer(photos, tmp_path / "run")
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    good = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.train_step(batch)  # moves on from the good state, which is that of step 0
    moved = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    assert any(not torch.equal(good[name], moved[name]) for name in good)

    run.seconds = 7.0
    for _ in range(run.guard.patience - 1):
        run.train_step(batch * math.nan)
        assert all(torch.equal(tensor, moved[name]) for name, tensor in run.model.state_dict().items())
    run.train_step(batch * math.nan)
    assert all(torch.equal(tensor, good[name]) for name, tensor in run.model.state_dict().items())
    assert run.seconds == 7.0 and run.guard.skipped == run.guard.patience
    assert math.isfinite(run.train_step(batch)["loss"])


@pytest.mark.parametrize("crop", ["60", "24"])
def test_crops_that_do_not_fit_the_network_are_refused(crop, capsys):
    with pytest.raises(SystemExit):
        train.parse_args(["photos", "--out", "run", "--crop", crop])
    assert "multiple of 8" in capsys.readouterr().err


def test_crops_of_l8_photo_are_large_enough_for_ms_ssim(capsys):
    options = ["photos", "--out", "run", "--model"]
    assert train.parse_args([*options, "l8-photo"]).crop == 192 and train.parse_args([*options, "l8-tiny"]).crop == 128
    with pytest.raises(SystemExit):
        train.parse_args([*options, "l8-photo", "--crop", "128"])
    assert "--model l8-photo needs a --crop of at least 161, for MS-SSIM" in capsys.readouterr().err


# Photos


def test_photo_files_searches_subfolders_and_wants_pictures(photos, tmp_path):
    (photos / "more").mkdir()
    Image.fromarray(photo(20, 20)).save(photos / "more" / "B.PNG")
    (photos / "notes.txt").write_text("no picture")
    assert [path.name for path in photo_files(photos)] == ["B.PNG", "photo0.png", "photo1.jpg", "photo2.webp"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="No pictures"):
        photo_files(empty)


def test_crops_come_from_good_photos_alone(photos, capsys):
    (photos / "a_damaged.png").write_bytes((photos / "photo0.png").read_bytes()[:3000])
    (photos / "a_text.jpg").write_text("no picture")
    Image.fromarray(photo(30, 300)).save(photos / "a_small.png")
    source = CropSource(photo_files(photos), 64, 8)
    for _ in range(5):
        batch = source.next()
    assert batch.shape == (8, 3, 64, 64) and batch.dtype == torch.float32
    assert 0 <= batch.min() < batch.max() <= 1
    told = capsys.readouterr().out
    assert all(f"left out {name}" in told for name in ("a_damaged.png", "a_text.jpg", "a_small.png"))


def test_processes_make_crops_too_each_its_own(photos):
    source = CropSource(photo_files(photos), 64, 4, workers=2)
    batches = [source.next() for _ in range(4)]
    assert all(batch.shape == (4, 3, 64, 64) and 0 <= batch.min() < batch.max() <= 1 for batch in batches)
    assert len({batch.numpy().tobytes() for batch in batches}) == 4
    too_large = CropSource(photo_files(photos), 1000, 4, workers=2)
    for _ in range(2):
        with pytest.raises(ValueError, match="^No photo is left to train on"):
            too_large.next()


@pytest.mark.parametrize("content", ["small", "damaged"])
def test_without_a_good_photo_training_ends_with_a_message(tmp_path, content):
    """The crops are made in another thread: what goes wrong there must not leave the trainer waiting for ever."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        if content == "small":
            Image.fromarray(photo(40, 50)).save(folder / f"{index}.png")
        else:
            (folder / f"{index}.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="No photo is left to train on"):
        trainer(folder, tmp_path / "run", "--steps", "1").run()


# The optimiser


def test_orthogonalised_rows_are_nearly_orthonormal():
    matrices = torch.randn(3, 16, 144, generator=torch.Generator().manual_seed(0))
    matrices[1] *= 1e-4  # the scale of the input does not matter
    result = orthogonalised(matrices)
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6 and singular.max() < 1.3
    # The nearest orthogonal matrix, not just any: the polar factor of the input
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    agreement = (result * (u @ vh)).sum((1, 2)) / 16
    assert ((agreement > 0.8) & (agreement < 1.2)).all()


def test_every_parameter_has_one_optimiser_and_muon_the_square_ones():
    network = TinyAutoencoder()
    muon, adam = make_optimisers(network, 1e-3)
    in_muon, in_adam = ([p for group in o.param_groups for p in group["params"]] for o in (muon, adam))
    assert {id(p) for p in in_muon} | {id(p) for p in in_adam} == {id(p) for p in network.parameters()}
    assert len(in_muon) + len(in_adam) == len(list(network.parameters()))
    assert all(p.shape == (64, 64, 3, 3) for p in in_muon) and in_muon


def test_muon_takes_a_step_of_the_stated_size():
    parameter = torch.nn.Parameter(torch.zeros(16, 16, 3, 3))
    muon = Muon([parameter], lr=0.1)
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    muon.step()
    # Orthonormal rows of 144 have a root mean square of 1 / 12, so the step's is 0.1 * 0.2 * sqrt(144) / 12
    assert parameter.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.25)
    assert (parameter * parameter.grad).sum() < 0
