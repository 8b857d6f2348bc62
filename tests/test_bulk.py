"""Bulk jobs on Ray: blobs and index, parts that are done again, lost actors, clusters."""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent8 import Codec, Latent8Error, inspect
from latent8.bulk import ray_job
from latent8.bulk.names import unescaped
from latent8.bulk.ray_job import Encoder, Job, Place, todo
from latent8.evaluation.metrics import psnr
from latent8.zoo.settings import Settings
from tests.helpers.bulk_jobs import MODEL, blobs_in, index_of, parts, stamps_in
from tests.helpers.samples import gradient

pytest_plugins = ["tests.helpers.bulk_jobs"]


def test_an_actor_writes_the_librarys_blobs_and_their_index(album: Path, tmp_path: Path) -> None:
    output, codec = tmp_path / "out", Codec(MODEL)
    job = Job(str(album), str(output), settings=Settings(quality=30))
    part = parts(job)
    assert dict(zip(part["name"], part["blob"], strict=True)) == {
        "bad.jpg": "bad.l8",
        "deep/two.jpg": "deep/two.l8",
        "one.png": "one.l8",
        "same.jpg": "same.jpg.l8",
        "same.png": "same.png.l8",
    }
    encoder = Encoder(job, 1)
    table = encoder(part)

    blobs, index = blobs_in(output), index_of(output)
    wanted = {blob: album / name for name, blob in zip(part["name"], part["blob"], strict=True) if name != "bad.jpg"}
    assert blobs == {blob: codec.encode(path, quality=30) for blob, path in wanted.items()}
    assert index == table.to_pylist() and [row["name"] for row in index] == part["name"]
    for row in index[1:]:
        blob = blobs[row["blob"]]
        with Image.open(album / row["name"]) as image:
            distance = psnr(np.asarray(image.convert("RGB")), np.asarray(codec.decode(blob)))
        assert math.isclose(row.pop("psnr"), distance) and row.pop("seconds") > 0
        size = {"width": 56, "height": 40, "bytes": len(blob), "bpp": len(blob) * 8 / (56 * 40)}
        named = {"name": row["name"], "blob": row["blob"], "model": MODEL, "error": None}
        assert row == {**size, **named}
    bad = index[0]
    assert bad["error"].startswith("This is not a picture") and bad["blob"] is bad["psnr"] is bad["bytes"] is None

    before = stamps_in(output)  # the part once more, as when its actor was lost before it could tell
    assert encoder(part) == table and stamps_in(output) == before
    assert not len(todo(job))


def test_a_lost_part_keeps_whole_blobs_and_makes_the_others(album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job = Job(str(album), str(output), measure=False)
    encoder, part = Encoder(job, 1), parts(job)
    encoder(part)
    wanted, rows, before = blobs_in(output), index_of(output), stamps_in(output)
    (output / "blobs/one.l8").unlink()
    (output / "blobs/same.png.l8").write_bytes(wanted["same.png.l8"][:-3])
    (index,) = (output / "index").iterdir()
    index.unlink()

    encoder(parts(job))
    assert blobs_in(output) == wanted
    changed = {path.name for path, stamp in stamps_in(output).items() if before[path] != stamp}
    assert changed == {"one.l8", "same.png.l8", index.name}
    for row in [*rows, *index_of(output)]:
        assert row["psnr"] is None and row.pop("seconds") > 0
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in index_of(output)]


