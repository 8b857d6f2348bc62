"""Exported checkpoints work in the codec, and are measured on whole files."""

from __future__ import annotations

import math

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import latent8
from tests.helpers.drawn_photos import photo, rows_of
from tests.helpers.small_networks import busy_network, save_checkpoint
from training import evaluate as ev
from training import export, train
from training.photo import PhotoTask

pytest_plugins = ["tests.helpers.drawn_photos"]


def test_codec_works_with_an_exported_checkpoint(tmp_path):
    network = busy_network()
    codec = ev.checkpoint_codec(save_checkpoint(network, tmp_path / "checkpoint.pt"), "l8-tiny", "cpu")
    picture = photo(50, 70)
    decoded = codec.decode(codec.encode(picture))
    assert decoded.size == (70, 50) and decoded.mode == "RGB"

    # The trainer's own network, with weights rounded as exported, gives the same picture
    network.load_state_dict({name: tensor.half().float() for name, tensor in network.state_dict().items()})
    padded = np.pad(picture, ((0, 6), (0, 2), (0, 0)), mode="edge")
    with torch.inference_mode():
        output, _ = network(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)
    expected = output[0, :, :50, :70].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    tolerance = 1 if codec.network.dtype == torch.float32 else 16
    # A latent on the edge between two symbols may fall to the other side: compare the typical value as well
    difference = np.abs(np.asarray(decoded, np.float32) - expected)
    assert np.median(difference) <= tolerance and np.mean(difference) <= tolerance


def test_evaluate_counts_whole_files_and_writes_figures(photos, tmp_path, lpips_file, capsys):
    checkpoint = save_checkpoint(busy_network(), tmp_path / "checkpoint.pt")
    (photos / "damaged.png").write_bytes(b"no picture")
    options = [
        "--model",
        "l8-tiny",
        "--checkpoint",
        str(checkpoint),
        "--lpips",
        str(lpips_file("alexnet")),
        str(lpips_file("vgg16")),
    ]
    ev.main([str(photos), *options, "--levels", "64", "--csv", str(tmp_path / "out.csv"), "--device", "cpu"])
    told = capsys.readouterr()
    assert "left out damaged.png" in told.err and "mean of 3" in told.out

    rows = rows_of(tmp_path / "out.csv")
    assert [row["picture"] for row in rows] == ["photo0.png", "photo1.jpg", "photo2.webp"]
    codec = ev.checkpoint_codec(checkpoint, "l8-tiny", "cpu")
    for row in rows:
        source = photos / row["picture"]
        figures = {name: float(value) for name, value in row.items() if name != "picture"}
        assert figures["bytes"] == len(codec.encode(source, levels=64))
        assert figures["png_bytes"] == len(codec.encode_rgba_png(source, levels=64))
        assert figures["bpp"] == pytest.approx(8 * figures["bytes"] / (160 * 200), rel=1e-4)
        assert figures["l8_to_png"] == pytest.approx(figures["bytes"] / figures["png_bytes"], rel=1e-4)
        assert figures["psnr_db"] == pytest.approx(10 * math.log10(255**2 / figures["mse"]), rel=1e-3)
        assert figures["lpips_alexnet"] > 0 and figures["lpips_vgg16"] > 0


def test_evaluate_measures_a_checkpoint_of_l8_photo(photos, tmp_path):
    torch.manual_seed(0)
    checkpoint = save_checkpoint(PhotoTask(None, None).new_model(), tmp_path / "checkpoint.pt")
    options = ["--model", "l8-photo", "--checkpoint", str(checkpoint), "--quality", "20"]
    ev.main([str(photos), *options, "--csv", str(tmp_path / "out.csv"), "--device", "cpu"])
    codec = ev.checkpoint_codec(checkpoint, "l8-photo", "cpu")
    for row in rows_of(tmp_path / "out.csv"):
        assert int(row["bytes"]) == len(codec.encode(photos / row["picture"], quality=20))
        assert float(row["psnr_db"]) > 20 and "png_bytes" not in row


def test_evaluate_says_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ev.main([str(tmp_path)])
    assert "No pictures" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ev.main([str(tmp_path), "--model", "l8-tiny", "--levels", "3"])
    assert "--levels must be from 16 to 256" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ev.main([str(tmp_path), "--model", "l8-photo", "--levels", "64"])
    assert "--levels is for models without a hyperprior" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ev.main([str(tmp_path), "--model", "taesd", "--checkpoint", "checkpoint.pt"])
    assert "not taesd" in capsys.readouterr().err


