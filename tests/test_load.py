"""The load benchmark: the apps stand it, and it tells a wrong result from a right one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

import latent8
from benchmarks import load
from latent8.apps import files, housekeeping, work
from tests.helpers.app_servers import AppServer
from tests.helpers.samples import build_blob, gradient

pytest_plugins = ["tests.helpers.app_servers"]


def test_apps_under_load_and_faults(capsys) -> None:
    assert load.main(["--users", "2", "--requests", "2", "--background", "1"]) == 0, capsys.readouterr().err
    told = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.out.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        f"{app}, {when}" for app in ("encoder", "decoder") for when in ("at the start", "round 1", "round 2")
    ]
    for row in rows:
        assert float(row[5]) > 100 and row[4] in ("", "0")
    assert told.err.count(": taken well") == 2 * (len(load.FAULTS) + 2)


@pytest.mark.parametrize("app", ["encoder", "decoder"])
def test_results_of_other_inputs_are_found(app: str, request, tmp_path: Path) -> None:
    server: AppServer = request.getfixturevalue(app)
    photos = [tmp_path / f"{side}.png" for side in (40, 48)]
    for photo in photos:
        Image.fromarray(gradient(int(photo.stem), 40)).save(photo)
    (tmp_path / "inputs").mkdir()
    first, second = load.inputs(photos, tmp_path / "inputs")[app]
    users = [load.User(server) for _ in range(2)]
    assert [user.problem(given) for user, given in zip(users, (first, second), strict=True)] == ["", ""]
    swapped = [load.Input(first.path, second.wanted), second]
    found = load.run_round(users, swapped)
    assert (len(found.latencies), found.errors) == (
        1, [f"{first.path.name}: the result of another input, or a damaged one"]
    )  # fmt: skip
    assert load.refusal(server, first.path, ["cut short"]) == ["it is answered as if nothing were wrong"]


def test_blobs_that_differ_in_a_symbol_are_of_the_same_picture() -> None:
    first, second = build_blob(weights=bytes(4)), build_blob(weights=bytes(4), payload=bytes([1, *range(1, 8)]))
    other = build_blob(weights=bytes(4), payload=bytes([0, 255] * 4))
    assert first != second and load.same_picture(first, second) and load.same_picture(first, first)
    assert not load.same_picture(first, other) and not load.same_picture(first, first[:-9])


def test_old_results_are_deleted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    old, new, upload = files.request_folder(), files.request_folder(), tmp_path / ("a" * 64)
    upload.mkdir()
    (old / "photo.l8").write_bytes(b"of a request that failed")
    for folder in (old, upload):
        os.utime(folder, (0, 0))
    housekeeping.delete_old(tmp_path / "not made yet", 3600)
    housekeeping.delete_old(tmp_path, 3600)
    assert list(tmp_path.iterdir()) == [new]


def test_a_batch_keeps_what_it_still_needs(tmp_path: Path, monkeypatch) -> None:
    """However long it lasts; Gradio, too, goes by when a file was last changed, as far as its inode tells."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    folder, uploads = files.request_folder(), [tmp_path / f"{number}.jpg" for number in range(3)]
    for upload in uploads:
        upload.touch()
    paths = [*map(str, uploads), str(tmp_path / "gone.jpg")]
    begun = time.time()
    for index, (path, _) in enumerate(work.one_by_one(paths, "Photo", folder)):
        assert path == paths[index]
        assert all(kept.stat().st_mtime >= begun - 1 for kept in (folder, *uploads[index:]))
        for old in (folder, *uploads):
            os.utime(old, (0, 0))
    assert index == 3


def test_temporary_files_of_other_programs_are_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "tmp_of_another_program"
    other.touch()
    os.utime(other, (0, 0))
    housekeeping.delete_broken_uploads(tmp_path, 600)
    assert other.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.parent))
    housekeeping.delete_broken_uploads(tmp_path, 600)
    assert not other.exists()


def test_an_archive_that_is_cut_off_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(OSError), files.ZipWriter(tmp_path / "pictures.zip") as archive:
        archive.add("one", b"1")
        raise OSError(28, "No space left on device")
    assert not any(tmp_path.iterdir())


def test_parts_of_broken_uploads_are_deleted(encoder: AppServer, tmp_path: Path) -> None:
    assert load.vanish_in_mid_upload(encoder, load.Input(tmp_path, b"")) == []
    part = encoder.temporary / "tmp_part"  # as one that Gradio leaves
    part.write_bytes(b"a part")
    kept = encoder.temporary / "hash" / "tmp_photo.jpg"
    kept.parent.mkdir()
    kept.write_bytes(b"a whole upload")
    housekeeping.delete_broken_uploads(encoder.temporary, 3600)
    assert part.exists()
    time.sleep(0.1)
    housekeeping.delete_broken_uploads(encoder.temporary, 0)
    assert part not in load.parts_of_uploads(encoder) and kept.exists()


def test_blobs_are_the_librarys(tmp_path: Path) -> None:
    Image.fromarray(gradient(40, 30)).save(tmp_path / "a.png")
    (tmp_path / "inputs").mkdir()
    given = load.inputs([tmp_path / "a.png"], tmp_path / "inputs")
    blob = latent8.encode((tmp_path / "a.png").read_bytes(), stem="0")
    assert given["encoder"][0].wanted == given["decoder"][0].path.read_bytes() == blob
