"""`latent8 library` on the command line."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from latent8 import Library
from latent8.cli.commands import main
from tests.helpers.library_photos import NAMES, crop_of

pytest_plugins = ["tests.helpers.library_photos"]


@pytest.fixture
def place(library, tmp_path) -> str:
    """Name of a library that refers to the six blobs."""
    library.close()
    return str(tmp_path / "library")


def test_two_commands_find_the_photo_that_a_crop_is_from(small_photos, tmp_path, capsys):
    crop_of(small_photos / "picos.png").save(tmp_path / "crop.png")
    where = str(tmp_path / "photos.library")
    assert main(["library", "add", where, str(small_photos)]) == 0
    assert (
        main(["library", "search", where, str(tmp_path / "crop.png"), "-k", "2", "-o", str(tmp_path / "sheet.png")])
        == 0
    )
    added, first, _second, sheet = capsys.readouterr().out.splitlines()
    assert added == f"{where}: 6 added, 0 known, 0 updated, 0 failed; 6 in all"
    assert first.split()[1] == "picos.png" and first.endswith(str(small_photos / "picos.png"))
    assert sheet == f"-> {tmp_path / 'sheet.png'}"
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > 700


def test_json_lines(place, small_blobs, capsys):
    assert main(["library", "search", place, str(small_blobs / "life.l8"), "--json", "--exact"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["name"] == "life.l8" and len(rows) == 5
    assert rows[0]["score"] == pytest.approx(1, abs=1e-3) and rows[0]["missing"] is False
    assert main(["library", "list", place, "--json"]) == 0
    assert {json.loads(line)["stem"] for line in capsys.readouterr().out.splitlines()} == set(NAMES)


def test_show_and_remove(place, capsys):
    assert main(["library", "show", place, "life.l8", "nothing"]) == 2
    out, error = capsys.readouterr()
    assert out.startswith("life.l8\n  id        ") and "  quality   50\n" in out
    assert error == f"latent8: nothing: There is no such picture in {place}.\n"
    assert main(["library", "remove", place, "life.l8"]) == 0
    assert main(["library", "list", place]) == 0
    assert "life" not in capsys.readouterr().out.replace("life.l8 removed", "")


def test_paths_do_not_command_the_terminal(small_blobs, tmp_path, capsys):
    (tmp_path / "\x1b[31mred").mkdir()
    (tmp_path / "\x1b[31mred" / "life.l8").write_bytes((small_blobs / "life.l8").read_bytes())
    where = str(tmp_path / "library")
    assert main(["library", "add", where, str(tmp_path / "\x1b[31mred")]) == 0
    assert main(["library", "search", where, str(small_blobs / "life.l8")]) == 0
    assert main(["library", "show", where, "life.l8"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.count("\\x1b[31mred") == 2


def test_a_name_of_several_pictures_removes_none_of_them(small_blobs, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "same.l8").write_bytes((small_blobs / "life.l8").read_bytes())
    (tmp_path / "two" / "same.l8").write_bytes((small_blobs / "wine.l8").read_bytes())
    where = str(tmp_path / "library")
    main(["library", "add", where, str(tmp_path / "one"), str(tmp_path / "two")])
    assert main(["library", "remove", where, "same.l8"]) == 2
    assert "2 pictures have this name: name one by its id (" in capsys.readouterr().err
    with Library(where) as library:
        assert len(library) == 2


def test_one_bad_file_makes_exit_code_1(small_blobs, tmp_path, capsys):
    (tmp_path / "bad.l8").write_bytes(b"\x89L8\n")
    code = main(["library", "add", str(tmp_path / "library"), str(tmp_path / "bad.l8"), str(small_blobs / "life.l8")])
    out, error = capsys.readouterr()
    assert code == 1 and error.startswith("latent8: bad.l8: The blob ") and error.count("\n") == 1
    assert out.endswith(": 1 added, 0 known, 0 updated, 1 failed; 1 in all\n")


def test_export_of_a_table_blobs_and_the_most_similar(place, small_blobs, tmp_path, capsys):
    assert main(["library", "export", place, "-o", str(tmp_path / "all.csv")]) == 0
    with open(tmp_path / "all.csv", newline="") as file:
        assert {row["stem"] for row in csv.DictReader(file)} == set(NAMES)
    like = ["--like", str(small_blobs / "wine.l8"), "-k", "2"]
    assert main(["library", "export", place, "-o", str(tmp_path / "two.zip"), *like]) == 0
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert archive.namelist()[0] == "wine.l8" and len(archive.namelist()) == 2
    assert main(["library", "export", place, "-o", str(tmp_path / "folder"), "--what", "pictures"]) == 0
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {f"{name}.png" for name in NAMES}
    assert main(["library", "export", place, "-o", str(tmp_path / "x.csv"), "--what", "blobs"]) == 2
    assert capsys.readouterr().err.endswith(
        "A CSV holds a table alone: name a folder or a .zip for blobs or pictures.\n"
    )


def test_duplicates_as_a_table(place, small_blobs, tmp_path, capsys):
    assert main(["library", "duplicates", place, "--min-score", "-1", "-o", str(tmp_path / "groups.csv")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Group 1:\n") and out.endswith(": 1 groups, 6 pictures\n")
    with open(tmp_path / "groups.csv", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["1"] * 6


def test_check_and_reindex(place, tmp_path, capsys):
    assert main(["library", "check", place]) == 0
    assert capsys.readouterr().out == f"{place}: 6 pictures looked at, 0 problems\n"
    (Path(place) / "library.json").write_text("{")
    assert main(["library", "check", place]) == 2
    assert capsys.readouterr().err.endswith(f"index the library anew with `latent8 library reindex {place}`.\n")
    assert main(["library", "reindex", place]) == 0
    assert capsys.readouterr().out == f"{place}: 6 pictures indexed\n"
    assert main(["library", "check", place]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{nowhere}", "x.png"], "There is no library in {nowhere}: make one with `latent8 library add "),
        (["list", "{nowhere}"], "There is no library in {nowhere}: make one with `latent8 library add "),
        (["reindex", "{nowhere}"], "There is no library in {nowhere}."),
        (["search", "{place}", "{nowhere}"], "There is no file {nowhere}."),
        (["evaluate", "{nowhere}"], "There is no folder {nowhere}."),
    ],
)
def test_refusals(place, tmp_path, capsys, arguments, message):
    values = {"nowhere": str(tmp_path / "nowhere"), "place": place}
    assert main(["library", *(argument.format(**values) for argument in arguments)]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("latent8: " + message.format(**values)) and error.count("\n") == 1 and not out


@pytest.mark.parametrize(
    "arguments", [["search", "a", "b", "-k", "0"], ["search", "a", "b", "--min-score", "2"], ["x"]]
)
def test_arguments_that_are_none(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["library", *arguments])
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1
