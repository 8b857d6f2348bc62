"""Bulk jobs on a Ray cluster of this machine: actors that are lost, indexes that a library takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from test_metrics import busy

from latent8 import Codec, Library
from latent8.bulk.ray_job import Encoder, Job
from latent8.cli import commands
from tests.helpers.app_servers import free_port
from tests.helpers.bulk_jobs import MODEL, blobs_in, index_of, parts, stamps_in
from tests.helpers.samples import gradient

pytest_plugins = ["tests.helpers.bulk_jobs"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster that is started as an administrator starts one."""
    port = free_port()
    folder = tmp_path_factory.mktemp("ray")
    start = "from ray.scripts.scripts import main; main()"
    options = ["--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "start", *options], stdout=log, stderr=log, env={**os.environ, **QUIET}
        )
    try:
        while b"Ray runtime started" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        ray.shutdown()
        process.terminate()
        process.wait(60)


QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def summary(out: str, output: Path) -> str:
    """The last line of a job; Ray's own words on a lost actor may come before it or after."""
    (line,) = (line for line in out.splitlines() if line.startswith(f"{output}: "))
    return line


def test_job_on_a_cluster(address: str, album: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    output = tmp_path / "out"
    command = ["bulk", str(album), "-o", str(output), "--address", address, "--actors", "1", "--quality", "30"]
    code = commands.main(command)
    told = capsys.readouterr()
    line = summary(told.out, output)
    assert code == 1 and line.startswith(f"{output}: 5 pictures in ") and line.endswith(" bytes, 1 failed")
    assert [row["name"] for row in index_of(output)] == [
        "bad.jpg", "deep/two.jpg", "one.png", "same.jpg", "same.png"
    ]  # fmt: skip
    assert blobs_in(output)["one.l8"] == Codec(MODEL).encode(album / "one.png", quality=30)

    ray.shutdown()
    before = stamps_in(output)
    Image.fromarray(gradient(20, 20)).save(album / "new.png")
    assert commands.main(command) == 0  # goes on: only the new one is left
    assert summary(capsys.readouterr().out, output).startswith(f"{output}: 1 pictures in ")
    after = stamps_in(output)
    assert {path: after[path] for path in before} == before and len(after) == len(before) + 2

    ray.shutdown()
    assert commands.main([*command[:-1], "31"]) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[-1].startswith(f"latent8: {output} holds a job with another source or settings")
    ray.shutdown()


def descendants(pid: int) -> list[int]:
    """Processes below this one, from /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # has just ended
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def actors_of(pid: int) -> list[int]:
    found = []
    for child in descendants(pid):
        try:
            if b"MapWorker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


def test_a_lost_actor_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """On a Ray that the command starts itself; 300 photos, and one of two actors is killed after the first blobs."""
    photos, output = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(300):
        Image.fromarray(np.roll(busy(48, 64), index, axis=1)).save(photos / f"{index:03}.png", compress_level=1)
    command = [sys.executable, "-m", "latent8", "bulk", str(photos), "-o", str(output), "--actors", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **QUIET}
    )
    while process.poll() is None and len(list(output.glob("blobs/*.l8"))) < 20:
        time.sleep(0.01)
    victims = actors_of(process.pid)
    assert victims, process.communicate()
    os.kill(victims[0], signal.SIGKILL)
    early = stamps_in(output)
    out, err = process.communicate()

    assert process.returncode == 0, err
    told = summary(out, output)
    assert told.startswith(f"{output}: 300 pictures in ") and told.endswith(" bytes, 0 failed")
    assert 20 <= len(early) < 300
    index = index_of(output)
    assert [row["name"] for row in index] == [f"{number:03}.png" for number in range(300)]  # each once
    blobs, codec = blobs_in(output), Codec(MODEL)
    assert set(blobs) == {f"{number:03}.l8" for number in range(300)}
    assert [row["bytes"] for row in index] == [len(blobs[row["blob"]]) for row in index]
    for name in list(blobs)[::30]:
        assert blobs[name] == codec.encode(photos / name.replace(".l8", ".png"))
    late = stamps_in(output)
    assert {path: late[path] for path in early} == early  # nothing is written twice


def test_an_index_with_vectors_fills_a_library_without_opening_a_picture(album: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job = Job(str(album), str(output), measure=False, vectors=True)
    part = parts(job)
    encoder = Encoder(job, 1)
    table = encoder(part)
    assert encoder(part) == table
    with Library(tmp_path / "library") as library:
        report = library.add(output / "index")
        assert report.added == 4 and [outcome.name for outcome in report.failures] == ["bad.jpg"]
        assert library.add(output / "index").known == 4
        hit = library.search(album / "deep" / "two.jpg", k=1)[0]
        assert hit.record.name in ("deep/two.jpg", "same.jpg") and hit.score > 0.999  # which are equal
        blobs = [path.read_bytes() for path in (output / "blobs").rglob("*.l8") if path.name[:4] in ("two.", "same")]
        assert hit.blob in blobs and hit.record.quality == 50
    with Library(tmp_path / "other", vector="latents") as library:
        report = library.add(output / "index")
        assert "holds vectors picture-1, and the library has latents-1: add its blobs" in str(report.failures[0].error)


def test_an_index_without_vectors_says_how_to_get_them(album: Path, tmp_path: Path) -> None:
    job = Job(str(album), str(tmp_path / "out"), measure=False)
    Encoder(job, 1)(parts(job))
    with Library(tmp_path / "library") as library:
        (failure,) = library.add(tmp_path / "out" / "index").failures
        assert "holds no vectors: run the bulk job with --vectors, or add its blobs" in str(failure.error)
        (tmp_path / "out" / "index" / "zz.parquet").write_bytes(b"PAR1 and nothing")
        failures = library.add(tmp_path / "out" / "index").failures
        assert len(failures) == 1
