"""Results that are looked at after the server has deleted their files."""

from __future__ import annotations

import html
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from latent8.apps import jobs, widgets
from tests.helpers.app_calls import SPACES

GONE = "This is no longer on the server, which keeps files for an hour: "


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """module(name): that of an app."""

    def imported(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(SPACES / name.split("_")[0]))
        return importlib.import_module(name)

    return imported


def problem(update: gr.HTML) -> str:
    return update.props["side"]["problem"]


def test_of_a_photo(module: Callable[[str], ModuleType], tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    results = module("encoder_results")
    facts = {"width": 8, "height": 8, "quality": 50, "model": "l8-photo", "upload_bytes": 1, "blob_bytes": 1}
    photo, blob = str(tmp_path / "photo.jpg"), str(tmp_path / "gone" / "photo.l8")
    job = jobs.begin("page of the encoder", results.SINGLE, 1)
    wish = SimpleNamespace(longest_side=None)
    done = results.Done(job, photo, wish, str(tmp_path / "gone"), blob, {**facts, "alpha_bytes": 0})
    sentence = f"{GONE}encode the photo again."
    for number, look in enumerate((results.details, results.latents), 2):
        assert sentence in look(number, done)["html"]
    assert sentence in results.curves(4, done, results.MEASURES[0])["html"]
    assert problem(list(results.full_size(5, done))[-1]) == sentence
    event = SimpleNamespace(key="WebP", quality=None)
    assert problem(list(results.other_side(6, done, event))[-1]) == sentence
    assert "Traceback" not in capfd.readouterr().err


def test_of_a_blob(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    results, api = module("decoder_results"), module("decoder_api")
    path, picture = (str(tmp_path / name) for name in ("photo.l8", "photo.png"))
    job = jobs.begin("page of the decoder", results.SINGLE, 1)
    done = results.Done(job, path, api.Wish(), str(tmp_path / "gone"), {}, picture, picture, picture)
    assert f"{GONE}decode the file again." in results.latents(2, done)["html"]
    assert problem(results.full_size(3, done)) == f"{GONE}decode the file again."
    compared = results.Compared(job, path, "", [], ("a", "b"), {"a": picture, "b": picture}, (8, 8), {})
    assert f"{GONE}compare the files again." in results.differences(4, compared)["html"]


@pytest.mark.parametrize("deleted", [True, False])
def test_while_it_is_looked_at(tmp_path: Path, deleted: bool) -> None:
    folder = tmp_path / "latent8-of-a-request"
    folder.mkdir()
    job = jobs.begin("page that looks", "single", 1)
    done = SimpleNamespace(job=job, paths=[str(folder)], anew="encode the photo again")

    def content(*_: Any) -> str:
        if deleted:
            shutil.rmtree(folder)
        return (folder / "picture.png").read_text()

    value = widgets.made_for(done, "details", 2, content)
    assert value is not None
    assert str(tmp_path) not in value["html"]
    said = f"{GONE}encode the photo again." if deleted else "The server could not do this: No such file or directory."
    assert said in html.unescape(value["html"])