def test_evaluate_says_what_is_wrong_with_lpips(photos, tmp_path, lpips_file, capsys):
    Image.fromarray(photo(20, 300)).save(photos / "small.png")
    good, other, text = lpips_file("alexnet"), tmp_path / "dists.npz", tmp_path / "text.npz"
    np.savez(other, alpha=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    text.write_text("no arrays")
    for path, words in (
        (other, "dists.npz holds no weights of LPIPS: make them with training.lpips_weights."),
        (text, "text.npz is no .npz of numbers: make it with training.lpips_weights."),
        (tmp_path / "array.npy", "array.npy is no .npz of numbers: make it with training.lpips_weights."),
        (tmp_path / "none.npz", "No such file or directory"),
    ):
        with pytest.raises(SystemExit):
            ev.main([str(photos), "--model", "l8-tiny", "--lpips", str(path), "--device", "cpu"])
        assert words in capsys.readouterr().err
    options = ["--model", "l8-tiny", "--lpips", str(good), "--device", "cpu"]
    with pytest.raises(SystemExit):
        ev.main([str(photos), *options, "--size", "28"])
    assert "--lpips needs a --size of at least 32, not 28" in capsys.readouterr().err
    ev.main([str(photos), *options])
    told = capsys.readouterr()
    assert "left out small.png: It is 300 x 20, and LPIPS needs at least 32 pixels a side." in told.err
    assert "mean of 3" in told.out


def test_means_and_tables():
    rows = [{"codec": "a", "bpp": 0.5, "ssim": 0.9}, {"codec": "b", "bpp": 1.0, "ssim": 0.8}]
    assert ev.means(rows) == {"bpp": 0.75, "ssim": pytest.approx(0.85)}
    lines = ev.markdown([*rows, {"codec": "c", "bpp": 2.0}]).splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == "| a | 0.500 | 0.9000 |" and lines[4] == "| c | 2.000 |  |"


# Runs and folders of one's own


@pytest.mark.parametrize("model", ["vae", "vq"])
def test_evaluate_measures_a_run_and_its_export_alike(photos, tmp_path, capsys, model):
    torch.manual_seed(0)
    options = ["--model", model, "--stages", "3", "--width", "8", "--crop", "32", "--device", "cpu"]
    run = train.Trainer(train.parse_args([str(photos), "--out", str(tmp_path / "run"), *options]))
    run.train_step(torch.rand(2, 3, 32, 32))
    run.save()
    export.main([str(tmp_path / "run"), str(tmp_path / "weights")])
    found = []
    for place in ("run", "weights"):
        csv = tmp_path / f"{place}.csv"
        ev.main([str(photos), "--model", str(tmp_path / place), "--size", "64", "--csv", str(csv), "--device", "cpu"])
        told = capsys.readouterr().out
        found.append(rows_of(csv))
    assert found[0] == found[1] and len(found[0]) == 3
    codec = latent8.Codec(latent8.own_model(tmp_path / "weights"), "cpu")
    for row in found[0]:
        figures = {name: float(value) for name, value in row.items() if name != "picture"}
        picture = np.asarray(ImageOps.fit(Image.open(photos / row["picture"]), (64, 64), Image.Resampling.LANCZOS))
        blob = codec.encode(picture)
        decoded = np.asarray(codec.decode(blob), np.float64)
        signed = 2 * (decoded - picture) / 255  # both in [-1, 1]
        assert figures["bytes"] == len(blob)
        assert figures["mae_signed"] == pytest.approx(np.abs(signed).mean(), rel=1e-4)
        assert figures["mse_signed"] == pytest.approx(np.square(signed).mean(), rel=1e-4)
        assert figures["mse_signed"] == pytest.approx(4 * figures["mse_unit"], rel=1e-4)
        assert figures["mae_unit"] == pytest.approx(figures["mae"] / 255, rel=1e-4)
        assert figures["payload_bpp"] < figures["bpp"]
        if model == "vae":
            theirs = diffusers.AutoencoderKL.from_pretrained(tmp_path / "weights", low_cpu_mem_usage=False).float()
            with torch.inference_mode():
                z = theirs.encode(torch.tensor(picture).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist
            assert figures["kl_nats"] == pytest.approx((z.kl().sum() / z.mean.numel()).item(), rel=1e-3)
        else:
            assert figures["codes_used"] == len(np.unique(codec.latents(latent8.inspect(blob))))
    assert ("perplexity of the codes of all: " in told) == (model == "vq")


@pytest.mark.parametrize("model", ["l8-tiny", "l8-photo"])
def test_evaluate_shows_one_picture_in_three_stages(photos, tmp_path, model):
    out = tmp_path / "stages.png"
    ev.main([str(photos / "photo0.png"), "--model", model, "--out", str(out), "--device", "cpu"])
    with Image.open(out) as image, Image.open(photos / "photo0.png") as original:
        stages = np.asarray(image.convert("RGB"), int)
        first = np.asarray(original.convert("RGB"), int)
    height, width = first.shape[:2]
    assert stages.shape == (height, 3 * width + 16, 3)
    assert np.array_equal(stages[:, :width], first)
    assert 0 < np.abs(stages[:, -width:] - first).mean() < 20
    latents = stages[:, width + 8 : 2 * width + 8]
    assert latents.std() > 10 and np.abs(latents - first).mean() > 5


def test_evaluate_says_what_is_wrong_with_a_run(photos, tmp_path, capsys):
    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            ev.main([str(photos), *arguments])
        return capsys.readouterr().err

    assert "There is no model 'nothing-there'" in said("--model", "nothing-there")
    assert f"There is no checkpoint {tmp_path / 'checkpoint.pt'}" in said("--model", str(tmp_path))
    assert "--size must be from 1 to 4096, not 0" in said("--size", "0")
    assert "--out is for one picture" in said("--out", "x.png")
