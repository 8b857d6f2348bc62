"""Whole folders on the command line: mirrored names, errors, reports, and runs that are killed and go on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent8 import Codec, inspect
from latent8.bulk import folders
from latent8.bulk.folders import Job, plan
from latent8.bulk.names import escaped, unescaped
from latent8.cli.console import size_change
from latent8.zoo import weights
from latent8.zoo.registry import Model, model_named
from tests.helpers.samples import build_blob, gradient


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A tree with two that share a stem, one that is damaged, and files that are no pictures."""
    folder = tmp_path / "album"
    for name in ("one.png", "deep/er/two.jpg", "deep/same.jpg", "deep/same.png", "last.webp"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gradient(40, 30)).save(path)
    (folder / "deep" / "bad.jpg").write_bytes(b"no picture")
    for name in ("notes.txt", ".hidden.png", "x.encoded.png"):
        (folder / name).write_bytes(b"something else")
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def pictures_in(album: Path) -> list[Path]:
    """Those that can be read."""
    return [
        path for path in album.rglob("*") if path.name in ("one.png", "two.jpg", "same.jpg", "same.png", "last.webp")
    ]


def counts(told: list[str]) -> str:
    """The summary without what it says of sizes."""
    (line,) = told
    return line.partition(";")[0]


BLOBS = {"one.l8", "deep/er/two.l8", "deep/same.jpg.l8", "deep/same.png.l8", "last.l8"}


def rows_of(report: Path) -> list[dict[str, str]]:
    with open(report, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_there_and_back(run, photo_codec: Codec, album: Path) -> None:
    out, back, report = album.parent / "out", album.parent / "back", album.parent / "report.csv"
    code, told, err = run("encode", album, "-o", out, "--quality", 30, "--report", report)
    assert code == 1
    sizes = size_change(
        *(sum(path.stat().st_size for path in paths) for paths in (pictures_in(album), out.rglob("*.l8")))
    )
    assert told == [f"{out}: 5 written, 0 skipped, 1 failed, 3 other files left alone; {sizes}"]
    assert len(err) == 1 and err[0].startswith(f"latent8: {album / 'deep/bad.jpg'}: This is not a picture")
    assert tree(out) == BLOBS
    assert (out / "one.l8").read_bytes() == photo_codec.encode(album / "one.png", quality=30)

    rows = rows_of(report)
    assert [row["result"] for row in rows].count("written") == 5
    one = next(row for row in rows if row["source"] == str(album / "one.png"))
    n_bytes = (out / "one.l8").stat().st_size
    assert one == {
        "source": str(album / "one.png"),
        "target": str(out / "one.l8"),
        "result": "written",
        "source_bytes": str((album / "one.png").stat().st_size),
        "bytes": str(n_bytes),
        "width": "40",
        "height": "30",
        "bpp": str(round(n_bytes * 8 / 1200, 4)),
        "message": "",
    }
    failed = next(row for row in rows if row["result"] == "failed")
    assert failed["source"].endswith("bad.jpg") and failed["message"].startswith("This is not a picture")

    (out / "deep" / "cut.l8").write_bytes((out / "one.l8").read_bytes()[:-9])
    code, told, err = run("decode", out, "-o", back, "--report", report)
    assert (code, told, len(err)) == (1, [f"{back}: 5 written, 0 skipped, 1 failed"], 1)
    assert tree(back) == {name.removesuffix(".l8") + ".png" for name in BLOBS}
    with Image.open(back / "deep/er/two.png") as image:
        wanted = photo_codec.decode((out / "deep/er/two.l8").read_bytes())
        np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))
    assert {row["width"] for row in rows_of(report) if row["result"] == "written"} == {"40"}


def test_a_model_that_cannot_be_loaded_is_tried_once(run, tmp_path: Path, monkeypatch) -> None:
    tried: list[str] = []

    def no_hub(model: Model) -> None:
        tried.append(model.name)
        raise OSError("no route")

    monkeypatch.setattr(weights, "_require_hub", no_hub)
    for name in "abc":
        (tmp_path / f"{name}.l8").write_bytes(build_blob(model_id=model_named("taesdxl").id))
    code, _, err = run("decode", tmp_path, "-o", tmp_path / "pictures")
    told = [line for line in err if "taesdxl is not on this machine and could not be downloaded" in line]
    assert (code, len(told), tried) == (1, 3, ["taesdxl"])


