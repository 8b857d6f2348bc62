"""Training l8-photo and exporting it: the codec does what was trained, under tables that fit."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latent8 import Codec
from latent8.evaluation.metrics import psnr
from latent8.l8_photo import layers as hp
from latent8.l8_photo import quantisation
from latent8.l8_photo.model import band_of, context_scales, hyper_scales, level_of
from tests.helpers.photo_symbols import MODEL, decoded, framed, known_before, logistic_tables
from tests.helpers.samples import gradient
from training import export, ms_ssim, train
from training.export import export_photo, logistic, symmetric_table_counts, table_counts
from training.photo import PhotoTask, latents, n_bits
from training.task import TrainingError


def test_loss_falls_on_one_batch(sunset: np.ndarray, tmp_path: Path) -> None:
    options = [str(tmp_path), "--model", "l8-photo", "--out", str(tmp_path / "run"), "--device", "cpu", "--lr", "1e-3"]
    trainer = train.Trainer(train.parse_args(options))
    trainer.step = 200  # the warm-up is over
    pixels = torch.tensor(sunset[-64:, -64:]).permute(2, 0, 1)[None].float() / 255
    losses = []
    for _ in range(15):
        torch.manual_seed(0)  # the same levels and noise each time
        losses.append(trainer.train_step(pixels)["loss"])
    assert losses[-1] < 0.9 * losses[0]
    assert trainer.guard.skipped == 0


def test_every_layer_is_trained(sunset: np.ndarray) -> None:
    torch.manual_seed(0)
    task = PhotoTask(None, None)
    model = task.new_model()
    assert isinstance(model, hp.Hyperprior)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)  # what starts at zero lets no gradient through
        model.hyper_analysis.layers[-1].weight.mul_(10)  # and hyper-latents that are all 0 give none to what they enter
    pixels = torch.tensor(sunset[:64, :64]).permute(2, 0, 1).float().expand(6, -1, -1, -1) / 255
    task.loss(model, pixels)[0].backward()
    trained = dict(model.named_parameters())
    for name, parameter in trained.items():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    grouped = [
        p for optimiser in task.optimisers(model, 1.0) for group in optimiser.param_groups for p in group["params"]
    ]
    assert len(grouped) == len({id(p) for p in grouped}) == len(trained)


def test_bits_of_training_are_those_of_the_tables() -> None:
    symbols = torch.arange(-30, 31)
    for index in (10, 25, 40, 55):
        counted = -torch.log2(logistic_tables()[index, symbols + 127].double() / 2**20)
        x = symbols.double().view(-1, 1, 1, 1)
        estimated = n_bits(x, torch.full_like(x, index))
        likely = counted < 14
        assert likely.sum() >= 3
        torch.testing.assert_close(estimated[likely], counted[likely], rtol=0.002, atol=0.01)


def test_training_with_ms_ssim_takes_a_step_and_logs_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    (tmp_path / "photos").mkdir()
    Image.fromarray(gradient(600, 500)).save(tmp_path / "photos" / "photo.png")
    options = [str(tmp_path / "photos"), "--model", "l8-photo", "--out", str(tmp_path / "run"), "--device", "cpu"]
    options += ["--crop", "192", "--batch", "1", "--steps", "1"]
    train.Trainer(train.parse_args(options)).run()
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["ms_ssim"]) < 1 and math.isfinite(float(row["loss"])) and row["skipped"] == "0"


def structures() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of pictures [1, 1, 176, 161] in [0, 255], a batch of one each."""
    y, x = torch.meshgrid(torch.arange(176.0), torch.arange(161.0), indexing="ij")
    waves = (127 + 60 * torch.sin(x / 3) + 60 * torch.cos(y / 5))[None, None]
    noise = 20 * torch.randn(waves.shape, generator=torch.Generator().manual_seed(0))
    flat = torch.full_like(waves, 90.0)
    return {
        "like": (waves + noise, waves),
        "equal": (waves, waves),
        "flat": (flat, flat),
        "flat and not": (flat, waves),
        "opposite": (255 - waves, waves),
        "black and white": (flat - 90, flat + 165),
    }


@pytest.mark.parametrize("name", structures())
def test_gradients_of_ms_ssim_are_finite(name: str) -> None:
    x, y = (picture.clone().requires_grad_() for picture in structures()[name])
    ms_ssim.similarity(x, y, floor=0.01).sum().backward()
    for picture in (x, y):
        assert picture.grad is not None and torch.isfinite(picture.grad).all()


