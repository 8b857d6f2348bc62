"""Many files in one request, in both apps."""

from __future__ import annotations

import importlib
from dataclasses import astuple
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

import latent8
from tests.helpers.app_calls import SPACES
from tests.helpers.samples import gradient


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ModuleType]:
    """The modules of encoder and decoder, beside a folder for their results."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "results"))
    for app in ("encoder", "decoder"):
        monkeypatch.syspath_prepend(SPACES / app)
    return [importlib.import_module(f"{app}_api") for app in ("encoder", "decoder")]


def test_a_file_that_is_named_twice_is_one_row_and_rows_hold_no_pictures(
    apps: list[ModuleType], tmp_path: Path
) -> None:
    encoder, decoder = apps
    blob = tmp_path / "photo.l8"
    blob.write_bytes(latent8.encode(gradient(40, 30)))
    Image.fromarray(gradient(40, 30)).save(tmp_path / "photo.png")
    for batch in (
        encoder.Batch([str(tmp_path / "photo.png")] * 2, encoder.Wish()),
        decoder.Batch([str(blob)] * 2, "PNG"),
    ):
        assert len(batch.files) == 1
        assert len(list(batch.run())) == len(batch.rows) == 1 and batch.archive
        assert all(isinstance(value, (str, int)) for value in astuple(batch.rows[0]))
