"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

from latent8.machine.disk import write_file
from tests.helpers.full_disk import files_up_to


def test_two_runs_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "a.l8"
    replace = os.replace

    def with_another_run_meanwhile(partial: Path, to: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        write_file(target, b"short")
        assert target.read_bytes() == b"short"
        replace(partial, to)

    monkeypatch.setattr(os, "replace", with_another_run_meanwhile)
    write_file(target, b"a longer one")
    assert target.read_bytes() == b"a longer one"
    assert os.listdir(tmp_path) == ["a.l8"]


@pytest.mark.parametrize("sync", [False, True])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, sync: bool) -> None:
    target = tmp_path / "a.l8"
    target.write_bytes(b"old")
    with files_up_to(1), pytest.raises(OSError, match=r"File too large: .*a\.l8'$"):
        write_file(target, b"new", sync)
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.l8"]
    write_file(target, b"new", sync)
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["a.l8"]


@pytest.mark.parametrize("where", ["none/a.l8", "file/a.l8", "folder"])
def test_error_names_the_target(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        write_file(tmp_path / where, b"new")
    assert caught.value.filename == str(tmp_path / where)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_longest_file_name(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 252 + ".l8")
    write_file(target, b"new")
    assert target.read_bytes() == b"new"
