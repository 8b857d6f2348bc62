"""Both pages in headless Chromium, as a person uses them.

With LATENT8_SCREENSHOTS=FOLDER the pictures of the pages for README.md are written there.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import build_blob, gradient
from PIL import Image

import latent8

if TYPE_CHECKING:
    from app_servers import AppServer
    from playwright.sync_api import Browser, Download, Locator, Page

pytest_plugins = ["app_servers"]
pytestmark = pytest.mark.browser

WAIT_MS = 60_000
TABS = {"encoder": ("One photo", "Many photos"), "decoder": ("One blob", "Many blobs")}
ALL_LOADED = "[...document.images].every(image => image.complete && image.naturalWidth)"


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """open_page(server, width, scheme): the app's page; no page may log an error or ask another host."""
    contexts, errors, hosts = [], [], set()

    def opened(server: AppServer, width: int = 1200, scheme: Any = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 1300}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(server.url)
        page.get_by_role("tab", name=TABS[server.name][1]).wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert hosts - {None} == {"127.0.0.1"}  # None: data: and blob: addresses


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo é #1.jpg"
    Image.fromarray(gradient(300, 200)).save(path)
    return path


@pytest.fixture(scope="module")
def junk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("junk") / "a file that is no picture <b>and has a long name.jpg"
    path.write_bytes(b"junk")
    return path


def drop(page: Page, where: str, *paths: Path) -> None:
    page.locator(f"{where} [data-testid=file-upload]").set_input_files([str(path) for path in paths])


def drop_photo(page: Page, photo: Path) -> None:
    drop(page, "#photo", photo)
    wait_for_photo(page)


def wait_for_photo(page: Page) -> None:
    page.locator("#facts table").wait_for()
    page.locator("#slider img").nth(1).wait_for()
    page.locator("#blob:not([disabled])").wait_for()


def open_comparison(page: Page) -> None:
    page.get_by_role("button", name="WebP and AVIF in the same number of bytes").click()
    page.locator("#rivals table").wait_for()


def drop_blob(page: Page, blob: Path) -> None:
    drop(page, "#blob", blob)
    page.locator("#facts table").wait_for()
    page.locator("#picture img").wait_for()
    page.locator("#file:not([disabled])").wait_for()


def run_batch(page: Page, server: AppServer, files: list[Path]) -> None:
    page.get_by_role("tab", name=TABS[server.name][1]).click()
    encoding = server.name == "encoder"
    drop(page, "#photos" if encoding else "#blobs", *files)
    page.get_by_role("button", name="Remove this file").nth(len(files) - 1).wait_for()
    page.locator("#encode-all" if encoding else "#decode-all").click()
    page.locator("#zip a[download]").wait_for()


def downloaded(page: Page, locator: Locator) -> Download:
    with page.expect_download() as download:
        locator.click()
    return download.value


def assert_fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_photo_to_blob_to_picture(
    open_page: Callable[..., Page], encoder: AppServer, decoder: AppServer, photo: Path, tmp_path: Path
) -> None:
    page = open_page(encoder)
    drop_photo(page, photo)
    got = downloaded(page, page.locator("#blob"))
    assert got.suggested_filename == "photo é #1.l8"
    blob = tmp_path / "renamed.l8"
    got.save_as(blob)
    assert blob.read_bytes() == latent8.encode(photo)
    facts = page.locator("#facts").inner_text()
    assert f"{blob.stat().st_size:,} bytes" in facts and "300 x 200" in facts
    open_comparison(page)

    page = open_page(decoder)
    drop_blob(page, blob)
    assert "photo é #1" in page.locator("#facts").inner_text()
    got = downloaded(page, page.locator("#file"))
    assert got.suggested_filename == "photo é #1.png"
    got.save_as(tmp_path / "picture.png")
    expected = np.asarray(latent8.decode(blob.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "picture.png")), expected)
    page.get_by_label("JPEG").click()
    names = set()
    for _ in range(60):  # the page does not show when the file behind the button changes
        names.add(downloaded(page, page.locator("#file")).suggested_filename)
        if "photo é #1.jpg" in names:
            break
        page.wait_for_timeout(500)
    assert names <= {"photo é #1.png", "photo é #1.jpg"}
    assert "photo é #1.jpg" in names


def test_settings_encode_again_without_an_upload(
    open_page: Callable[..., Page], encoder: AppServer, photo: Path
) -> None:
    page = open_page(encoder)
    drop_photo(page, photo)
    slider = page.locator("#quality input[type=range]")
    slider.fill("10")
    slider.dispatch_event("pointerup")
    page.locator("#facts").get_by_text("quality 10").wait_for()
    page.get_by_text("More settings").first.click()
    page.get_by_label("Model").first.click()
    page.get_by_role("option", name="l8-tiny").click()
    page.locator("#png:not([disabled])").wait_for()
    assert downloaded(page, page.locator("#png")).suggested_filename == "photo é #1.encoded.png"
    assert not slider.is_visible() and page.get_by_label("Levels").first.is_visible()