def test_the_floor_keeps_gradients_of_ms_ssim_small_where_structures_hardly_agree() -> None:
    random = torch.Generator().manual_seed(0)
    coarse, fine = structures()["like"][1].double(), 30 * torch.randn(1, 1, 176, 161, generator=random).double()
    unlike, like = -1.0, 1.0  # times the fine structure of the other: until its mean agreement is hardly above 0
    for _ in range(60):
        middle = (unlike + like) / 2
        agreement = ms_ssim.similarities(coarse + middle * fine, coarse + fine)[1].mean()
        unlike, like = (middle, like) if agreement <= 0 else (unlike, middle)
    steepest = []
    for floor in (0.01, 0.0):
        x = (coarse + like * fine).requires_grad_()
        ms_ssim.similarity(x, coarse + fine, floor).sum().backward()
        assert x.grad is not None and torch.isfinite(x.grad).all()
        steepest.append(x.grad.abs().max().item())
    assert 0 < 1000 * steepest[0] < steepest[1]


def test_gradients_of_ms_ssim_lead_to_the_other_picture() -> None:
    x, y = structures()["like"]
    x.requires_grad_()
    before = ms_ssim.similarity(x, y, floor=0.01)
    before.sum().backward()
    assert x.grad is not None
    step = x.grad * 5 / x.grad.abs().max()
    with torch.no_grad():
        after = ms_ssim.similarity(x + step, y, floor=0.01)
        assert before.item() + 0.001 < after.item() <= 1
        assert (step * (y - x)).sum() > 0


def test_ms_ssim_is_exact_where_half_precision_is_on() -> None:
    x, y = structures()["like"]
    gradients = []
    for half in (False, True):
        x.requires_grad_().grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            ms_ssim.similarity(x, y, floor=0.01).sum().backward()
        assert x.grad is not None
        gradients.append(x.grad.clone())
    assert torch.equal(*gradients)


def test_ms_ssim_of_a_batch_is_that_of_each() -> None:
    pairs = [structures()[name] for name in ("like", "equal", "opposite")]
    x, y = (torch.cat(side) for side in zip(*pairs, strict=True))
    of_all = ms_ssim.similarity(x, y, floor=0.01)
    torch.testing.assert_close(of_all, torch.cat([ms_ssim.similarity(*pair, floor=0.01) for pair in pairs]))
    assert of_all[0] < of_all[1] == 1 and 0 < of_all[2] < 0.1


# ---- the exported codec


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[hp.Hyperprior, Codec]:
    """A new model whose scales depend on all they can depend on, and the codec that it is exported as."""
    torch.manual_seed(0)
    model = PhotoTask(None, None).new_model()
    assert isinstance(model, hp.Hyperprior)
    with torch.no_grad():
        model.scale.third.weight *= 30
        for context in (*model.mean_contexts, *model.scale_contexts):
            for parameter in context.parameters():
                parameter += 0.03 * torch.randn(parameter.shape)
        for rows, size in ((model.scale.condition.rows, 0.2), (model.hyper_scale.rows, 8.0)):
            rows += size * torch.randn(rows.shape)
    folder = tmp_path_factory.mktemp("fresh")
    torch.save({"ema": model.state_dict()}, folder / "checkpoint.pt")
    export_photo(folder / "checkpoint.pt", folder / "weights")
    return model, Codec(replace(MODEL, source=str(folder / "weights")), "cpu", torch.float32)


def test_exported_model_is_a_working_codec(fresh: tuple[hp.Hyperprior, Codec]) -> None:
    _, codec = fresh
    picture = gradient(100, 70)
    blobs = [codec.encode(picture, quality=quality) for quality in (20, 80)]
    assert [codec.decode(blob).size for blob in blobs] == [(100, 70)] * 2
    low, high = (psnr(picture, decoded(codec, blob)) for blob in blobs)
    assert 25 < low < high  # a new model is a DCT
    assert codec.network.entropy_model.layers.get_buffer("tables").equal(
        symmetric_table_counts(logistic(torch.arange(64))).expand(8, -1, -1)
    )


