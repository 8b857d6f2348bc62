"""scripts/lock_spaces.py: the locks in the repository fit the requirements, and it notices where they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import lock_spaces


@pytest.mark.parametrize("app", lock_spaces.APPS)
def test_locks_fit_their_requirements(app: str) -> None:
    assert lock_spaces.unfitting(lock_spaces.ROOT / "spaces" / app) == []
    pins = lock_spaces.pins((lock_spaces.ROOT / "spaces" / app / "requirements.lock").read_text("utf-8"))
    assert {"torch", "gradio", "diffusers", "constriction", "pillow"} <= set(pins) and len(pins) > 50


def test_locks_that_do_not_fit_are_noticed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock_spaces, "ROOT", tmp_path)
    folder = tmp_path / "spaces" / "encoder"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("alpha==1.*  # why\nbeta_two[x]>=2\n\ngamma\n")
    assert lock_spaces.unfitting(folder) == ["spaces/encoder/requirements.lock is missing."]
    good = "alpha==1.4 \\\n    --hash=sha256:00\nbeta-two==2.1 ; python_version > '3' \\\n    --hash=sha256:11\n"
    lock = folder / "requirements.lock"
    lock.write_text(lock_spaces.HEADER + good + "gamma==9 \\\n    --hash=sha256:22\n")
    assert lock_spaces.unfitting(folder) == []
    lock.write_text(good.replace("1.4", "2.4"))
    assert lock_spaces.unfitting(folder) == [
        "spaces/encoder/requirements.lock has alpha 2.4, not ==1.*.",
        "spaces/encoder/requirements.lock has gamma None, not .",
    ]
    lock.write_text(good + "gamma==9\n")
    assert lock_spaces.unfitting(folder) == ["spaces/encoder/requirements.lock: gamma==9 has no hash."]


def test_python_is_that_of_the_readme(tmp_path: Path) -> None:
    shutil.copy(lock_spaces.ROOT / "spaces" / "encoder" / "README.md", tmp_path)
    assert lock_spaces.python_version(tmp_path) == "3.11"
