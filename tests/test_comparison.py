"""Several decoders on one blob: figures, difference pictures, the command, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import latent8
from latent8 import BlobError, Codec, Latent8Error, ModelError, PictureError
from latent8.cli import commands
from latent8.evaluation.comparison import Comparison, compare, measured
from latent8.evaluation.metrics import ssim
from latent8.pictures.drawing import RISING
from latent8.pictures.intake import Picture
from latent8.zoo.own_models import own_model
from latent8.zoo.registry import WEIGHTS_FOLDER, Model
from tests.helpers.samples import build_blob, gradient

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two autoencoders of one latent space: l8-tiny, and one whose pictures are darker."""
    base = tmp_path_factory.mktemp("models")
    found = [base / "plain", base / "darker"]
    for folder in found:
        shutil.copytree(WEIGHTS_FOLDER / "l8-tiny", folder)
    tensors = load_file(found[1] / WEIGHTS)
    last = max((name for name in tensors if name.startswith("decoder") and name.endswith("bias")), key=layer_number)
    tensors[last] = tensors[last] - 0.1  # in the network, pictures are in [0, 1]
    save_file(tensors, found[1] / WEIGHTS, metadata={"format": "pt"})
    return found


def layer_number(name: str) -> int:
    return int(name.split(".")[2])


