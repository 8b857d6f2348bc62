"""The command line: results, names, options, and what it shows."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent8 import __version__, inspect
from latent8.cli import console
from latent8.cli.commands import main
from latent8.cli.console import size_change
from latent8.codec import Codec
from latent8.latents import describe
from latent8.pictures.formats import ACCEPTED
from latent8.zoo.registry import models
from tests.helpers.blob_calls import symbols_in
from tests.helpers.checks import Run, names_in
from tests.helpers.samples import build_blob, gradient


def latents_in(path: Path) -> np.ndarray:
    return symbols_in(path.read_bytes())


# ---- encode and decode


@pytest.mark.parametrize("model", ["l8-tiny", "l8-photo"])
def test_there_and_back(run: Run, codec: Codec, photo_codec: Codec, small_photo: Path, model: str) -> None:
    blob, target = small_photo.with_suffix(".l8"), small_photo.with_name("back.png")
    default = model == photo_codec.model.name
    options = [] if default else ["--model", model]
    codec = photo_codec if default else codec
    told = run("encode", small_photo, *options)
    sizes = size_change(small_photo.stat().st_size, blob.stat().st_size)
    assert told == (0, [f"{small_photo} -> {blob} ({sizes})"], [])
    assert blob.read_bytes() == codec.encode(small_photo)
    assert run("decode", blob, "-o", target) == (0, [f"{blob} -> {target} ({target.stat().st_size:,} bytes)"], [])
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((50, 40), "RGB")
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(blob.read_bytes())))
    assert names_in(small_photo.parent) == {"photo.png", "photo.l8", "back.png"}


class Terminal(io.StringIO):
    """What is written to it can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self.changed:
            self.changed.notify_all()
            return super().write(text)

    def shows(self, text: str, times: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.getvalue().count(text) >= times, timeout=30)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_shows_the_tiles(small_photo: Path, monkeypatch, terminal: bool) -> None:
    errors = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr("latent8.cli.console.BAR_DELAY", 0)
    monkeypatch.setattr("latent8.l8_photo.network.MAX_ACTIVATION_BYTES", 1)
    Image.fromarray(gradient(230, 230)).save(small_photo)  # 15 x 15 latents
    for arguments, name in (
        (["encode", small_photo], "photo.png"),
        (["decode", small_photo.with_suffix(".l8"), "--force"], "photo.l8"),
    ):
        errors.truncate(0)
        assert main(list(map(str, arguments))) == 0
        shown = errors.getvalue()
        shares = [int(share) for share in re.findall(rf"{name}: +(\d+) %", shown)]
        assert shares == sorted(shares) and (len(set(shares)) >= 3) == terminal, shown
        assert terminal or not shown


def test_a_bar_shows_that_time_goes_by(monkeypatch) -> None:
    errors = Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(console, "BAR_DELAY", 0.02)
    monkeypatch.setattr(console, "BAR_TICK", 0.01)
    with console.waiting("loading the model"):
        assert errors.shows("loading the model", 3)
    errors.truncate(0)
    with console.tile_bar("a.jpg") as progress:  # who reports nothing for long
        assert errors.shows("a.jpg:   0 %", 2)
        progress(1.0)
    assert "a.jpg, finishing: 100 %" in errors.getvalue()
    errors.truncate(0)
    with console.tile_bar("a.jpg", quiet=True) as progress:
        time.sleep(0.05)  # longer than the delay
        progress(0.5)
    monkeypatch.setattr(console, "BAR_DELAY", 1000.0)
    with console.tile_bar("b.jpg") as progress:  # quick
        progress(0.5)
    assert errors.getvalue().strip("\0") == ""


def test_options_of_encode(run: Run, small_photo: Path) -> None:
    blob = small_photo.with_suffix(".l8")
    assert run("encode", small_photo, "--levels", 16, "--longest-side", 30, "--model", "l8-tiny")[0] == 0
    encoded = inspect(blob.read_bytes())
    assert (encoded.width, encoded.height, encoded.header.quantiser.levels, encoded.stem) == (30, 24, 16, "photo")


