"""Exported checkpoints work in the codec, and are measured on whole files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from drawn_photos import photo, rows_of
from small_networks import busy_network, save_checkpoint

from training import evaluate as ev
from training.photo import PhotoTask

pytest_plugins = ["drawn_photos"]


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
    checkpoint = save_checkpoint(PhotoTask(None, 0).new_model(), tmp_path / "checkpoint.pt")
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


def test_means_and_tables():
    rows = [{"codec": "a", "bpp": 0.5, "ssim": 0.9}, {"codec": "b", "bpp": 1.0, "ssim": 0.8}]
    assert ev.means(rows) == {"bpp": 0.75, "ssim": pytest.approx(0.85)}
    lines = ev.markdown([*rows, {"codec": "c", "bpp": 2.0}]).splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == "| a | 0.500 | 0.9000 |" and lines[4] == "| c | 2.000 |  |"
