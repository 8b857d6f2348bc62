"""The pages for everyone's eyes and hands: contrast, names, keyboard, phones; what a link to them shows.

With LATENT8_SCREENSHOTS=FOLDER the pictures of the pages, all of them and those of README.md, are written there.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.pages import (
    EXAMPLES,
    TABS,
    assert_fits,
    bring,
    bring_blob,
    bring_photo,
    downloaded,
    open_part,
    open_tab,
    run_batch,
    save_screenshot,
    settle,
    wait_for_photo,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.page_fixtures"]
pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")


def violations(page: Page) -> list[str]:
    """The serious and critical ones of axe-core."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{one['id']}: {node['target']} {' '.join(node.get('failureSummary', '').split())[:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_no_tab_has_a_serious_violation_and_all_fit(
    open_page: Callable[..., Page],
    encoder: AppServer,
    decoder: AppServer,
    gradient_photo: Path,
    photo: Path,
    blob: Path,
    junk: Path,
    name: str,
    width: int,
    scheme: str,
) -> None:
    server = encoder if name == "encoder" else decoder
    page = open_page(server, width, scheme)
    assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    found = violations(page)
    assert_fits(page, width)
    if name == "encoder":
        bring_photo(page, gradient_photo)
        for part in ("More settings", "Details", "Latents for other tools", "Models"):
            open_part(page, part)
        page.locator("#details table").wait_for()
    else:
        bring_blob(page, blob)
        for part in ("Latents of other tools", "What is in the file", "Models"):
            open_part(page, part)
        page.locator("#latents img").first.wait_for()
    page.wait_for_timeout(400)  # for what fades
    found += violations(page)
    assert_fits(page, width)
    run_batch(page, server, [gradient_photo if name == "encoder" else blob, junk])
    page.wait_for_timeout(400)
    found += violations(page)
    assert_fits(page, width)
    if name == "decoder":
        open_tab(page, "Compare")
        bring(page, "#compared", blob)
        bring(page, "#original", photo)
        page.locator("#figures").get_by_text("PSNR").wait_for()
        settle(page)
        page.wait_for_timeout(400)
        found += violations(page)
        assert_fits(page, width)
        open_tab(page, "Library")
        page.locator("#library-search").wait_for()
        page.wait_for_timeout(400)
        found += violations(page)
        bring(page, "#library-files", photo)
        page.get_by_text("1 in your library").wait_for()
        bring(page, "#library-query", blob)
        page.get_by_text("1 found in ").wait_for()
        page.wait_for_timeout(400)
        found += violations(page)
        assert_fits(page, width)
    assert found == []


def test_a_photo_is_encoded_by_keyboard_alone(open_page: Callable[..., Page], encoder: AppServer) -> None:
    page = open_page(encoder)
    page.get_by_role("button", name="Example: mountains").focus()
    page.keyboard.press("Enter")
    wait_for_photo(page)
    assert page.evaluate("document.activeElement.type") == "file"  # focus did not fall off the page
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('l8-download')"):
            break
    got = page.evaluate("document.activeElement.download")
    assert got == "picos.l8"
    with page.expect_download():
        page.keyboard.press("Enter")
    slider = page.get_by_role("slider", name=re.compile("Quality")).first
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.locator("#facts").get_by_text("quality 51").wait_for()
    assert page.evaluate("document.activeElement.type") == "range"
    assert page.locator("#facts [role=status]").count() == 1  # results are announced
    page.get_by_role("button", name="Details", expanded=False).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Details", expanded=True).wait_for()


def test_a_thumb_on_the_picture_scrolls_a_phones_page(
    open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path
) -> None:
    page = open_page(encoder, 390, has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 640})
    bring_photo(page, gradient_photo)
    picture, facts = page.locator("#compare .l8-stage"), page.locator("#facts")
    top, below = picture.bounding_box(), facts.bounding_box()
    assert top and below and top["y"] < below["y"]
    assert picture.evaluate("node => getComputedStyle(node).touchAction") == "pan-y"
    session = page.context.new_cdp_session(page)
    x, y = top["x"] + top["width"] / 2, top["y"] + top["height"] * 0.3
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 11):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 20 * step}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("window.scrollY > 100")


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_link_to_the_page_shows_what_it_is(encoder: AppServer, decoder: AppServer, name: str) -> None:
    server = encoder if name == "encoder" else decoder

    def got(address: str) -> bytes:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.read()

    page = got(server.url).decode()
    assert re.search(rf'<meta property="og:title" content="latent8 {name}"', page)
    [picture] = re.findall(r'<meta[^>]*property="og:image"[^>]*content="([^"]*)"', page)
    assert picture.startswith(server.url) and "radio.app" not in page.partition("<script")[0]
    assert got(picture)[:4] == b"\x89PNG"
    assert '<meta name="description" content="' in page
    assert (
        got(f"{server.url}favicon.ico")
        == (Path(__file__).parents[1] / "shared/latent8/apps/web/favicon.png").read_bytes()
    )


@pytest.mark.skipif("LATENT8_SCREENSHOTS" not in os.environ, reason="writes pictures, and tests nothing")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_pictures_of_all_tabs(
    open_page: Callable[..., Page],
    encoder: AppServer,
    decoder: AppServer,
    photo: Path,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    folder = Path(os.environ["LATENT8_SCREENSHOTS"])
    readme = (width, scheme) == (1440, "light")
    page = open_page(encoder, width, scheme)
    save_screenshot(page, folder / f"encoder-empty-{width}-{scheme}.png", full=True)
    page.locator(".l8-examples button").first.click()
    wait_for_photo(page)
    if readme:
        save_screenshot(page, folder / "encoder.png")
    save_screenshot(page, folder / f"encoder-{width}-{scheme}.png", full=True)
    blob = tmp_path / "picos.l8"
    downloaded(page, page.locator("#facts .l8-download")).save_as(blob)
    run_batch(page, encoder, [photo, Path(__file__), photo])
    save_screenshot(page, folder / f"encoder-many-{width}-{scheme}.png", full=True)

    page = open_page(decoder, width, scheme)
    bring_blob(page, blob)
    if readme:
        save_screenshot(page, folder / "decoder.png")
    save_screenshot(page, folder / f"decoder-{width}-{scheme}.png", full=True)
    run_batch(page, decoder, [blob, Path(__file__)])
    save_screenshot(page, folder / f"decoder-many-{width}-{scheme}.png", full=True)
    open_tab(page, TABS["decoder"][2])
    bring(page, "#compared", blob)
    bring(page, "#original", Path(__file__).parents[1] / "spaces/encoder/examples/picos.jpg")
    page.locator("#figures").get_by_text("PSNR").wait_for()
    settle(page)
    save_screenshot(page, folder / f"compare-{width}-{scheme}.png", full=True)
    open_tab(page, "Library")
    bring(page, "#library-files", blob, *EXAMPLES.glob("[ls]*.jpg"))
    page.get_by_text("in your library").wait_for()
    bring(page, "#library-query", blob)
    page.get_by_text(" found in ").wait_for()
    settle(page)
    save_screenshot(page, folder / f"library-{width}-{scheme}.png", full=True)
