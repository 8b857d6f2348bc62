"""Both apps on live servers, through gradio_client, MCP and plain HTTP: what they give is what the library gives."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import math
import os
import pickle
import re
import runpy
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from conftest import build_blob, gradient, png_claiming
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hub_server import HubServer
from passthrough import make_kl, make_tiny
from PIL import Image

import latent8
from latent8 import webui
from latent8.contents import describe
from latent8.files import picture_bytes
from latent8.metrics import ssim

if TYPE_CHECKING:
    from app_servers import AppServer
    from gradio import Blocks

pytest_plugins = ["app_servers"]

SPACES = Path(__file__).parents[1] / "spaces"
SUFFIXES = {"PNG": ".png", "WebP": ".webp", "JPEG": ".jpg"}
UPLOAD_LIMIT = 64 << 20

# Run by Python at its start: writes down each host that is looked up or connected to.
NETWORK_LOG = """
import os, sys
log = os.open(os.environ["NETWORK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        os.write(log, f"{arguments[0]}\\n".encode())
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        os.write(log, f"{arguments[1][0]}\\n".encode())

sys.addaudithook(watch)
"""
OWN_HOSTS = {"localhost", "127.0.0.1", "0.0.0.0", "::1", "None"}


@pytest.fixture(scope="module")
def encode(encoder: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """encode(name of endpoint, **inputs): what the encoder app answers; files are downloaded."""
    return caller(encoder, tmp_path_factory.mktemp("from-encoder"))


@pytest.fixture(scope="module")
def decode(decoder: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    return caller(decoder, tmp_path_factory.mktemp("from-decoder"))


def client(server: AppServer, folder: Path) -> Client:
    return Client(server.url, verbose=False, download_files=str(folder), analytics_enabled=False)


def caller(server: AppServer, folder: Path) -> Callable[..., Any]:
    connected = client(server, folder)

    def call(endpoint: str, **inputs: Any) -> Any:
        files = {name: upload(value) for name, value in inputs.items()}
        return connected.predict(**files, api_name=endpoint)

    return call


def upload(value: Any) -> Any:
    if isinstance(value, list):
        return [upload(item) for item in value]
    return handle_file(value) if isinstance(value, Path) else value


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 116 x 75 pixels, which are no multiples of the stride."""
    path = tmp_path_factory.mktemp("photo") / "photo é #1.jpg"
    noise = np.random.default_rng(0).integers(-25, 26, (75, 116, 3))
    Image.fromarray((gradient(116, 75) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def cutout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG with a soft alpha plane."""
    path = tmp_path_factory.mktemp("cutout") / "cutout.png"
    pixels = np.dstack([gradient(64, 48), gradient(64, 48)[..., :1]])
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def blob(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photo's blob, under another name."""
    path = tmp_path_factory.mktemp("blob") / "renamed.l8"
    path.write_bytes(latent8.encode(photo))
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small ones of two decoders of one latent space, by the names of their repositories."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "madebyollin/taesd": make_tiny(folder / "taesd"),
        "stabilityai/sd-vae-ft-mse": make_kl(folder / "sd-vae-ft-mse", 0.18215),
    }


def sd1_blob(photo: Path) -> bytes:
    """A blob of taesd whose latents are not those of any weights: the photo's mean colours, as 8-bit values."""
    with Image.open(photo) as image:
        width, height = image.size
        size = math.ceil(width / 8), math.ceil(height / 8)
        colours = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
    payload = np.concatenate([colours, colours[..., :1]], axis=-1).transpose(2, 0, 1).tobytes()
    return build_blob(model_id=2, weights=bytes(4), width=width, height=height, payload=payload)


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pixels_of(image: str | Path | Image.Image) -> np.ndarray:
    return np.asarray(image if isinstance(image, Image.Image) else Image.open(image))


def assert_same_pixels(first: str | Path | Image.Image, second: str | Path | Image.Image) -> None:
    first_pixels, second_pixels = pixels_of(first), pixels_of(second)
    assert first_pixels.shape == second_pixels.shape
    assert np.array_equal(first_pixels, second_pixels)


def sentence_of(call: Callable[[], object]) -> str:
    """What the library says against it, as a page shows it."""
    with pytest.raises(latent8.Latent8Error) as caught:
        call()
    return html.escape(str(caught.value))


@contextmanager
def refused(server: AppServer, sentence: str) -> Iterator[None]:
    """The block ends in that error, and nothing of it is printed by the server."""
    before = len(server.log)
    with pytest.raises(AppError) as caught:
        yield
    assert caught.value.message == sentence
    assert server.log[before:] == ""


# --- what is offered ---


def test_endpoints_and_their_parameters(encoder: AppServer, decoder: AppServer, tmp_path: Path) -> None:
    offered = {}
    for server in (encoder, decoder):
        listed = client(server, tmp_path).view_api(return_format="dict", print_info=False)
        offered[server.name] = {
            name: [parameter["parameter_name"] for parameter in endpoint["parameters"]]
            for name, endpoint in listed["named_endpoints"].items()
        }
        assert listed["unnamed_endpoints"] == {}
    assert offered == {
        "encoder": {
            "/encode": ["photo", "model", "quality", "fit_kb", "levels", "longest_side"],
            "/encode_batch": ["photos", "model", "quality", "fit_kb", "levels", "longest_side"],
            "/convert": ["latents", "to", "raw"],
        },
        "decoder": {
            "/decode": ["blob", "picture_format", "decoder", "space", "raw", "legacy_range"],
            "/decode_batch": ["blobs", "picture_format"],
            "/inspect": ["blob"],
            "/compare": ["blob", "left", "right", "original"],
            "/convert": ["latents", "to", "space", "raw"],
        },
    }


def test_mcp_tools_are_listed_with_their_parameters(encoder: AppServer, decoder: AppServer) -> None:
    tools = {}
    for server in (encoder, decoder):
        with urllib.request.urlopen(f"{server.url}gradio_api/mcp/schema", timeout=30) as answer:
            for tool in json.load(answer):
                properties = tool["inputSchema"]["properties"]
                assert tool["description"] and all(facts["description"] for facts in properties.values())
                tools[tool["name"]] = list(properties)
    assert tools["encode"] == ["photo", "model", "quality", "fit_kb", "levels", "longest_side"]
    assert tools["decode"] == ["blob", "picture_format", "decoder", "space", "raw", "legacy_range"]
    assert tools["compare"] == ["blob", "left", "right", "original"]
    assert set(tools) == {"encode", "encode_batch", "decode", "decode_batch", "inspect", "convert", "compare"}


def test_mcp_client_gets_the_librarys_blob(encoder: AppServer, photo: Path) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call() -> Any:
        async with (
            streamable_http_client(f"{encoder.url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            data = base64.b64encode(photo.read_bytes()).decode()
            return await session.call_tool("encode", {"photo": f"data:image/jpeg;base64,{data}", "quality": 30})

    result = asyncio.run(call())
    assert not result.isError, result.content
    address = re.search(r"http://[^']+/file\.l8", result.content[0].text)
    assert address, result.content
    with urllib.request.urlopen(address[0], timeout=30) as answer:
        assert answer.read() == latent8.encode(photo, quality=30, stem="file")  # a data URI holds no name


# --- one file ---


@pytest.mark.parametrize("model", ["l8-photo", "l8-tiny"])
def test_encode_gives_the_librarys_files(encode: Callable[..., Any], photo: Path, model: str) -> None:
    blob, png, (original, decoded), latents, numbers = encode("/encode", photo=photo, model=model)
    data = Path(blob).read_bytes()
    assert data == latent8.encode(photo, model)
    paths = [Path(path).name for path in (blob, original, decoded)]
    assert paths == ["photo é #1.l8", "photo é #1.original.png", "photo é #1.decoded.png"]
    assert_same_pixels(original, photo)
    assert_same_pixels(decoded, latent8.decode(data))
    sizes = [Image.open(view["image"]).size for view in latents]
    captions = [view["caption"].split(":")[0] for view in latents]
    if model == "l8-tiny":
        assert Path(png).name == "photo é #1.encoded.png"
        assert Path(png).read_bytes() == latent8.Codec(model).encode_rgba_png(photo)
        assert sizes == [(15 * 34, 10 * 34)] * 6 + [(640, 400)]
        assert captions == ["1-3 as RGB", "1-4 as RGBA", "1", "2", "3", "4", "8-bit values"]
    else:
        assert png is None
        assert sizes[:7] == [(8 * 64, 5 * 64)] * 7 and sizes[7] == (640, 400)
        assert captions[:6] == ["means as RGB", "luma", "red - blue", "red + blue - green", "across", "down"]
        assert captions[6:] == ["bits per pixel", "8-bit values", "all 240 channels"]

    truth, result = pixels_of(photo), pixels_of(latent8.decode(data))
    error = np.mean((truth.astype(float) - result) ** 2)
    expected = {
        "file": "photo é #1.l8",
        "model": model,
        "quality": 50 if model == "l8-photo" else None,
        "levels": 256 if model == "l8-tiny" else None,
        "width": 116,
        "height": 75,
        "upload_bytes": photo.stat().st_size,
        "blob_bytes": len(data),
        "bpp": pytest.approx(8 * len(data) / (116 * 75), abs=1e-4),
        "ratio_to_upload": pytest.approx(photo.stat().st_size / len(data), abs=0.01),
        "ratio_to_raw_rgb": pytest.approx(3 * 116 * 75 / len(data), abs=0.1),
        "psnr_db": pytest.approx(10 * math.log10(255**2 / error), abs=0.01),
        "ssim": pytest.approx(ssim(truth, result), abs=1e-4),
    }
    assert 0 < numbers.pop("encode_seconds") < 60 and 0 < numbers.pop("decode_seconds") < 60
    assert numbers == expected


def test_settings_are_used(encode: Callable[..., Any], photo: Path) -> None:
    blob, _, _, _, numbers = encode("/encode", photo=photo, model="l8-tiny", levels=40, longest_side=64)
    assert Path(blob).read_bytes() == latent8.encode(photo, "l8-tiny", levels=40, longest_side=64)
    assert (numbers["levels"], numbers["width"], numbers["height"]) == (40, 64, 41)
    blob, _, _, _, numbers = encode("/encode", photo=photo, quality=20)
    assert Path(blob).read_bytes() == latent8.encode(photo, quality=20)
    assert numbers["quality"] == 20


def test_blob_fits_into_the_size_asked_for(encode: Callable[..., Any], encoder: AppServer, photo: Path) -> None:
    size = Path(encode("/encode", photo=photo, quality=30)[0]).stat().st_size
    blob, *_, numbers = encode("/encode", photo=photo, fit_kb=size / 1000)
    assert size * 0.8 < numbers["blob_bytes"] == Path(blob).stat().st_size <= size
    with refused(encoder, sentence_of(lambda: latent8.encode(photo, target_bytes=40))):
        encode("/encode", photo=photo, fit_kb=0.04)
    with refused(encoder, sentence_of(lambda: latent8.encode(photo, target_bytes=1))):
        encode("/encode", photo=photo, fit_kb=0.0001)


@pytest.mark.parametrize("name", list(SUFFIXES))
def test_decode_gives_the_librarys_picture(decode: Callable[..., Any], blob: Path, name: str) -> None:
    picture = latent8.decode(blob.read_bytes())
    file, view, latents, found = decode("/decode", blob=blob, picture_format=name)
    assert Path(file).name == f"photo é #1{SUFFIXES[name]}"  # from the blob, not from its file's name
    assert Image.open(file).format == name.upper()
    assert Path(file).read_bytes() == picture_bytes(picture, SUFFIXES[name])
    if name == "PNG":
        assert_same_pixels(file, picture)
    assert_same_pixels(view, picture)
    assert [view["caption"] for view in latents] == [
        view.caption for view in latent8.latent_pictures(blob.read_bytes())
    ]
    assert 0 < found.pop("decode_seconds") < 60
    assert found.pop("decoder") == "l8-photo"
    assert found == describe(latent8.inspect(blob.read_bytes()))


def test_rgba_png_decodes_to_the_same_pixels_under_any_name(
    encode: Callable[..., Any], decode: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    blob, png, *_ = encode("/encode", photo=photo, model="l8-tiny")
    expected = latent8.decode(Path(blob).read_bytes())
    renamed = written(tmp_path / "misnamed.l8", Path(png).read_bytes())
    for path, name in ((Path(png), "photo é #1.png"), (renamed, "misnamed.png")):
        file, *_ = decode("/decode", blob=path)
        assert Path(file).name == name
        assert_same_pixels(file, expected)


def test_transparency_comes_back_lossless(encode: Callable[..., Any], decode: Callable[..., Any], cutout: Path) -> None:
    blob, _, (original, decoded), _, _ = encode("/encode", photo=cutout)
    assert Path(blob).read_bytes() == latent8.encode(cutout)
    file, view, _, found = decode("/decode", blob=Path(blob))
    alpha = pixels_of(cutout)[..., 3]
    for path in (original, decoded, file, view):
        assert np.array_equal(pixels_of(path)[..., 3], alpha)
    assert found["alpha"].startswith("lossless")
    assert_same_pixels(file, latent8.decode(Path(blob).read_bytes()))


def test_inspect_tells_what_the_library_tells(decode: Callable[..., Any], blob: Path, photo: Path) -> None:
    png = written(blob.with_suffix(".png"), latent8.Codec("l8-tiny").encode_rgba_png(photo))
    for path in (blob, png):
        assert decode("/inspect", blob=path) == describe(latent8.inspect(path.read_bytes()))


def test_requests_at_the_same_time_keep_their_own_results(encoder: AppServer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{side}.png" for side in (40, 56, 72)]
    for path in paths:
        Image.fromarray(gradient(int(path.stem), 40)).save(path)
    connected = [client(encoder, tmp_path / path.stem) for path in paths]
    pairs = zip(connected, paths, strict=True)
    jobs = [each.submit(photo=handle_file(path), api_name="/encode") for each, path in pairs]
    for job, path in zip(jobs, paths, strict=True):
        assert Path(job.result(120)[0]).read_bytes() == latent8.encode(path)


# --- other decoders, other tools ---


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_convert_gives_the_librarys_file(
    name: str, encode: Callable[..., Any], decode: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    blob = written(tmp_path / "photo é #1.l8", latent8.encode(photo, "l8-tiny"))
    call = encode if name == "encoder" else decode
    for to, suffix in (("safetensors", ".safetensors"), ("npy", ".npy"), ("png", ".encoded.png")):
        file = Path(call("/convert", latents=blob, to=to))
        assert file.name == f"photo é #1{suffix}"
        assert file.read_bytes() == latent8.convert(blob.read_bytes(), to)


def test_other_tools_files_are_decoded(
    decode: Callable[..., Any], decoder: AppServer, photo: Path, tmp_path: Path
) -> None:
    blob = latent8.encode(photo, "l8-tiny")
    named = written(tmp_path / "from a tool.safetensors", latent8.convert(blob, "safetensors"))
    array = written(tmp_path / "array.npy", latent8.convert(blob, "npy"))
    file, _, _, found = decode("/decode", blob=named)
    assert Path(file).name == "photo é #1.png"
    assert_near(file, latent8.decode(blob))
    assert found["model"] == decode("/inspect", blob=named)["model"] == "l8-tiny"
    with refused(decoder, sentence_of(lambda: latent8.read_latents(array.read_bytes()))):
        decode("/decode", blob=array)
    file, *_ = decode("/decode", blob=array, space="l8-tiny")
    assert Path(file).name == "array.png"
    assert Image.open(file).size == (120, 80)
    back = Path(decode("/convert", latents=array, to="l8", space="l8-tiny"))
    assert back.read_bytes() == latent8.convert(array.read_bytes(), "l8", space="l8-tiny")


def assert_near(first: str | Path, second: Image.Image) -> None:
    assert np.abs(pixels_of(first).astype(int) - pixels_of(second)).max() <= 2


def test_other_decoders_of_the_blobs_space(app_server: type[AppServer], tmp_path: Path) -> None:
    checkpoints = {
        "madebyollin/taesd": make_tiny(tmp_path / "taesd"),
        "stabilityai/sd-vae-ft-mse": make_kl(tmp_path / "kl", 0.18215),
    }
    square = np.zeros((48, 40, 3), np.uint8)
    square[16:32, 8:24] = 255
    square[:8] = 96  # which a tiny autoencoder's soft limit changes
    codec = latent8.Codec(latent8.own_model(checkpoints["stabilityai/sd-vae-ft-mse"], "sd1"), "cpu")
    blob = written(tmp_path / "square.l8", codec.encode(square))
    with HubServer(checkpoints) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        with app_server("decoder", tmp_path / "app", **variables) as server:
            call = caller(server, tmp_path / "results")
            own, *_ = call("/decode", blob=blob)
            better, _, _, found = call("/decode", blob=blob, decoder="sd-vae-ft-mse")
            with refused(server, sentence_of(lambda: latent8.decode(blob.read_bytes(), "taesdxl"))):
                call("/decode", blob=blob, decoder="taesdxl")
            latent = Path(call("/convert", latents=blob, to="comfy"))
            again, *_ = call("/decode", blob=latent, decoder="sd-vae-ft-mse")
    assert (found["model"], found["decoder"], found["space"]) == ("taesd", "sd-vae-ft-mse", "sd1")
    assert_same_pixels(better, codec.decode(blob.read_bytes()))
    assert_same_pixels(again, better)
    assert np.abs(pixels_of(own).astype(int) - square)[8:].max() <= 2
    assert not np.array_equal(pixels_of(own), pixels_of(better))
    assert latent.read_bytes() == latent8.convert(blob.read_bytes(), "comfy")


# --- many files ---


def test_encode_batch_goes_on_after_a_bad_file(encode: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    junk = written(tmp_path / "junk.jpg", b"junk")
    same_name = written(tmp_path / "other" / photo.name, photo.read_bytes())
    files = [photo, junk, same_name]
    archive, table = encode("/encode_batch", photos=files, quality=25, longest_side=80)
    expected = latent8.encode(photo, quality=25, longest_side=80)
    with zipfile.ZipFile(archive) as content:
        assert {name: content.read(name) for name in content.namelist()} == {
            "photo é #1.l8": expected,
            "photo é #1-2.l8": expected,
        }
    rows = table["data"]
    assert [row[0] for row in rows] == [path.name for path in files]
    assert rows[1][1:] == [sentence_of(lambda: latent8.encode(junk)), None, None, None]
    assert [rows[0][1:3], rows[2][1:3]] == [["photo é #1.l8", len(expected)], ["photo é #1-2.l8", len(expected)]]
    assert rows[0][3] == pytest.approx(8 * len(expected) / (80 * 52), abs=1e-3)
    assert rows[0][4] > 10


def test_decode_batch_goes_on_after_a_bad_file(decode: Callable[..., Any], blob: Path, tmp_path: Path) -> None:
    cut = written(tmp_path / "cut.l8", blob.read_bytes()[:-9])
    wide = written(tmp_path / "wide.l8", latent8.encode(np.zeros((1, 16384, 3), np.uint8)))
    archive, table = decode("/decode_batch", blobs=[cut, wide, blob, blob], picture_format="WebP")
    expected = picture_bytes(latent8.decode(blob.read_bytes()), ".webp")
    with zipfile.ZipFile(archive) as content:
        assert {name: content.read(name) for name in content.namelist()} == {
            "photo é #1.webp": expected,
            "photo é #1-2.webp": expected,
        }
    assert table["data"] == [
        ["cut.l8", sentence_of(lambda: latent8.decode(cut.read_bytes())), None, None, None],
        ["wide.l8", sentence_of(lambda: picture_bytes(Image.new("RGB", (16384, 1)), ".webp")), None, None, None],
        ["renamed.l8", "photo é #1.webp", 116, 75, "l8-photo"],
        ["renamed.l8", "photo é #1-2.webp", 116, 75, "l8-photo"],
    ]


def test_batch_of_bad_files_gives_a_table_and_no_zip(
    encode: Callable[..., Any], decode: Callable[..., Any], tmp_path: Path
) -> None:
    junk = [written(tmp_path / f"{name}.jpg", b"junk") for name in "ab"]
    archive, table = encode("/encode_batch", photos=junk)
    assert archive is None
    assert [row[1] for row in table["data"]] == [sentence_of(lambda: latent8.encode(junk[0]))] * 2
    archive, table = decode("/decode_batch", blobs=junk)
    assert archive is None
    assert [row[1] for row in table["data"]] == [sentence_of(lambda: latent8.decode(b"junk"))] * 2


# --- what does not work ---


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
        with refused(decoder, sentence_of(lambda: latent8.decode(content))):
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


# --- decoders beside each other ---


def test_a_decoder_beside_the_original(decode: Callable[..., Any], photo: Path, blob: Path) -> None:
    (left, right), maps, rows = decode("/compare", blob=blob, original=photo)
    assert [Path(path).name for path in (left, right)] == ["photo é #1.original.png", "photo é #1.l8-photo.png"]
    assert_same_pixels(left, photo)
    assert_same_pixels(right, latent8.decode(blob.read_bytes()))
    expected = latent8.compare(blob.read_bytes(), original=photo)
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in expected.rows()]
    [found], [difference] = maps, expected.differences()
    assert found["caption"] == f"original and l8-photo: at most {difference.greatest} of 255"
    assert_same_pixels(found["image"], difference.image)


def test_two_decoders_of_one_latent_space(
    app_server: type[AppServer], checkpoints: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    blob = written(tmp_path / "photo.l8", sd1_blob(photo))
    with HubServer(checkpoints) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "", "NO_PROXY": "127.0.0.1"}
        with app_server("decoder", tmp_path / "decoder", **variables) as server:
            call = caller(server, tmp_path / "results")
            (left, right), maps, rows = call("/compare", blob=blob, left="sd-vae-ft-mse", original=photo)
            assert [row["decoder"] for row in rows] == ["sd-vae-ft-mse", "taesd"]
            assert [Path(path).name for path in (left, right)] == ["photo.sd-vae-ft-mse.png", "photo.taesd.png"]
            assert [found["caption"].split(":")[0] for found in maps] == [
                *("sd-vae-ft-mse and taesd", "original and sd-vae-ft-mse", "original and taesd")
            ]
            for path, row in zip((left, right), rows, strict=True):
                error = np.mean((pixels_of(path).astype(float) - pixels_of(photo)) ** 2)
                assert row["mse"] == pytest.approx(error, abs=0.01)
            with refused(server, "Both sides are taesd: choose two that differ."):
                call("/compare", blob=blob, left="taesd")
            _, maps, rows = call("/compare", blob=blob, left="sd-vae-ft-mse", right="taesd")
            assert len(maps) == 1 and rows[0]["psnr_db"] is None


def test_comparisons_that_are_refused(
    decoder: AppServer, decode: Callable[..., Any], blob: Path, cutout: Path, tmp_path: Path
) -> None:
    data = blob.read_bytes()
    with refused(decoder, "Choose a blob first."):
        decode("/compare", blob=None)
    with refused(decoder, "Give the original too, or choose two decoders."):
        decode("/compare", blob=blob)
    with refused(decoder, sentence_of(lambda: latent8.decode(data, "l8-tiny"))):
        decode("/compare", blob=blob, left="l8-tiny")
    with refused(decoder, sentence_of(lambda: latent8.compare(data, original=cutout))):
        decode("/compare", blob=blob, original=cutout)
    with refused(decoder, sentence_of(lambda: latent8.compare(b"junk"))):
        decode("/compare", blob=written(tmp_path / "junk.l8", b"junk"))


# --- how far they are ---


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Blocks]]:
    """Both apps in this process, by name. As on ZeroGPU, GPU functions get and give copies, here pickled ones."""

    def copied(value: Any) -> Any:
        return pickle.loads(pickle.dumps(value))

    def gpu(duration: Callable[..., int]) -> Callable[..., Any]:
        def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                assert duration(*arguments) > 0
                return copied(function(*copied(arguments)))

            return call

        return decorated

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setattr(webui, "gpu", gpu)
        found = {}
        for name in ("encoder", "decoder"):
            patch.syspath_prepend(SPACES / name)
            found[name] = runpy.run_path(str(SPACES / name / "app.py"), run_name=name)["demo"]
            found[name].launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        yield found
        for demo in found.values():
            demo.close()


@pytest.fixture
def shown(
    demos: dict[str, Blocks], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., dict[str, list[float]]]:
    """shown(app, endpoint, **inputs): the shares that the progress bar shows while l8-tiny works in tiles, by text."""
    from gradio.queueing import Queue

    set_progress, steps = Queue.set_progress, {}

    def record(queue: Queue, event: str, units: Any) -> None:
        for unit in units:
            steps.setdefault(unit.desc, []).append(unit.progress)
        set_progress(queue, event, units)

    def call(name: str, endpoint: str, **inputs: Any) -> dict[str, list[float]]:
        steps.clear()
        connected = Client(demos[name].local_url, verbose=False, download_files=str(tmp_path), analytics_enabled=False)
        connected.predict(**{key: upload(value) for key, value in inputs.items()}, api_name=endpoint)
        return dict(steps)

    monkeypatch.setattr(Queue, "set_progress", record)
    monkeypatch.setattr(webui.codec("l8-tiny").network, "max_bytes", 1)
    return call


@pytest.fixture(scope="module")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of more pixels than the smallest tiles have."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.fromarray(gradient(480, 320)).save(path)
    return path


def assert_moves(shares: list[float], begin: float, end: float) -> None:
    """From one value to the other, by several in between."""
    assert (shares[0], shares[-1]) == (pytest.approx(begin), pytest.approx(end))
    assert len(shares) > 4 and shares == sorted(set(shares))


def test_progress_of_an_encoding_moves_with_its_tiles(shown: Callable[..., Any], large_photo: Path) -> None:
    steps = shown("encoder", "/encode", photo=large_photo, model="l8-tiny")
    assert list(steps) == ["Encoding", "Decoding", "Measuring"]
    assert_moves(steps["Encoding"], 0.1, 0.4)
    assert_moves(steps["Decoding"], 0.4, 0.7)

    steps = shown("encoder", "/encode_batch", photos=[large_photo, large_photo], model="l8-tiny")
    assert [steps["Photo 1 of 2"], steps["Photo 2 of 2"]] == [[0], [0.5]]
    assert_moves([0, *steps["Photo 1 of 2: encoding"]], 0, 0.25)
    assert_moves(steps["Photo 1 of 2: decoding"], 0.25, 0.5)
    assert_moves([0.5, *steps["Photo 2 of 2: encoding"]], 0.5, 0.75)
    assert_moves(steps["Photo 2 of 2: decoding"], 0.75, 1)


def test_progress_of_a_decoding_moves_with_its_tiles(
    shown: Callable[..., Any], large_photo: Path, tmp_path: Path
) -> None:
    blob = written(tmp_path / "photo.l8", latent8.encode(large_photo, "l8-tiny"))
    steps = shown("decoder", "/decode", blob=blob)
    assert list(steps) == ["Decoding", "Writing the picture"]
    assert_moves(steps["Decoding"], 0.2, 0.7)

    steps = shown("decoder", "/decode_batch", blobs=[blob, blob])
    assert list(steps) == ["Blob 1 of 2", "Blob 2 of 2"]
    assert_moves(steps["Blob 1 of 2"], 0, 0.5)
    assert_moves(steps["Blob 2 of 2"], 0.5, 1)

    steps = shown("decoder", "/compare", blob=blob, original=large_photo)
    assert list(steps) == ["Decoding with l8-tiny"]
    assert_moves(steps["Decoding with l8-tiny"], 0, 1)


def test_bar_does_nothing_outside_of_an_event() -> None:
    bar = webui.Bar("Photo 1 of 2", 0, 0.5)
    assert bar.part("Encoding", 0, 0.5) == webui.Bar("Photo 1 of 2: encoding", 0, 0.25)
    assert bar(0.5) is None


# --- how they start ---


@pytest.fixture
def network_log(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """File with a line for each host, variables for the process to be watched."""
    written(tmp_path / "hook" / "sitecustomize.py", NETWORK_LOG.encode())
    folders = [str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])]
    log = tmp_path / "hosts"
    # Neither offline mode nor the telemetry switch: a user has not set them.
    unset = {"HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_TELEMETRY": "", "GRADIO_ANALYTICS_ENABLED": ""}
    return log, {"PYTHONPATH": os.pathsep.join(folders), "NETWORK_LOG": str(log), **unset}


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_start_asks_no_other_host(
    name: str,
    app_server: type[AppServer],
    network_log: tuple[Path, dict[str, str]],
    photo: Path,
    blob: Path,
    tmp_path: Path,
) -> None:
    log, variables = network_log
    with app_server(name, tmp_path / name, **variables) as server:
        call = caller(server, tmp_path / "results")
        _ = call("/encode", photo=photo) if name == "encoder" else call("/decode", blob=blob)
        time.sleep(1)  # for threads that were started and not waited for
    hosts = set(log.read_text().split())
    assert hosts & OWN_HOSTS  # else nothing was written down
    assert hosts <= OWN_HOSTS


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_import_starts_no_server(name: str, network_log: tuple[Path, dict[str, str]]) -> None:
    log, variables = network_log
    result = subprocess.run(
        [sys.executable, "-B", "-c", "import app; print(type(app.demo).__name__)"],
        cwd=SPACES / name,
        env={key: value for key, value in {**os.environ, **variables}.items() if value},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stdout) == (0, "Blocks\n"), result.stderr
    assert set(log.read_text().split()) <= OWN_HOSTS


def test_nothing_is_written_where_the_app_was_started(
    encoder: AppServer, decoder: AppServer, encode: Callable[..., Any], decode: Callable[..., Any], photo: Path
) -> None:
    blob, *_ = encode("/encode", photo=photo)
    decode("/decode", blob=Path(blob))
    assert [*encoder.cwd.iterdir(), *decoder.cwd.iterdir()] == []