def test_options_of_encode_with_the_default_model(run: Run, photo_codec: Codec, small_photo: Path) -> None:
    blob = small_photo.with_suffix(".l8")
    assert run("encode", small_photo, "--quality", 20)[0] == 0
    encoded = inspect(blob.read_bytes())
    assert (encoded.model_id, encoded.quality) == (photo_codec.model.id, 20)
    most = len(photo_codec.encode(small_photo, quality=70))
    for option, value in (("--target-bytes", most), ("--target-bpp", most * 8 / (50 * 40))):
        assert run("encode", small_photo, option, value)[0] == 0
        assert 0.7 * most < blob.stat().st_size <= most


def test_output_file(run: Run, small_photo: Path) -> None:
    target = small_photo.with_name("other name.l8")
    assert run("encode", small_photo, "-o", target)[0] == 0
    assert inspect(target.read_bytes()).stem == "photo"
    assert names_in(small_photo.parent) == {"photo.png", "other name.l8"}
    assert run("encode", small_photo, "--output", target)[0] == 0  # again: a blob is overwritten


@pytest.mark.parametrize("suffix, wanted", [(".png", "PNG"), (".webp", "WEBP"), (".jpg", "JPEG"), (".JPEG", "JPEG")])
def test_picture_format_follows_the_ending(run: Run, small_photo: Path, suffix: str, wanted: str) -> None:
    run("encode", small_photo)
    target = small_photo.with_name(f"back{suffix}")
    assert run("decode", small_photo.with_suffix(".l8"), "-o", target)[0] == 0
    with Image.open(target) as image:
        assert (image.format, image.size) == (wanted, (50, 40))


def test_transparent_picture_as_jpeg_lies_on_white(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "ghost.png", tmp_path / "ghost.jpg"
    Image.fromarray(np.dstack([gradient(40, 40), np.zeros((40, 40), np.uint8)])).save(source)
    assert run("encode", source)[0] == 0
    assert run("decode", tmp_path / "ghost.l8", "-o", target)[0] == 0
    with Image.open(target) as image:
        assert np.asarray(image).min() >= 250


@pytest.mark.parametrize("exists", [True, False])
def test_output_folder(run: Run, small_photo: Path, exists: bool) -> None:
    other, folder = small_photo.with_name("second.bmp"), small_photo.parent / "deep" / "folder"
    Image.fromarray(gradient(9, 9)).save(other)
    if exists:
        folder.mkdir(parents=True)
    assert run("encode", small_photo, other, "-o", folder)[0] == 0
    assert names_in(folder) == {"photo.l8", "second.l8"}
    assert run("decode", folder / "photo.l8", folder / "second.l8", "-o", folder / "pictures")[0] == 0
    assert names_in(folder / "pictures") == {"photo.png", "second.png"}


def test_one_file_into_a_folder_that_exists(run: Run, small_photo: Path) -> None:
    folder = small_photo.parent / "folder"
    folder.mkdir()
    assert run("encode", small_photo, "-o", folder)[0] == 0
    assert run("decode", folder / "photo.l8", "-o", folder)[0] == 0
    assert names_in(folder) == {"photo.l8", "photo.png"}


def test_rgba_png_with_options_it_has_no_use_for(run: Run, small_photo: Path) -> None:
    for options in (["--model", "l8-tiny", "--quality", "30"], ["--quality", "30"]):
        status, out, errors = run("encode", small_photo, "--png", *options)
        assert (status, out, len(errors)) == (2, [], 1)
    assert names_in(small_photo.parent) == {"photo.png"}


def test_rgba_png(run: Run, codec: Codec, small_photo: Path) -> None:
    latents = small_photo.with_name("photo.encoded.png")
    assert run("encode", small_photo, "--png", "--levels", 64, "--model", "l8-tiny")[0] == 0
    assert names_in(small_photo.parent) == {"photo.png", "photo.encoded.png"}
    before = small_photo.read_bytes()
    small_photo.unlink()
    assert run("decode", latents)[0] == 0  # gives photo.png
    with Image.open(small_photo) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(latents.read_bytes())))
    small_photo.write_bytes(before)
    assert run("inspect", latents)[0] == 0


