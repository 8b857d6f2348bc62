"""One bitstream, several readings: training the synthesis alone, on bits that stay as they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latent8 import Codec, ModelError
from latent8.evaluation.comparison import compare
from latent8.file_format.blob import Encoded
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import L8Photo, bitstream_hash
from tests.helpers.photo_symbols import MODEL
from tests.helpers.samples import GOLDEN, gradient
from training import train
from training.drawn import drawn_crop
from training.export import export_photo, export_synthesis, logistic, table_counts
from training.photo import PhotoTask
from training.photos import CropSource
from training.readings import ReadingsTask, drawn_realism
from training.task import TrainingError
from training.wasserstein import wasserstein_distortion
from training.weights import likeliest_scales, photo_weights

BUNDLED = Path(MODEL.location)


@pytest.fixture(scope="module")
def bundled() -> L8Photo:
    return L8Photo.from_pretrained(BUNDLED, low_cpu_mem_usage=False, torch_dtype=torch.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of no step, from the bundled weights."""
    path = tmp_path_factory.mktemp("start") / "checkpoint.pt"
    torch.save({"ema": photo_weights(BUNDLED).state_dict()}, path)
    return path


def loaded(folder: Path) -> L8Photo:
    return L8Photo.from_pretrained(folder, low_cpu_mem_usage=False, torch_dtype=torch.float32)


def test_float_networks_come_back_from_exported_weights(bundled: L8Photo, checkpoint: Path, tmp_path: Path) -> None:
    export_photo(checkpoint, tmp_path / "weights")
    found = loaded(tmp_path / "weights").state_dict()
    for name, wanted in bundled.state_dict().items():
        if name.endswith("_bias"):  # in units of 2^-20
            assert (found[name] - wanted).abs().max() <= 1, name
        elif "tables" not in name:  # those are counted from photos, here there are none
            assert torch.equal(found[name], wanted), name


def test_distributions_come_back_from_their_tables() -> None:
    scales = torch.arange(5.0, 60.0, 2.5).view(2, -1)
    torch.testing.assert_close(likeliest_scales(table_counts(logistic(scales))), scales, atol=0.25, rtol=0)