@pytest.mark.parametrize("quality", [1, 30, 63, 100])
def test_integers_agree_with_what_was_trained(fresh: tuple[hp.Hyperprior, Codec], quality: int) -> None:
    model, codec = fresh
    z = torch.randint(-6, 7, (64, 3, 4), generator=torch.Generator().manual_seed(quality))
    q = torch.randint(-60, 61, (hp.N_LATENTS, 5, 6), generator=torch.Generator().manual_seed(quality)).char()
    level = torch.tensor([level_of(quality)])
    with torch.no_grad():
        trained = [model.scale(z[None].float(), level)[0]]
        q = torch.randint(-60, 61, (hp.N_LATENTS, 5, 6), generator=torch.Generator().manual_seed(quality)).to(
            torch.int8
        )
        for number, context in enumerate(model.scale_contexts, 1):
            known = torch.from_numpy(known_before(number, q.numpy()))
            of_all = context(known[None].float().abs(), level)[0]
            trained += [of_all[:, row::2, column::2] for row, column in hp.PASSES[number]]
        hyper = model.hyper_scale(torch.tensor([float(band_of(quality))])).flatten()
    layers = codec.network.entropy_model.layers
    exported = [hyper_scales(layers, z, quality)]
    for number in (1, 2):
        known = framed(known_before(number, q.numpy()))
        exported += [context_scales(layers, number - 1, known, quality, phase) for phase in hp.PASSES[number]]
    for integers, scales in zip(exported, trained, strict=True):
        torch.testing.assert_close(integers / 256, scales.clamp(-63, 63), rtol=0.01, atol=0.4)
        assert scales.round().unique().numel() > 5  # not equal for being flat
    assert torch.equal(layers.hyper_tables[band_of(quality)], table_counts(logistic(hyper)))


def test_codec_does_what_training_did(fresh: tuple[hp.Hyperprior, Codec], sunset: np.ndarray) -> None:
    """Contexts, passes, rounding, levels and gains mean the same to both."""
    model, codec = fresh
    pixels = np.ascontiguousarray(sunset[:64, :128])
    for quality in (20, 80):
        level = torch.tensor([level_of(quality)])
        with torch.no_grad():
            y = latents(model, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, level).y
            trained = model.synthesis(y, level, torch.tensor([0.0]))
        wanted = trained[0].permute(1, 2, 0).mul(255).clamp(0, 255).numpy()
        found = decoded(codec, codec.encode(pixels, quality=quality)).astype(float)
        assert np.abs(found - wanted).mean() < 1.5  # whole levels, and half precision; 3 and more where one part is off


def test_scale_that_is_not_a_number_spoils_one_batch_and_no_more(sunset: np.ndarray, tmp_path: Path) -> None:
    options = [str(tmp_path), "--model", "l8-photo", "--out", str(tmp_path / "run"), "--device", "cpu"]
    trainer = train.Trainer(train.parse_args(options))
    with torch.no_grad():
        trainer.model.scale.third.bias[0] = math.nan
    pixels = torch.tensor(sunset[-64:, -64:]).permute(2, 0, 1)[None].float() / 255
    before = trainer.model.synthesis.linear.bias.clone()
    trainer.train_step(pixels)
    assert trainer.guard.skipped == 1 and torch.equal(trainer.model.synthesis.linear.bias, before)


def test_latents_are_drawn_towards_their_means(fresh: tuple[hp.Hyperprior, Codec], sunset: np.ndarray) -> None:
    """By the shift of the scale, of which each has one; q itself is the distance in steps otherwise."""
    _, codec = fresh
    network, model, quality = codec.network, codec.network.entropy_model, 70
    y = network.encode_pixels(np.ascontiguousarray(sunset[:64, :96]))
    passes = model.unpack(model.pack(y, quality), y.shape)
    q, means, scales = passes.q.numpy().astype(float), passes.means.numpy().copy(), passes.tables().astype(int)
    shift = model.layers.reconstruction_shift.detach().numpy()
    gain = model.layers.log_inverse_gain(torch.tensor([level_of(quality)])).exp()[0].detach().numpy()
    assert len(np.unique(scales[q != 0])) > 3 and shift[scales[q != 0]].min() > 0
    assert quantisation.residual_gain(model.layers.log_gain(torch.tensor([level_of(quality)]))).unique().tolist() == [
        1.0
    ]
    wanted = (q - np.sign(q) * shift[scales] + means) * gain
    np.testing.assert_allclose(model.latents(passes), wanted, rtol=1e-4, atol=1e-4)


