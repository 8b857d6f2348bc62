"""What a library does not take: one clear sentence for each, and nothing lost."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8 import Library, LibraryError
from latent8.library import intake
from latent8.library.edge import EdgeEngine
from latent8.library.engine import Point
from latent8.library.records import Record, clean_name
from latent8.library.vectors.base import unit
from tests.helpers.library_photos import made_up_points

pytest_plugins = ["tests.helpers.library_photos"]


def test_a_folder_of_other_files_is_no_library(small_photos, tmp_path):
    with pytest.raises(LibraryError, match="holds other files and no library: name an empty or a new folder"):
        Library(small_photos)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LibraryError, match="is a file: a library is a folder, or the URL of a Qdrant server's"):
        Library(tmp_path / "file")


def test_an_empty_library_says_so(tmp_path, small_photos):
    with Library(tmp_path / "library") as library:
        with pytest.raises(LibraryError, match=r"The library is empty: add photos or blobs first\."):
            library.search(small_photos / "life.png")
        assert len(library) == 0 and list(library.records()) == [] and library.find("x") == []
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_k_out_of_range(library, small_photos, k):
    with pytest.raises(LibraryError, match=r"k has to be from 1 to 10,000\."):
        library.search(small_photos / "life.png", k=k)


def rewritten(folder: Path, **changes) -> None:
    facts = json.loads((folder / "library.json").read_text()) | changes
    (folder / "library.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "qdrant-edge-py 0.1.0"}, "was made by qdrant-edge-py 0.1.0, and here is qdrant-edge-py .*reindex"),
        ({"hash": "0" * 16}, "was made with other weights of its vectors picture-1: .*reindex"),
        ({"vector": "picture-9"}, "has vectors picture-9, which this release lacks: .*reindex"),
        ({"format": 2}, r"is of a later release of latent8 \(format 2\): open it with that"),
        ({"dimensions": "many"}, "library.json is damaged: .*reindex"),
    ],
)
def test_a_library_of_another_kind_names_reindex(library, tmp_path, changes, message):
    library.close()
    rewritten(tmp_path / "library", **changes)
    with pytest.raises(LibraryError, match=message):
        Library(tmp_path / "library")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\x80\x04K\x01.", b"[" * 100_000])
def test_a_damaged_library_json_names_reindex(library, tmp_path, content):
    library.close()
    (tmp_path / "library" / "library.json").write_bytes(content)
    with pytest.raises(LibraryError, match=r"library.json is damaged: index the library anew with `latent8 library"):
        Library(tmp_path / "library")


def test_another_vector_than_the_library_has(library, tmp_path):
    library.close()
    with pytest.raises(LibraryError, match="has vectors of the kind picture-1, not latents: leave the choice out"):
        Library(tmp_path / "library", vector="latents")


def test_vectors_that_are_zero_or_not_finite_never_reach_the_engine(tmp_path):
    for bad in (np.zeros(4), np.array([1, np.nan, 0, 0]), np.array([np.inf, 0, 0, 0])):
        with pytest.raises(LibraryError, match="too plain to be compared: its vector is zero or not finite"):
            unit(bad)
        engine = EdgeEngine(tmp_path / "shard", "test", 4)
        with pytest.raises(ValueError, match="finite, and not zero"):
            engine.upsert([Point("0" * 8 + "-0000-0000-0000-" + "0" * 12, bad.astype(np.float32), {})])
        with pytest.raises(ValueError, match="finite, and not zero"):
            engine.search(bad[None].astype(np.float32), 1)
        assert engine.count() == 0
        engine.close()


@pytest.mark.parametrize("colour", ["black", "white", "#808080"])
@pytest.mark.parametrize("vector", ["picture", "latents"])
def test_flat_pictures_have_vectors_or_say_so(tmp_path, small_photos, colour, vector):
    Image.new("RGB", (64, 64), colour).save(tmp_path / "flat.png")
    with Library(tmp_path / "library", vector=vector) as library:
        life, flat = library.add_each([small_photos / "life.png", tmp_path / "flat.png"])
        assert (life.name, life.result) == ("life.png", "added") and flat.name == "flat.png"
        if flat.result == "failed":
            assert "too plain to be compared" in str(flat.error)
        else:
            hit = library.search(tmp_path / "flat.png", k=1)[0]
            assert hit.record.name == "flat.png" and np.isfinite(hit.score)


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../up.png": b"x"}, r"holds paths that lead out of it \(`..`\): make it anew"),
        ({"/etc/x.png": b"x"}, "holds paths that lead out of it"),
        ({"a\\..\\..\\x.png": b"x"}, "holds paths that lead out of it"),
        ({"C:/x.png": b"x"}, "holds paths that lead out of it"),
        ({"inner.zip": b"PK"}, r"holds another archive \(inner.zip\): unpack that first"),
        ({"zeros.png": bytes(30_000_000)}, "unpacks to 0.0 GB, too much for its size: give its files themselves"),
    ],
)
def test_zips_that_are_refused_whole(tmp_path, small_blobs, members, message):
    path = zipped(tmp_path / "bad.zip", **{"good.l8": (small_blobs / "life.l8").read_bytes()}, **members)
    with Library(tmp_path / "library") as library:
        report = library.add(path)
        assert report.added == 0 and len(report.failures) == 1
        with pytest.raises(LibraryError, match=message):
            raise report.failures[0].error


def test_zips_of_too_many_files_and_damaged_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_ZIP_FILES", 3)
    many = zipped(tmp_path / "many.zip", **{f"{number}.png": b"x" for number in range(4)})
    with pytest.raises(LibraryError, match="The ZIP holds 4 files, over the limit of 3: split it"):
        list(intake.zip_items(many))
    data = bytearray(zipped(tmp_path / "one.zip", **{"one.png": bytes(range(256)) * 8}).read_bytes())
    data[40:60] = bytes(20)
    (tmp_path / "one.zip").write_bytes(data)
    item = next(iter(intake.zip_items(tmp_path / "one.zip")))
    with pytest.raises(LibraryError, match="The ZIP is damaged"):
        item.read()
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(LibraryError, match="The ZIP is damaged: it cannot be opened"):
        list(intake.zip_items(tmp_path / "no.zip"))


HOSTILE = [
    "<img src=x onerror=alert(1)>.l8",
    "=HYPERLINK(1).l8",
    "a\nb.l8",
    "\x1b[31mred.l8",
    "x" * 240 + ".l8",
    "\U0001f4a5.l8",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(tmp_path, small_blobs, name):
    folder = tmp_path / "blobs"
    folder.mkdir()
    (folder / name).write_bytes((small_blobs / "life.l8").read_bytes())
    with Library(tmp_path / "library") as library:
        assert library.add(folder).added == 1
        record = next(library.records())
        assert record.name == clean_name(name) and record.name.isprintable()
        assert library.hit(record).decode().size == (record.width, record.height)


def test_a_name_that_is_no_unicode_is_kept_with_its_blob(tmp_path, small_blobs):
    folder = tmp_path / "blobs"
    folder.mkdir()
    try:
        (folder / "caf\udce9.l8").write_bytes((small_blobs / "life.l8").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    with Library(tmp_path / "library") as library:
        assert library.add(folder).added == 1
        record = next(library.records())
        assert record.kept and library.hit(record).blob


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"name": "x"},
        {"name": 7, "sha256": "ab", "bytes": 1, "width": 1, "height": 1, "model": "l8-photo"},
        {"name": "x", "sha256": "no hex", "bytes": 1, "width": 1, "height": 1, "model": "l8-photo"},
        {"name": "x", "sha256": "ab" * 32, "bytes": "1", "width": 1, "height": 1, "model": "l8-photo"},
    ],
)
def test_payloads_that_are_no_records(payload):
    with pytest.raises(LibraryError, match="A record of the library cannot be understood"):
        Record.from_payload(payload)


def test_a_record_of_a_stranger_cannot_make_us_read_outside_of_its_checksum(tmp_path, library):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    record = Record.from_payload({**made_up_points(1, 4)[0].payload, "path": str(secret)})
    with pytest.raises(latent8.BlobError, match="its checksum is another"):
        library.hit(record).decode()
    endless = Record.from_payload({**record.payload(), "path": "/dev/zero"})
    assert library.hit(endless).missing
    with pytest.raises(latent8.BlobError, match="has moved or was deleted"):
        library.hit(endless).decode()


@pytest.mark.slow
def test_no_pickle_on_the_way(small_blobs, tmp_path):
    """Adding, searching and opening again, with every door of pickle shut."""
    import subprocess
    import sys

    code = (
        "import sys, pickle, _pickle\n"
        "from latent8 import Library\n"
        "with Library(sys.argv[2] + '.first') as library: library.add(sys.argv[1])  # imports all there is\n"
        "def refuse(*a, **k): raise AssertionError('pickle')\n"
        "for module in (pickle, _pickle):\n"
        "    for name in ('loads', 'load', 'Unpickler'): setattr(module, name, refuse)\n"
        "for _ in range(2):\n"
        "    with Library(sys.argv[2]) as library:\n"
        "        library.add(sys.argv[1])\n"
        "        print(library.search(sys.argv[1] + '/life.l8', k=1)[0].record.name)\n"
    )
    command = [sys.executable, "-c", code, str(small_blobs), str(tmp_path / "library")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "life.l8\n" * 2, done.stderr
    files = [path for path in (tmp_path / "library").rglob("*") if path.is_file()]
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")]
