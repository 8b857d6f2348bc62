"""Both pages in headless Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_servers import AppServer, decoder, encoder  # noqa: F401 - fixtures
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import latent8

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT_MS = 120_000
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_photo_to_blob_to_picture(
    browser: Browser,
    encoder: AppServer,  # noqa: F811
    decoder: AppServer,  # noqa: F811
    tmp_path: Path,
    width: int,
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 1200})
    page.set_default_timeout(WAIT_MS)
    page.goto(encoder.url)
    page.get_by_role("tab", name="One photo").wait_for()
    page.locator("#photo [data-testid=file-upload]").set_input_files(str(EXAMPLES / "wine.jpg"))
    page.locator("#slider img").first.wait_for()
    page.locator("#facts table").wait_for()
    with page.expect_download() as download:
        page.locator("#blob").click()
    assert download.value.suggested_filename == "wine.l8"
    blob = tmp_path / "wine.l8"
    download.value.save_as(blob)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    save_screenshot(page, f"encoder-{width}.png")

    page.goto(decoder.url)
    page.get_by_role("tab", name="One blob").wait_for()
    page.locator("#blob [data-testid=file-upload]").set_input_files(str(blob))
    page.locator("#picture img").first.wait_for()
    page.locator("#facts table").wait_for()
    with page.expect_download() as download:
        page.locator("#file").click()
    assert download.value.suggested_filename == "wine.png"
    picture = tmp_path / "wine.png"
    download.value.save_as(picture)
    assert np.array_equal(np.asarray(Image.open(picture)), np.asarray(latent8.decode(blob.read_bytes())))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    save_screenshot(page, f"decoder-{width}.png")
    page.close()


def test_junk_is_a_sentence_in_the_page(browser: Browser, encoder: AppServer, tmp_path: Path) -> None:  # noqa: F811
    junk = tmp_path / "junk.jpg"
    junk.write_bytes(b"junk")
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(encoder.url)
    page.get_by_role("tab", name="One photo").wait_for()
    page.locator("#photo [data-testid=file-upload]").set_input_files(str(junk))
    page.get_by_text("This is not a picture that can be read").first.wait_for()
    page.close()


def save_screenshot(page, name: str) -> None:
    """Only where LATENT8_SCREENSHOTS names a folder: the pictures in the README are made so."""
    folder = os.environ.get("LATENT8_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / name)
