"""Latents of other tools on the command line, and the legacy range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latent8 import BlobError, Codec, convert, own_model
from latent8.cli import commands
from latent8.exchange import SUFFIXES
from tests.helpers.foreign_files import DATA, GOOD, blob_of, floats, npy, raw_of, z_in
from tests.helpers.passthrough import make_tiny
from tests.helpers.samples import gradient


def test_legacy_range_gives_the_contrast_back(tmp_path: Path) -> None:
    """Pixels in [0, 1] where [-1, 1] is meant are those of a picture of half the contrast, all of it light."""
    codec = Codec(own_model(make_tiny(tmp_path / "tiny"), "sd1"), "cpu")
    picture = np.zeros((32, 40, 3), np.uint8)
    picture[8:24, 8:32] = [255, 0, 255]
    slipped = np.rint(127.5 + picture / 2).astype(np.uint8)  # what the encoder takes them for
    png = codec.encode_rgba_png(slipped)
    plain, legacy = (np.asarray(codec.decode(png, legacy_range=on)).astype(int) for on in (False, True))
    assert plain.min() > 120 and np.abs(plain - slipped).max() <= 2
    assert np.abs(legacy - picture).max() <= 4
    assert np.abs(legacy - picture).max() < np.abs(plain - picture).max() / 10


def test_legacy_range_is_not_for_the_default_model(photo_codec: Codec) -> None:
    with pytest.raises(BlobError, match="^The legacy range is for latents as RGBA PNG, not for blobs of l8-photo.$"):
        photo_codec.decode(photo_codec.encode(gradient(20, 20)), legacy_range=True)


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, list[str], list[str]]]:
    def run(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
        code = commands.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.mark.parametrize("to", SUFFIXES)
def test_convert(run: Callable, tmp_path: Path, to: str) -> None:
    source = tmp_path / ("photo.latent" if to == "l8" else "photo.l8")
    source.write_bytes(convert(blob_of("sd1"), "comfy") if to == "l8" else blob_of("sd1"))
    target = tmp_path / f"photo{SUFFIXES[to]}"
    expected = convert(source.read_bytes(), to)
    assert run("convert", source, "--to", to) == (0, [f"{source} -> {target} ({len(expected):,} bytes)"], [])
    assert target.read_bytes() == expected
    code, _, err = run("convert", source, "--to", to)
    assert (code, len(err)) == (2, 1) and "exists: name another file with -o, or overwrite it with --force." in err[0]
    assert run("convert", source, "--to", to, "--force")[0] == 0


def test_convert_of_foreign_files_names_the_space(run: Callable, tmp_path: Path) -> None:
    source = tmp_path / "latents.npy"
    source.write_bytes(npy(GOOD.shape, floats(raw_of("sdxl", GOOD))))
    code, out, err = run("convert", source, "--to", "l8")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: {source}: The file does not say of which latent space it is: name it, sd1 or ")
    assert run("convert", source, "--to", "l8", "--space", "sdxl", "--raw")[0] == 0
    np.testing.assert_allclose(z_in((tmp_path / "latents.l8").read_bytes()), GOOD, atol=0.015)


def test_decode_takes_foreign_files_too(run: Callable, tmp_path: Path, codec: Codec) -> None:
    from PIL import Image

    blob = codec.encode(gradient(50, 40))
    source = tmp_path / "latents.safetensors"
    source.write_bytes(convert(blob, "safetensors"))
    assert run("decode", source, "--device", "cpu")[0] == 0
    found = np.asarray(Image.open(tmp_path / "latents.png")).astype(int)
    assert np.abs(found - np.asarray(codec.decode(blob))).max() <= 2
    assert found.shape == (40, 50, 3)
    bad = tmp_path / "bad.npy"
    bad.write_bytes(npy(GOOD.shape, DATA))
    assert run("decode", bad)[2][0].startswith(f"latent8: {bad}: The file does not say of which latent space it is")


@pytest.mark.parametrize("to", ["comfy", "safetensors", "npy", "png"])
def test_other_commands_take_foreign_files_too(run: Callable, tmp_path: Path, to: str) -> None:
    """Nothing is downloaded: latents of taesd are looked at, and decoded by a model that is here."""
    folder = make_tiny(tmp_path / "tiny")
    source = tmp_path / f"photo{SUFFIXES[to]}"
    source.write_bytes(convert(blob_of("sd1"), to))
    space = ["--space", "sd1"] if to == "npy" else []
    code, out, err = run("inspect", source, *space)
    assert (code, err) == (0, []) and "  space         sd1" in out
    assert f"  bytes         {source.stat().st_size}" in out
    assert run("show", source, *space)[0] == 0 and (tmp_path / "photo.latents.png").is_file()
    code, out, err = run("compare", source, "--decoder", folder, "--space", "sd1", "--device", "cpu", "--json")
    assert (code, err) == (0, []) and f'"decoder": "{folder}"' in out[0]
    if to == "npy":
        for command in ("inspect", "show", "compare"):
            code, _, err = run(command, source, *(["--force"] if command == "show" else []))
            assert code == 2 and "The file does not say of which latent space it is: name it" in err[0]
        raw = tmp_path / "raw.npy"
        raw.write_bytes(npy(GOOD.shape, floats(raw_of("sdxl", GOOD))))
        assert any("range" in line and "-3 to 3" in line for line in run("inspect", raw, "--space", "sdxl", "--raw")[1])


def test_legacy_range_on_the_command_line(run: Callable, tmp_path: Path) -> None:
    from PIL import Image

    folder = make_tiny(tmp_path / "tiny")
    source = tmp_path / "old.png"
    slipped = np.full((16, 16, 3), 128, np.uint8)
    source.write_bytes(Codec(own_model(folder, "sd1"), "cpu").encode_rgba_png(slipped))
    options = ["--decoder", folder, "--space", "sd1", "--legacy-range", "-o", tmp_path / "new.png", "--force"]
    assert run("decode", source, *options)[0] == 0
    assert np.asarray(Image.open(tmp_path / "new.png")).max() <= 4
