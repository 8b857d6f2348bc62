"""A model of one's own in both apps, as who starts them names it: listed, chosen, decoded, on the pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import latent8
from tests.helpers.pages import bring_blob, bring_photo, downloaded, open_part, settle
from tests.helpers.vq_folders import make_vq

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers", "tests.helpers.page_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAME = "holiday-codes"


def test_a_vq_of_ones_own_encodes_and_decodes_on_the_pages(
    open_page: Callable[..., Page], app_server: type[AppServer], gradient_photo: Path, tmp_path: Path
) -> None:
    folder = make_vq(tmp_path / NAME)
    model = latent8.own_model(folder)
    expected = latent8.encode(gradient_photo, model)
    blob = tmp_path / "mine.l8"
    with app_server("encoder", tmp_path / "encoder", LATENT8_MODELS=str(folder)) as server:
        page = open_page(server)
        bring_photo(page, gradient_photo)
        open_part(page, "More settings")
        page.locator("#photo-model input").click()
        page.get_by_role("option", name=f"{NAME} (your own)").click()
        page.locator("#facts", has_text=" KB.").locator(".l8-download").wait_for()  # without a quality
        settle(page)
        assert page.locator("#photo-quality").is_hidden()  # its files have one size
        assert page.get_by_label("Levels").first.is_hidden()
        downloaded(page, page.locator("#facts .l8-download")).save_as(blob)
        assert blob.read_bytes() == expected
        page.context.close()  # before its server ends
    with app_server("decoder", tmp_path / "decoder", LATENT8_MODELS=str(folder)) as server:
        page = open_page(server)
        open_part(page, "Models")
        page.locator(".l8-models", has_text=NAME).wait_for()
        bring_blob(page, blob)
        facts = page.locator("#facts").inner_text()
        assert f"by {NAME} in" in facts
        got = downloaded(page, page.locator("#facts .l8-download"))
        decoded = np.asarray(latent8.decode(expected, model))
        assert np.array_equal(np.asarray(Image.open(got.path())), decoded)
        page.context.close()
