"""Both apps' pages in headless Chromium, and what they are given. A pytest plugin with fixtures.

A test module gets them by naming this one, behind app_servers, in `pytest_plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.helpers.pages import EXAMPLES, SINGLE_BOX, WAIT_MS
from tests.helpers.samples import build_blob, gradient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.helpers.app_servers import AppServer


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """open_page(server, width, scheme): the app's page; no page may log an error or ask another host."""
    contexts, errors, hosts = [], [], set()

    def opened(server: AppServer, width: int = 1200, scheme: Any = "light", **more: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 1300}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(server.url)
        page.locator(f"{SINGLE_BOX[server.name]} input[type=file]").wait_for(state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert hosts - {None} == {"127.0.0.1"}  # None: data: and blob: addresses


@pytest.fixture
def large_blob(tmp_path: Path) -> Path:
    """A blob of l8-tiny, of 12 megapixels, that takes seconds to decode, in several tiles."""
    path = tmp_path / "slow.l8"
    payload = bytes(4 * (3000 // 8) * (4000 // 8))
    path.write_bytes(build_blob(weights=bytes(4), width=4000, height=3000, payload=payload))
    return path


@pytest.fixture
def large_photo(tmp_path: Path) -> Path:
    """A photo of 12 megapixels."""
    path = tmp_path / "large.jpg"
    with Image.open(EXAMPLES / "life.jpg") as image:
        image.resize((4000, 3000)).save(path, quality=80)
    return path


@pytest.fixture(scope="module")
def gradient_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo é #1.jpg"
    Image.fromarray(gradient(300, 200)).save(path)
    return path


@pytest.fixture(scope="module")
def junk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("junk") / "a file that is no picture b and has a long name.jpg"
    path.write_bytes(b"junk")
    return path
