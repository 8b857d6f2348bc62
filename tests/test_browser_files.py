"""Files come in the way people bring them, one or many."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import latent8
from tests.helpers.pages import (
    bring,
    bring_blob,
    downloaded,
    drop,
    open_part,
    open_tab,
    run_batch,
    settle,
    wait_for_photo,
)
from tests.helpers.samples import build_blob, gradient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.page_fixtures"]
pytestmark = pytest.mark.browser


def test_a_photo_is_dropped_anywhere_pasted_and_replaced(
    open_page: Callable[..., Page], encoder: AppServer, gradient_photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(gradient_photo.read_bytes())
    page = open_page(encoder)
    drop(page, "h1", gradient_photo)  # far from the box
    wait_for_photo(page)
    assert page.url.rstrip("/") == encoder.url.rstrip("/")  # it was not opened by the browser
    drop(page, "#photo .l8-drop-label", other)  # on a box that is full
    page.locator("#facts .l8-download", has_text="other.l8").wait_for()
    settle(page)
    assert page.locator("#photo .l8-file-name").all_inner_texts() == ["other.jpg"]
    drop(page, "body", gradient_photo, "paste")
    page.locator("#facts .l8-download", has_text="photo é #1.l8").wait_for()
    assert page.locator("#photo input").get_attribute("accept").startswith("image/*,")


def test_the_wrong_app_says_which_is_the_right_one(
    open_page: Callable[..., Page], app_server: type[AppServer], blob: Path, gradient_photo: Path, tmp_path: Path
) -> None:
    urls = {"LATENT8_DECODER_URL": "http://127.0.0.1:1/decoder", "LATENT8_ENCODER_URL": "http://127.0.0.1:1/encoder"}
    with app_server("encoder", tmp_path / "encoder", **urls) as server:
        page = open_page(server)
        assert (
            page.locator("header").get_by_role("link", name="decoder").get_attribute("href")
            == urls["LATENT8_DECODER_URL"]
        )
        bring(page, "#photo", blob)
        page.locator("#facts").get_by_text("This is a .l8 file, not a photo: use the decoder.").wait_for()
        page.locator("#facts").get_by_role("link", name="Open the decoder").wait_for()
        page.close()
    with app_server("decoder", tmp_path / "decoder", **urls) as server:
        page = open_page(server)
        bring(page, "#blob", gradient_photo)
        page.locator("#facts").get_by_text("This is a photo, not a .l8 file").wait_for()
        link = page.locator("#facts").get_by_role("link", name="Open the encoder")
        assert link.get_attribute("href") == urls["LATENT8_ENCODER_URL"]
        assert link.get_attribute("target") == "_blank"  # what is on this page stays
        page.close()


def test_a_file_over_the_limit_is_refused_before_it_is_sent(
    open_page: Callable[..., Page], encoder: AppServer, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    with open(large, "wb") as file:
        file.truncate((64 << 20) + 1)
    page = open_page(encoder)
    sent = []
    page.on("request", lambda request: sent.append(request.url) if "/upload" in request.url else None)
    bring(page, "#photo", large)
    page.get_by_text("large.png is larger than 64 MB, the most that is taken.").wait_for()
    settle(page)
    assert sent == []


def test_the_page_has_the_servers_limits_and_says_what_it_says(
    browser: Browser, app_server: type[AppServer], tmp_path: Path
) -> None:
    for name, n_bytes in (("large.png", (70 << 20) + 1), ("full.png", 66 << 20)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(n_bytes)
    with app_server("encoder", tmp_path / "app", LATENT8_FILE_MB="70", LATENT8_DISK_MB="20") as server:
        page = browser.new_page()  # the browser logs what is refused as an error
        page.goto(server.url)
        box = page.locator("#photo")
        box.get_by_text("Or paste one. Up to 70 MB.").wait_for()
        bring(page, "#photo", tmp_path / "large.png")
        box.get_by_text("large.png is larger than 70 MB, the most that is taken.").wait_for()
        bring(page, "#photo", tmp_path / "full.png")
        sentence = "the server has no room for more uploads now: try again in some minutes."
        box.get_by_text(f"full.png could not be uploaded: {sentence}").wait_for()
        page.close()


def test_decoders_that_fit_are_offered_and_latents_converted(
    open_page: Callable[..., Page], decoder: AppServer, gradient_photo: Path, tmp_path: Path
) -> None:
    tiny, sd1 = tmp_path / "tiny.l8", tmp_path / "sd1.l8"
    tiny.write_bytes(latent8.encode(gradient_photo, "l8-tiny"))
    sd1.write_bytes(build_blob(model_id=2))
    page = open_page(decoder)
    bring_blob(page, tiny)
    assert page.locator("#decoder").is_hidden()  # there is no choice
    open_part(page, "Latents of other tools")
    page.locator("#convert-to").get_by_label(".npy").check()
    page.locator("#convert").click()
    got = downloaded(page, page.locator("#converted .l8-download"))
    assert got.suggested_filename == "tiny.npy"
    assert Path(got.path()).read_bytes() == latent8.convert(tiny.read_bytes(), "npy")
    bring(page, "#blob", sd1)
    page.locator("#facts").get_by_text("madebyollin/taesd is not on this machine").wait_for()
    assert page.locator("#converted .l8-download").count() == 0
    page.locator("#decoder input").click()
    names = [name.strip().removeprefix("✓").strip() for name in page.get_by_role("option").all_inner_texts()]
    assert names[:3] == ["taesd (10 MB download)", "sd-vae-ft-mse (335 MB download)", "consistency (1,310 MB download)"]


def test_many_photos_to_many_blobs_to_many_pictures(
    open_page: Callable[..., Page],
    encoder: AppServer,
    decoder: AppServer,
    gradient_photo: Path,
    junk: Path,
    tmp_path: Path,
) -> None:
    page = open_page(encoder)
    other = tmp_path / "other" / gradient_photo.name  # of the same name; a file that is given twice is done once
    other.parent.mkdir()
    Image.fromarray(gradient(120, 70)).save(other)
    run_batch(page, encoder, [gradient_photo, junk, other])
    first, blob = (latent8.encode(photo) for photo in (gradient_photo, other))
    before = (gradient_photo.stat().st_size + other.stat().st_size) / 1000
    after = (len(first) + len(blob)) / 1000
    said = f"2 done, 1 failed, {before:,.1f} KB to {after:,.1f} KB, {before / after:.1f} times smaller"
    page.locator("#results").get_by_text(said).wait_for()
    failed = page.locator("#results tr.l8-failed")
    assert failed.count() == 1 and "This is not a picture that can be read" in failed.inner_text()
    row = page.locator("#results tbody tr").last
    assert f"{other.stat().st_size / len(blob):.1f} times" in row.inner_text()
    got = downloaded(page, row.get_by_role("link"))
    assert got.suggested_filename == "photo é #1-2.l8" and Path(got.path()).read_bytes() == blob
    zipped = downloaded(page, page.get_by_role("link", name="Download all as ZIP"))
    with zipfile.ZipFile(zipped.path()) as content:
        assert content.namelist() == ["photo é #1.l8", "photo é #1-2.l8"]
        content.extractall(tmp_path)
    set_again = page.locator("#photos-quality input[type=range]")
    set_again.fill("20")
    set_again.dispatch_event("change")
    page.locator("#results[inert]").wait_for()  # they are of another quality
    page.locator("#photos .l8-drop-total").get_by_text("3 files, ").wait_for()
    page.get_by_role("button", name="Remove all").click()
    page.locator("#photos .l8-file-name").first.wait_for(state="detached")

    page = open_page(decoder)
    run_batch(page, decoder, [Path(shutil.copy(zipped.path(), tmp_path / "blobs.zip"))])
    page.locator("#results").get_by_text("2 done").wait_for()
    zipped = downloaded(page, page.get_by_role("link", name="Download all as ZIP"))
    with zipfile.ZipFile(zipped.path()) as content:
        assert content.namelist() == ["photo é #1.png", "photo é #1-2.png"]
        picture = Image.open(io.BytesIO(content.read("photo é #1-2.png")))
    assert np.array_equal(np.asarray(picture), np.asarray(latent8.decode(blob)))


def test_events_may_arrive_in_another_order(
    open_page: Callable[..., Page], decoder: AppServer, large_blob: Path, blob: Path
) -> None:
    """The click's job is the wanted one, though the event of the upload before it comes to the server after it."""
    page, held = open_page(decoder), list["Route"]()
    page.route("**/run/predict", lambda route: route.fallback() if held else held.append(route))
    open_tab(page, "Many files")
    bring(page, "#blobs", large_blob, blob)
    page.get_by_role("button", name="Remove").nth(1).wait_for()
    page.locator("#decode-all").click()
    page.get_by_text("Blob 1 of 2").first.wait_for()
    with page.expect_response("**/run/predict"):
        held[0].continue_()
    page.locator("#results").get_by_text("2 done").wait_for()
    settle(page)


def test_a_batch_is_stopped(
    open_page: Callable[..., Page], decoder: AppServer, large_blob: Path, tmp_path: Path
) -> None:
    page, other = open_page(decoder), tmp_path / "other.l8"
    size = {"width": 4000, "height": 2992}
    other.write_bytes(build_blob(weights=bytes(4), payload=bytes(4 * 374 * 500), **size))
    open_tab(page, "Many files")
    bring(page, "#blobs", large_blob, other)
    page.get_by_role("button", name="Remove").nth(1).wait_for()
    page.locator("#decode-all").click()
    page.get_by_text("Blob 1 of 2").first.wait_for()
    page.locator("#blobs-stop").click()
    page.locator("#results").get_by_text("Stopped.").wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("#results").inner_text() == "Stopped."