# ---- inspect and models


def test_inspect(run: Run, small_photo: Path) -> None:
    run("encode", small_photo, "--levels", 100, "--model", "l8-tiny")
    blob = small_photo.with_suffix(".l8")
    code, out, err = run("inspect", blob)
    assert (code, out[0], err) == (0, str(blob), [])
    table = dict(line.split(maxsplit=1) for line in out[1:])
    assert {key: table[key] for key in ("model", "width", "height", "latents", "levels", "alpha", "name")} == {
        "model": "l8-tiny",
        "width": "50",
        "height": "40",
        "latents": "4 x 5 x 7",
        "levels": "100",
        "alpha": "opaque",
        "name": "photo",
    }


def test_inspect_of_the_default_model(run: Run, small_photo: Path) -> None:
    run("encode", small_photo, "--quality", 33)
    _, out, _ = run("inspect", small_photo.with_suffix(".l8"))
    table = dict(line.split(maxsplit=1) for line in out[1:])
    assert (table["model"], table["quality"], table["latents"]) == ("l8-photo", "33", "240 x 3 x 4")
    assert not {"levels", "range", "step"} & table.keys()


def test_inspect_as_json(run: Run, tmp_path: Path) -> None:
    first, second, bad = tmp_path / "a.l8", tmp_path / "b ü.l8", tmp_path / "bad.l8"
    first.write_bytes(build_blob(alpha=b"12345"))
    second.write_bytes(build_blob(model_id=2, stem="größe".encode()))
    bad.write_bytes(b"bad")
    code, out, err = run("inspect", "--json", first, bad, second)
    assert code == 2
    sentence = "This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy."
    assert err == [f"latent8: {bad}: {sentence}"]
    found = [json.loads(line) for line in out]
    assert found[0] == {"file": str(first), **describe(inspect(first.read_bytes()))}
    assert found[0]["alpha"] == "lossless, 5 bytes" and found[0]["coding"] == "raw"
    assert (found[1]["file"], found[1]["model"], found[1]["name"]) == (str(second), "taesd", "größe")


def test_models(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err, len(out)) == (0, [], 2 * len(models()))
    names = [model.name for model in models()]
    assert [line.partition(":")[0] for line in out[::2]] == [*names[:2], "l8-photo (default)", *names[3:]]
    assert out[1] == "  id 1; latent space l8-tiny, 4 channels at 1/8; 4.9 MB bundled; licence MIT; needs any CPU"
    assert out[5].startswith("  id 3; latent space l8-photo, 240 channels at 1/16; ")
    for line, model in zip(out[1::2], models(), strict=True):
        assert all(str(fact) in line for fact in (model.id, model.space, model.size_mb, model.licence, model.needs))


# ---- as a program of its own


def program(*arguments: str | bytes | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "latent8", *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=120)


def test_python_m_latent8(small_photo: Path) -> None:
    bad = small_photo.with_name("bad.png")
    bad.write_bytes(b"bad")
    done = program("encode", bad, small_photo)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        f"latent8: {bad}: This is not a picture that can be read: {ACCEPTED} files can."
    ]
    assert done.stdout.decode().startswith(f"{small_photo} -> {small_photo.with_suffix('.l8')} (")
    assert program("--version").stdout.decode() == f"latent8 {__version__}\n"


def test_file_names_that_cannot_be_printed(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.l8"
    try:
        with open(path, "wb") as file:
            file.write(build_blob())
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    done = program("inspect", path, PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\udcff\\udcfe.l8" in done.stdout
