"""Libraries that were killed, damaged or opened twice, and one of 20,000 pictures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latent8 import Library, LibraryError
from latent8.library import journal as journals
from latent8.library.places import FolderPlace
from latent8.library.reindexing import reindex
from tests.helpers.full_disk import files_up_to
from tests.helpers.library_photos import made_up_points

pytest_plugins = ["tests.helpers.library_photos"]
COUNT, BATCH = 20_000, 100
ADDING = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from pathlib import Path
from tests.helpers.library_photos import made_up_points
from latent8.library.places import FolderPlace
place = FolderPlace(Path(sys.argv[1]), None)
engine = place.engine_for_adding()
points = made_up_points({COUNT}, place.embedder.dimensions)
for first in range(0, len(points), {BATCH}):
    batch = points[first : first + {BATCH}]
    known = {{point.id for point in engine.get([point.id for point in batch])}}
    place.put([point for point in batch if point.id not in known])
    print(first + {BATCH}, flush=True)
place.settle()
place.close()
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, int]:
    """A library whose adding was killed in the middle, and how many points had been reported by then."""
    folder = tmp_path_factory.mktemp("killed") / "library"
    process = subprocess.Popen([sys.executable, "-c", ADDING, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    reported = 0
    for line in process.stdout:
        reported = int(line)
        if reported >= 6000:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    assert process.wait() == -signal.SIGKILL
    return folder, int(rest[-1]) if rest else reported


@pytest.fixture(scope="module")
def full(killed) -> Path:
    """The same after another run, which went on with it."""
    folder, _ = killed
    subprocess.run([sys.executable, "-c", ADDING, str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.mark.slow
def test_a_killed_run_loses_nothing_that_it_had_reported(killed):
    folder, reported = killed
    points = made_up_points(COUNT, 128)
    assert 6000 <= reported < COUNT
    with Library(folder) as library:
        assert reported <= len(library) <= reported + BATCH
        found = {point.id: point.vector for point in library.points()}
        for point in points[:reported]:
            assert np.allclose(found[point.id], point.vector, atol=1e-6)
        assert not library.problems()


@pytest.mark.slow
def test_the_next_run_goes_on_and_finds_what_comparing_with_each_finds(full):
    points = made_up_points(COUNT, 128)
    vectors = np.stack([point.vector for point in points])
    random = np.random.default_rng(1)
    queries = vectors[random.choice(COUNT, 40, replace=False)]
    queries = queries + 0.05 * random.standard_normal(queries.shape).astype(np.float32)
    with Library(full) as library:
        assert len(library) == COUNT
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :5]
        hits = 0
        for query, nearest in zip(queries, exact, strict=True):
            wanted = {points[i].id for i in nearest}
            assert {hit.record.id for hit in library.search_vectors(query[None], 5, exact=True)} == wanted
            found = library.search_vectors(query[None], 5)
            assert found[0].record.id == points[nearest[0]].id
            hits += len({hit.record.id for hit in found} & wanted)
    assert hits / (5 * len(queries)) >= 0.9  # random vectors are the hardest that there are


@pytest.mark.slow
def test_a_second_process_is_told_so_in_one_sentence(full):
    with Library(full):
        command = [sys.executable, "-m", "latent8", "library", "list", str(full)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (
        f"latent8: {full} is in use by another program: wait for it, or keep the library on a Qdrant server, which "
        "serves many at once (see docs/LIBRARY.md).\n"
    )


def test_a_line_that_a_crash_cut_off_is_cut_away(tmp_path):
    place = FolderPlace(tmp_path / "library", None)
    place.engine_for_adding()
    place.put(made_up_points(10, 128))
    place.close()
    journal = tmp_path / "library" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"put": {"name": "half a li')
    (tmp_path / "library" / "checkpoint").write_text("0")
    with Library(tmp_path / "library") as library:
        assert len(library) == 10
    assert journal.read_bytes() == whole


def test_what_is_cut_off_between_journal_and_shard_is_there_on_opening(tmp_path, monkeypatch):
    folder, points = tmp_path / "library", made_up_points(30, 128)
    place = FolderPlace(folder, None)
    engine = place.engine_for_adding()
    place.put(points[:10])
    place.settle()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "upsert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            place.put(points[10:20])
    place.put(points[20:])  # a program may go on after it
    place.settle()
    place.close()
    with Library(folder) as library:
        assert len(library) == 30 and not library.problems()
        with monkeypatch.context() as patch:
            patch.setattr(library._place.engine, "delete", interrupted)
            with pytest.raises(KeyboardInterrupt):
                library.remove(list(library.records())[:5])
    with Library(folder) as library:
        assert len(library) == 25 and not library.problems()


def test_a_full_disk_leaves_no_part_of_a_line_in_the_journal(tmp_path):
    path, points = tmp_path / "journal.jsonl", made_up_points(100, 128)
    journals.begin(path, {"vector": "picture-1"})
    journal = journals.Journal(path)
    journal.put(points[:1])
    before = path.read_bytes()
    for count, room in ((3, 10), (100, 20_000)):  # less than a buffer of a file's, and more
        with files_up_to(len(before) + room), pytest.raises(OSError):
            journal.put(points[:count])
        assert path.read_bytes() == before
    journal.put(points[1:])
    assert [entry.id for entry in journals.entries(path, 128)] == [point.id for point in points]


@pytest.mark.parametrize("damaged", ["edge_config.json", "mutable_id_tracker.mappings", "segment.json", "open-1"])
def test_a_damaged_shard_names_reindex_which_mends_it(library, tmp_path, damaged, capfd):
    folder = tmp_path / "library"
    library.close()
    for path in (folder / "shard").rglob(damaged):
        path.write_bytes(os.urandom(max(64, path.stat().st_size)))
    with pytest.raises(LibraryError, match=r"`latent8 library reindex .*library`\.$"):
        Library(folder)
    assert capfd.readouterr().err == ""  # not even where the engine panics
    assert reindex(folder).pictures == 6
    with Library(folder) as again:
        assert len(again) == 6


def test_an_engine_that_panics_is_one_sentence_too(library, tmp_path, capfd):
    folder = tmp_path / "library"
    library.close()
    for path in (folder / "shard").rglob("tracker.dat"):
        path.write_bytes(os.urandom(4096) + path.read_bytes()[4096:])
    with pytest.raises(LibraryError, match=r"^The library's index is damaged .*`latent8 library reindex .*`\.$"):
        Library(folder)
    assert capfd.readouterr().err == ""


def test_damaged_lines_of_the_journal_are_passed_over_and_the_old_one_kept(library, tmp_path):
    folder = tmp_path / "library"
    library.close()
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b'{"put": 7, "vector": "AAAA"}\n'
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    done = reindex(folder)
    assert (done.pictures, done.damaged_lines) == (5, 1)
    assert (folder / "journal.old.jsonl").read_bytes() == b"".join(lines)


def test_reindexing_that_is_interrupted_changes_nothing(library, tmp_path):
    folder = tmp_path / "library"
    library.close()
    before = (folder / "journal.jsonl").read_bytes()

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(folder, progress=interrupt)
    assert (folder / "journal.jsonl").read_bytes() == before
    with Library(folder) as again:
        assert len(again) == 6
    assert reindex(folder).pictures == 6 and not (folder / "reindex.partial").exists()


def test_a_copy_of_a_library_is_a_library(library, small_blobs, tmp_path):
    library.close()
    shutil.copytree(tmp_path / "library", tmp_path / "copy")
    with Library(tmp_path / "copy") as copy:
        assert len(copy) == 6 and copy.search(small_blobs / "wine.l8", k=1)[0].record.name == "wine.l8"
