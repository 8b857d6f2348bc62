"""Both apps on live servers, through gradio_client."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from app_servers import AppServer, decoder, encoder  # noqa: F401 - fixtures
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import latent8

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"


def client(server: AppServer, folder: Path) -> Client:
    return Client(server.url, verbose=False, download_files=str(folder), analytics_enabled=False)


def photo(folder: Path, name: str) -> Path:
    path = folder / name
    Image.open(EXAMPLES / "wine.jpg").resize((150, 101)).save(path)
    return path


def test_endpoints_and_their_parameters(encoder: AppServer, decoder: AppServer, tmp_path: Path) -> None:  # noqa: F811
    names = {}
    for server in (encoder, decoder):
        named = client(server, tmp_path).view_api(return_format="dict")["named_endpoints"]
        names.update({name: [p["parameter_name"] for p in facts["parameters"]] for name, facts in named.items()})
    assert names == {
        "/encode": ["photo", "model", "levels", "longest_side"],
        "/encode_batch": ["photos", "model", "levels", "longest_side"],
        "/decode": ["blob", "picture_format"],
        "/decode_batch": ["blobs", "picture_format"],
        "/inspect": ["blob"],
    }


def test_photo_to_blob_and_back(encoder: AppServer, decoder: AppServer, tmp_path: Path) -> None:  # noqa: F811
    source = photo(tmp_path, "photo é 1.jpg")
    encoding = client(encoder, tmp_path / "e")
    blob, png, (original, back), _, numbers = encoding.predict(handle_file(source), api_name="/encode")
    assert Path(blob).name == "photo é 1.l8"
    assert Path(blob).read_bytes() == latent8.encode(source)
    expected = np.asarray(latent8.decode(Path(blob).read_bytes()))
    assert np.array_equal(np.asarray(Image.open(back).convert("RGB")), expected)
    assert np.array_equal(np.asarray(Image.open(original).convert("RGB")), np.asarray(Image.open(source)))
    assert numbers["blob_bytes"] == Path(blob).stat().st_size
    decoding = client(decoder, tmp_path / "d")
    for file in (blob, png):
        picture, _, _, header = decoding.predict(handle_file(file), api_name="/decode")
        assert Path(picture).name == "photo é 1.png"
        assert np.array_equal(np.asarray(Image.open(picture)), expected)
        assert (header["width"], header["height"]) == (150, 101)
    assert decoding.predict(handle_file(blob), api_name="/inspect")["model"] == "l8-tiny"


def test_batch_goes_on_after_a_bad_file(encoder: AppServer, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "other").mkdir()
    good, same_name = photo(tmp_path, "a.png"), photo(tmp_path / "other", "a.png")
    junk = tmp_path / "junk.jpg"
    junk.write_bytes(b"junk")
    files = [handle_file(path) for path in (good, junk, same_name)]
    archive, table = client(encoder, tmp_path / "e").predict(files, api_name="/encode_batch")
    with zipfile.ZipFile(io.BytesIO(Path(archive).read_bytes())) as content:
        assert content.namelist() == ["a.l8", "a-2.l8"]
        assert content.read("a.l8") == latent8.encode(good)
    assert "not a picture" in table["data"][1][1]


@pytest.mark.parametrize(("content", "sentence"), [(b"", "empty"), (b"junk", "not a latent8 blob")])
def test_bad_blob_is_one_sentence(
    decoder: AppServer,  # noqa: F811
    tmp_path: Path,
    content: bytes,
    sentence: str,
) -> None:
    bad = tmp_path / "bad.l8"
    bad.write_bytes(content)
    with pytest.raises(AppError, match=sentence):
        client(decoder, tmp_path / "d").predict(handle_file(bad), api_name="/decode")
    assert "Traceback" not in decoder.log