def test_models_may_be_mixed_in_a_folder_of_blobs(run, codec: Codec, photo_codec: Codec, album: Path) -> None:
    out, back = album.parent / "out", album.parent / "back"
    run("encode", album, "-o", out)
    assert run("encode", album / "deep", "-o", out / "tiny", "--model", "l8-tiny", "--png")[0] == 1
    assert tree(out / "tiny") == {"er/two.encoded.png", "same.jpg.encoded.png", "same.png.encoded.png"}
    code, told, err = run("decode", out, "-o", back)
    assert (code, told, err) == (0, [f"{back}: 8 written, 0 skipped, 0 failed"], [])
    assert (back / "tiny/er/two.png").exists() and (back / "tiny/same.jpg.png").exists()


def test_skip_existing_goes_on_where_a_run_stopped(run, album: Path) -> None:
    out = album.parent / "out"
    (album / "deep" / "bad.jpg").unlink()
    run("encode", album, "-o", out)
    (out / "one.l8").unlink()
    stamps = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    code, told, err = run("encode", album, "-o", out, "--skip-existing")
    assert (code, err) == (0, [])
    assert counts(told) == f"{out}: 1 written, 4 skipped, 0 failed, 3 other files left alone"
    assert {name: (out / name).stat().st_mtime_ns for name in stamps} == stamps and tree(out) == BLOBS
    told = run("encode", album, "-o", out)[1]
    assert counts(told) == f"{out}: 5 written, 0 skipped, 0 failed, 3 other files left alone"


def test_decode_keeps_existing_pictures_unless_forced(run, album: Path) -> None:
    out, back = album.parent / "out", album.parent / "back"
    run("encode", album, "-o", out)
    run("decode", out, "-o", back)
    code, told, err = run("decode", out, "-o", back)
    assert (code, told, len(err)) == (1, [f"{back}: 0 written, 0 skipped, 5 failed"], 5)
    assert err[0].endswith(" exists: leave it out with --skip-existing, or overwrite it with --force.")
    assert run("decode", out, "-o", back, "--skip-existing")[:2] == (0, [f"{back}: 0 written, 5 skipped, 0 failed"])
    assert run("decode", out, "-o", back, "--force")[:2] == (0, [f"{back}: 5 written, 0 skipped, 0 failed"])
    assert run("decode", out, "-o", back, "--force", "--skip-existing")[0] == 2


@pytest.mark.parametrize("inside", ["out", "deep/out", "."])
def test_output_may_lie_within_the_input(run, album: Path, inside: str) -> None:
    (album / "deep" / "bad.jpg").unlink()
    for _ in range(2):  # the second run finds the output of the first
        code, told, _ = run("encode", album, "-o", album / inside)
        assert code == 0 and told[0].startswith(f"{album / inside}: 5 written")
    before = tree(album)
    code, _, _ = run("decode", album / inside, "-o", album / inside / "pictures")
    assert code == int(inside == ".")  # x.encoded.png is there, and not what its name says
    assert len(tree(album) - before) == 5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["encode", "."], ". is a directory: give it alone, and with -o the folder to write to."),
        (["decode", ".", "a.l8", "-o", "b"], ". is a directory: give it alone, and with -o the folder to write to."),
        (["encode", "a.png", "--skip-existing"], "--skip-existing and --report are for a folder: name one, with"),
        (["decode", "a.l8", "--report", "r.csv"], "--skip-existing and --report are for a folder: name one, with"),
        (["encode", ".", "-o", "out"], "There is nothing to convert in .."),
        (["decode", ".", "-o", "out"], "There is nothing to convert in .."),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(run, tmp_path: Path, monkeypatch, arguments, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: {message}")
    assert not tree(tmp_path)


def test_target_that_cannot_be_written_does_not_stop_the_others(run, album: Path) -> None:
    out = album.parent / "out"
    (out / "one.l8").mkdir(parents=True)
    (out / "deep").write_text("a file where a folder is wanted")
    code, told, err = run("encode", album, "-o", out)
    assert (code, len(err)) == (1, 5) and told[0].startswith(f"{out}: 1 written, 0 skipped, 5 failed")
    assert tree(out) == {"deep", "last.l8"}


def test_full_disk_ends_the_run(run, album: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "write_file", full)
    assert run("encode", album, "-o", album.parent / "out")[::2] == (2, ["latent8: No space left on device."])


def test_names_are_told_apart_whatever_order_they_come_in(tmp_path: Path) -> None:
    names = ["a.jpg", "A.png", "a.jpg.png", "b.jpg", "sub/a.gif"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs, others = plan(tmp_path, tmp_path / "out", lambda _: True, lambda path: path.stem, ".l8")
    targets = {str(job.source.relative_to(tmp_path)): str(job.target.relative_to(tmp_path / "out")) for job in jobs}
    assert others == 0 and targets == {
        "a.jpg": "a.jpg.l8",
        "A.png": "A.png.l8",
        "a.jpg.png": "a.jpg.png.l8",
        "b.jpg": "b.l8",
        "sub/a.gif": "sub/a.l8",
    }


# ---- names that are not UTF-8, and stems that come to be shared


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "größe 100%.jpg",
        "a\\b",
        "\\xe9",
        "\\\\xe9",
        "\\",
        "caf\udce9",
        "\udcff\\x41",
        "\ud800.jpg",
        "\\ud800",
    ],
)
def test_names_can_be_escaped_and_back(name: str) -> None:
    assert unescaped(escaped(name)) == name
    escaped(name).encode()
    assert "\\" in name or not name.isascii() or escaped(name) == name


