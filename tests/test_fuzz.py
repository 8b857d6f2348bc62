"""benchmarks/fuzz.py: what it would find, it finds; and a short run finds nothing."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks import fuzz
from latent8.errors import BlobError, PictureError


@pytest.mark.parametrize("target", ["blobs", "latents", "pictures"])
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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="memory is measured as Unix does")
@pytest.mark.parametrize("target", ["latents", "pictures", "blobs"])
def test_twenty_seconds_find_nothing(target: str) -> None:
    """Other inputs each day, and the same all day."""
    seed = int(time.time() // 86_400)
    found = fuzz.run(target, 1_000_000, seed, seconds=20)
    assert found["finds"] == {}, f"python -m benchmarks.fuzz {target} --seed {seed} --only ..."
