"""The apps' own limit of pixels, in both directions from the library's."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.utils import get_upload_folder

from latent8.apps import files, parts, visitors, work
from latent8.errors import BlobError, PictureError
from latent8.evaluation.comparison import ORIGINAL
from latent8.file_format.reader import inspect
from latent8.file_format.rgba_png import parse_rgba_png
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pool import CodecPool
from tests.helpers.app_calls import SPACES, written
from tests.helpers.picture_files import file_of
from tests.helpers.samples import build_blob, gradient

SIDE = 10_240  # more than the library takes without being asked


@pytest.fixture(scope="module")
def large() -> bytes:
    """A blob of 105 megapixels."""
    header = {"width": SIDE, "height": SIDE, "weights": bytes(4)}
    blob = build_blob(model_id=2, payload=bytes(4 * (SIDE // 8) ** 2), **header)
    assert inspect(blob).width * SIDE > DEFAULT_MAX_PIXELS
    return blob


@pytest.mark.parametrize("limit", [100, 10**9])
def test_a_pool_decodes_up_to_its_own_limit(large: bytes, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    pool = CodecPool(max_pixels=lambda model: limit)
    loaded = []

    def codec(model: object, device: object = None) -> SimpleNamespace:
        loaded.append(model)
        return SimpleNamespace(decode=lambda source: source.header.width)

    monkeypatch.setattr(pool, "codec", codec)
    if limit == 100:
        with pytest.raises(BlobError, match="megapixels"):
            pool.decode(large)
        assert not loaded
    else:
        assert pool.decode(large) == SIDE


def test_conversion_takes_what_the_app_takes(large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    for module in (files, parts):
        monkeypatch.setattr(module, "MAX_PIXELS", 10**9)
    found = parts.convert(str(written(tmp_path / "large.l8", large)), "png")
    assert Path(found).is_relative_to(get_upload_folder()) and parse_rgba_png(Path(found).read_bytes())


def test_an_original_is_bounded_like_any_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SPACES / "decoder"))
    api = importlib.import_module("decoder_api")
    source = inspect(build_blob())
    original = str(written(tmp_path / "photo.png", file_of(gradient(16, 8))))
    assert api.compared("", source, [ORIGINAL], original, None).original is not None
    monkeypatch.setattr(work, "MAX_PIXELS", 100)
    with pytest.raises(PictureError, match="megapixels"):
        api.compared("", source, [ORIGINAL], original, None)


def test_so_are_photos_in_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(work, "MAX_PIXELS", 123)
    with visitors.own("session") as library:
        assert library.max_pixels == 123
