"""Files that ask for far more than they are, given to both apps."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from latent8 import BlobError, exchange
from latent8.file_format.blob import clean_stem
from tests.helpers.app_calls import client, written
from tests.helpers.samples import build_blob

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]


def safetensors_of(n_tensors: int) -> bytes:
    tensors = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(n_tensors)}
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header


def test_a_large_header_of_safetensors_is_not_parsed() -> None:
    data = safetensors_of(200_000)
    assert len(data) > 11_000_000
    started = time.thread_time()  # other work may take the processor meanwhile
    with pytest.raises(BlobError, match="a header of over a megabyte"):
        exchange.open_latents(data, "sd1")
    assert time.thread_time() - started < 0.5


def test_names_hold_no_turns_of_text(encoder: AppServer) -> None:
    assert clean_stem("gpj.\u202eexe\u2066\u200f") == "gpj.exe"
    answer = httpx.post(f"{encoder.url}gradio_api/upload", files={"files": ("a\u202egpj.exe", b"a")})
    assert Path(answer.json()[0]).name == "agpj.exe"


@pytest.mark.parametrize("endpoint", ["/decode", "/inspect", "/convert"])
def test_blobs_of_a_visitors_own_model_are_refused(decoder: AppServer, tmp_path: Path, endpoint: str) -> None:
    """No model of one's own is given to the apps, and such a blob may claim latents of any shape."""
    blob = build_blob(
        model_id=65535, width=64, height=64, channels=255, stride=64, payload=bytes(255), weights=bytes(4)
    )
    with pytest.raises(AppError) as caught:
        path = handle_file(written(tmp_path / "own.l8", blob))
        file = {"latents": path} if endpoint == "/convert" else {"blob": path}
        client(decoder, tmp_path).predict(**file, api_name=endpoint)
    assert "which this app does not have" in str(caught.value.message)
