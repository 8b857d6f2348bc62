"""Where the command line writes: nothing that exists is lost, links and devices stay; pipes; summaries."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent8 import inspect
from latent8.cli import inputs
from latent8.cli.arguments import count, n_bytes
from latent8.cli.commands import COMMANDS, whole_parser
from latent8.cli.console import size_change
from latent8.exchange import SUFFIXES
from latent8.machine.disk import write_file
from tests.helpers.checks import Run, names_in
from tests.helpers.samples import build_blob, gradient


class Stream(io.TextIOWrapper):
    """Standard input or output of bytes, a terminal or not."""

    def __init__(self, data: bytes = b"", terminal: bool = False):
        super().__init__(io.BytesIO(data))
        self.buffer.isatty = self.isatty = lambda: terminal

    @property
    def data(self) -> bytes:
        return self.buffer.getvalue()


@pytest.fixture
def blob_file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.l8"
    path.write_bytes(build_blob(payload=bytes([128]) * 8, weights=bytes(4)))  # of l8-tiny, 16 x 8 pixels
    return path


# ---- what is written into, and what is kept


def test_a_link_stays_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link, dangling = tmp_path / "elsewhere/real", tmp_path / "link", tmp_path / "dangling"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to("elsewhere/real")
    dangling.symlink_to(tmp_path / "elsewhere/new")
    for target in (link, dangling):
        write_file(target, b"new")
        assert target.is_symlink() and target.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert names_in(tmp_path / "elsewhere") == {"real", "new"} and names_in(tmp_path) == {
        "elsewhere",
        "link",
        "dangling",
    }


def test_a_pipe_is_written_into(run: Run, small_photo: Path) -> None:
    pipe = small_photo.with_name("pipe")
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run("encode", small_photo, "-o", pipe)[0] == 0
    reader.join(10)
    assert inspect(found[0]).width == 50 and stat.S_ISFIFO(pipe.stat().st_mode)
    assert names_in(small_photo.parent) == {"photo.png", "pipe"}


def test_a_device_is_written_into(run: Run, small_photo: Path) -> None:
    device = small_photo.with_name("null")
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except (PermissionError, AttributeError):
        pytest.skip("only an administrator can make a device")
    assert run("encode", small_photo, "-o", device)[0] == 0
    assert run("encode", small_photo)[0] == 0
    assert run("decode", small_photo.with_suffix(".l8"), "-o", device)[0] == 0
    assert stat.S_ISCHR(device.stat().st_mode) and names_in(small_photo.parent) == {"photo.png", "photo.l8", "null"}


def test_a_read_only_file_is_kept(small_photo: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anyone but an administrator
    before = small_photo.read_bytes()
    with pytest.raises(PermissionError, match=r"Permission denied: .*photo\.png"):
        write_file(small_photo, b"new")
    assert small_photo.read_bytes() == before and names_in(small_photo.parent) == {"photo.png"}


@pytest.mark.parametrize("how", ["same", "symlink", "hard link"])
@pytest.mark.parametrize("command", ["encode", "decode", "convert", "show"])
def test_an_input_is_never_overwritten(run: Run, small_photo: Path, blob_file: Path, how: str, command: str) -> None:
    source = small_photo if command == "encode" else blob_file
    same = source if how == "same" else source.with_name(f"other{source.suffix}")
    if how == "symlink":
        same.symlink_to(source)
    elif how == "hard link":
        same.hardlink_to(source)
    before = source.read_bytes()
    for force in ([], ["--force"]):
        to = ["--to", "l8"] if command == "convert" else []
        code, out, err = run(command, source, "-o", same, *to, *force)
        text = f"{same} is the input itself: name another file with -o."
        assert (code, out, err) == (2, [], [f"latent8: {source}: {text}"])
        assert source.read_bytes() == before


def test_the_input_of_another_result_is_not_overwritten_either(run: Run, small_photo: Path, blob_file: Path) -> None:
    before = small_photo.read_bytes()
    code, _, err = run("decode", blob_file, small_photo, "--force")
    text = f"{small_photo} is an input too: name another file with -o."
    assert code == 2 and err[0] == f"latent8: {blob_file}: {text}" and small_photo.read_bytes() == before


def test_encode_replaces_blobs_alone(run: Run, small_photo: Path) -> None:
    target = small_photo.with_suffix(".l8")
    target.write_text("my notes")
    text = f"{target} exists, and is no latent8 blob: name another file with -o, or overwrite it with --force."
    for output in ([], ["-o", target]):
        assert run("encode", small_photo, *output) == (2, [], [f"latent8: {small_photo}: {text}"])
    assert target.read_text() == "my notes"
    assert run("encode", small_photo, "--force")[0] == 0
    assert run("encode", small_photo)[0] == 0  # now it is a blob


def test_encode_as_png_replaces_its_own_alone(run: Run, small_photo: Path) -> None:
    target, command = small_photo.with_name("photo.encoded.png"), ["encode", small_photo, "--png", "--model", "l8-tiny"]
    Image.new("RGBA", (3, 3)).save(target)
    code, _, err = run(*command)
    assert code == 2 and "exists, and is no PNG of latents" in err[0]
    target.unlink()
    assert run(*command)[0] == run(*command)[0] == 0


@pytest.mark.parametrize("command", ["decode", "show", "convert"])
def test_the_others_replace_nothing(run: Run, blob_file: Path, command: str) -> None:
    target = blob_file.with_name("target.npy" if command == "convert" else "target.png")
    target.write_text("mine")
    arguments = [command, blob_file, "-o", target, *(["--to", "npy"] if command == "convert" else [])]
    text = f"{target} exists: name another file with -o, or overwrite it with --force."
    assert run(*arguments) == (2, [], [f"latent8: {blob_file}: {text}"]) and target.read_text() == "mine"
    assert run(*arguments, "--force")[0] == 0 and target.read_bytes() != b"mine"


def test_compare_replaces_nothing(run: Run, blob_file: Path) -> None:
    folder = blob_file.with_name("pictures")
    assert run("compare", blob_file, "-o", folder)[0] == 0
    (picture,) = folder.iterdir()
    text = f"latent8: {picture} exists: name another folder with -o, or overwrite with --force."
    assert run("compare", blob_file, "-o", folder) == (2, [], [text])  # before anything was decoded
    assert run("compare", blob_file, "-o", folder, "--force")[0] == 0
    text = f"latent8: {picture} is a file, where -o has to name a folder."
    assert run("compare", blob_file, "-o", picture) == (2, [], [text])


def test_compare_names_its_files_as_the_others_do(run: Run, blob_file: Path, monkeypatch) -> None:
    folder = blob_file.with_name("pictures")
    monkeypatch.setattr(sys, "stdin", Stream(blob_file.read_bytes()))
    original = blob_file.with_name("original.png")
    Image.fromarray(gradient(16, 8)).save(original)
    assert run("compare", "-", "-o", folder, "--original", original)[0] == 0
    assert names_in(folder) == {"stdin.l8-tiny.png", "stdin.original-l8-tiny.difference.png"}


def test_folders_are_made(run: Run, small_photo: Path, monkeypatch) -> None:
    monkeypatch.chdir(small_photo.parent)
    assert run("encode", "photo.png", "-o", "new/")[0] == 0 and names_in(Path("new")) == {"photo.l8"}
    assert run("encode", "photo.png", "-o", "missing/deep/x.l8")[0] == 0 and names_in(Path("missing/deep")) == {"x.l8"}
    assert run("decode", "new/photo.l8", "-o", "back/", "--to", "webp")[0] == 0
    with Image.open("back/photo.webp") as image:
        assert image.format == "WEBP"
    assert run("encode", "photo.png", "-o", "")[2] == ["latent8: -o names nothing: give it a file or a folder."]
    assert run("encode", "photo.png", "-o", "photo.png/") == (
        2,
        [],
        ["latent8: photo.png is a file, where -o has to name a folder."],
    )


@pytest.mark.parametrize("name", ["x.webp", "x.JPG", "x.png", "x.latent", "x.npy"])
def test_a_blob_gets_no_other_ending(run: Run, small_photo: Path, name: str) -> None:
    target = small_photo.with_name(name)
    text = f"This writes .l8 files, and {target} is named as another kind: name it .l8 (decode makes pictures)."
    assert run("encode", small_photo, "-o", target) == (2, [], [f"latent8: {small_photo}: {text}"])
    code, _, err = run("encode", small_photo, "-o", small_photo.with_name("x.l8"), "--png", "--model", "l8-tiny")
    assert code == 2 and "This writes .png files" in err[0]
    assert names_in(small_photo.parent) == {"photo.png"}


# ---- standard input and output


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_dash_is_standard_input_and_output(
    run: Run, photo_codec, small_photo: Path, monkeypatch, output: list[str]
) -> None:
    data, stdout = small_photo.read_bytes(), Stream()
    monkeypatch.setattr(sys, "stdin", Stream(data))
    monkeypatch.setattr(sys, "stdout", stdout)
    code, _, err = run("encode", "-", *output)
    assert (code, err) == (0, []) and stdout.data == photo_codec.encode(data)
    for command, ending in (("decode", ".png"), ("show", ".png"), ("convert", ".npy")):
        monkeypatch.setattr(sys, "stdin", Stream(stdout.data))
        made = Stream()
        monkeypatch.setattr(sys, "stdout", made)
        assert run(command, "-", *output, *(["--to", "npy"] if command == "convert" else []))[0] == 0
        assert made.data.startswith(b"\x89PNG" if ending == ".png" else b"\x93NUMPY")
    monkeypatch.undo()
    assert names_in(small_photo.parent) == {"photo.png"}


def test_dash_with_files(run: Run, small_photo: Path, blob_file: Path, monkeypatch) -> None:
    folder = small_photo.parent
    monkeypatch.setattr(sys, "stdin", Stream(small_photo.read_bytes()))
    code, out, _ = run("encode", "-", "-o", folder / "x.l8")
    assert code == 0 and out[0].startswith(f"standard input -> {folder / 'x.l8'} ({small_photo.stat().st_size:,} -> ")
    monkeypatch.setattr(sys, "stdin", Stream(blob_file.read_bytes()))
    code, out, _ = run("inspect", "-")
    assert code == 0 and out[0] == "standard input" and "  model         l8-tiny" in out
    code, _, err = run("encode", small_photo, blob_file, "-o", "-")
    assert (code, err) == (2, ["latent8: Standard output takes one result: give one file, or a folder with -o."])
    code, _, err = run("encode", folder, "-o", "-")
    assert code == 2 and "is a directory" in err[0]
    assert "-" not in names_in(folder)


def test_terminals_are_not_read_or_written(run: Run, small_photo: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(terminal=True))
    monkeypatch.setattr(sys, "stdout", Stream())
    text = "Standard input is a terminal: name a file, or send one in with < or a pipe."
    assert run("encode", "-", "-o", "-")[2] == [f"latent8: -: {text}"]
    monkeypatch.setattr(sys, "stdout", Stream(terminal=True))
    text = "Standard output is a terminal: name a file with -o, or use > or a pipe."
    assert run("encode", small_photo, "-o", "-")[2] == [f"latent8: {small_photo}: {text}"]


def test_standard_input_has_a_limit(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(inputs, "MOST_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", Stream(bytes(1001)))
    assert run("inspect", "-")[2] == ["latent8: -: Standard input gives more than 1,000 bytes: name a file."]


def test_whoever_reads_the_output_may_have_enough(blob_file: Path) -> None:
    command = [sys.executable, "-m", "latent8", "inspect", "--json", *[str(blob_file)] * 3000]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stdout.readline().startswith(b"{")
    process.stdout.close()
    assert process.wait(60) == 141 and process.stderr and process.stderr.read() == b""


# ---- what is told


@pytest.mark.parametrize(
    "before, after, wanted",
    [
        (288_622, 30_065, "288,622 -> 30,065 bytes, 9.6 times smaller"),
        (100_000, 900, "100,000 -> 900 bytes, 111 times smaller"),
        (1000, 2500, "1,000 -> 2,500 bytes, 2.5 times LARGER"),
        (1000, 1049, "1,000 -> 1,049 bytes, about as large"),
        (0, 10, "0 -> 10 bytes, 10.0 times LARGER"),
    ],
)
def test_sizes_in_words(before: int, after: int, wanted: str) -> None:
    assert size_change(before, after) == wanted


def test_quiet(run: Run, small_photo: Path, tmp_path: Path) -> None:
    assert run("encode", small_photo, "-q") == (0, [], [])
    assert run("encode", tmp_path, "-o", tmp_path / "out", "--quiet") == (0, [], [])
    code, out, err = run("encode", small_photo, tmp_path / "none.jpg", "-q")
    assert (code, out, len(err)) == (2, [], 1)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("1", 1),
        ("20000", 20_000),
        ("20k", 20_000),
        ("20kB", 20_000),
        ("1.5M", 1_500_000),
        ("64KiB", 65_536),
        ("2gb", 2 * 10**9),
    ],
)
def test_sizes_with_units(text: str, wanted: int) -> None:
    assert n_bytes(text) == wanted
    assert count("150M") == 150_000_000


def test_target_bytes_with_a_unit(run: Run, small_photo: Path) -> None:
    assert run("encode", small_photo, "--target-bytes", "0.14k")[0] == 0
    assert 100 < small_photo.with_suffix(".l8").stat().st_size <= 140


def test_every_command_has_two_examples_that_parse(run: Run) -> None:
    names = re.findall(r"^    (\w+)", "\n".join(run("--help")[1]).partition("  COMMAND\n")[2], re.MULTILINE)
    assert len(names) == len(COMMANDS)
    for name in names:
        code, out, _ = run(name, "--help")
        lines = [line.strip() for line in out[out.index("examples:") + 1 :]]
        assert code == 0 and len(lines) >= 2 and all(line.startswith("latent8 ") for line in lines), name
        assert any(line.startswith(f"latent8 {name} ") or line == f"latent8 {name}" for line in lines)
        for line in lines:
            words = line.split("  ")[0].split()[1:]
            whole_parser().parse_args([word for word in words if word[0] not in "<>"])


def test_ranges_and_units_are_in_the_help(run: Run) -> None:
    text = " ".join(" ".join(run("encode", "--help")[1]).split())
    for part in (
        "--quality 1-100",
        "--target-bytes SIZE",
        "20k",
        "bits per pixel",
        "--levels 16-256",
        "PIXELS",
        "default: 50",
    ):
        assert part in text, part


def test_decode_in_another_format(run: Run, blob_file: Path) -> None:
    for name in ("webp", "jpg", "avif"):
        assert run("decode", blob_file, "--to", name)[0] == 0
        with Image.open(blob_file.with_suffix(f".{name}")) as image:
            assert image.size == (16, 8) and image.format == {"jpg": "JPEG"}.get(name, name.upper())
    folder = blob_file.parent / "in"
    folder.mkdir()
    blob_file.rename(folder / "a.l8")
    assert run("decode", folder, "-o", blob_file.parent / "out", "--to", "webp")[0] == 0
    assert names_in(blob_file.parent / "out") == {"a.webp"}
    assert np.asarray(Image.open(blob_file.parent / "out/a.webp")).shape == gradient(16, 8).shape
    assert ".l8" in SUFFIXES.values()
