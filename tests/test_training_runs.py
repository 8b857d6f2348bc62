"""Runs that meet a full disk, a torn file or a loss that is no number: nothing is lost, and each has its end."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch

from tests.helpers.drawn_photos import rows_of
from tests.helpers.full_disk import files_up_to
from training import config, train, watch
from training.log import Log
from training.task import TrainingError

pytest_plugins = ["tests.helpers.drawn_photos"]
SMALL = ["--width", "8", "--stages", "2", "--crop", "32", "--batch", "2", "--device", "cpu", "--watch", "0"]


def trainer(photos: Path, out: Path, *options: str) -> train.Trainer:
    return train.Trainer(train.parse_args([str(photos), "--out", str(out), "--model", "vae", *SMALL, *options]))


# The log


def test_torn_rows_of_a_log_are_left_out(tmp_path):
    path = tmp_path / "log.csv"
    whole = "step,loss,lpips\n50,1.5,nan\n100,1.25,0.5\n"
    torn = [
        "150,0.",
        "150,0.8,0.5",
        "15",
        "150,0.7\n200,0.7,0.5\n",
        "150,,0.5\n",
        "150,0.7,0.5,200,0.7,0.5\n",
        "\0\0\0\n",
    ]
    for rest in torn:
        path.write_text(whole + rest)
        log = Log(path, ["step", "loss", "lpips"], 150)
        assert path.read_text() == whole, rest
        log.write({"step": 150}, {"loss": 0.75, "lpips": 0.25})
        assert path.read_text() == whole + "150,0.75,0.25\n"
        path.write_text(whole + rest)
        assert watch.draw_curves(path, tmp_path / "curves.png")


def test_a_row_that_finds_no_room_leaves_none_of_itself(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path, ["step", "loss"], 0)
    log.write({"step": 50}, {"loss": 1.0})
    before = path.read_bytes()
    with files_up_to(len(before) + 3), pytest.raises(OSError):
        log.write({"step": 100}, {"loss": 0.5})
    assert path.read_bytes() == before
    log.write({"step": 150}, {"loss": 0.5})
    assert [row["step"] for row in rows_of(path)] == ["50", "150"]


def test_curves_that_cannot_be_drawn_end_no_run(photos, tmp_path, monkeypatch, capsys):
    def draw_curves(log: Path, path: Path) -> bool:
        raise ValueError("could not convert string to float: 'x'")

    monkeypatch.setattr(watch, "draw_curves", draw_curves)
    run = trainer(photos, tmp_path / "run", "--steps", "1")
    run.run()
    said = capsys.readouterr().out
    assert "could not be drawn (could not convert string to float: 'x'). The training goes on." in said
    assert run.checkpoint.exists() and "done: 1 steps" in said


# A full disk


def test_the_config_of_a_run_stays_whole_on_a_full_disk(photos, tmp_path, capsys):
    out = tmp_path / "run"
    run = trainer(photos, out, "--minutes", "1")
    run.seconds = 60.0  # the budget is spent: nothing but files is written
    run.run()
    before = (out / "config.yaml").read_bytes()
    again = trainer(photos, out, "--minutes", "1")
    with files_up_to(100), pytest.raises(TrainingError, match="for want of room"):
        again.run()
    assert (out / "config.yaml").read_bytes() == before and len(before) > 100
    assert "config.yaml" in capsys.readouterr().out
    with files_up_to(100), pytest.raises(OSError):
        config.keep(out / "config.yaml", again.args)
    assert (out / "config.yaml").read_bytes() == before


def test_a_board_that_finds_no_room_ends_no_run(photos, tmp_path, capsys):
    class Board:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    run = trainer(photos, tmp_path / "run", "--steps", "1")
    run.board = Board()
    run.run()
    assert run.step == 1 and "No space left on device: free some space in" in capsys.readouterr().out


# Losses that are no numbers


def test_a_new_part_of_the_loss_is_no_spike(photos, tmp_path, lpips_file):
    """The loss of a vae rises by far more than four times where LPIPS joins it with a large weight."""
    more = ["--lpips", str(lpips_file("alexnet")), "--lpips-weight", "1000", "--lpips-from", "0.5"]
    run = trainer(photos, tmp_path / "run", "--schedule-steps", "20", *more)
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    losses = [run.train_step(batch)["loss"] for _ in range(16)]
    assert losses[10] > 10 * losses[9]
    assert run.step == 16 and run.guard.skipped == 0


def test_a_training_that_goes_back_again_and_again_ends(photos, tmp_path):
    run = trainer(photos, tmp_path / "run")
    batch = torch.full((2, 3, 32, 32), math.nan)
    with pytest.raises(TrainingError, match="^The loss is no number, or far too large, again and again after step 0"):
        for _ in range(100):
            run.train_step(batch)
    assert run.guard.skipped == run.guard.patience * (train.MOST_RETURNS + 1)


def test_going_back_to_different_steps_is_no_end(photos, tmp_path):
    run = trainer(photos, tmp_path / "run")
    for step in range(5):
        run.good_state["step"] = step
        run.go_back()
    assert run.step == 4


@pytest.mark.parametrize("model", ["vae", "vq"])
def test_a_skipped_batch_leaves_the_deviation_of_latents_alone(photos, tmp_path, model):
    run = trainer(photos, tmp_path / "run", "--model", model)
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    run.train_step(batch)
    before = run.model.latent_deviation.clone()
    run.train_step(batch * math.nan)
    assert run.guard.skipped == 1 and torch.equal(run.model.latent_deviation, before) and before != 1
    run.train_step(batch)
    assert math.isfinite(run.ema.latent_deviation.item())
    run.task.deviation = torch.tensor(math.nan)  # that of a single latent
    run.task.after_step(run.model, run.ema)
    assert math.isfinite(run.ema.latent_deviation.item())