def test_blobs_of_other_pictures_are_not_taken_for_theirs(album: Path, tmp_path: Path) -> None:
    output, codec = tmp_path / "out", Codec(MODEL)
    job = Job(str(album), str(output))
    encoder = Encoder(job, 1)
    encoder(parts(job))
    (album / "one.png").unlink()
    Image.fromarray(gradient(20, 30)).save(album / "one.webp", lossless=True)
    part = parts(job)
    assert part == {"name": ["one.webp"], "blob": ["one.webp.l8"]}  # one.l8 is one.png's, for good
    encoder(part)
    assert blobs_in(output)["one.webp.l8"] == codec.encode(album / "one.webp")

    for index in (output / "index").iterdir():  # changed since the job was stopped: in time, then in size
        index.unlink()
    for side in (56, 60):
        Image.fromarray(gradient(side, 40)).save(album / "deep/two.jpg")
        if side == 60:
            os.utime(album / "deep/two.jpg", (0, 0))
        encoder({"name": ["deep/two.jpg"], "blob": ["deep/two.l8"]})
        assert blobs_in(output)["deep/two.l8"] == codec.encode(album / "deep/two.jpg")
        for index in (output / "index").iterdir():
            index.unlink()


def test_blobs_of_other_weights_are_made_anew(album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job = Job(str(album), str(output))
    encoder, part = Encoder(job, 1), parts(job)
    encoder(part)
    for index in (output / "index").iterdir():
        index.unlink()
    encoder._codec.network.weights_hash = b"next"  # as after an update of latent8
    assert encoder(part)["error"].null_count == len(part["name"]) - 1  # one is no picture
    assert {inspect(blob).header.weights for blob in blobs_in(output).values()} == {b"next"}


def test_actors_may_work_in_another_folder(album: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job("album", "out", measure=False)
    part, anywhere = parts(job), ray_job._anywhere(job)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Encoder(anywhere, 1)(part)
    assert len(blobs_in(tmp_path / "out")) == 4 and not any(Path.cwd().iterdir())


def test_a_source_that_has_gone_stops_the_job(album: Path, tmp_path: Path) -> None:
    job = Job(str(album), str(tmp_path / "out"))
    part = parts(job)
    album.rename(tmp_path / "unmounted")
    with pytest.raises(OSError, match="album has gone"):
        Encoder(job, 1)(part)
    assert not (tmp_path / "out/index").exists()


def test_damaged_files_of_a_job_are_named(album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job = Job(str(album), str(output))
    (output / "index").mkdir(parents=True)
    (output / "index/0.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(Latent8Error, match="out/index/0.parquet is damaged: delete it"):
        todo(job)
    (output / "job.json").write_text("{")
    with pytest.raises(Latent8Error, match="out/job.json is damaged"):
        todo(job)


def test_options_reach_the_codec(album: Path, tmp_path: Path) -> None:
    job = Job(str(album), str(tmp_path / "out"), "l8-tiny", Settings(levels=32), longest_side=28)
    Encoder(job, 1)(parts(job))
    wanted = Codec("l8-tiny").encode(album / "one.png", levels=32, longest_side=28)
    assert blobs_in(tmp_path / "out")["one.l8"] == wanted
    assert {row["model"] for row in index_of(tmp_path / "out")} == {"l8-tiny"}


def test_storage_that_fails_stops_the_part_without_an_index(album: Path, tmp_path: Path, monkeypatch) -> None:
    job = Job(str(album), str(tmp_path / "out"))
    part = parts(job)
    (album / "one.png").unlink()  # gone since it was listed: an error of its own
    encoder = Encoder(job, 1)
    encoder({"name": ["one.png"], "blob": ["one.l8"]})
    assert [row["error"] for row in index_of(tmp_path / "out")] == [
        "The file cannot be read (No such file or directory)."
    ]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ray_job, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        encoder(part)
    assert len(index_of(tmp_path / "out")) == 1


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder, output = tmp_path / "caf\udce9", tmp_path / "out"
    try:
        (folder / "\udcff").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    for name in ("\udce9.png", "\udcff/b.png", "\\xe9.png"):
        Image.fromarray(gradient(20, 10)).save(folder / name)
    job = ray_job._anywhere(pickle.loads(pickle.dumps(Job(str(folder), str(output), measure=False))))
    Encoder(job, 1)(parts(job))
    index = {unescaped(row["name"]): row["blob"] for row in index_of(output)}
    assert index == {"\udce9.png": "\\xe9.l8", "\udcff/b.png": "\\xff/b.l8", "\\xe9.png": "\\\\xe9.l8"}
    assert set(blobs_in(output)) == set(index.values())  # the index's blobs are names as they are
    assert not len(todo(job))


def test_what_is_no_missing_cluster_is_not_called_one(monkeypatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ValueError("the object store is too small")

    monkeypatch.setattr(ray_job.ray, "init", failing)
    with pytest.raises(Latent8Error, match="^Ray cannot be started: the object store is too small.$"):
        ray_job.connect(None)
    with pytest.raises(Latent8Error, match="^There is no Ray cluster at nowhere:1: the object store is too small.$"):
        ray_job.connect("nowhere:1")


def test_arguments_that_are_not_utf8_are_escaped_for_ray(monkeypatch) -> None:
    from ray._private import utils

    monkeypatch.setattr(sys, "argv", ["latent8", "bulk", "caf\udce9"])
    with ray_job._named_in_utf8():
        assert utils.get_entrypoint_name() == "latent8 bulk caf\\xe9"


def test_any_file_system_that_fsspec_knows(album: Path) -> None:
    source, output = Place.at("memory://photos"), Place.at("memory://out/deep")
    for name in ("a/one.png", "two.png"):
        source.write(name, (album / "one.png").read_bytes())
    job = Job("memory://photos", "memory://out/deep", measure=False)
    Encoder(job, 1)(parts(job))
    assert {name for name in output.names() if name.startswith("blobs/")} == {"blobs/a/one.l8", "blobs/two.l8"}
    assert output.read("blobs/two.l8") == Codec(MODEL).encode((album / "one.png").read_bytes(), stem="two")
    assert json.loads(output.read("job.json"))["source"] == "memory:///photos"


@pytest.mark.parametrize("inside", [".", "out", "deep/out"])
def test_output_may_lie_within_the_photos(album: Path, inside: str) -> None:
    job = Job(str(album), str(album / inside), measure=False)
    Encoder(job, 1)(parts(job))
    Image.fromarray(gradient(9, 9)).save(album / inside / "blobs" / "x.png")
    assert todo(job)["name"].to_pylist() == (["blobs/x.png"] if inside == "." else [])


@pytest.mark.parametrize("resources", [{}, {"memory": 1e9}, {"GPU": 2.0}])
@pytest.mark.parametrize("actors", [None, 3])
def test_a_cluster_without_cpus_is_refused(resources: dict[str, float], actors: int | None, monkeypatch) -> None:
    monkeypatch.setattr(ray_job.ray, "nodes", lambda: [{"Alive": True, "Resources": resources}])
    with pytest.raises(Latent8Error, match="The cluster has no CPUs that an actor could run on"):
        ray_job._shares(actors)


def test_jobs_that_cannot_be_are_refused(album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    todo(Job(str(album), str(output)))
    for other in (Job(str(album), str(output), settings=Settings(quality=3)), Job(str(album / "deep"), str(output))):
        with pytest.raises(Latent8Error, match="holds a job with another source or settings: name an empty folder"):
            todo(other)
    todo(Job(str(album), str(output), measure=False))  # the same blobs
    (output / "job.json").unlink()
    (output / "blobs").mkdir()
    with pytest.raises(Latent8Error, match="holds blobs that are not of such a job"):
        todo(Job(str(album), str(output)))
    for source in (tmp_path / "none", output, album / "one.png"):
        with pytest.raises(Latent8Error, match="There are no pictures in"):
            todo(Job(str(source), str(tmp_path / "other")))
    with pytest.raises(Latent8Error, match="consistency only decodes"):
        next(ray_job.run(Job(str(album), str(tmp_path / "other"), "consistency")))
    with pytest.raises(Latent8Error, match="cannot be reached: Protocol not known: nonsense"):
        todo(Job("nonsense://bucket", str(output)))
    assert not (tmp_path / "other").exists()
