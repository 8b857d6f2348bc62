"""Comparing two pictures: what is chosen, where it is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import latent8
from tests.helpers.pages import EXAMPLES, bring, bring_photo, open_part, open_tab, set_quality, settle
from tests.helpers.samples import DEFAULT_REALISM

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.page_fixtures"]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def photo_of_something(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blob of a gradient is smaller than any AVIF file."""
    path = tmp_path_factory.mktemp("photo") / "life.png"
    with Image.open(EXAMPLES / "life.jpg") as image:
        image.resize((320, 240)).save(path)
    return path


def place(page: Page) -> Any:
    return page.locator("#compare .l8-left img").evaluate("node => node.style.transform")


def left_tag(page: Page) -> Locator:
    return page.locator("#compare .l8-tag-left")


def test_zoom_and_place_stay_when_a_side_changes(
    open_page: Callable[..., Page], encoder: AppServer, photo_of_something: Path
) -> None:
    page = open_page(encoder)
    bring_photo(page, photo_of_something)
    size = photo_of_something.stat().st_size
    assert left_tag(page).inner_text() == f"Original, {size / 1000:,.1f} KB"
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    page.locator("#compare .l8-stage").focus()
    page.keyboard.press("ArrowRight")
    before = place(page)
    assert "scale(3.375)" in before
    page.locator("#compare .l8-against").select_option("AVIF")
    page.locator("#compare .l8-waiting").get_by_text("AVIF is being made").wait_for()
    left_tag(page).get_by_text("AVIF, quality").wait_for()
    assert place(page) == before and page.locator("#compare .l8-waiting").is_hidden()
    n_bytes = 1000 * float(re.findall(r", ([\d.]+) KB", left_tag(page).inner_text())[0])
    assert 0.5 * len(latent8.encode(photo_of_something)) < n_bytes <= len(latent8.encode(photo_of_something)) + 50

    old = left_tag(page).inner_text()
    set_quality(page, 90)  # another result: what was compared with goes on being compared with
    page.locator("#compare .l8-tag-right").get_by_text("quality 90").wait_for()
    page.wait_for_function(
        "old => { const tag = document.querySelector('#compare .l8-tag-left').innerText; "
        "return tag.startsWith('AVIF, quality') && tag !== old; }",
        arg=old,
    )
    assert place(page) == before


def test_our_other_qualities_are_compared_and_full_screen_switches(
    open_page: Callable[..., Page], encoder: AppServer, photo_of_something: Path
) -> None:
    page = open_page(encoder)
    bring_photo(page, photo_of_something)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Full screen", exact=True).click()
    page.wait_for_function("document.fullscreenElement?.classList.contains('l8-viewer')")
    page.get_by_role("button", name="Leave full screen").wait_for()
    page.wait_for_function("!document.querySelector('#compare .l8-zoomed')")  # it begins fitted
    assert page.get_by_role("button", name=re.compile(r"\d %.*: fit the picture$")).count() == 1
    page.get_by_label("Left side").select_option("latent8, another quality")
    left_tag(page).get_by_text("l8-photo, quality 30").wait_for()
    quality = page.locator("#compare .l8-other-quality input")
    quality.fill("10")
    quality.press("Enter")
    left_tag(page).get_by_text("l8-photo, quality 10").wait_for()
    stem = photo_of_something.stem
    expected = len(latent8.encode(photo_of_something, quality=10, stem=stem)) / 1000
    assert left_tag(page).inner_text().endswith(f"{expected:,.1f} KB")


def test_a_codec_that_cannot_says_why(open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path) -> None:
    page = open_page(encoder)
    bring_photo(page, gradient_photo)  # a gradient
    page.locator("#compare .l8-against").select_option("AVIF")
    page.locator("#compare .l8-waiting").get_by_text("AVIF cannot make this photo as small").wait_for()
    assert left_tag(page).inner_text().startswith("Original")


def test_the_divider_moves_by_keyboard_and_by_pointer(
    open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path
) -> None:
    page = open_page(encoder)
    bring_photo(page, gradient_photo)
    divider = page.get_by_role("slider", name="Divider between left and right side")
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "52"
    page.keyboard.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    box = page.locator("#compare .l8-stage").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 50)
    assert divider.get_attribute("aria-valuenow") == "25"


@pytest.mark.parametrize("width", [1200, 390])
def test_a_picture_is_compared_with_its_original(
    open_page: Callable[..., Page], decoder: AppServer, photo: Path, blob: Path, junk: Path, width: int
) -> None:
    page = open_page(decoder, width)
    open_tab(page, "Compare")
    bring(page, "#compared", junk)
    page.locator("#figures .l8-error").wait_for()
    bring(page, "#compared", blob)  # which is enough: it has several readings
    page.locator("#figures").get_by_text("Add the photo that the file was made from").wait_for()
    settle(page)
    tags = page.locator("#sides .l8-tag")
    assert [tag.partition(",")[0] for tag in tags.all_inner_texts()] == ["Faithful", "Vivid"]
    assert page.locator("#left").is_visible()  # there is the model's own choice too
    bring(page, "#original", photo)
    page.locator("#figures").get_by_text("PSNR").wait_for()
    rows = latent8.compare(blob.read_bytes(), original=photo, realisms=[0, DEFAULT_REALISM, 1]).rows()
    texts = page.locator("#figures tr").all_inner_texts()
    assert texts[0].split("\t")[-3:] == ["Faithful", f"Realism {DEFAULT_REALISM}", "Vivid"]
    assert ["PSNR", "dB", *(f"{row['psnr_db']:.2f}" for row in rows)] in [text.split() for text in texts]
    settle(page)
    assert page.locator("#sides .l8-tag-left").inner_text().startswith("Original, ")
    assert page.locator("#sides .l8-tag-right").inner_text().startswith(f"Realism {DEFAULT_REALISM}, ")
    open_part(page, "Where they differ")
    page.locator("#differences img").nth(4).wait_for()  # of the first reading and the others, of the photo and all
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#right input").click()
    page.get_by_role("option", name="Vivid").click()
    page.locator("#sides .l8-tag-right", has_text="Vivid").wait_for()
    settle(page)
    assert f"{rows[2]['psnr_db']:.2f}" in page.locator("#figures").inner_text()