def test_a_photo_is_compared_at_its_last_quality(open_page: Callable[..., Page], encoder: AppServer) -> None:
    """Also where the comparison before it, which takes seconds, has not ended."""
    page = open_page(encoder)
    page.get_by_role("button", name="WebP and AVIF in the same number of bytes").click()
    example = Path(__file__).parents[1] / "spaces" / "encoder" / "examples" / "life.jpg"
    drop(page, "#photo", example)
    page.locator("#facts table").wait_for()
    assert page.locator("#rivals table").count() == 0  # it has begun
    slider = page.locator("#quality input[type=range]")
    slider.fill("20")
    slider.dispatch_event("pointerup")
    page.locator("#facts").get_by_text("quality 20").wait_for()
    size = f"{len(latent8.encode(example, quality=20)):,}"
    page.locator("#rivals table").get_by_text(size).first.wait_for()


def test_slider_shows_a_rival_of_the_same_size(
    open_page: Callable[..., Page], encoder: AppServer, tmp_path: Path
) -> None:
    photo = tmp_path / "photo é #1.png"  # of something: the blob of a gradient is smaller than any AVIF file
    with Image.open(Path(__file__).parents[1] / "spaces" / "encoder" / "examples" / "life.jpg") as image:
        image.resize((320, 240)).save(photo)
    page = open_page(encoder)
    drop_photo(page, photo)
    open_comparison(page)
    page.locator("#against").get_by_label("AVIF").click()
    page.locator("#slider").get_by_text("AVIF | decoded").wait_for()
    assert "avif-quality" in str(page.locator("#slider img").first.get_attribute("src"))

    slider = page.locator("#quality input[type=range]")
    slider.fill("20")
    slider.dispatch_event("pointerup")
    page.locator("#facts").get_by_text("quality 20").wait_for()
    page.locator("#slider").get_by_text("Original | decoded").wait_for()
    assert page.locator("#against").get_by_label("Original").is_checked()


def test_example_is_encoded_on_a_click_and_taken_away_again(open_page: Callable[..., Page], encoder: AppServer) -> None:
    page = open_page(encoder)
    page.locator("#examples button.thumbnail-item").nth(1).click()
    wait_for_photo(page)
    assert downloaded(page, page.locator("#blob")).suggested_filename == "life.l8"
    page.locator("#photo").get_by_label("Clear").click()
    page.locator("#facts table").wait_for(state="detached")
    page.locator("#blob[disabled]").wait_for()
    assert page.locator("#slider img").count() == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("encoder", "This is not a picture that can be read"), ("decoder", "This is not a latent8 blob")],
)
def test_junk_is_one_sentence_in_the_page(
    open_page: Callable[..., Page], encoder: AppServer, decoder: AppServer, junk: Path, name: str, sentence: str
) -> None:
    page = open_page(encoder if name == "encoder" else decoder)
    drop(page, "#photo" if name == "encoder" else "#blob", junk)
    page.get_by_test_id("toast-text").wait_for()
    assert sentence in page.get_by_test_id("toast-text").inner_text()
    assert page.get_by_test_id("toast-text").count() == 1
    assert page.locator("#facts table").count() == 0


def test_page_offers_decoders_that_fit_and_converts(
    open_page: Callable[..., Page], decoder: AppServer, photo: Path, tmp_path: Path
) -> None:
    tiny, sd1 = tmp_path / "tiny.l8", tmp_path / "sd1.l8"
    tiny.write_bytes(latent8.encode(photo, "l8-tiny"))
    sd1.write_bytes(build_blob(model_id=2))
    page = open_page(decoder)
    drop_blob(page, tiny)
    assert offered(page) == ["l8-tiny (bundled)"]
    page.get_by_text("Latents of other tools").click()
    page.locator("#convert-to").get_by_label(".npy").click()
    page.locator("#convert").click()
    got = downloaded(page, page.locator("#converted a[download]"))
    assert got.suggested_filename == "tiny.npy"
    assert Path(got.path()).read_bytes() == latent8.convert(tiny.read_bytes(), "npy")
    page.locator("#blob").get_by_label("Clear").click()
    page.locator("#converted a[download]").wait_for(state="detached")
    drop(page, "#blob", sd1)
    page.get_by_test_id("toast-text").filter(has_text="madebyollin/taesd is not on this machine").wait_for()
    assert offered(page) == [
        "taesd (10 MB download)",
        "sd-vae-ft-mse (335 MB download)",
        "consistency (1,310 MB download)",
    ]