def test_no_mean_of_a_colour_is_beyond_its_symbols() -> None:
    """However fine the steps are, and though the means be foretold to be at the other end of their range."""
    log_gain = torch.linspace(-1, 4, 11)[:, None, None, None].expand(-1, hp.N_LATENTS, 1, 1)
    gain, v = quantisation.residual_gain(log_gain), 13.8565 * log_gain.exp()
    assert gain[log_gain < 2].unique().tolist() == [1.0] and (gain <= 1).all()
    means = list(quantisation.COLOUR_MEANS)
    assert ((gain * v)[:, means] <= hp.MAX_SYMBOL).all() and ((gain * v)[-1, means] > 0.9 * hp.MAX_SYMBOL).all()
    others = [channel for channel in range(hp.N_LATENTS) if channel not in means]
    assert gain[:, others].unique().tolist() == [1.0]
    q, shift = torch.tensor([-3.0, 0.0, 2.0]), torch.tensor(0.25)
    assert quantisation.dequantised(q, torch.tensor(10.0), shift, torch.tensor(0.5)).tolist() == [4.5, 10.0, 13.5]


@pytest.mark.parametrize("kind", ["logistic", "lopsided", "one symbol", "no zeros", "random"])
def test_symmetric_counts_are_whole_and_in_proportion(kind: str) -> None:
    weights = torch.zeros(3, 255, dtype=torch.float64)
    if kind == "logistic":
        weights = logistic(torch.tensor([0, 30, 63]))
    elif kind == "lopsided":  # all on one side: half of it goes to the other
        weights[:, 130:140] = 7.0
    elif kind == "one symbol":
        weights[:, 127] = 1e-9
    elif kind == "no zeros":
        weights[:, [126, 128]] = 1e12
    else:
        weights = torch.rand(3, 255, generator=torch.Generator().manual_seed(0)).double()
    counts = symmetric_table_counts(weights)
    assert counts.shape == (3, 128) and counts.dtype == torch.int32 and counts.min() >= 1
    both = torch.cat([counts.flip(-1)[:, :-1], counts], dim=-1).long()
    assert both.shape == weights.shape and (both.sum(-1) == 1 << 20).all()
    wanted = (weights + weights.flip(-1)) / (2 * weights.sum(-1, keepdim=True)) * (1 << 20)
    # A count for each symbol is set aside; what rounding leaves over goes to 0.
    off = (both - wanted).abs()
    off[:, 127] -= 255
    assert (off <= 1 + 255 * wanted / (1 << 20)).all()


def test_counts_of_symmetric_weights_are_those_of_both_signs() -> None:
    weights = logistic(torch.arange(64))
    counts = symmetric_table_counts(weights)
    assert (counts[:, 1:] == table_counts(weights)[:, 128:]).float().mean() > 0.99  # but for rounding
    assert (counts[:, :-2] >= counts[:, 1:-1]).all()  # the last symbol has all beyond it as well


def test_tables_are_counted_from_photos(fresh: tuple[hp.Hyperprior, Codec], tmp_path: Path) -> None:
    """Counted on a picture, the tables code that picture in fewer bytes than those that training assumes."""
    model, assumed = fresh
    picture = (gradient(192, 128) + np.random.default_rng(0).integers(0, 40, (128, 192, 3))).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture).resize((288, 192)).save(tmp_path / "photos" / "photo.png")
    torch.save({"ema": model.state_dict()}, tmp_path / "checkpoint.pt")
    export_photo(tmp_path / "checkpoint.pt", tmp_path / "weights", tmp_path / "photos")
    counted = Codec(replace(MODEL, source=str(tmp_path / "weights")), "cpu", torch.float32)
    for quality in (30, 80):
        assert len(counted.encode(picture, quality=quality)) < 0.95 * len(assumed.encode(picture, quality=quality))
    assert decoded(counted, counted.encode(picture)).shape == picture.shape


def test_photos_that_cannot_be_counted_are_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    checkpoint, folder, photos = tmp_path / "checkpoint.pt", tmp_path / "weights", tmp_path / "photos"
    torch.save({"ema": PhotoTask(None, None).new_model().state_dict()}, checkpoint)
    photos.mkdir()
    (photos / "damaged.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match="^None of the photos can be read that the tables should be counted from.$"):
        export_photo(checkpoint, folder, photos)
    assert not folder.exists() and "left out damaged.png: " in capsys.readouterr().err
    Image.fromarray(np.asarray(gradient(96, 64))).save(photos / "photo.png")

    count = export.symbol_statistics
    there: list[bool] = []

    def counted(*arguments):
        found = count(*arguments)
        there.append(folder.exists())
        return found

    monkeypatch.setattr(export, "symbol_statistics", counted)
    export_photo(checkpoint, folder, photos)
    assert there == [False] and "left out damaged.png: " in capsys.readouterr().err
    codec = Codec(replace(MODEL, source=str(folder)), "cpu")
    assert decoded(codec, codec.encode(gradient(64, 64))).shape == (64, 64, 3)
