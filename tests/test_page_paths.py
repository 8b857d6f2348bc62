"""What a page's script says of files is taken from nobody: it could name any file of the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from latent8.apps import parts, widgets
from latent8.errors import Latent8Error

UPLOADS = "uploads"


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Latents as RGBA PNG, outside of the folder of uploads."""
    (tmp_path / UPLOADS).mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / UPLOADS))
    path = tmp_path / "private.png"
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(path)
    return path


def converter(source: Callable[[], Any]) -> Callable[..., str]:
    """The function of a page's Convert button."""
    with gr.Blocks(analytics_enabled=False) as demo:
        parts.conversion(source(), gr.Textbox(), gr.Checkbox())
    return next(event.fn for event in demo.fns.values() if getattr(event.fn, "does_job", "") == parts.CONVERSION)


def box() -> gr.HTML:
    return widgets.drop_box("blob", "Drop a blob", "", ".l8", "box")


@pytest.mark.parametrize("named", [str, lambda path: [str(path)], lambda path: [{"path": str(path)}]])
def test_no_file_of_the_server_is_converted(private: Path, named: Callable[[Path], Any]) -> None:
    assert "was not uploaded here" in converter(box)(1, named(private), "npy", "sd1", False)


def test_what_the_server_keeps_is_converted(private: Path) -> None:
    assert "l8-download" in converter(lambda: gr.State(""))(1, str(private), "npy", "sd1", False)


@pytest.mark.parametrize("value", ["x", [3], [{}], [{"path": 5}], [{"path": "a\0b"}], [{"path": "\ud800"}], 7])
def test_what_is_no_file_is_one_sentence(private: Path, value: Any) -> None:
    with pytest.raises(Latent8Error, match="was not uploaded here"):
        widgets.paths_of(value)