def test_synthesis_of_no_steps_reads_blobs_as_today(photo_codec: Codec, checkpoint: Path, tmp_path: Path) -> None:
    export_synthesis(checkpoint, tmp_path / "weights", BUNDLED, realism=0.25)
    codec = Codec(replace(MODEL, source=str(tmp_path / "weights")), "cpu", torch.float32)
    assert codec.network.default_realism == 0.25
    blob = (GOLDEN / "photo.l8").read_bytes()
    faithful = np.asarray(codec.decode(blob, realism=0.0))
    np.testing.assert_array_equal(faithful, np.asarray(photo_codec.decode(blob, realism=0.0)))
    assert codec.network.weights_hash == photo_codec.network.weights_hash
    picture = gradient(70, 50)
    assert codec.encode(picture, quality=40) == photo_codec.encode(picture, quality=40)
    before, after = (loaded(folder).state_dict() for folder in (BUNDLED, tmp_path / "weights"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if name[:9] != "synthesis")


def test_hash_is_of_what_decides_on_the_meaning_of_a_blob(bundled: L8Photo) -> None:
    stated = bitstream_hash(bundled)
    assert stated == Encoded.parse((GOLDEN / "photo.l8").read_bytes()).header.weights
    model = loaded(BUNDLED)
    for name, tensor in model.state_dict().items():
        before = tensor.flatten()[-1].clone()
        tensor.flatten()[-1:] += 1
        free = name.split(".")[0] in ("analysis", "hyper_analysis", "synthesis")
        assert (bitstream_hash(model) == stated) == free, name
        tensor.flatten()[-1:] = before


def busy_synthesis() -> hp.Synthesis:
    """Every table of readings does something."""
    torch.manual_seed(0)
    synthesis = photo_weights(BUNDLED).synthesis.requires_grad_(False)
    assert synthesis.readings is not None
    for rows in synthesis.readings.parameters():
        rows += 0.05 * torch.randn(rows.shape)
    return synthesis


def test_realism_runs_between_learned_readings() -> None:
    synthesis, y, level = busy_synthesis(), torch.randn(1, hp.N_LATENTS, 2, 3), torch.tensor([2.3])
    with torch.no_grad():
        read = {r: synthesis(y, level, torch.tensor([r])) for r in (0.0, 0.499, 0.5, 0.501, 1.0)}
        together = synthesis(y.expand(3, -1, -1, -1), level.expand(3), torch.tensor([0.0, 0.5, 1.0]))
    ends = (read[0.0] - read[1.0]).abs().mean()
    assert (read[0.5] - read[0.0]).abs().mean() > 0.01 and ends > 0.01
    for near in (0.499, 0.501):
        assert (read[near] - read[0.5]).abs().mean() < 0.02 * ends
    torch.testing.assert_close(together, torch.cat([read[0.0], read[0.5], read[1.0]]), rtol=1e-4, atol=1e-4)


def test_parts_of_the_synthesis_read_alike() -> None:
    synthesis, y = busy_synthesis(), torch.randn(1, hp.N_LATENTS, 2, 3)
    at = torch.tensor([4.0]), torch.tensor([0.7])
    with torch.no_grad():
        coarse = synthesis.eighth(synthesis.sixteenth(y, *at), *at)
        torch.testing.assert_close(synthesis.quarter(coarse, y, *at), synthesis(y, *at))


# ---- training


def crops(count: int) -> torch.Tensor:
    source = random.Random(0)
    pictures = [np.asarray(drawn_crop(source, 192)) for _ in range(count)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    ("more", "trained"), [([], "synthesis."), (["--only-tables"], "synthesis.readings.")], ids=["all", "tables"]
)
def test_only_the_synthesis_is_trained(
    more: list[str], trained: str, lpips_file: Callable[[str], Path], tmp_path: Path, monkeypatch
) -> None:
    options = [str(tmp_path), "--model", "l8-photo", "--out", str(tmp_path / "run"), "--device", "cpu"]
    options += ["--only-synthesis", "--start-from-weights", str(BUNDLED), "--crop", "192"]
    options += ["--lpips", str(lpips_file("alexnet")), "--vgg16", str(lpips_file("vgg16")), *more]
    trainer = train.Trainer(train.parse_args(options))
    monkeypatch.setattr("training.readings.drawn_realism", lambda count: torch.tensor([0.0, 0.4, 1.0])[:count])
    start = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    monkeypatch.setattr("training.distortion.WASSERSTEIN_SHARE", 1.0)
    figures = trainer.train_step(crops(3))
    assert all(np.isfinite(value) for value in figures.values()) and trainer.guard.skipped == 0
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, start[name]) != name.startswith(trained), name


def test_every_part_of_the_loss_counts_by_its_realism(lpips_file: Callable[[str], Path], monkeypatch) -> None:
    from training.lpips import LPIPS

    model, photos = photo_weights(BUNDLED), crops(2)

    def loss(realism: float, **networks: LPIPS | None) -> tuple[float, dict[str, float]]:
        monkeypatch.setattr("training.readings.drawn_realism", lambda count: torch.full((count,), realism))
        task = ReadingsTask(BUNDLED, networks.get("alexnet"), networks.get("vgg16"))
        torch.manual_seed(1)
        with torch.no_grad():
            value, figures = task.loss(model, photos)
        return value.item(), {name: float(figure) for name, figure in figures.items()}

    monkeypatch.setattr("training.distortion.WASSERSTEIN_SHARE", 1.0)
    networks = {name: LPIPS(lpips_file(name)) for name in ("alexnet", "vgg16")}
    assert loss(0.0)[0] == loss(0.0, **networks)[0]  # the squared error alone
    for realism in (0.5, 1.0):
        without, alexnet, both = loss(realism), loss(realism, alexnet=networks["alexnet"]), loss(realism, **networks)
        assert without[0] < alexnet[0] < both[0]
        assert np.isfinite(both[1]["wasserstein"]) and np.isnan(alexnet[1]["wasserstein"])
        assert np.isfinite(both[1]["ms_ssim"])


def test_realism_is_drawn_at_the_ends_and_between() -> None:
    torch.manual_seed(0)
    drawn = drawn_realism(2000)
    for learned in hp.REALISMS:
        assert 0.1 < (drawn == learned).float().mean() < 0.5
    between = ~torch.isin(drawn, torch.tensor(hp.REALISMS))
    assert 0.05 < between.float().mean() < 0.3 and drawn.min() >= 0 and drawn.max() <= 1


