"""What the apps cannot take is one sentence, and the server prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from gradio_client import handle_file

import latent8
from tests.helpers.app_calls import client, refused, sentence_of, written
from tests.helpers.samples import build_blob, png_claiming

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]


UPLOAD_LIMIT = 64 << 20


@pytest.mark.parametrize("content", [b"junk", b"", png_claiming(30000, 30000, 2)], ids=["junk", "empty", "bomb"])
def test_bad_photo_is_the_librarys_sentence(
    encoder: AppServer, encode: Callable[..., Any], tmp_path: Path, content: bytes
) -> None:
    bad = written(tmp_path / "bad.png", content)
    with refused(encoder, sentence_of(lambda: latent8.encode(bad))):
        encode("/encode", photo=bad)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "wrong file", "empty", "unknown model"])
def test_bad_blob_is_the_librarys_sentence(
    decoder: AppServer, decode: Callable[..., Any], blob: Path, photo: Path, tmp_path: Path, damage: str
) -> None:
    good = blob.read_bytes()
    content = {
        "truncated": good[:-5],
        "flipped": good[:60] + bytes([good[60] ^ 1]) + good[61:],
        "wrong file": photo.read_bytes(),
        "empty": b"",
        "unknown model": build_blob(model_id=999),
    }[damage]
    bad = written(tmp_path / "bad.l8", content)
    for endpoint in ("/decode", "/inspect"):
        with refused(decoder, sentence_of(lambda: latent8.read_latents(content))):
            decode(endpoint, blob=bad)


def test_no_file_is_one_sentence(
    encoder: AppServer, decoder: AppServer, encode: Callable[..., Any], decode: Callable[..., Any]
) -> None:
    with refused(encoder, "Choose a photo first."):
        encode("/encode", photo=None)
    with refused(encoder, "Choose some photos first."):
        encode("/encode_batch", photos=[])
    for endpoint in ("/decode", "/inspect"):
        with refused(decoder, "Choose a blob first."):
            decode(endpoint, blob=None)
    with refused(decoder, "Choose some blobs first."):
        decode("/decode_batch", blobs=None)


def test_model_that_cannot_be_downloaded_is_one_sentence(
    encoder: AppServer,
    decoder: AppServer,
    encode: Callable[..., Any],
    decode: Callable[..., Any],
    photo: Path,
    tmp_path: Path,
) -> None:
    sentence = (
        "madebyollin/taesd is not on this machine and could not be downloaded from the Hugging Face Hub: "
        "check the network, or use the bundled model l8-photo."
    )
    with refused(encoder, sentence):
        encode("/encode", photo=photo, model="taesd")
    with refused(encoder, sentence):
        encode("/encode_batch", photos=[photo], model="taesd")
    with refused(decoder, sentence):
        decode("/decode", blob=written(tmp_path / "taesd.l8", build_blob(model_id=2)))


def test_upload_over_the_limit_is_refused_and_not_kept(encoder: AppServer, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with open(large, "wb") as file:
        file.truncate(UPLOAD_LIMIT + 1)
    with open(large, "rb") as file:
        answer = httpx.post(f"{encoder.url}gradio_api/upload", files={"files": file}, timeout=120)
    assert answer.status_code == 413
    with pytest.raises(ValueError, match="exceeds the maximum file size"):
        client(encoder, tmp_path).predict(photo=handle_file(large), api_name="/encode")
    assert [path for path in encoder.temporary.rglob("*") if path.stat().st_size > UPLOAD_LIMIT / 2] == []
