"""Variational and vector-quantised autoencoders: formulas, short trainings that learn, exports that load."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

import latent8
from tests.helpers.drawn_photos import photo, rows_of
from tests.helpers.full_disk import files_up_to
from training import average, export, train, vae, vq
from training.photos import CropSource, photo_files
from training.tasks import AUTOENCODERS

pytest_plugins = ["tests.helpers.drawn_photos"]
SMALL = ["--width", "8", "--crop", "32", "--batch", "4", "--device", "cpu", "--watch", "0", "--lr", "3e-3"]


def trainer(photos: Path, out: Path, model: str, *options: str) -> train.Trainer:
    return train.Trainer(train.parse_args([str(photos), "--out", str(out), "--model", model, *SMALL, *options]))


def learnt(run: train.Trainer, photos: Path, steps: int) -> tuple[float, float]:
    """Losses before and after steps on one fixed batch."""
    batch = CropSource(photo_files(photos), 32, 4).next()
    losses = [run.train_step(batch)["loss"] for _ in range(steps)]
    return losses[0], sum(losses[-3:]) / 3


# Variational


def test_kl_is_that_of_diffusers_and_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 2, 3, 4, 5, generator=generator)
    ours = vae.kl(mean, log_variance)
    theirs = DiagonalGaussianDistribution(torch.cat([mean, log_variance], dim=1)).kl()
    torch.testing.assert_close(ours.sum((1, 2, 3)), theirs)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)))
    assert vae.kl(torch.zeros(1), torch.zeros(1)).item() == 0
    assert vae.kl(torch.ones(1), torch.zeros(1)).item() == 0.5


def test_vae_has_the_moments_and_the_loss_of_diffusers(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "vae", "--mae-weight", "2", "--mse-weight", "3", "--kl-weight", "0.5")
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    autoencoder = run.model.autoencoder
    posterior = autoencoder.encode(batch * 2 - 1).latent_dist
    mean, log_variance = vae.moments(autoencoder, batch * 2 - 1)
    torch.testing.assert_close((mean, log_variance), (posterior.mean, posterior.logvar))
    torch.manual_seed(3)
    loss, figures = run.task.loss(run.model, batch)
    torch.manual_seed(3)
    error = autoencoder.decode(mean + posterior.std * torch.randn_like(mean)).sample - (batch * 2 - 1)
    kl = posterior.kl().sum() / mean.numel()
    expected = 2 * error.abs().mean() + 3 * error.square().mean() + 0.5 * kl
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert figures["psnr_db"] == pytest.approx(10 * math.log10(4 / error.square().mean().item()), abs=1e-3)
    assert figures["kl"] == pytest.approx(kl.item(), rel=1e-5)


# Vector-quantised


def test_codes_are_those_that_diffusers_chooses_with_gradients_passing_straight_through(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "vq", "--codes", "16")
    quantiser = run.model.autoencoder.quantize
    run.model.start(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)))
    z = torch.randn(2, 16, 3, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    theirs, their_loss, (_, _, their_indices) = quantiser(z)
    ours, indices = vq.nearest(z, run.model.codebook)
    assert torch.equal(indices.flatten(), their_indices) and len(indices.unique()) > 3
    torch.testing.assert_close(ours, theirs)
    # diffusers' loss has the commitment at weight 1, and beta times the codes' own distance, which here is no loss
    assert their_loss.item() == pytest.approx(1.25 * (z - ours).square().mean().item(), rel=1e-5)

    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    run.model.zero_grad(set_to_none=True)
    loss, figures = run.task.loss(run.model, batch)
    loss.backward()
    ours = [p.grad.clone() for p in run.model.parameters() if p.grad is not None]
    run.model.zero_grad(set_to_none=True)
    output = run.model.autoencoder(batch * 2 - 1)
    error = output.sample - (batch * 2 - 1)
    # the codes are constants in both; their commitment counts 1, ours --beta
    z = run.model.encode(batch * 2 - 1)
    distance = (z - vq.nearest(z, run.model.codebook)[0]).square().mean()
    (error.abs().mean() + error.square().mean() + 0.25 * distance).backward()
    theirs = [p.grad for p in run.model.parameters() if p.grad is not None]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert figures["commitment"] == pytest.approx(distance.item(), rel=1e-4)
    assert run.model.codebook.grad is None


def test_a_code_becomes_the_mean_of_what_chooses_it(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "vq", "--codes", "2", "--latent-channels", "3")
    model = run.model
    vectors = torch.tensor([[0.0, 0, 1], [0, 0, 3], [9, 9, 9], [9, 9, 9], [9, 9, 12]])
    indices = torch.tensor([0, 0, 1, 1, 1])
    model.sums.zero_(), model.counts.zero_()
    # appendix A.1 of the paper by hand: counts 0.1 * (2, 3), sums 0.1 * ((0, 0, 4), (27, 27, 30))
    assert not model.learn_codes(vectors, indices, decay=0.9, restart_below=0.1).any()
    torch.testing.assert_close(model.counts, torch.tensor([0.2, 0.3]))
    torch.testing.assert_close(model.sums, torch.tensor([[0, 0, 0.4], [2.7, 2.7, 3.0]]))
    torch.testing.assert_close(model.codebook, torch.tensor([[0, 0, 2.0], [9, 9, 10]]), rtol=1e-3, atol=1e-3)
    # the next batch counts a tenth
    model.learn_codes(torch.full((2, 3), 20.0), torch.tensor([0, 0]), decay=0.9, restart_below=0.1)
    torch.testing.assert_close(model.codebook[0], torch.tensor([4, 4, 0.36 + 4]) / 0.38, rtol=1e-3, atol=1e-3)


def test_a_code_that_nothing_chooses_starts_anew_at_a_latent(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "vq", "--codes", "4", "--latent-channels", "2")
    model = run.model
    model.codebook.copy_(torch.tensor([[0.0, 0], [1, 1], [500, 500], [-500, 500]]))
    model.counts.fill_(1), model.sums.copy_(model.codebook), model.started.fill_(True)
    vectors = torch.tensor([[0.0, 0.5], [1, 1.5]])
    restarted = []
    for _ in range(30):
        _, indices = vq.nearest(vectors.T[None, :, :, None], model.codebook)
        restarted.append(model.learn_codes(vectors, indices.flatten(), decay=0.8, restart_below=0.05))
    assert [bool(any(r[code] for r in restarted)) for code in range(4)] == [False, False, True, True]
    assert model.codebook.abs().max() < 2  # all are where latents are
    assert torch.cdist(vectors, model.codebook).amin(1).max() < 0.1


def test_restarted_codes_move_at_once_in_the_running_mean_too(photos, tmp_path):
    run = trainer(photos, tmp_path / "run", "vq", "--codes", "32")
    batch = CropSource(photo_files(photos), 32, 4).next()
    run.train_step(batch)
    run.model.codebook[5] = 1e3
    run.model.counts[5] = 0.0
    run.train_step(batch)
    assert run.model.codebook[5].abs().max() < 100
    assert torch.equal(run.model.codebook[5], run.ema.codebook[5])


def test_perplexity_counts_codes():
    assert vq.perplexity(torch.tensor([5, 5, 5, 5, 0, 0])) == pytest.approx(4)
    assert vq.perplexity(torch.tensor([0, 7])) == pytest.approx(1)
    assert vq.perplexity(torch.tensor([1, 3])) == pytest.approx(math.exp(0.25 * math.log(4) + 0.75 * math.log(4 / 3)))


# Short trainings


@pytest.mark.parametrize("model, factor, more", [("vae", 0.6, []), ("vae", 0.6, ["--grey"]), ("vq", 0.75, [])])
def test_a_short_training_learns_and_its_export_is_loaded_by_diffusers(photos, tmp_path, model, factor, more):
    torch.manual_seed(0)
    run = trainer(photos, tmp_path / "run", model, "--stages", "3", *more)
    first, last = learnt(run, photos, 40)
    assert last < factor * first
    run.save()
    export.main([str(tmp_path / "run"), str(tmp_path / "weights")])
    theirs = getattr(diffusers, export.AUTOENCODERS[model]).from_pretrained(tmp_path / "weights", local_files_only=True)
    assert theirs.config.in_channels == (1 if more else 3) and theirs.config.block_out_channels == [8, 16, 32]
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor.float(), run.ema.autoencoder.state_dict()[name].half().float()), name
    deviation = run.ema.latent_deviation.item()
    assert theirs.config.scaling_factor == pytest.approx(1 / deviation, rel=1e-3) and deviation != 1

    picture = torch.from_numpy(photo(48, 64)).permute(2, 0, 1)[None].float() / 127.5 - 1
    if more:
        picture = picture.mean(1, keepdim=True)
    with torch.inference_mode():
        output = theirs.float()(picture).sample
    assert output.shape == picture.shape and (output - picture).square().mean() < 0.35


def test_an_exported_vae_round_trips_a_photo_through_a_blob(photos, tmp_path):
    torch.manual_seed(0)
    run = trainer(photos, tmp_path / "run", "vae", "--stages", "2", "--lr", "1e-2")
    learnt(run, photos, 20)
    run.save()
    export.main([str(tmp_path / "run" / "checkpoint.pt"), str(tmp_path / "weights")])
    codec = latent8.Codec(latent8.own_model(tmp_path / "weights"), "cpu")
    picture = photo(50, 70)
    blob = codec.encode(picture)
    header = latent8.inspect(blob).header
    assert (header.channels, header.stride) == (4, 2)
    decoded = codec.decode(blob)
    assert decoded.size == (70, 50)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255  # its sides are whole in latents
    with torch.inference_mode():
        expected = run.task.grid(run.ema.float(), pixels)[-1][0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(decoded, np.float32) - expected).mean() < 2 and expected.std() > 10


def test_the_mean_of_two_moments_of_a_vq_is_a_vq(photos, tmp_path):
    torch.manual_seed(0)
    run = trainer(photos, tmp_path / "run", "vq", "--stages", "3")
    learnt(run, photos, 3)
    run.save()
    (tmp_path / "run" / "checkpoint.pt").rename(tmp_path / "first.pt")
    again = trainer(photos, tmp_path / "run", "vq", "--stages", "3", "--start-from", str(tmp_path / "first.pt"))
    learnt(again, photos, 3)
    again.save()
    paths = [str(tmp_path / "first.pt"), str(tmp_path / "run" / "checkpoint.pt")]
    average.main([*paths, "0.5", "--out", str(tmp_path / "between.pt")])
    export.main([str(tmp_path / "between.pt"), str(tmp_path / "weights")])
    codec = latent8.Codec(latent8.own_model(tmp_path / "weights"), "cpu")
    expected = (run.ema.codebook + again.ema.codebook) / 2
    exported = diffusers.VQModel.from_pretrained(tmp_path / "weights", local_files_only=True)
    torch.testing.assert_close(exported.quantize.embedding.weight.float(), expected, rtol=1e-3, atol=1e-3)
    assert not torch.equal(run.ema.codebook, again.ema.codebook)
    assert codec.decode(codec.encode(photo(32, 48))).size == (48, 32)


def test_lpips_joins_the_loss(photos, tmp_path, lpips_file):
    path = str(lpips_file("alexnet"))
    runs = [trainer(photos, tmp_path / w, "vae", "--lpips", path, "--lpips-weight", w) for w in ("0", "2")]
    runs[1].model.load_state_dict(runs[0].model.state_dict())
    losses = []
    for run in runs:
        torch.manual_seed(0)
        losses.append(run.task.loss(run.model, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    assert losses[0][1] == losses[1][1] and losses[0][1]["lpips"] > 0
    assert losses[1][0].item() == pytest.approx(losses[0][0].item() + 2 * losses[0][1]["lpips"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model, more", [("vae", {"traverse", "samples"}), ("vq", {"codebook", "samples"})])
def test_a_run_leaves_pictures_and_goes_on_where_it_ended(photos, tmp_path, monkeypatch, capsys, model, more):
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    out = tmp_path / "run"
    options = ["--stages", "3", "--watch", "3", "--watch-every", "2"]
    trainer(photos, out, model, *options, "--steps", "4").run()
    written = {"checkpoint.pt", "log.csv", "config.yaml", "watched.npz", "latent-space.webp", "progress.webp"}
    assert {path.name for path in out.iterdir()} == written | {"grid.png", "curves.png"} | {f"{n}.png" for n in more}
    rows = rows_of(out / "log.csv")
    columns = AUTOENCODERS[model].columns
    assert list(rows[0]) == ["step", "minutes", "loss", *columns, "learning_rate", "skipped"]
    assert all(math.isfinite(float(v)) for row in rows for name, v in row.items() if name != "lpips")
    assert Image.open(out / "grid.png").size == (4 * 32, 3 * 32)
    if model == "vae":
        assert Image.open(out / "traverse.png").size == (len(vae.TRAVERSE) * 32, 4 * 32)
    else:
        assert Image.open(out / "codebook.png").size == (16 * 18, 16 * 18)  # each code as 4 x 4 latents, with a frame
    with Image.open(out / "progress.webp") as progress:
        assert progress.n_frames == 3  # before the first step, then every second
        assert progress.size == (3 * 32, 2 * 32 + 14)

    kept = torch.load(out / "checkpoint.pt", weights_only=True)
    run = trainer(photos, out, model, *options, "--steps", "6")
    assert "resumed at step 4" in capsys.readouterr().out
    assert all(torch.equal(t, kept["model"][name]) for name, t in run.model.state_dict().items())
    run.run()
    with Image.open(out / "progress.webp") as progress:
        assert progress.n_frames == 4
    assert [row["step"] for row in rows_of(out / "log.csv")] == ["1", "2", "3", "4", "5", "6"]


# What cannot be


def test_a_run_cannot_start_from_what_is_no_checkpoint(photos, tmp_path):
    (tmp_path / "other.pt").write_bytes(b"no checkpoint")
    for name, words in (("none.pt", "There is no checkpoint"), ("other.pt", "is damaged, or no checkpoint of")):
        with pytest.raises(train.TrainingError, match=words):
            trainer(photos, tmp_path / "run", "vae", "--start-from", str(tmp_path / name))


def test_resuming_with_another_architecture_is_refused_and_changes_nothing(photos, tmp_path):
    out = tmp_path / "run"
    trainer(photos, out, "vae", "--stages", "2", "--steps", "1").run()
    before = (out / "checkpoint.pt").read_bytes()

    def said(model: str, *options: str) -> str:
        with pytest.raises(train.TrainingError) as caught:
            trainer(photos, out, model, *options)
        return str(caught.value)

    start = f"{out / 'checkpoint.pt'} is of another architecture"
    end = ": take its options, or another --out."
    assert said("vq") == f"{start}, with model vae{end}"
    assert said("l8-tiny", "--crop", "64") == f"{start}, with model vae{end}"
    assert said("vae", "--stages", "2", "--width", "16") == f"{start}, with block_out_channels [8, 16]{end}"
    assert said("vae", "--stages", "2", "--latent-channels", "5") == f"{start}, with latent_channels 4{end}"
    trainer(photos, out, "vae", "--stages", "2", "--crop", "64")  # other crops are no other layers
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    torch.save({name: part for name, part in state.items() if name != "architecture"}, out / "checkpoint.pt")
    assert said("vae", "--stages", "3") == f"{start} than --model vae{end}"
    (out / "checkpoint.pt").write_bytes(before)
    assert trainer(photos, out, "vae", "--stages", "2").step == 1


@pytest.mark.parametrize(
    "options, message",
    [
        (["--crop", "100"], "--crop 100 is no multiple of 8, which --stages 4 needs: take 96 or 104, or fewer stages."),
        (["--stages", "7", "--crop", "32"], "--crop 32 is no multiple of 64, which --stages 7 needs: take 64"),
        (["--stages", "9"], "--stages must be from 1 to 7, not 9."),
        (["--width", "20"], "--width must be a multiple of 8, not 20."),
        (["--latent-channels", "100"], "--latent-channels must be from 1 to 64, not 100."),
        (["--codes", "257"], "--codes must be from 2 to 256, not 257."),
        (["--kl-weight", "nan"], "--kl-weight must be 0 or more, not nan."),
        (["--codebook-decay", "1"], "--codebook-decay must lie between 0 and 1, not 1.0."),
        (["--crop", "16", "--lpips", "alexnet.npz"], "--lpips needs a --crop of at least 32, not 16."),
        (["--batch", "0"], "--batch: must be 1 or more, not 0"),
    ],
)
def test_options_that_make_no_model_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        train.parse_args(["photos", "--out", "run", "--model", "vae", *options])
    assert message in capsys.readouterr().err


def test_pictures_smaller_than_the_crop_end_the_training_with_a_sentence(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo(30, 30)).save(folder / "small.png")
    options = [str(folder), "--out", str(tmp_path / "run"), "--model", "vq", *SMALL]
    with pytest.raises(SystemExit) as caught:
        train.main(options)
    assert str(caught.value) == (
        "training.train: No photo is left to train on: all are damaged or smaller than 32 pixels."
    )


def test_tensorboard_is_asked_for_where_it_is_missing(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(train.TrainingError, match="^--tensorboard needs TensorBoard: pip install tensorboard.$"):
        trainer(photos, tmp_path / "run", "vae", "--tensorboard")


def test_tensorboard_gets_every_figure(photos, tmp_path, monkeypatch):
    """The writer is a stand-in: TensorBoard itself is no dependency of the tests."""
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

    stand_in = type(sys)("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    run = trainer(photos, tmp_path / "run", "vq", "--tensorboard", "--steps", "2")
    assert run.board.folder == tmp_path / "run" / "tensorboard"
    run.run()
    rows = rows_of(tmp_path / "run" / "log.csv")
    assert [(name, step) for name, _, step in written][-1][1] == 2
    for name, value, step in written:
        if math.isfinite(value):
            assert float(rows[step - 1][name]) == pytest.approx(value, rel=1e-5)
    assert {name for name, _, _ in written} == {"loss", *AUTOENCODERS["vq"].columns, "learning_rate"}


def test_a_full_disk_is_told_and_the_old_checkpoint_stays_whole(photos, tmp_path, capsys):
    out = tmp_path / "run"
    run = trainer(photos, out, "vae", "--steps", "1")
    run.run()
    before = (out / "checkpoint.pt").read_bytes()
    again = trainer(photos, out, "vae", "--steps", "2")
    words = "^The end of this run is not saved, for want of room in "
    with files_up_to(len(before) // 2), pytest.raises(train.TrainingError, match=words):
        again.run()
    assert "checkpoint.pt could not be written (" in capsys.readouterr().out
    assert (out / "checkpoint.pt").read_bytes() == before and not (out / "checkpoint.partial").exists()
    assert trainer(photos, out, "vae").step == 1


def test_export_says_what_is_wrong(photos, tmp_path, capsys):
    def said(place: Path) -> str:
        with pytest.raises(SystemExit):
            export.main([str(place), str(tmp_path / "weights")])
        return capsys.readouterr().err

    assert f"There is no checkpoint {tmp_path / 'none'}" in said(tmp_path / "none")
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert "checkpoint.pt is damaged, or no checkpoint of training.train." in said(tmp_path)
    run = trainer(photos, tmp_path / "run", "vae")
    state = run.state()
    state["architecture"]["config"]["block_out_channels"] = [8, 8, 8, 8]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert "do not fit the architecture that it states." in said(tmp_path)
    assert not (tmp_path / "weights").exists()
