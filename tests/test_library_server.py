"""Libraries in a collection of a Qdrant server: of the stand-in, or with LATENT8_QDRANT_URL of a real one."""

from __future__ import annotations

import json

import pytest

from latent8 import BlobError, Library, LibraryError
from latent8.cli.commands import main
from latent8.library.checking import check
from latent8.library.duplicates import duplicate_groups
from latent8.library.evaluation.stores import table_of_times
from latent8.pool import CodecPool
from tests.helpers.library_photos import NAMES, crop_of, names

pytest_plugins = ["tests.helpers.library_photos", "tests.helpers.qdrant_server"]
pytestmark = pytest.mark.qdrant


def test_photos_are_found_and_given_back_from_their_records(collection_url, small_photos, small_blobs):
    with Library(collection_url) as library:
        assert library.add(small_photos).added == 6
    with Library(collection_url) as library, Library(collection_url) as another:  # many may use it at once
        assert len(library) == len(another) == 6
        for name in NAMES:
            hit = library.search(crop_of(small_photos / f"{name}.png"), k=3)[0]
            assert hit.record.name == f"{name}.png" and hit.record.blob and not hit.missing
        assert hit.decode().size == (hit.record.width, hit.record.height)
        assert library.add(small_photos).known == 6
        assert not [finding.problem for finding in check(library) if finding.problem]
        assert list(duplicate_groups(library)) == []
        assert names(library.search(hit, k=1)) == ["wine"]


def test_it_answers_as_a_library_in_a_folder_does(collection_url, library, small_blobs, small_photos):
    with Library(collection_url) as remote:
        assert remote.add(small_blobs).added == 6
        for name in NAMES:
            crop = crop_of(small_photos / f"{name}.png")
            here, there = library.search(crop, k=6), remote.search(crop, k=6)
            assert [hit.record.id for hit in here] == [hit.record.id for hit in there]
            assert [hit.score for hit in here] == pytest.approx([hit.score for hit in there], abs=1e-5)
        assert {record.id for record in remote.records()} == {record.id for record in library.records()}
        assert remote.find("life.l8") and remote.find(str(small_blobs / "life.l8"))
        remote.remove(remote.find("life.l8"))
        assert len(remote) == 5 and not remote.find("life.l8")


def test_blobs_go_to_a_shared_folder_where_one_is_named(collection_url, small_photos, tmp_path):
    with Library(collection_url, blobs=tmp_path / "shared") as library:
        library.add(small_photos / "life.png")
        record = next(library.records())
        assert record.kept and not record.blob and len(list((tmp_path / "shared").rglob("*.l8"))) == 1
        assert library.hit(record).decode()
    with Library(collection_url) as library:
        assert library.hit(record).missing
        with pytest.raises(BlobError, match="is in a folder that this library's users share: name it with --blobs"):
            library.hit(record).decode()


def test_the_command_line_takes_a_url(collection_url, small_photos, capsys):
    assert main(["library", "add", collection_url, str(small_photos)]) == 0
    assert capsys.readouterr().out == f"{collection_url}: 6 added, 0 known, 0 updated, 0 failed; 6 in all\n"
    assert main(["library", "search", collection_url, str(small_photos / "life.png"), "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "life.png"
    assert main(["library", "reindex", collection_url]) == 2
    assert "A server keeps its own index" in capsys.readouterr().err


def test_a_collection_that_is_not_there_is_an_empty_library(collection_url, small_photos):
    with Library(collection_url) as library:
        assert len(library) == 0
        with pytest.raises(LibraryError, match="The library is empty"):
            library.search(small_photos / "life.png")


def test_a_key_is_asked_for_and_taken_from_the_environment(stand_in, small_blobs, monkeypatch):
    stand_in.key = "secret"
    url = f"{stand_in.url}/photos"
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with pytest.raises(LibraryError, match=r"asks for a key that is allowed to do this: set QDRANT_API_KEY\.$"):
        Library(url)
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    with Library(url) as library:
        assert library.add(small_blobs / "life.l8").added == 1


def test_a_server_that_cannot_be_reached(stand_in, small_blobs):
    with Library(f"{stand_in.url}/photos") as library:
        library.add(small_blobs / "life.l8")
        stand_in.shutdown()
        stand_in.server_close()
        with pytest.raises(LibraryError, match=r"/photos cannot be reached \(.*\): is the server running"):
            library.search(small_blobs / "life.l8")
        with pytest.raises(
            LibraryError, match=r"cannot be reached \(.*\): is the server running, and the address right\?"
        ):
            Library("http://127.0.0.1:9/photos")


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (
            {"vectors": {"picture-1": {"size": 64, "distance": "Cosine"}}},
            r"other dimensions \(picture-1: 64; picture-1 has 128",
        ),
        (
            {"vectors": {"text": {"size": 64, "distance": "Cosine"}}},
            "is no library of latent8, but a collection of something else",
        ),
    ],
)
def test_collections_of_another_kind(stand_in, request_of, message, tmp_path):
    from tests.helpers.qdrant_server import Collection

    stand_in.collections["other"] = Collection(tmp_path / "other", request_of)
    with pytest.raises(LibraryError, match=message):
        Library(f"{stand_in.url}/other")


def test_a_collection_made_with_other_weights(stand_in, small_blobs):
    with Library(f"{stand_in.url}/photos") as library:
        library.add(small_blobs / "life.l8")
    stand_in.collections["photos"].request["metadata"]["latent8"]["hash"] = "0" * 16
    with pytest.raises(LibraryError, match="made with other weights of its vectors picture-1: name another collection"):
        Library(f"{stand_in.url}/photos")
    with pytest.raises(LibraryError, match="has vectors of the kind picture-1, not latents"):
        stand_in.collections["photos"].request["metadata"] = {"latent8": library_facts(library)}
        Library(f"{stand_in.url}/photos", vector="latents")


def library_facts(library: Library) -> dict:
    from latent8.library.vectors import embedder

    found = embedder(library.vector)
    return {"format": 1, "vector": found.name, "hash": found.hash, "dimensions": found.dimensions, "engine": "qdrant"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/name", "is no address of a Qdrant server: a library on a server is http://host:6333/name"),
        ("http://host:6333", "names no collection"),
        ("http://host:6333/", "names no collection"),
        ("http://user:pass@host/name", "may hold no password, key or query"),
        ("http://host/name?api_key=x", "may hold no password, key or query"),
        ("http://host:port/name", "The address cannot be understood"),
        ("http://host/na me", "names no collection"),
    ],
)
def test_addresses_that_are_none(url, message):
    with pytest.raises(LibraryError, match=message):
        Library(url)


def test_the_evaluation_times_a_server_and_leaves_nothing_there(stand_in, small_photos, small_blobs, monkeypatch):
    photos, blobs = sorted(small_photos.iterdir())[:3], sorted(small_blobs.iterdir())[:3]
    pool = CodecPool()
    monkeypatch.setattr("latent8.library.library.CodecPool", None)  # its libraries load no codecs of their own
    table = table_of_times(photos, blobs, pool, stand_in.url)
    rows = {row[0]: row for row in table.rows}
    for name in ("vector store, server, one latent", "top-5 search, server, file names in the records"):
        assert rows[name][1] == 3 and 0 < rows[name][2] < 60_000
    assert not stand_in.collections
    assert any(request.startswith("DELETE /collections/latent8-evaluate-") for request in stand_in.requests)