def test_wasserstein_distortion_is_of_textures(lpips_file: Callable[[str], Path]) -> None:
    """Other grains of the same kind are nearer than none, though they are further off by squared error."""
    from training.lpips import LPIPS

    vgg = LPIPS(lpips_file("vgg16"))
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.15 + 0.5
    one, other, smooth = noise[:1], noise[1:], torch.full((1, 3, 64, 64), 0.5)
    assert (other - one).square().mean() > (smooth - one).square().mean()
    assert wasserstein_distortion(vgg, one, one).item() == pytest.approx(0, abs=1e-5)
    assert wasserstein_distortion(vgg, other, one) < 0.5 * wasserstein_distortion(vgg, smooth, one)
    both = wasserstein_distortion(vgg, torch.cat([other, smooth]), one.expand(2, -1, -1, -1))
    assert both[0] < both[1]
    smooth.requires_grad_()
    wasserstein_distortion(vgg, smooth, one).sum().backward()
    assert smooth.grad is not None and torch.isfinite(smooth.grad).all() and smooth.grad.abs().max() > 0


def test_drawn_crops_have_edges_and_even_ground() -> None:
    source = random.Random(3)
    pictures = [np.asarray(drawn_crop(source, 96)) for _ in range(40)]
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 40
    steps = np.stack([np.abs(np.diff(picture.astype(int), axis=1)).max(-1) for picture in pictures])
    assert np.median((steps == 0).mean((1, 2))) > 0.3  # even ground
    assert np.median(steps.max((1, 2))) > 100  # and hard edges


def test_a_share_of_the_crops_is_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), (10, 200, 30)).save(tmp_path / "green.png")
    source = CropSource([tmp_path / "green.png"], 64, 50, drawn=0.3)
    green = torch.tensor([10, 200, 30])[:, None, None] / 255
    photos = ((source.next() - green).abs().amax((1, 2, 3)) < 1e-3).sum().item()
    assert 20 <= photos <= 48


