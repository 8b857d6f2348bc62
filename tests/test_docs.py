"""The documents say what the code does."""

import re
from pathlib import Path

import gradio

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


def test_readme_names_every_model_and_links_to_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for model in models():
        assert model.name in readme
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_pinned_gradio_is_the_one_installed() -> None:
    pin = re.search(r"gradio\[mcp\]==(\d+\.\d+)\.\*", (ROOT / "requirements.txt").read_text())
    assert pin and gradio.__version__.startswith(pin[1] + ".")
