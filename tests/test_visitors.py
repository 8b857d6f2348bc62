"""Whose library a visitor of the decoder app sees, and which one goes where there are too many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from latent8.apps import visitors
from latent8.errors import LibraryError


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app without a library of its own, for three sessions."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(visitors, "library_of_app", lambda: None)
    monkeypatch.setattr(visitors, "MOST_SESSIONS", 3)
    visitors._own.clear()
    yield
    visitors._own.clear()


def use(session: str, client: str) -> None:
    request: Any = SimpleNamespace(client=SimpleNamespace(host=client), headers={})
    token = LocalContext.request.set(request)
    try:
        with visitors.own(session):
            pass
    finally:
        LocalContext.request.reset(token)


def test_searching_makes_no_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="empty"), visitors.searched("stranger"):
        pass
    assert not list(tmp_path.iterdir())


def test_who_has_most_libraries_loses_one(tmp_path: Path) -> None:
    use("honest", "127.0.0.2")
    for number in range(9):
        use(f"greedy {number}", "127.0.0.3")
    assert list(visitors._own) == ["honest", "greedy 7", "greedy 8"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_library_that_is_open_stays() -> None:
    use("first", "127.0.0.3")
    with visitors._own["first"].busy:
        for number in range(4):
            use(f"greedy {number}", "127.0.0.3")
    assert list(visitors._own) == ["first", "greedy 2", "greedy 3"]