def test_escaped_names_are_told_apart() -> None:
    assert escaped("caf\udce9.jpg") == "caf\\xe9.jpg" and escaped("caf\\xe9.jpg") == "caf\\\\xe9.jpg"


def test_names_that_are_not_utf8(run, tmp_path: Path) -> None:
    source, out, back, report = tmp_path / "caf\udce9", tmp_path / "\udcff", tmp_path / "back", tmp_path / "report.csv"
    try:
        source.mkdir()
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    for name in ("\udce9.png", "plain.png"):
        Image.fromarray(gradient(20, 10)).save(source / name)
    assert run("encode", source, "-o", out, "--report", report)[0] == 0
    assert tree(out) == {"\udce9.l8", "plain.l8"}
    assert {unescaped(row["target"]) for row in rows_of(report)} == {str(out / "\udce9.l8"), str(out / "plain.l8")}
    assert run("decode", out, "-o", back)[0] == 0 and tree(back) == {"\udce9.png", "plain.png"}
    assert run("encode", source / "\udce9.png")[0] == 0 and inspect(source / "\udce9.l8").stem == "picture"


@pytest.mark.parametrize("skip", [["--skip-existing"], []])
def test_a_stem_that_comes_to_be_shared_leaves_a_blob_for_each(run, tmp_path: Path, skip: list[str]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(gradient(20, 10)).save(photos / "photo.png")
    assert run("encode", photos, "-o", out)[0] == 0 and tree(out) == {"photo.l8"}
    first = (out / "photo.l8").read_bytes()
    time.sleep(0.02)  # file systems count in ticks
    Image.fromarray(gradient(30, 10)).save(photos / "photo.jpg")
    for _ in range(2):
        code, told, _ = run("encode", photos, "-o", out, *skip)
        assert code == 0 and tree(out) == {"photo.png.l8", "photo.jpg.l8"}
        assert (out / "photo.png.l8").read_bytes() == first and inspect(out / "photo.jpg.l8").width == 30
    if skip:
        assert counts(told) == f"{out}: 0 written, 2 skipped, 0 failed"


def test_where_it_is_not_clear_whose_a_blob_is_the_run_says_what_to_do(run, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("other.png", "photo.jpg", "photo.png"):
        Image.fromarray(gradient(20, 10)).save(photos / name)
    out.mkdir()
    for name in ("photo.l8", "other.l8"):
        (out / name).write_bytes(build_blob())
    os.utime(out / "photo.l8", (1, 1))  # older than both, as after a copy
    code, told, err = run("encode", photos, "-o", out, "--skip-existing")
    assert code == 1 and told == [f"{out}: 0 written, 1 skipped, 2 failed"]
    wanted = f"{out / 'photo.l8'} is of one of several files with that stem: rename it to photo.jpg.l8 or photo.png.l8"
    assert err == [f"latent8: {photos / name}: {wanted}, or delete it." for name in ("photo.jpg", "photo.png")]
    assert tree(out) == {"photo.l8", "other.l8"}
    (out / "photo.l8").rename(out / "photo.jpg.l8")
    assert run("encode", photos, "-o", out, "--skip-existing")[0] == 0
    assert tree(out) == {"photo.jpg.l8", "photo.png.l8", "other.l8"}


def test_a_file_that_is_no_blob_is_kept_unless_forced(run, album: Path) -> None:
    out = album.parent / "out"
    (album / "deep" / "bad.jpg").unlink()
    out.mkdir()
    (out / "one.l8").write_text("notes of mine")
    code, _, err = run("encode", album, "-o", out)
    text = f"{out / 'one.l8'} exists: leave it out with --skip-existing, or overwrite it with --force."
    assert code == 1 and err == [f"latent8: {album / 'one.png'}: {text}"]
    assert (out / "one.l8").read_text() == "notes of mine"
    assert run("encode", album, "-o", out, "--force")[0] == 0 and inspect(out / "one.l8").width == 40


def test_a_target_that_is_a_source_is_never_written(run, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for folder in (photos, out):
        folder.mkdir()
    Image.fromarray(gradient(20, 10)).save(photos / "photo.png")
    before = (photos / "photo.png").read_bytes()
    (out / "photo.l8").symlink_to(photos / "photo.png")
    code, _, err = run("encode", photos, "-o", out, "--force")
    assert code == 1 and err == [
        f"latent8: {photos / 'photo.png'}: {out / 'photo.l8'} is an input itself: name another folder."
    ]
    assert (photos / "photo.png").read_bytes() == before


def test_a_report_replaces_no_other_file(run, album: Path) -> None:
    report = album.parent / "notes.csv"
    report.write_text("mine")
    command = ["encode", album, "-o", album.parent / "out", "--report", report]
    code, _, err = run(*command)
    text = f"{report} exists, and is no such report: name another file, or overwrite it with --force."
    assert (code, err) == (2, [f"latent8: {text}"]) and report.read_text() == "mine"
    assert run(*command, "--force")[0] == 1 and len(rows_of(report)) == 6
    assert run(*command)[0] == 1 and len(rows_of(report)) == 6  # a report is replaced


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    jobs, _ = plan(tmp_path, tmp_path / "out", lambda _: True, lambda path: path.stem, ".l8")
    assert jobs == [Job(tmp_path / "a.png", tmp_path / "out" / "a.l8")]


def test_hidden_folders_are_left_out_and_unreadable_ones_fail(run, album: Path, monkeypatch) -> None:
    (album / ".thumbnails").mkdir()
    Image.fromarray(gradient(8, 8)).save(album / ".thumbnails" / "one.png")
    scandir = os.scandir

    def refusing(path):
        if Path(path) == album / "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    out = album.parent / "out"
    code, told, err = run("encode", album, "-o", out)
    assert code == 1 and counts(told) == f"{out}: 2 written, 0 skipped, 1 failed, 3 other files left alone"
    assert len(err) == 1 and err[0].startswith(f"latent8: {album / 'deep'}: ")
    assert tree(out) == {"one.l8", "last.l8"}


def test_killed_run_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for index in range(400):
        Image.fromarray(gradient(64, 48)).save(source / f"{index:03}.png", compress_level=1)
    command = [sys.executable, "-m", "latent8", "encode", str(source), "-o", str(out), "--skip-existing"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and (not out.exists() or len(list(out.glob("*.l8"))) < 10):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    blobs = list(out.glob("*.l8"))
    assert 10 <= len(blobs) < 400
    for blob in blobs:
        inspect(blob.read_bytes())  # the checksum is right
    stamps = {blob: blob.stat().st_mtime_ns for blob in blobs}
    partial, others, new = out / f".{'0' * 16}.partial", out / ".mine.partial", out / f".{'1' * 16}.partial"
    for path in (partial, others, new):
        path.touch()
    for path in (*out.glob(".*.partial"), others):
        if path != new:
            os.utime(path, (0, 0))

    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert counts([done.stdout]) == f"{out}: {400 - len(blobs)} written, {len(blobs)} skipped, 0 failed"
    assert tree(out) == {f"{index:03}.l8" for index in range(400)} | {others.name, new.name}
    assert {blob: blob.stat().st_mtime_ns for blob in blobs} == stamps