def test_a_schedule_of_steps_ends_with_them_and_resumes(tmp_path: Path) -> None:
    Image.fromarray(gradient(300, 260)).save(tmp_path / "photo.png")

    def run(*more: str) -> train.Trainer:
        options = [str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu", "--crop", "64", "--batch", "1"]
        trainer = train.Trainer(train.parse_args([*options, "--schedule-steps", "4", *more]))
        trainer.run()
        return trainer

    assert run("--steps", "3").step == 3
    resumed = run()
    assert resumed.step == 4 and resumed.progress() == 1.0
    assert resumed.learning_rate() < 0.02 * resumed.args.lr


def test_the_synthesis_of_a_checkpoint_is_all_that_is_taken_of_it(tmp_path: Path) -> None:
    """Else bits would be another run's, and the tables the folder's."""
    other = {name: tensor + 1 for name, tensor in PhotoTask(None, None).new_model().state_dict().items()}
    torch.save({"ema": other}, tmp_path / "checkpoint.pt")
    options = [str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu", "--model", "l8-photo"]
    options += ["--crop", "192", "--only-synthesis", "--start-from-weights", str(BUNDLED)]
    options += ["--start-from", str(tmp_path / "checkpoint.pt")]
    bundled = photo_weights(BUNDLED).state_dict()
    trainer = train.Trainer(train.parse_args(options))
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, (other if name.startswith("synthesis.") else bundled)[name]), name
    torch.save({"ema": {"autoencoder.weight": torch.zeros(1)}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=r"checkpoint.pt has no synthesis of l8-photo: take a run of it\.$"):
        train.Trainer(train.parse_args(options))


@pytest.mark.parametrize("more", [[], ["--only-synthesis"]])
def test_weights_of_another_model_are_nothing_to_start_from(tmp_path: Path, more: list[str]) -> None:
    for folder in (tmp_path, BUNDLED.parent / "l8-tiny", tmp_path / "none"):
        options = [str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu", "--model", "l8-photo", *more]
        options += ["--crop", "192", "--start-from-weights", str(folder)]
        with pytest.raises(
            TrainingError, match="holds no weights of l8-photo: give a folder that they were exported to"
        ):
            train.Trainer(train.parse_args(options))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--start-from-weights", "folder"], "--start-from-weights is for l8-photo"),
        (["--model", "l8-photo", "--only-synthesis"], "--only-synthesis needs --start-from-weights"),
        (["--vgg16", "vgg16.npz"], "--vgg16 is for l8-photo"),
        (["--drawn", "1.5"], "--drawn: must be from 0 to 1, not 1.5"),
        (
            ["--model", "l8-photo", "--start-from-weights", "folder", "--only-synthesis", "--crop", "128"],
            "--model l8-photo needs a --crop of at least 161, for MS-SSIM",
        ),
        (
            ["--model", "l8-photo", "--start-from-weights", "folder", "--start-from", "run"],
            "give either --start-from or --start-from-weights; with --only-synthesis both may be given",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_do_not_go_together(options: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit):
        train.parse_args(["photos", "--out", "run", *options])
    assert message in capsys.readouterr().err


# ---- the product


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """The bundled weights, with readings that differ."""
    folder = tmp_path_factory.mktemp("readings")
    layers = photo_weights(BUNDLED)
    layers.synthesis = busy_synthesis()
    torch.save({"ema": layers.state_dict()}, folder / "checkpoint.pt")
    export_synthesis(folder / "checkpoint.pt", folder / "weights", BUNDLED, realism=0.5)
    return Codec(replace(MODEL, source=str(folder / "weights")), "cpu", torch.float32)


def test_realism_is_chosen_when_decoding(reader: Codec) -> None:
    blob = (GOLDEN / "photo.l8").read_bytes()
    read = {realism: np.asarray(reader.decode(blob, realism=realism)) for realism in (None, 0, 0.5, 1)}
    np.testing.assert_array_equal(read[None], read[0.5])
    assert len({picture.tobytes() for picture in read.values()}) == 3


def test_every_reading_is_the_same_in_tiles(reader: Codec, monkeypatch) -> None:
    picture = np.tile(gradient(96, 80), (3, 3, 1))
    blob = reader.encode(picture)
    whole = np.asarray(reader.decode(blob, realism=1.0)).astype(int)
    monkeypatch.setattr(reader.network, "max_bytes", 1 << 20)
    monkeypatch.setattr("latent8.l8_photo.network.QUARTER_BYTES", 1 << 20)
    in_tiles = np.asarray(reader.decode(blob, realism=1.0)).astype(int)
    assert np.abs(in_tiles - whole).max() <= 1


@pytest.mark.parametrize("realism", [-0.01, 1.01, float("nan")])
def test_realism_out_of_range(reader: Codec, realism: float) -> None:
    with pytest.raises(ValueError, match=r"^realism must be from 0 to 1, not "):
        reader.decode((GOLDEN / "photo.l8").read_bytes(), realism=realism)


def test_a_model_of_one_reading_says_so(codec: Codec) -> None:
    blob = codec.encode(gradient(20, 16))
    with pytest.raises(ModelError, match="^l8-tiny has one reading of a blob: leave realism out.$"):
        codec.decode(blob, realism=0.5)


def test_realism_on_the_command_line(codec: Codec, run, tmp_path: Path) -> None:
    source = tmp_path / "one.l8"
    source.write_bytes(codec.encode(gradient(20, 16)))
    for command in ("decode", "compare"):
        code, _, errors = run(command, source, "--realism", "0.5")
        assert code == 2 and errors[-1].endswith("l8-tiny has one reading of a blob: leave realism out.")
        for wrong in ("1.5", "-1", "much", "nan"):
            code, _, errors = run(command, source, f"--realism={wrong}")
            assert code == 2 and "--realism: must be a number from 0 to 1" in errors[-1]


def test_readings_beside_each_other(reader: Codec) -> None:
    blob = reader.encode(gradient(64, 48))
    found = compare(blob, [reader.model], gradient(64, 48), realisms=[0, 1, 0], device="cpu")
    assert [one.decoder for one in found.decoded] == ["l8-photo realism 0", "l8-photo realism 1"]
    assert found.decoded[0].psnr != found.decoded[1].psnr
    assert next(iter(found.differences())).second == "l8-photo realism 1"
