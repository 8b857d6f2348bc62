"""The decoder app's tab "Library" and its endpoints."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from latent8 import Library
from latent8.apps import bounds
from tests.helpers.app_calls import SPACES
from tests.helpers.library_photos import NAMES, crop_of

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.library_photos"]
pytestmark = pytest.mark.slow
WAIT_MS = 60_000


def connected(server, folder: Path) -> Client:
    return Client(server.url, verbose=False, download_files=folder)


@pytest.fixture(scope="module")
def client(decoder, tmp_path_factory) -> Iterator[Client]:
    """A program whose session has the six photos in its library."""
    found = connected(decoder, tmp_path_factory.mktemp("client"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def filled(client, small_photos, small_blobs, tmp_path_factory) -> Client:
    """Three photos by themselves, three blobs in a ZIP, a ZIP that is refused and a file that is no picture."""
    folder = tmp_path_factory.mktemp("added")
    with zipfile.ZipFile(folder / "blobs.zip", "w") as archive:
        for name in NAMES[3:]:
            archive.write(small_blobs / f"{name}.l8", f"folder/{name}.l8")
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        archive.writestr("../up.l8", b"x")
    (folder / "junk <b>.jpg").write_bytes(b"junk")
    paths = [small_photos / f"{name}.png" for name in NAMES[:3]]
    paths += [folder / "blobs.zip", folder / "bad.zip", folder / "junk <b>.jpg"]
    report = client.predict([handle_file(str(path)) for path in paths], api_name="/library_add")
    assert (report["added"], report["failed"], report["in_all"]) == (6, 2, 6)
    assert any("lead out of it" in reason for reason in report["reasons"])
    return client


def test_a_crop_finds_its_photo_and_all_hits_come_as_a_zip(filled, small_photos, tmp_path):
    crop_of(small_photos / "wine.png").save(tmp_path / "crop.png")
    hits, archive = filled.predict(handle_file(str(tmp_path / "crop.png")), 3, False, api_name="/search")
    assert Path(hits[0]["name"]).stem == "wine" and len(hits) == 3
    assert not any("/" in str(value) for hit in hits for key, value in hit.items() if key != "name")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist()[0] == "wine.l8" and opened.read("wine.l8").startswith(b"\x89L8\n")


def test_a_request_that_names_too_many_files_says_which_are_left_out(decoder, small_photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(bounds.REQUEST_FILES + 5):
            archive.write(small_photos / "life.png", f"{number:03}.png")
    other = connected(decoder, tmp_path)
    report = other.predict([handle_file(str(tmp_path / "many.zip"))], api_name="/library_add")
    assert (report["added"], report["known"], report["failed"]) == (1, bounds.REQUEST_FILES - 1, 1)
    assert report["reasons"][0].startswith(f"{bounds.REQUEST_FILES:03}.png: Left out: one request may have")
    other.close()


def test_what_is_known_is_not_added_twice(filled, small_photos):
    report = filled.predict([handle_file(str(small_photos / "life.png"))], api_name="/library_add")
    assert (report["added"], report["in_all"]) == (0, 6)


def test_sessions_do_not_see_each_others_pictures(filled, decoder, small_photos, tmp_path):
    other = connected(decoder, tmp_path)
    with pytest.raises(AppError, match="The library is empty: add photos or blobs first"):
        other.predict(handle_file(str(small_photos / "life.png")), 3, False, api_name="/search")
    other.close()


def test_a_library_of_ones_own_lies_with_the_files_of_requests(filled, decoder):
    found = list(decoder.temporary.glob("latent8-*/library/library.json"))
    assert all(json.loads(one.read_text())["vector"] == "picture-1" for one in found)  # other pages' too
    counts = [len(list(one.parent.glob("blobs/*/*.l8"))) for one in found]
    assert 6 in counts  # nothing refers to uploads, which go


@pytest.fixture(scope="module")
def shown(app_server, small_blobs, tmp_path_factory):
    """An app that was started with a library of five pictures and one whose blob has gone."""
    folder = tmp_path_factory.mktemp("shown")
    shutil.copytree(small_blobs, folder / "blobs")
    (folder / "blobs" / "life.l8").rename(folder / "blobs" / "<img src=x onerror=alert(1)>.l8")
    with Library(folder / "library") as library:
        library.add(folder / "blobs")
    (folder / "blobs" / "wine.l8").unlink()
    with app_server("decoder", folder / "app", LATENT8_LIBRARY=str(folder / "library")) as server:
        yield server


def test_the_apps_own_library_is_searched_and_nothing_is_added(shown, small_photos, small_blobs, tmp_path):
    program = connected(shown, tmp_path)
    hits, archive = program.predict(handle_file(str(small_blobs / "wine.l8")), 50, True, api_name="/search")
    assert hits[0]["name"] == "wine.l8" and hits[0]["missing"] and len(hits) == 6
    with zipfile.ZipFile(archive) as opened:
        assert len(opened.namelist()) == 5
    with pytest.raises(AppError, match="the library that it was started with: nothing can be added"):
        program.predict([handle_file(str(small_photos / "life.png"))], api_name="/library_add")
    program.close()


def test_an_app_with_a_library_that_is_not_there_says_so_and_ends(tmp_path):
    command = [sys.executable, str(SPACES / "decoder" / "app.py"), "--library", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"latent8: The library in {tmp_path / 'nowhere'} is empty or not there."


@pytest.mark.browser
def test_drop_search_click_a_hit_and_download(decoder, browser, small_photos, tmp_path):
    crop_of(small_photos / "picos.png").save(tmp_path / "crop.png")
    page = browser.new_context(viewport={"width": 1200, "height": 1300}).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(decoder.url)
    page.get_by_role("tab", name="Library").click()
    page.locator("#library-search").click()
    page.get_by_text("Choose a photo or .l8 file first.").wait_for()
    photos = [str(small_photos / f"{name}.png") for name in NAMES]
    page.locator("#library-files input[type=file]").set_input_files(photos)
    page.get_by_text("6 added, 0 known; 6 in your library.").wait_for()
    assert page.locator("#library-times .l8-error").count() == 0  # what was said before
    page.locator("#library-query input[type=file]").set_input_files(str(tmp_path / "crop.png"))
    page.get_by_text("6 found in ").wait_for()
    thumbnails = page.locator("#library-hits button.thumbnail-item")
    assert "picos.png" in thumbnails.first.inner_text()
    thumbnails.nth(1).click()
    page.locator("#library-more").wait_for()
    second = page.locator("#library-more").inner_text().removeprefix("More like ")
    assert second != "picos.png"
    with page.expect_download() as download:
        page.locator("#library-one").click()
    assert download.value.suggested_filename == f"{Path(second).stem}.l8"
    page.locator("#library-more").click()
    page.locator("#library-more").wait_for(state="hidden")
    page.locator("#library-hits .preview").wait_for(state="detached")
    assert page.locator("#library-hits .grid-container button.thumbnail-item").count() == 6
    page.get_by_text(f"1.000 {second}").first.wait_for()
    with page.expect_download() as download:
        page.locator("#library-zip").click()
    download.value.save_as(tmp_path / "found.zip")
    with zipfile.ZipFile(tmp_path / "found.zip") as archive:
        assert len(archive.namelist()) == 6 and archive.namelist()[0] == f"{Path(second).stem}.l8"
    page.context.close()


@pytest.mark.browser
def test_names_that_are_html_are_shown_as_text(shown, browser, small_photos):
    page = browser.new_context(viewport={"width": 1200, "height": 1300}).new_page()
    page.set_default_timeout(WAIT_MS)
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(shown.url)
    page.get_by_role("tab", name="Library").click()
    assert not page.locator("#library-files").is_visible()
    page.locator("#library-query input[type=file]").set_input_files(str(small_photos / "life.png"))
    page.get_by_text("The files of 1 of them have moved or were deleted.").wait_for()
    page.get_by_text("<img src=x onerror=alert(1)>.l8").first.wait_for()
    page.locator("#library-hits button.thumbnail-item").first.click()
    page.locator("#library-more").wait_for()
    assert not alerts and not page.locator("img[src=x]").count()
    page.context.close()