def test_the_last_of_two_blobs_is_the_one_that_is_shown(
    open_page: Callable[..., Page], decoder: AppServer, blob: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.l8"
    payload = bytes(4 * (3000 // 8) * (4000 // 8))
    slow.write_bytes(build_blob(weights=bytes(4), width=4000, height=3000, payload=payload))  # takes seconds
    page = open_page(decoder)
    drop(page, "#blob", slow)
    page.get_by_text("Decoding").first.wait_for()
    page.locator("#blob").get_by_label("Clear").click()
    drop(page, "#blob", blob)
    width, height = latent8.decode(blob).size
    page.locator("#facts").get_by_text(f"{width} x {height} pixels").wait_for()


def offered(page: Page) -> list[str]:
    """What the decoder's list holds."""
    page.locator("#decoder input").click()
    names = [name.strip().removeprefix("✓").strip() for name in page.locator("#decoder li").all_inner_texts()]
    page.keyboard.press("Escape")
    return names


def test_many_photos_to_many_blobs_to_many_pictures(
    open_page: Callable[..., Page], encoder: AppServer, decoder: AppServer, photo: Path, junk: Path, tmp_path: Path
) -> None:
    page = open_page(encoder)
    run_batch(page, encoder, [photo, junk, photo])
    page.locator("#results").get_by_text("This is not a picture that can be read").locator(
        "visible=true"
    ).first.wait_for()
    zip_path = downloaded(page, page.locator("#zip a[download]")).path()
    with zipfile.ZipFile(zip_path) as content:
        assert content.namelist() == ["photo é #1.l8", "photo é #1-2.l8"]
        assert content.read("photo é #1.l8") == latent8.encode(photo)
        content.extractall(tmp_path)

    page = open_page(decoder)
    run_batch(page, decoder, [tmp_path / "photo é #1.l8", tmp_path / "photo é #1-2.l8"])
    with zipfile.ZipFile(downloaded(page, page.locator("#zip a[download]")).path()) as content:
        assert content.namelist() == ["photo é #1.png", "photo é #1-2.png"]
        picture = Image.open(io.BytesIO(content.read("photo é #1-2.png")))
    assert np.array_equal(np.asarray(picture), np.asarray(latent8.decode(latent8.encode(photo))))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_pages_with_results_fit_a_phone(
    open_page: Callable[..., Page],
    encoder: AppServer,
    decoder: AppServer,
    photo: Path,
    blob: Path,
    junk: Path,
    name: str,
    scheme: str,
) -> None:
    server = encoder if name == "encoder" else decoder
    page = open_page(server, 390, scheme)
    assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    assert_fits(page, 390)
    if name == "encoder":
        drop_photo(page, photo)
        page.get_by_text("More settings").first.click()
        open_comparison(page)
        page.get_by_text("Size and PSNR of this picture").click()
        page.locator("#curves canvas, #curves svg").first.wait_for()
    else:
        drop_blob(page, blob)
    assert_fits(page, 390)
    run_batch(page, server, [photo if name == "encoder" else blob, junk])
    page.locator("#results").get_by_text("This is not a").locator("visible=true").first.wait_for()
    assert_fits(page, 390)


@pytest.mark.parametrize("width", [1200, 390])
def test_decoders_are_compared(
    open_page: Callable[..., Page], decoder: AppServer, photo: Path, blob: Path, junk: Path, width: int, tmp_path: Path
) -> None:
    page = open_page(decoder, width)
    page.get_by_role("tab", name="Compare").click()
    drop(page, "#compared", junk)
    page.get_by_test_id("toast-text").wait_for()
    assert "This is not a latent8 blob" in page.get_by_test_id("toast-text").inner_text()
    page.get_by_test_id("toast-close").click()
    page.locator("#compared").get_by_label("Clear").click()

    drop(page, "#compared", blob)
    page.wait_for_function("document.querySelector('#right input').value == 'l8-photo'")
    assert page.locator("#left input").input_value() == "original"
    page.locator("#left input").click()
    options = page.get_by_role("option").all_inner_texts()
    assert [text.split()[-1] for text in options] == ["l8-photo", "original"]  # only what fits the blob
    page.keyboard.press("Escape")
    drop(page, "#original", photo)
    page.locator("#original").get_by_text("photo é #1").wait_for()
    page.locator("#compare").click()
    page.locator("#sides").get_by_text("original | l8-photo").wait_for()
    page.locator("#differences img").wait_for()
    row = latent8.compare(blob.read_bytes(), original=photo).rows()[0]
    figures = page.locator("#figures tr").all_inner_texts()
    assert figures[0].split() == ["l8-photo"] and figures[2].split() == ["PSNR", "dB", f"{row['psnr_db']:.2f}"]
    assert_fits(page, width)
    folder = Path(os.environ.get("LATENT8_SCREENSHOTS", tmp_path))
    save_screenshot(page, folder / f"compare-{width}.png")


@pytest.mark.parametrize(("width", "ending"), [(1200, ".png"), (390, "-phone.png")])
def test_screenshots(
    open_page: Callable[..., Page], encoder: AppServer, decoder: AppServer, tmp_path: Path, width: int, ending: str
) -> None:
    page = open_page(encoder, width)
    page.locator("#examples button.thumbnail-item").first.click()
    wait_for_photo(page)
    blob = tmp_path / "blob.l8"
    downloaded(page, page.locator("#blob")).save_as(blob)
    folder = Path(os.environ.get("LATENT8_SCREENSHOTS", tmp_path))
    save_screenshot(page, folder / f"encoder{ending}")
    page = open_page(decoder, width)
    drop_blob(page, blob)
    save_screenshot(page, folder / f"decoder{ending}")


def save_screenshot(page: Page, path: Path) -> None:
    page.mouse.move(0, 0)
    page.wait_for_function(ALL_LOADED)
    page.wait_for_timeout(1000)  # for the progress bars to fade
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
