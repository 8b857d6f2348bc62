"""What is on the pages belongs together, and nobody waits for what was not asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import latent8
from tests.helpers.pages import (
    EXAMPLES,
    WAIT_MS,
    bring,
    bring_blob,
    bring_photo,
    calls,
    downloaded,
    open_part,
    set_quality,
    set_slider,
    settle,
    wait_for_photo,
)
from tests.helpers.samples import DEFAULT_REALISM, gradient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.page_fixtures"]
pytestmark = pytest.mark.browser


def test_photo_to_blob_to_picture(
    open_page: Callable[..., Page], encoder: AppServer, decoder: AppServer, gradient_photo: Path, tmp_path: Path
) -> None:
    page = open_page(encoder)
    bring_photo(page, gradient_photo)
    got = downloaded(page, page.locator("#facts .l8-download"))
    assert got.suggested_filename == "photo é #1.l8"
    blob = tmp_path / "renamed.l8"
    got.save_as(blob)
    assert blob.read_bytes() == latent8.encode(gradient_photo)
    ratio = gradient_photo.stat().st_size / blob.stat().st_size
    assert page.locator("#facts .l8-big").inner_text() == f"{ratio:.1f} times smaller"
    before, after = (f"{size / 1000:,.1f} KB" for size in (gradient_photo.stat().st_size, blob.stat().st_size))
    assert f"{before} became {after}, quality 50." in page.locator("#facts").inner_text()

    page = open_page(decoder)
    bring_blob(page, blob)
    assert "photo é #1" in page.locator("#facts").inner_text()  # the name in the blob
    got = downloaded(page, page.locator("#facts .l8-download"))
    assert got.suggested_filename == "renamed.png"
    got.save_as(tmp_path / "picture.png")
    expected = np.asarray(latent8.decode(blob.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "picture.png")), expected)


def test_another_format_is_another_file_and_decodes_nothing_again(
    open_page: Callable[..., Page], decoder: AppServer, blob: Path
) -> None:
    page = open_page(decoder)
    bring_blob(page, blob)
    decoded = page.locator("#facts").get_by_text("by l8-photo in").inner_text()
    made = calls(page)
    page.locator("#format").get_by_label("JPEG").check()
    link = page.locator("#facts .l8-download")
    page.locator("#facts .l8-download", has_text="renamed.jpg").wait_for()
    got = downloaded(page, link)
    assert got.suggested_filename == "renamed.jpg" and Image.open(got.path()).format == "JPEG"
    assert page.locator("#facts").get_by_text("by l8-photo in").inner_text() == decoded
    assert len(made) == 1


def test_the_format_that_is_set_while_a_file_is_decoded_is_what_comes(
    open_page: Callable[..., Page], decoder: AppServer, large_blob: Path
) -> None:
    page = open_page(decoder)
    bring(page, "#blob", large_blob)
    page.get_by_text("Decoding").first.wait_for()
    page.locator("#format").get_by_label("JPEG").check()
    link = page.locator("#facts .l8-download")
    page.locator("#facts .l8-download", has_text="slow.jpg").wait_for()
    settle(page)
    page.locator("#format").get_by_label("PNG").check()  # and the picture goes with it
    page.locator("#facts .l8-download", has_text="slow.png").wait_for()
    settle(page)
    assert link.inner_text() == "Download slow.png"
    page.get_by_role("button", name="Full size").click()
    page.wait_for_function("document.querySelector('#picture .l8-right img').naturalWidth == 4000")


def test_a_reading_is_chosen_in_the_decoder(
    open_page: Callable[..., Page], decoder: AppServer, blob: Path, tmp_path: Path
) -> None:
    tiny = tmp_path / "tiny.l8"
    tiny.write_bytes(latent8.encode(gradient(30, 20), "l8-tiny"))
    page = open_page(decoder)
    assert page.locator("#reading").is_hidden()
    bring_blob(page, blob)
    assert page.locator("#reading input[type=range]").input_value() == str(DEFAULT_REALISM)
    made = calls(page)
    for count, realism in enumerate((1.0, 0.5), 1):
        set_slider(page, "#reading", realism)
        page.locator("#facts").get_by_text("vivid" if realism == 1 else "realism 0.5").wait_for()
        settle(page)
        assert len(made) == count
        got = downloaded(page, page.locator("#facts .l8-download"))
        expected = np.asarray(latent8.decode(blob.read_bytes(), realism=realism))
        assert np.array_equal(np.asarray(Image.open(got.path())), expected)
    bring_blob(page, tiny)
    assert page.locator("#reading").is_hidden()


def test_the_encoders_preview_is_read_in_another_way_and_the_blob_stays(
    open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path
) -> None:
    page = open_page(encoder)
    bring_photo(page, gradient_photo)
    link, picture = page.locator("#facts .l8-download"), page.locator("#compare .l8-right img")
    before, shown, made = link.get_attribute("href"), picture.get_attribute("src"), calls(page)
    assert page.locator("#preview").get_by_text("The file itself stays the same.").is_visible()
    set_slider(page, "#preview", 1)
    page.locator("#compare .l8-tag-right", has_text="vivid").wait_for()
    settle(page)
    assert link.get_attribute("href") == before and len(made) == 1
    assert picture.get_attribute("src") != shown
    set_quality(page, 40)  # the reading stays as it was set
    page.locator("#compare .l8-tag-right", has_text="quality 40, vivid").wait_for()


def test_what_the_server_does_not_take_is_said_where_the_result_would_stand(
    browser: Browser, encoder: AppServer, gradient_photo: Path
) -> None:
    page = browser.new_page()  # for the browser says in its console what it was answered
    page.set_default_timeout(WAIT_MS)
    page.goto(encoder.url)
    page.locator("#photo input[type=file]").wait_for(state="attached")
    bring_photo(page, gradient_photo)
    answer = {"detail": "Too many requests are waiting here: try again in a minute."}
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json=answer))
    set_quality(page, 30)
    page.locator("#facts .l8-error").wait_for()
    settle(page)
    assert page.locator(".l8-download").count() == 0 and page.locator("#compare .l8-stage").is_hidden()
    page.unroute("**/queue/join*")
    set_quality(page, 31)
    wait_for_photo(page)
    page.context.close()


def test_nothing_of_the_last_result_can_be_taken_while_the_next_is_made(
    open_page: Callable[..., Page], encoder: AppServer, large_photo: Path
) -> None:
    """A setting, another photo and one that is taken away: at once, not when the answer comes."""
    page = open_page(encoder)
    page.locator(".l8-examples button").first.click()
    wait_for_photo(page)
    link = page.locator("#facts .l8-download")

    def usable() -> bool:
        return bool(link.count()) and link.evaluate("node => !node.closest('[inert]')")

    assert usable()
    set_quality(page, 14)
    assert not usable()
    settle(page)
    assert usable() and "quality 14" in page.locator("#facts").inner_text()
    assert latent8.inspect(Path(downloaded(page, link).path()).read_bytes()).quality == 14
    bring(page, "#photo", large_photo)
    page.wait_for_function("document.querySelector('#compare[inert]')")
    assert not usable()
    page.get_by_role("button", name="Remove large.jpg").click()
    link.wait_for(state="detached")
    settle(page)
    assert page.locator("#compare .l8-stage").is_hidden()


def test_one_change_is_one_call(open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path) -> None:
    page = open_page(encoder)
    bring_photo(page, gradient_photo)
    made = calls(page)
    page.locator("#photo-quality input[type=range]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.locator("#facts").get_by_text("quality 46").wait_for()
    settle(page)
    assert len(made) == 1
    open_part(page, "More settings")
    page.get_by_label("Longest side").locator("visible=true").focus()
    page.keyboard.press("Tab")
    page.wait_for_timeout(600)
    assert len(made) == 1
    page.locator("#photo-model input").click()
    page.get_by_role("option", name="l8-tiny").click()
    page.locator("#facts").get_by_text("Download").wait_for()
    settle(page)
    assert len(made) == 2
    assert page.locator("#photo-quality").is_hidden() and page.get_by_label("Levels").first.is_visible()


def test_quality_or_size(open_page: Callable[..., Page], encoder: AppServer) -> None:
    page = open_page(encoder)
    page.locator(".l8-examples button").first.click()
    wait_for_photo(page)
    size, slider = page.locator("#photo-size input"), page.locator("#photo-quality input[type=range]")
    assert size.is_disabled() and slider.is_enabled()
    page.get_by_label("Size", exact=True).first.check()
    page.wait_for_function("!document.querySelector('#photo-size input').disabled")
    assert slider.is_disabled()
    settle(page)
    size.fill("0.1")
    size.press("Enter")
    page.locator("#facts").get_by_text("0.1 KB is too small for this photo: it takes at least").wait_for()
    assert page.locator("#compare .l8-stage").is_visible()  # the result of before, greyed
    assert page.locator("#compare.l8-stale").count() and not page.locator(".l8-busy").count()
    size.fill("12")
    size.press("Tab")  # on leaving the field
    page.locator("#facts .l8-download").wait_for()
    settle(page)
    header = latent8.inspect(Path(downloaded(page, page.locator("#facts .l8-download")).path()).read_bytes())
    assert 9_000 < header.n_bytes <= 12_000
    assert slider.input_value() == str(header.quality)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("encoder", "This is not a picture that can be read"), ("decoder", "This is not a latent8 blob")],
)
def test_an_error_stands_where_the_result_would_and_clears_it(
    open_page: Callable[..., Page],
    encoder: AppServer,
    decoder: AppServer,
    gradient_photo: Path,
    blob: Path,
    junk: Path,
    name: str,
    sentence: str,
) -> None:
    page = open_page(encoder if name == "encoder" else decoder)
    bring_photo(page, gradient_photo) if name == "encoder" else bring_blob(page, blob)
    bring(page, "#photo" if name == "encoder" else "#blob", junk)
    page.locator("#facts .l8-error").wait_for()
    settle(page)
    assert sentence in page.locator("#facts").inner_text() or "neither" in page.locator("#facts").inner_text()
    assert page.locator(".l8-download").count() == 0 and page.locator(".l8-stage").first.is_hidden()
    assert page.get_by_test_id("toast-text").count() == 0
    assert page.get_by_text("Error", exact=True).count() == 0


def test_a_replaced_job_ends_and_the_next_is_shown(
    open_page: Callable[..., Page], decoder: AppServer, blob: Path, large_blob: Path
) -> None:
    page = open_page(decoder)
    bring(page, "#blob", large_blob)
    page.get_by_text("Decoding").first.wait_for()
    bring(page, "#blob", blob)
    page.locator("#facts .l8-download", has_text="renamed.png").wait_for()
    settle(page)
    width, height = latent8.decode(blob).size
    assert f"{width} x {height} pixels" in page.locator("#facts").inner_text()
    page.wait_for_timeout(1500)  # in which the first would have come back
    assert "renamed.png" in page.locator("#facts").inner_text()


def test_what_runs_can_be_stopped(open_page: Callable[..., Page], decoder: AppServer, large_blob: Path) -> None:
    page = open_page(decoder)
    assert page.locator("#blob-stop").is_hidden()
    bring(page, "#blob", large_blob)
    page.get_by_text("Decoding").first.wait_for()
    page.locator("#blob-stop").click()
    page.locator("#facts").get_by_text("Stopped.").wait_for()
    settle(page)
    assert page.locator("#blob-stop").is_hidden()
    page.wait_for_timeout(1500)
    assert "Stopped." in page.locator("#facts").inner_text()


def test_the_blob_is_there_before_the_pictures(
    open_page: Callable[..., Page], encoder: AppServer, large_photo: Path
) -> None:
    page = open_page(encoder)
    bring(page, "#photo", large_photo)
    page.locator("#facts .l8-download").wait_for()
    assert page.locator("#compare .l8-stage").is_hidden()  # still being decoded
    assert page.locator("#facts .l8-download").evaluate("node => !node.closest('[inert]')")
    wait_for_photo(page)
    assert page.locator("#compare .l8-right img").evaluate("node => Math.max(node.naturalWidth, 0)") <= 1600
    page.get_by_role("button", name="Full size").click()
    page.wait_for_function("document.querySelector('#compare .l8-right img').naturalWidth == 4000")


def test_what_is_closed_is_not_made_and_what_is_open_is_made_again(
    open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path
) -> None:
    page = open_page(encoder)
    made = calls(page)
    bring_photo(page, gradient_photo)
    page.wait_for_timeout(500)
    assert len(made) == 1
    open_part(page, "Details")
    page.locator("#details").get_by_text("SSIM").wait_for()
    open_part(page, "Size against quality")
    page.locator("#curves").get_by_text("Encoding at several qualities").wait_for()
    open_part(page, "Size against quality")  # closed: that stops
    page.locator("#curves").wait_for(state="hidden")
    page.wait_for_timeout(500)
    open_part(page, "Size against quality")
    page.locator("#curves .l8-chart svg").wait_for()
    assert len(made) == 4
    texts = page.locator("#curves .l8-chart svg title").all_text_contents()
    assert any(text.startswith("l8-photo, quality 15: ") and text.endswith(text[-4:]) for text in texts)
    psnr = page.locator("#details").get_by_text("dB").inner_text()
    set_quality(page, 5)
    page.wait_for_function("old => !document.querySelector('#details').innerText.includes(old)", arg=psnr)
    page.locator("#details").get_by_text("SSIM").wait_for()
    assert "quality 5" in page.locator("#details").inner_text()


def test_examples_are_named_and_above_the_fold(open_page: Callable[..., Page], encoder: AppServer) -> None:
    page = open_page(encoder)
    examples = page.locator(".l8-examples button")
    assert examples.count() == len(list(EXAMPLES.glob("*.jpg")))
    assert all(box["y"] + box["height"] < 800 for box in (one.bounding_box() for one in examples.all()) if box)
    page.get_by_role("button", name="Example: a brook in a wood").click()
    wait_for_photo(page)
    assert downloaded(page, page.locator("#facts .l8-download")).suggested_filename == "life.l8"
    assert page.locator(".l8-examples").is_hidden()
    page.get_by_role("button", name="Remove life.jpg").click()
    page.locator(".l8-examples").wait_for()