@pytest.fixture(scope="module")
def models(folders: list[Path]) -> list[Model]:
    return [own_model(folder, "sd1") for folder in folders]


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    noise = np.random.default_rng(0).integers(-25, 26, (45, 61, 3))
    return (gradient(61, 45) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def blob(models: list[Model], original: np.ndarray) -> bytes:
    return Codec(models[0], "cpu").encode(original)


def test_figures_are_those_of_each_picture(models: list[Model], original: np.ndarray, blob: bytes) -> None:
    found = compare(blob, models, original, device="cpu")
    assert [one.decoder for one in found.decoded] == [model.name for model in models]
    for model, one, row in zip(models, found.decoded, found.rows(), strict=True):
        picture = np.asarray(latent8.decode(blob, model, device="cpu"))
        np.testing.assert_array_equal(one.picture.rgb, picture)
        apart = original.astype(float) - picture
        assert row.pop("seconds") == round(one.seconds, 3) and 0 < one.seconds < 60
        assert row == {
            "decoder": model.name,
            "psnr_db": pytest.approx(10 * math.log10(255**2 / np.mean(apart**2)), abs=0.01),
            "ssim": pytest.approx(ssim(original, picture), abs=1e-4),
            "mae": pytest.approx(np.abs(apart).mean(), abs=1e-3),
            "mse": pytest.approx(np.mean(apart**2), abs=0.01),
        }
    plain, darker = (one.picture.rgb.mean() for one in found.decoded)
    assert 15 < plain - darker < 35  # 0.1 of 255, but where it is clipped


def test_difference_pictures(models: list[Model], original: np.ndarray, blob: bytes) -> None:
    found = compare(blob, models, original, device="cpu")
    a, b = (one.picture.rgb.astype(int) for one in found.decoded)
    names = [model.name for model in models]
    assert [(one.first, one.second) for one in found.differences()] == [
        *((names[0], names[1]), ("original", names[0]), ("original", names[1]))
    ]
    apart = [np.abs(x - y).max(axis=-1) for x, y in ((a, b), (original, a), (original, b))]
    white = [np.sort(plane, axis=None)[math.ceil(0.995 * plane.size) - 1] for plane in apart]
    assert white[0] < max(white[1:]) / 2  # or one scale for all would do as well
    for plane, one, top in zip(apart, found.differences(), (white[0], *[max(white[1:])] * 2), strict=True):
        assert one.greatest == plane.max() and one.image.size == (61, 45)
        pixels = np.asarray(one.image).astype(float)
        expected = np.stack([np.interp(4 * plane / top, range(5), column) for column in RISING.T], axis=-1)
        assert np.abs(pixels - expected).max() <= 0.51


def test_equal_pictures_differ_nowhere() -> None:
    same = Picture(gradient(20, 12))
    [one] = Comparison([measured("a", same, 1.0, same)], same).differences()
    assert one.greatest == 0 and (np.asarray(one.image) == RISING[0]).all()


def test_without_an_original_there_are_seconds_alone(models: list[Model], blob: bytes) -> None:
    found = compare(blob, models, device="cpu")
    assert all(set(row.values()) - {row["decoder"], row["seconds"]} == {None} for row in found.rows())
    assert [(one.first, one.second) for one in found.differences()] == [(models[0].name, models[1].name)]
    lines = str(found).splitlines()
    assert lines[0].split() == ["Decoder", "Seconds"] and len(lines) == 3


def test_by_default_the_model_of_the_blob(codec: Codec, original: np.ndarray) -> None:
    for data in (codec.encode(original), codec.encode_rgba_png(original)):
        found = compare(data, original=Image.fromarray(original), device="cpu")
        assert [one.decoder for one in found.decoded] == ["l8-tiny"]
        assert [one.second for one in found.differences()] == ["l8-tiny"]


def test_printed_as_a_table() -> None:
    same, other = Picture(gradient(20, 12)), Picture(gradient(20, 12) + 2)
    found = Comparison([measured("a", same, 1.234, same), measured("longer", other, 12, same)], same)
    assert str(found).splitlines()[:2] == [
        "Decoder   Seconds   PSNR dB      SSIM       MAE       MSE",
        "a            1.23     99.00    1.0000      0.00      0.00",
    ]
    assert str(found).splitlines()[2].startswith("longer      12.00     42.11    ")
    assert str(found).splitlines()[2].endswith("      2.00      4.00")


def test_a_larger_original_is_shrunk_as_the_encoder_does(codec: Codec, original: np.ndarray) -> None:
    small = codec.encode(original, longest_side=40)
    found = compare(small, original=original, device="cpu")
    assert found.original is not None and found.original.rgb.shape == (30, 40, 3)
    assert found.rows()[0]["psnr_db"] > 20


@pytest.mark.parametrize("size", [(45, 61), (60, 45), (61, 46), (30, 22)])
def test_original_of_another_shape(blob: bytes, size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match=r"The original is of another shape \(\d+ x \d+ pixels\) than the blob's"):
        compare(blob, original=Image.new("RGB", size), device="cpu")


def test_refused_before_anything_is_loaded(models: list[Model], blob: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("latent8.evaluation.comparison.Codec")
    with pytest.raises(BlobError, match="The blob holds sd1 latents, and l8-tiny decodes l8-tiny latents"):
        compare(blob, [models[0], "l8-tiny"])
    with pytest.raises(ModelError, match="There is no model 'none'"):
        compare(blob, ["none"])
    with pytest.raises(Latent8Error, match="is named twice: name each once"):
        compare(blob, [models[0], models[1], models[0]])
    with pytest.raises(PictureError, match="There is no file nowhere.jpg"):
        compare(blob, models, "nowhere.jpg")
    with pytest.raises(BlobError, match="This is not a latent8 blob"):
        compare(b"junk", models)
    with pytest.raises(BlobError, match="The blob needs model 999"):
        compare(build_blob(model_id=999))


def test_pixel_limit(models: list[Model], blob: bytes) -> None:
    with pytest.raises(BlobError, match="over the limit of 0.0"):
        compare(blob, models, device="cpu", max_pixels=2000)


# ---- the command


def test_command(folders: list[Path], blob: bytes, original: np.ndarray, tmp_path: Path, capsys) -> None:
    source, photo, out = tmp_path / "a photo.l8", tmp_path / "photo.png", tmp_path / "out"
    source.write_bytes(blob)
    Image.fromarray(original).save(photo)
    options = ["--space", "sd1", "--device", "cpu", "--original", str(photo)]
    for folder in folders:
        options += ["--decoder", str(folder)]
    assert commands.main(["compare", str(source), *options, "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Decoder", "Seconds", "PSNR", "dB", "SSIM", "MAE", "MSE"]
    assert [line.split()[0] for line in lines[1:]] == [str(folder) for folder in folders]
    assert len(list(out.glob("a photo.*.png"))) == 5 and len(list(out.glob("*.difference.png"))) == 3
    assert all(Image.open(path).size == (61, 45) for path in out.iterdir())

    assert commands.main(["compare", str(source), *options, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = compare(blob, [own_model(folder, "sd1") for folder in folders], photo, device="cpu").rows()
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in expected]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--decoder", "l8-tiny"], "The blob holds sd1 latents, and l8-tiny decodes l8-tiny latents"),
        (["--decoder", "none"], "There is no model 'none'"),
        (["--original", "nowhere.jpg"], "There is no file nowhere.jpg."),
    ],
)
def test_command_tells_what_is_wrong(blob: bytes, tmp_path: Path, capsys, options: list[str], message: str) -> None:
    source = tmp_path / "photo.l8"
    source.write_bytes(blob)
    assert commands.main(["compare", str(source), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("latent8: ") and message in error and error.count("\n") == 1
