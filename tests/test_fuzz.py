"""benchmarks/fuzz.py: what it would find, it finds; and a short run finds nothing."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from benchmarks import fuzz
from latent8.errors import BlobError, PictureError


@pytest.mark.parametrize("target", fuzz.OPEN)
def test_inputs_are_made_of_seed_and_number_alone(target: str) -> None:
    inputs = [fuzz.mutated(target, 3, number) for number in range(40)]
    assert inputs == [fuzz.mutated(target, 3, number) for number in range(40)]
    assert len(set(inputs)) > 30 and inputs != [fuzz.mutated(target, 4, number) for number in range(40)]
    assert not set(inputs) & set(fuzz.seeds(target)) or len(set(inputs) & set(fuzz.seeds(target))) < 5


@pytest.mark.parametrize(
    "error, wanted",
    [
        (PictureError("One sentence."), None),
        (BlobError("Two\nlines."), "a message of several lines"),
        (KeyError("x"), "KeyError: 'x'"),
        (MemoryError(), "MemoryError: "),
        (None, None),
    ],
)
def test_what_is_wrong(error: Exception | None, wanted: str | None, monkeypatch) -> None:
    def take(data: bytes, number: int) -> None:
        if error:
            raise error

    monkeypatch.setitem(fuzz.OPEN, "pictures", take)
    assert fuzz.complaint("pictures", b"", 0) == (wanted, error is None)


def killed(target: str, seed: int, start: int, end: int, now: Any, pipe: Any) -> None:
    """In the place of `fuzz.child`: ended from outside at its first input."""
    os.kill(os.getpid(), signal.SIGKILL)


needs_unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="memory is measured as Unix does")


@needs_unix
def test_a_child_that_the_system_kills_is_a_find(monkeypatch) -> None:
    monkeypatch.setattr(fuzz, "child", killed)
    assert fuzz.run("latents", 1, 0, first=7)["finds"] == {7: "the process ended with -9"}


@pytest.mark.slow
@needs_unix
@pytest.mark.parametrize(
    ("target", "count"), [("latents", 20_000), ("pictures", 4_000), ("metadata", 4_000), ("blobs", 3_000)]
)
def test_thousands_of_inputs_find_nothing(target: str, count: int, monkeypatch) -> None:
    """The same each time, so that a failure is of the code; other seeds are for runs by hand."""
    monkeypatch.setattr(fuzz, "HANG_SECONDS", 120.0)  # by the clock, which other work moves on too
    found = fuzz.run(target, count, seed=20_000)
    assert found["finds"] == {}, f"python -m benchmarks.fuzz {target} --seed 20000 --only ..."
    assert found["inputs"] == count
