"""The documents say what the code does."""

import re
from pathlib import Path

import gradio
import pytest

from latent8 import models
from latent8.file_format import blob
from scripts import make_format_doc

ROOT = Path(__file__).parents[1]


def test_format_document_is_the_modules_own_text() -> None:
    assert make_format_doc.OUTPUT.read_text(encoding="utf-8") == make_format_doc.text()


def test_format_table_has_the_sizes_that_are_packed() -> None:
    table = re.findall(r"^ {4}(\d+) +(\d+) +(\w+)", blob.__doc__ or "", re.MULTILINE)
    offset = 0
    for stated, size, _ in table:
        assert int(stated) == offset
        offset += int(size)
        if offset == blob._FIXED.size:
            break
    assert offset == blob._FIXED.size


def test_use_names_every_model() -> None:
    text = (ROOT / "docs" / "USE.md").read_text(encoding="utf-8")
    for model in models():
        assert f"`{model.name}`" in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "training/README.md", "docs/*.md"])
def test_links_lead_to_files_that_exist(name: str) -> None:
    for document in ROOT.glob(name):
        for link in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (document.parent / link).exists(), f"{document.name}: {link}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 700


def test_the_pinned_gradio_is_the_one_installed() -> None:
    pin = re.search(r"gradio\[mcp\]==(\d+\.\d+)\.\*", (ROOT / "requirements.txt").read_text())
    assert pin and gradio.__version__.startswith(pin[1] + ".")
