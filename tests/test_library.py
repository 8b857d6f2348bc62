"""Libraries in a folder: adding, finding, forgetting, leaving."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8 import BlobError, Library, LibraryError
from latent8.library import export
from latent8.library.checking import check
from latent8.library.duplicates import duplicate_groups
from latent8.library.reindexing import reindex
from tests.helpers.library_photos import NAMES, crop_of, names

pytest_plugins = ["tests.helpers.library_photos"]


def test_importing_latent8_brings_neither_torch_nor_an_engine():
    code = "import sys, latent8; print([m for m in ('torch', 'qdrant_edge', 'qdrant_client') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_crop_finds_its_photo_and_the_blob_gives_it_back(small_photos, tmp_path):
    with Library(tmp_path / "library") as library:
        report = library.add(small_photos, quality=30)
        assert (report.added, report.known, report.failures) == (6, 0, [])
        for name in NAMES:
            hit = library.search(crop_of(small_photos / f"{name}.png"), k=3)[0]
            assert hit.record.name == f"{name}.png" and hit.score > 0.5
            assert hit.record.path == str(small_photos / f"{name}.png")
        assert latent8.inspect(hit.blob).quality == 30
        with Image.open(small_photos / f"{name}.png") as original:
            assert hit.decode().size == original.size
            error = np.abs(np.asarray(hit.decode(), np.float64) - np.asarray(original.convert("RGB"))).mean()
        assert error < 12


def test_blobs_are_referred_to_and_copied_only_when_asked(small_blobs, tmp_path):
    with Library(tmp_path / "one") as library:
        library.add(small_blobs)
        assert not (tmp_path / "one" / "blobs").exists()
        assert {hit.record.path for hit in library.search(small_blobs / "life.l8", k=6)} == set(
            map(str, small_blobs.iterdir())
        )
    with Library(tmp_path / "two") as library:
        library.add(small_blobs, copy=True)
        files = [path for path in (tmp_path / "two" / "blobs").rglob("*.l8")]
        assert len(files) == 6 and all(path.parent.name == path.name[:2] for path in files)


def test_what_is_known_is_passed_over_also_in_a_later_run(small_photos, tmp_path):
    with Library(tmp_path / "library") as library:
        first = [outcome.result for outcome in library.add_each([small_photos, small_photos / "life.png"])]
        assert first == ["added"] * 6 + ["known"]
    with Library(tmp_path / "library") as library:
        assert [outcome.result for outcome in library.add_each(small_photos)] == ["known"] * 6
        assert len(library) == 6


def test_moved_files_keep_their_point_and_get_their_new_path(small_photos, tmp_path):
    shutil.copytree(small_photos, tmp_path / "old")
    with Library(tmp_path / "library") as library:
        library.add(tmp_path / "old")
        before = {record.id for record in library.records()}
        (tmp_path / "old").rename(tmp_path / "new")
        report = library.add(tmp_path / "new")
        assert (report.added, report.updated) == (0, 6)
        assert {record.id for record in library.records()} == before
        assert {Path(record.path).parent.name for record in library.records()} == {"new"}
        (tmp_path / "again").mkdir()
        shutil.copy(tmp_path / "new" / "life.png", tmp_path / "again" / "copy.png")
        assert library.add(tmp_path / "again").known == 1  # the first is still there


def test_one_bad_file_does_not_stop_the_rest(small_photos, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(small_photos, folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "broken.l8").write_bytes(b"\x89L8\n" + bytes(60))
    (folder / "notes.txt").write_text("not taken")
    with Library(tmp_path / "library") as library:
        report = library.add([folder, tmp_path / "nothing.png"])
        assert report.added == 6
        assert {outcome.name for outcome in report.failures} == {
            "broken.jpg",
            "broken.l8",
            str(tmp_path / "nothing.png"),
        }
        assert all(str(outcome.error).endswith(".") and "\n" not in str(outcome.error) for outcome in report.failures)


def test_zips_are_added_without_their_paths(small_photos, small_blobs, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(small_photos / "life.png", "folder/life.png")
        archive.write(small_blobs / "wine.l8", "wine.l8")
        archive.writestr("notes.txt", "not taken")
    with Library(tmp_path / "library") as library:
        assert library.add(tmp_path / "all.zip").added == 2
        found = {record.name: record for record in library.records()}
        assert set(found) == {"folder/life.png", "wine.l8"} and not any(record.path for record in found.values())
        assert library.hit(found["wine.l8"]).blob == (small_blobs / "wine.l8").read_bytes()


def test_a_query_can_be_of_any_kind(library, small_photos, small_blobs):
    path = small_photos / "picos.png"
    with Image.open(path) as image:
        array = np.asarray(image.convert("RGB"))
        queries = [path, str(path), path.read_bytes(), image.convert("RGB"), array, small_blobs / "picos.l8"]
        queries += [(small_blobs / "picos.l8").read_bytes(), library.find("picos.l8")[0]]
        assert [names(library.search(query, k=1)) for query in queries] == [["picos"]] * len(queries)
    hit = library.search(path, k=1)[0]
    assert names(library.search(hit, k=2))[0] == "picos"
    assert library.search(hit, k=1)[0].score == pytest.approx(1, abs=1e-5)


def test_any_orientation_finds_what_is_mirrored_and_turned(library, small_photos):
    with Image.open(small_photos / "sunset.png") as image:
        turned = image.convert("RGB").transpose(Image.Transpose.TRANSVERSE)
    plain = library.search(turned, k=6)
    free = library.search(turned, k=6, any_orientation=True)
    assert names(free)[0] == "sunset" and free[0].score > plain[0].score + 0.1
    assert len(free) == 6 and [hit.score for hit in free] == sorted((hit.score for hit in free), reverse=True)


def test_k_min_score_and_exact(library, small_photos):
    query = small_photos / "life.png"
    assert len(library.search(query, k=100)) == 6
    scores = [hit.score for hit in library.search(query, k=6)]
    assert len(library.search(query, k=6, min_score=scores[1] - 1e-6)) == 2
    assert [hit.record.id for hit in library.search(query, k=6, exact=True)] == [
        hit.record.id for hit in library.search(query, k=6)
    ]


def test_removing_forgets_the_picture_and_its_kept_blob_alone(small_blobs, tmp_path):
    with Library(tmp_path / "library") as library:
        library.add(small_blobs, copy=True)
        assert library.remove(library.find("life.l8")) == 1
        assert len(library) == 5 and not library.find("life.l8")
        assert len(list((tmp_path / "library" / "blobs").rglob("*.l8"))) == 5
        assert (small_blobs / "life.l8").exists()
    with Library(tmp_path / "library") as library:
        assert len(library) == 5 and "life" not in names(library.search(small_blobs / "life.l8", k=6))


def test_records_are_found_by_name_path_id_and_digits(library, small_blobs):
    record = library.find("wine.l8")[0]
    for name in (str(small_blobs / "wine.l8"), record.id, record.sha256[:8], record.sha256):
        assert library.find(name) == [record]
    assert library.find("nothing") == [] and library.find("0" * 8) == []


def test_an_index_made_anew_answers_the_same(library, small_blobs, tmp_path):
    library.remove(library.find("wine.l8"))
    queries = [small_blobs / f"{name}.l8" for name in NAMES]
    before = [[(hit.record, hit.score) for hit in library.search(query, k=5)] for query in queries]
    library.close()
    shutil.rmtree(tmp_path / "library" / "shard")
    (tmp_path / "library" / "library.json").unlink()
    done = reindex(tmp_path / "library")
    assert (done.pictures, done.damaged_lines, done.lost) == (5, 0, [])
    assert "remove" not in (tmp_path / "library" / "journal.jsonl").read_text()
    with Library(tmp_path / "library") as again:
        after = [[(hit.record, hit.score) for hit in again.search(query, k=5)] for query in queries]
        assert list(check(again)) and not [finding.problem for finding in check(again) if finding.problem]
    assert [[record for record, _ in hits] for hits in after] == [[record for record, _ in hits] for hits in before]
    assert np.allclose([s for hits in after for _, s in hits], [s for hits in before for _, s in hits], atol=1e-6)


def test_a_lost_shard_is_made_from_the_journal_on_opening(library, small_blobs, tmp_path):
    library.close()
    shutil.rmtree(tmp_path / "library" / "shard")
    with Library(tmp_path / "library") as again:
        assert len(again) == 6 and names(again.search(small_blobs / "life.l8", k=1)) == ["life"]


def test_reindexing_changes_the_vectors_from_the_blobs_alone(library, small_blobs, small_photos, tmp_path):
    library.close()
    assert reindex(tmp_path / "library", "latents").pictures == 6
    with Library(tmp_path / "library") as again:
        assert again.vector == "latents-1"
        assert names(again.search(crop_of(small_photos / "seeding.png"), k=1)) == ["seeding"]


def test_a_blob_that_has_moved_is_marked_and_its_hit_kept(library, small_blobs, tmp_path):
    shutil.copytree(small_blobs, tmp_path / "blobs")
    with Library(tmp_path / "other") as other:
        other.add(tmp_path / "blobs")
        (tmp_path / "blobs" / "life.l8").unlink()
        (tmp_path / "blobs" / "wine.l8").write_bytes((small_blobs / "picos.l8").read_bytes())
        hits = {Path(hit.record.name).stem: hit for hit in other.search(small_blobs / "life.l8", k=6)}
        assert hits["life"].missing and not hits["picos"].missing
        with pytest.raises(BlobError, match=r"The blob of life\.l8 has moved or was deleted \(.*\): add it again\."):
            hits["life"].decode()
        with pytest.raises(BlobError, match=r"is not the blob that was added \(wine\.l8\): its checksum is another\."):
            hits["wine"].decode()
        problems = [finding.problem for finding in check(other) if finding.problem]
        assert len(problems) == 2


@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_a_photo_whose_blob_has_gone_is_encoded_again(small_photos, tmp_path, damage):
    shutil.copytree(small_photos, tmp_path / "photos")
    with Library(tmp_path / "library") as library:
        library.add(tmp_path / "photos", quality=30)
        for name, quality in (("life", 30), ("wine", 40)):  # the second makes another blob
            record = library.find(f"{name}.png")[0]
            place = tmp_path / "library" / "blobs" / record.sha256[:2] / f"{record.sha256}.l8"
            place.unlink() if damage == "deleted" else place.write_bytes(b"")
            with pytest.raises(BlobError):
                library.hit(record).decode()
            report = library.add(tmp_path / "photos", quality=quality)
            assert (report.added, report.known, len(library)) == (1, 5, 6)
            (again,) = library.find(f"{name}.png")
            assert library.hit(again).decode().size and again.quality == quality
            assert (again.id == record.id) == (quality == 30)
        assert library.add(tmp_path / "photos").known == 6
    with Library(tmp_path / "library") as library:
        assert len(library) == 6 and not [finding.problem for finding in check(library) if finding.problem]


def test_a_blob_that_has_gone_comes_back_by_its_new_path_or_a_zip(small_blobs, tmp_path):
    (tmp_path / "old").mkdir(), (tmp_path / "new").mkdir()
    data = (small_blobs / "life.l8").read_bytes()
    (tmp_path / "old" / "life.l8").write_bytes(data)
    with Library(tmp_path / "library") as library:
        library.add(tmp_path / "old")
        (tmp_path / "old" / "life.l8").write_bytes(b"another file by now")
        (tmp_path / "new" / "life.l8").write_bytes(data)
        assert library.add(tmp_path / "new").updated == 1
        assert library.hit(library.find("life.l8")[0]).blob == data
        (tmp_path / "new" / "life.l8").unlink()
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("life.l8", data)
        assert library.add(tmp_path / "all.zip").added == 1 and library.add(tmp_path / "all.zip").known == 1
        assert library.hit(library.find("life.l8")[0]).blob == data and len(library) == 1


def test_duplicates_are_other_versions_of_one_picture(small_photos, small_blobs, tmp_path):
    with Library(tmp_path / "library") as library:
        library.add(small_blobs)
        (tmp_path / "smaller.l8").write_bytes(latent8.encode(small_photos / "life.png", longest_side=224, quality=65))
        library.add(tmp_path / "smaller.l8")
        groups = list(duplicate_groups(library))
    assert [names(group) for group in groups] == [["life", "smaller"]]
    assert min(hit.score for hit in groups[0]) > 0.88


def test_exports(library, small_blobs, tmp_path):
    hits = library.search(small_blobs / "life.l8", k=3)
    rows = list(csv.DictReader(export.table_text(hits).splitlines()))
    assert [row["name"] for row in rows] == [hit.record.name for hit in hits] and float(rows[0]["score"]) > 0.99
    written = list(export.write_folder(tmp_path / "out", hits, export.BLOBS))
    assert [(tmp_path / "out" / one.name).read_bytes() for one in written] == [hit.blob for hit in hits]
    again = list(export.write_folder(tmp_path / "out", hits[:1], export.BLOBS))
    assert again[0].name == "life 2.l8"
    assert not [one.error for one in export.write_zip(tmp_path / "out.zip", hits, export.PICTURES) if one.error]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive, archive.open("life.png") as file:
        assert Image.open(file).size == (hits[0].record.width, hits[0].record.height)


def test_the_library_states_what_it_is_made_of(library, tmp_path):
    facts = json.loads((tmp_path / "library" / "library.json").read_text())
    assert facts["vector"] == "picture-1" and facts["dimensions"] == 128 and facts["format"] == 1
    assert facts["engine"].startswith("qdrant-edge-py ") and len(facts["hash"]) == 16


def test_a_library_does_not_add_itself(small_photos, tmp_path):
    shutil.copytree(small_photos, tmp_path / "photos")
    with Library(tmp_path / "photos" / "library") as library:
        assert library.add(tmp_path / "photos").added == 6
        assert library.add(tmp_path / "photos").known == 6 and len(library) == 6


def test_an_unknown_vector_is_refused(tmp_path):
    with pytest.raises(LibraryError, match=r"There is no vector 'shape' in this release: choose picture or latents\."):
        Library(tmp_path / "library", vector="shape")
