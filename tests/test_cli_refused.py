"""What the command line refuses: one line on standard error for each thing that is wrong, exit code, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from latent8 import inspect
from latent8.pictures.formats import ACCEPTED
from latent8.pictures.output import picture_bytes
from tests.helpers.checks import Run, names_in
from tests.helpers.samples import gradient


def test_target_that_cannot_be_met(run: Run, small_photo: Path) -> None:
    code, out, err = run("encode", small_photo, "--target-bytes", 40)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: {small_photo}: This picture cannot be kept in 40 bytes: it takes ")
    assert names_in(small_photo.parent) == {"photo.png"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--levels", "64"], "levels is for models without a hyperprior: l8-photo takes quality."),
        (["--model", "l8-tiny", "--quality", "5"], "quality is for models with a hyperprior: l8-tiny takes levels."),
    ],
)
def test_options_of_another_model(run: Run, small_photo: Path, arguments: list[str], message: str) -> None:
    assert run("encode", small_photo, *arguments) == (2, [], [f"latent8: {message}"])


@pytest.mark.parametrize("where", ["beside", "folder"])
def test_existing_picture_is_kept_unless_forced(run: Run, small_photo: Path, where: str) -> None:
    run("encode", small_photo)
    blob, before = small_photo.with_suffix(".l8"), small_photo.read_bytes()
    output = [] if where == "beside" else ["-o", small_photo.parent]

    code, out, err = run("decode", blob, *output)
    assert (code, out) == (2, [])
    assert err == [f"latent8: {blob}: {small_photo} exists: name another file with -o, or overwrite it with --force."]
    assert small_photo.read_bytes() == before

    assert run("decode", blob, *output, "--force")[0] == 0
    assert small_photo.read_bytes() != before
    assert names_in(small_photo.parent) == {"photo.png", "photo.l8"}


def test_two_inputs_do_not_share_an_output(run: Run, small_photo: Path) -> None:
    other = small_photo.with_suffix(".bmp")
    Image.fromarray(gradient(9, 9)).save(other)
    blob = small_photo.with_suffix(".l8")
    code, out, err = run("encode", small_photo, other)
    assert (code, len(out)) == (2, 1) and " files: " not in out[0]
    assert err == [f"latent8: {other}: {blob} was just written from another input: rename one of the two."]
    assert inspect(blob.read_bytes()).width == 50


def test_interrupted_write_leaves_nothing_behind(run: Run, small_photo: Path, monkeypatch) -> None:
    blob = small_photo.with_suffix(".l8")
    run("encode", small_photo)
    before = blob.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run("encode", small_photo, "--quality", 9) == (
        2,
        [],
        [f"latent8: {small_photo}: No space left on device: {blob}"],
    )
    assert blob.read_bytes() == before
    assert names_in(small_photo.parent) == {"photo.png", "photo.l8"}


def test_a_bad_file_does_not_stop_the_others(run: Run, small_photo: Path) -> None:
    folder = small_photo.parent
    bad, missing, last = folder / "bad.jpg", folder / "missing.jpg", folder / "last.png"
    bad.write_bytes(b"not a picture")
    Image.fromarray(gradient(20, 10)).save(last)

    code, out, err = run("encode", bad, small_photo, missing, last)

    assert code == 2
    assert [line.split(" -> ")[0] for line in out[:2]] == [str(small_photo), str(last)]
    assert out[2].startswith("2 files: ") and len(out) == 3
    assert err == [
        f"latent8: {bad}: This is not a picture that can be read: {ACCEPTED} files can.",
        f"latent8: {missing}: There is no file {missing}.",
    ]
    assert names_in(folder) == {"bad.jpg", "photo.png", "photo.l8", "last.png", "last.l8"}

    good = folder / "photo.l8"
    (folder / "short.l8").write_bytes(good.read_bytes()[:50])
    pictures = folder / "pictures"
    code, out, err = run("decode", folder / "short.l8", folder / "none.l8", bad, good, "-o", pictures)
    assert (code, len(out), len(err)) == (2, 1, 3)
    assert err[0].startswith(f"latent8: {folder / 'short.l8'}: The blob is cut short: at least ")
    assert err[1] == f"latent8: {folder / 'none.l8'}: The file cannot be read (No such file or directory)."
    assert err[2] == (
        f"latent8: {bad}: This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy."
    )
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
        (
            ["encode", "a.png", "--target-bytes", "0"],
            "argument --target-bytes: must be a size above 0, such as 20000, 20k",
        ),
        (["encode", "a.png", "--target-bytes", "20q"], "argument --target-bytes: must be a size above 0"),
        (["encode", "a.png", "--target-bytes", "20i"], "argument --target-bytes: must be a size above 0"),
        (["encode", "a.png", "--target-bytes", "0.0001k"], "argument --target-bytes: must be a size above 0"),
        (["encode", "a.png", "--target-bytes", "²k"], "argument --target-bytes: must be a size above 0"),
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
def test_bad_device_is_told_in_one_line(run: Run, small_photo: Path, device: str) -> None:
    code, out, err = run("encode", small_photo, "--device", device)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: l8-photo cannot be loaded on the device {device}: ")


def test_folder_as_input_is_told_in_one_line(run: Run, small_photo: Path, monkeypatch) -> None:
    monkeypatch.chdir(small_photo.parent)
    for command in ("encode", "decode", "inspect"):
        for folder in (".", "..", small_photo.parent):
            code, out, err = run(command, folder)
            assert (code, out, len(err)) == (2, [], 1)
            assert "directory" in err[0]
    assert names_in(small_photo.parent) == {"photo.png"}


def test_output_that_cannot_be_written(run: Run, small_photo: Path) -> None:
    run("encode", small_photo)
    blob = small_photo.with_suffix(".l8")
    code, _, err = run("encode", small_photo, "-o", small_photo / "a.l8")  # in a file, as if that were a folder
    assert (code, len(err)) == (2, 1) and err[0].startswith(f"latent8: {small_photo}: ")
    code, _, err = run("encode", small_photo, blob, "-o", small_photo)  # several inputs, and -o is a file
    assert (code, err) == (2, [f"latent8: {small_photo} is a file, where -o has to name a folder."])
    code, _, err = run("encode", small_photo, "-o", small_photo.parent / ("n" * 300))
    assert (code, len(err)) == (2, 1) and "File name too long: " in err[0]
    assert names_in(small_photo.parent) == {"photo.png", "photo.l8"}


@pytest.mark.parametrize("name", ["back.doc", "back", "back.psd", "back.h5"])  # the last two can only be read
def test_ending_without_a_picture_format(run: Run, small_photo: Path, name: str) -> None:
    run("encode", small_photo)
    code, out, err = run("decode", small_photo.with_suffix(".l8"), "-o", small_photo.with_name(name))
    assert (code, out, len(err)) == (2, [], 1)
    if name == "back.h5":  # Pillow knows of it, and has no writer
        said = "The picture cannot be written as .h5 (HDF5 save handler not installed): use .png."
    else:
        ending = Path(name).suffix or "a name without ending"
        said = f"No picture can be written as {ending}: use .png, .webp or .jpg."
    assert err[0].endswith(said)
    assert names_in(small_photo.parent) == {"photo.png", "photo.l8"}


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


def test_pixel_limit(run: Run, small_photo: Path) -> None:
    code, _, err = run("encode", small_photo, "--max-pixels", 1999)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(
        f"latent8: {small_photo}: The picture has 0.0 megapixels (50 x 40), over the limit of 0.0: "
    )
    assert run("encode", small_photo, "--max-pixels", 2000)[0] == 0
