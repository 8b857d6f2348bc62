"""The command line: results, names, exit codes, and one line on standard error for each thing that went wrong."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, build_blob, gradient
from PIL import Image

from latent8 import __version__, inspect
from latent8.blob import unpack
from latent8.cli import main
from latent8.codec import Codec
from latent8.contents import describe
from latent8.files import picture_bytes
from latent8.models import models


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(gradient(50, 40)).save(path)
    return path


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def latents_in(path: Path) -> np.ndarray:
    return unpack(path.read_bytes())[1]


# ---- encode and decode


@pytest.mark.parametrize("model", ["l8-tiny", "l8-photo"])
def test_there_and_back(run: Run, codec: Codec, photo_codec: Codec, photo: Path, model: str) -> None:
    blob, target = photo.with_suffix(".l8"), photo.with_name("back.png")
    default = model == photo_codec.model.name
    options = [] if default else ["--model", model]
    codec = photo_codec if default else codec
    assert run("encode", photo, *options) == (0, [f"{photo} -> {blob} ({blob.stat().st_size:,} bytes)"], [])
    assert blob.read_bytes() == codec.encode(photo)
    assert run("decode", blob, "-o", target) == (0, [f"{blob} -> {target} ({target.stat().st_size:,} bytes)"], [])
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((50, 40), "RGB")
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(blob.read_bytes())))
    assert names_in(photo.parent) == {"photo.png", "photo.l8", "back.png"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_shows_the_tiles(photo: Path, monkeypatch, terminal: bool) -> None:
    errors = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr("latent8.cli.BAR_DELAY", 0)
    monkeypatch.setattr("latent8.hyperprior_network.MAX_ACTIVATION_BYTES", 1)
    Image.fromarray(gradient(230, 230)).save(photo)  # 15 x 15 latents
    for arguments, name in (
        (["encode", photo], "photo.png"),
        (["decode", photo.with_suffix(".l8"), "--force"], "photo.l8"),
    ):
        errors.truncate(0)
        assert main(list(map(str, arguments))) == 0
        shown = errors.getvalue()
        shares = [int(share) for share in re.findall(rf"{name}: +(\d+) %", shown)]
        assert shares == sorted(shares) and (len(set(shares)) >= 3) == terminal, shown
        assert terminal or not shown


def test_options_of_encode(run: Run, photo: Path) -> None:
    blob = photo.with_suffix(".l8")
    assert run("encode", photo, "--levels", 16, "--longest-side", 30, "--model", "l8-tiny")[0] == 0
    header = inspect(blob.read_bytes())
    assert (header.width, header.height, header.quantiser.levels, header.stem) == (30, 24, 16, "photo")


def test_options_of_encode_with_the_default_model(run: Run, photo_codec: Codec, photo: Path) -> None:
    blob = photo.with_suffix(".l8")
    assert run("encode", photo, "--quality", 20)[0] == 0
    header = inspect(blob.read_bytes())
    assert (header.model_id, header.quality) == (photo_codec.model.id, 20)
    most = len(photo_codec.encode(photo, quality=70))
    for option, value in (("--target-bytes", most), ("--target-bpp", most * 8 / (50 * 40))):
        assert run("encode", photo, option, value)[0] == 0
        assert 0.7 * most < blob.stat().st_size <= most


def test_target_that_cannot_be_met(run: Run, photo: Path) -> None:
    code, out, err = run("encode", photo, "--target-bytes", 40)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: {photo}: This picture cannot be kept in 40 bytes: it takes ")
    assert names_in(photo.parent) == {"photo.png"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--levels", "64"], "levels is for models without a hyperprior: l8-photo takes quality."),
        (["--model", "l8-tiny", "--quality", "5"], "quality is for models with a hyperprior: l8-tiny takes levels."),
    ],
)
def test_options_of_another_model(run: Run, photo: Path, arguments: list[str], message: str) -> None:
    assert run("encode", photo, *arguments) == (2, [], [f"latent8: {message}"])


def test_output_file(run: Run, photo: Path) -> None:
    target = photo.with_name("other name.l8")
    assert run("encode", photo, "-o", target)[0] == 0
    assert inspect(target.read_bytes()).stem == "photo"
    assert names_in(photo.parent) == {"photo.png", "other name.l8"}
    assert run("encode", photo, "--output", target)[0] == 0  # again: a blob is overwritten


@pytest.mark.parametrize("suffix, wanted", [(".png", "PNG"), (".webp", "WEBP"), (".jpg", "JPEG"), (".JPEG", "JPEG")])
def test_picture_format_follows_the_ending(run: Run, photo: Path, suffix: str, wanted: str) -> None:
    run("encode", photo)
    target = photo.with_name(f"back{suffix}")
    assert run("decode", photo.with_suffix(".l8"), "-o", target)[0] == 0
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
def test_output_folder(run: Run, photo: Path, exists: bool) -> None:
    other, folder = photo.with_name("second.bmp"), photo.parent / "deep" / "folder"
    Image.fromarray(gradient(9, 9)).save(other)
    if exists:
        folder.mkdir(parents=True)
    assert run("encode", photo, other, "-o", folder)[0] == 0
    assert names_in(folder) == {"photo.l8", "second.l8"}
    assert run("decode", folder / "photo.l8", folder / "second.l8", "-o", folder / "pictures")[0] == 0
    assert names_in(folder / "pictures") == {"photo.png", "second.png"}


def test_one_file_into_a_folder_that_exists(run: Run, photo: Path) -> None:
    folder = photo.parent / "folder"
    folder.mkdir()
    assert run("encode", photo, "-o", folder)[0] == 0
    assert run("decode", folder / "photo.l8", "-o", folder)[0] == 0
    assert names_in(folder) == {"photo.l8", "photo.png"}


def test_rgba_png_with_options_it_has_no_use_for(run: Run, photo: Path) -> None:
    for options in (["--model", "l8-tiny", "--quality", "30"], ["--quality", "30"]):
        status, out, errors = run("encode", photo, "--png", *options)
        assert (status, out, len(errors)) == (2, [], 1)
    assert names_in(photo.parent) == {"photo.png"}


def test_rgba_png(run: Run, codec: Codec, photo: Path) -> None:
    latents = photo.with_name("photo.encoded.png")
    assert run("encode", photo, "--png", "--levels", 64, "--model", "l8-tiny")[0] == 0
    assert names_in(photo.parent) == {"photo.png", "photo.encoded.png"}
    before = photo.read_bytes()
    photo.unlink()
    assert run("decode", latents)[0] == 0  # gives photo.png
    with Image.open(photo) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(latents.read_bytes())))
    photo.write_bytes(before)
    assert run("inspect", latents)[0] == 0


# ---- nothing is overwritten by accident


@pytest.mark.parametrize("where", ["beside", "folder"])
def test_existing_picture_is_kept_unless_forced(run: Run, photo: Path, where: str) -> None:
    run("encode", photo)
    blob, before = photo.with_suffix(".l8"), photo.read_bytes()
    output = [] if where == "beside" else ["-o", photo.parent]

    code, out, err = run("decode", blob, *output)
    assert (code, out) == (2, [])
    assert err == [f"latent8: {blob}: {photo} exists: name another file with -o, or overwrite it with --force."]
    assert photo.read_bytes() == before

    assert run("decode", blob, *output, "--force")[0] == 0
    assert photo.read_bytes() != before
    assert names_in(photo.parent) == {"photo.png", "photo.l8"}


def test_two_inputs_do_not_share_an_output(run: Run, photo: Path) -> None:
    other = photo.with_suffix(".bmp")
    Image.fromarray(gradient(9, 9)).save(other)
    blob = photo.with_suffix(".l8")
    code, out, err = run("encode", photo, other)
    assert (code, len(out)) == (2, 1)
    assert err == [f"latent8: {other}: {blob} was just written from another input: rename one of the two."]
    assert inspect(blob.read_bytes()).width == 50


def test_interrupted_write_leaves_nothing_behind(run: Run, photo: Path, monkeypatch) -> None:
    blob = photo.with_suffix(".l8")
    run("encode", photo)
    before = blob.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run("encode", photo, "--quality", 9) == (2, [], [f"latent8: {photo}: No space left on device: {blob}"])
    assert blob.read_bytes() == before
    assert names_in(photo.parent) == {"photo.png", "photo.l8"}


# ---- what goes wrong


def test_a_bad_file_does_not_stop_the_others(run: Run, photo: Path) -> None:
    folder = photo.parent
    bad, missing, last = folder / "bad.jpg", folder / "missing.jpg", folder / "last.png"
    bad.write_bytes(b"not a picture")
    Image.fromarray(gradient(20, 10)).save(last)

    code, out, err = run("encode", bad, photo, missing, last)

    assert code == 2
    assert [line.split(" -> ")[0] for line in out] == [str(photo), str(last)]
    assert err == [
        f"latent8: {bad}: This is not a picture that can be read: JPEG, PNG, WebP, AVIF, TIFF, BMP and GIF files can.",
        f"latent8: {missing}: There is no file {missing}.",
    ]
    assert names_in(folder) == {"bad.jpg", "photo.png", "photo.l8", "last.png", "last.l8"}

    good = folder / "photo.l8"
    (folder / "short.l8").write_bytes(good.read_bytes()[:50])
    pictures = folder / "pictures"
    code, out, err = run("decode", folder / "short.l8", folder / "none.l8", bad, good, "-o", pictures)
    assert (code, len(out), len(err)) == (2, 1, 3)
    assert err[0].startswith(f"latent8: {folder / 'short.l8'}: The blob is cut short: at least ")
    assert err[1] == f"latent8: {folder / 'none.l8'}: No such file or directory."
    assert err[2] == f"latent8: {bad}: This is not a latent8 blob (.l8): it starts with other bytes."
    assert names_in(pictures) == {"photo.png"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["encode"], "the following arguments are required: FILE"),
        (["encode", "a.png", "--levels", "15"], "argument --levels: must be a whole number from 16 to 256"),
        (["encode", "a.png", "--levels", "257"], "argument --levels: must be a whole number from 16 to 256"),
        (["encode", "a.png", "--levels", "-20"], "argument --levels: must be a whole number from 16 to 256"),
        (["encode", "a.png", "--levels", "20.5"], "argument --levels: must be a whole number from 16 to 256"),
        (["encode", "a.png", "--levels", "²"], "argument --levels: "),
        (["encode", "a.png", "--quality", "0"], "argument --quality: must be a whole number from 1 to 100"),
        (["encode", "a.png", "--quality", "101"], "argument --quality: must be a whole number from 1 to 100"),
        (["encode", "a.png", "--quality", "20.5"], "argument --quality: must be a whole number from 1 to 100"),
        (["encode", "a.png", "--target-bytes", "0"], "argument --target-bytes: must be a whole number above 0"),
        (["encode", "a.png", "--target-bpp", "0"], "argument --target-bpp: must be a number above 0"),
        (["encode", "a.png", "--target-bpp", "-1"], "argument --target-bpp: must be a number above 0"),
        (["encode", "a.png", "--target-bpp", "inf"], "argument --target-bpp: must be a number above 0"),
        (["encode", "a.png", "--target-bpp", "nan"], "argument --target-bpp: must be a number above 0"),
        (["encode", "a.png", "--quality", "9", "--target-bpp", "1"], "not allowed with argument --quality"),
        (["encode", "a.png", "--longest-side", "0"], "argument --longest-side: must be a whole number above 0"),
        (["encode", "a.png", "--max-pixels", "many"], "argument --max-pixels: must be a whole number above 0"),
        (["encode", "a.png", "--space", "sd9"], "argument --space: invalid choice: 'sd9'"),
        (["encode", "a.png", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["shrink", "a.png"], "argument COMMAND: invalid choice: 'shrink'"),
        ([], "the following arguments are required: COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_are_told_in_one_line(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("latent8") and message in err[0] and err[0].endswith("--help)")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_bad_device_is_told_in_one_line(run: Run, photo: Path, device: str) -> None:
    code, out, err = run("encode", photo, "--device", device)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: l8-photo cannot be loaded on the device {device}: ")


def test_folder_as_input_is_told_in_one_line(run: Run, photo: Path, monkeypatch) -> None:
    monkeypatch.chdir(photo.parent)
    for command in ("encode", "decode", "inspect"):
        for folder in (".", "..", photo.parent):
            code, out, err = run(command, folder)
            assert (code, out, len(err)) == (2, [], 1)
            assert "directory" in err[0]
    assert names_in(photo.parent) == {"photo.png"}


def test_output_that_cannot_be_written(run: Run, photo: Path) -> None:
    run("encode", photo)
    blob = photo.with_suffix(".l8")
    target = photo.parent / "none" / "a.l8"
    code, _, err = run("encode", photo, "-o", target)
    assert (code, err) == (2, [f"latent8: {photo}: No such file or directory: {target}"])
    code, _, err = run("encode", photo, blob, "-o", photo)  # several inputs, and -o is a file
    assert (code, err) == (2, [f"latent8: File exists: {photo}"])
    code, _, err = run("encode", photo, "-o", photo.parent / ("n" * 300))
    assert (code, len(err)) == (2, 1) and "File name too long: " in err[0]
    assert names_in(photo.parent) == {"photo.png", "photo.l8"}


@pytest.mark.parametrize("name", ["back.doc", "back", "back.psd", "back.h5"])  # the last two can only be read
def test_ending_without_a_picture_format(run: Run, photo: Path, name: str) -> None:
    run("encode", photo)
    code, out, err = run("decode", photo.with_suffix(".l8"), "-o", photo.with_name(name))
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].endswith(": use .png, .webp or .jpg.") or err[0].endswith(": use .png.")
    assert names_in(photo.parent) == {"photo.png", "photo.l8"}


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_ending_gives_a_file_or_one_sentence(mode: str) -> None:
    Image.init()
    image = Image.new(mode, (20, 20), "red")
    written = 0
    for suffix in sorted(Image.registered_extensions()):
        try:
            written += bool(picture_bytes(image, suffix))
        except ValueError as error:
            assert type(error).__name__ == "PictureError" and len(str(error).splitlines()) == 1
    assert written > 10


def test_pixel_limit(run: Run, photo: Path) -> None:
    code, _, err = run("encode", photo, "--max-pixels", 1999)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"latent8: {photo}: The picture has 0.0 megapixels (50 x 40), over the limit of 0.0: ")
    assert run("encode", photo, "--max-pixels", 2000)[0] == 0


# ---- inspect and models


def test_inspect(run: Run, photo: Path) -> None:
    run("encode", photo, "--levels", 100, "--model", "l8-tiny")
    blob = photo.with_suffix(".l8")
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


def test_inspect_of_the_default_model(run: Run, photo: Path) -> None:
    run("encode", photo, "--quality", 33)
    _, out, _ = run("inspect", photo.with_suffix(".l8"))
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
    assert err == [f"latent8: {bad}: This is not a latent8 blob (.l8): it starts with other bytes."]
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


def test_python_m_latent8(photo: Path) -> None:
    bad = photo.with_name("bad.png")
    bad.write_bytes(b"bad")
    done = program("encode", bad, photo)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        f"latent8: {bad}: This is not a picture that can be read: JPEG, PNG, WebP, AVIF, TIFF, BMP and GIF files can."
    ]
    assert done.stdout.decode().startswith(f"{photo} -> {photo.with_suffix('.l8')} (")
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
