"""Both apps on live servers, through gradio_client, MCP and plain HTTP: what they give is what the library gives."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gradio_client import handle_file
from PIL import Image

import latent8
from latent8.errors import TooFewBytesError
from latent8.latents import describe
from latent8.pictures.output import picture_bytes
from tests.helpers.app_calls import (
    SUFFIXES,
    assert_near,
    assert_same_pixels,
    client,
    pixels_of,
    refused,
    sentence_of,
    written,
)
from tests.helpers.samples import DEFAULT_REALISM, gradient

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]

ENCODER_SETTINGS = ["model", "quality", "fit_kb", "levels", "longest_side", "keep_name", "keep_metadata"]
DECODER_SETTINGS = ["picture_format", "decoder", "space", "raw", "legacy_range", "realism"]


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
            "/encode": ["photo", *ENCODER_SETTINGS],
            "/encode_blob": ["photo", *ENCODER_SETTINGS],
            "/encode_batch": ["photos", *ENCODER_SETTINGS],
            "/convert": ["latents", "to", "space", "raw"],
        },
        "decoder": {
            "/decode": ["blob", *DECODER_SETTINGS],
            "/decode_picture": ["blob", *DECODER_SETTINGS],
            "/decode_batch": ["blobs", "picture_format"],
            "/inspect": ["blob"],
            "/compare": ["blob", "left", "right", "original"],
            "/search": ["query", "k", "any_orientation"],
            "/library_add": ["files"],
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
    assert tools["encode"] == tools["encode_blob"] == ["photo", *ENCODER_SETTINGS]
    assert tools["decode"] == tools["decode_picture"] == ["blob", *DECODER_SETTINGS]
    assert tools["compare"] == ["blob", "left", "right", "original"]
    more = {"encode_batch", "decode_batch", "inspect", "convert", "compare", "search", "library_add"}
    assert set(tools) == {"encode", "encode_blob", "decode", "decode_picture"} | more


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
    blob, picture, facts = encode("/encode", photo=photo, model=model)
    data = Path(blob).read_bytes()
    assert data == latent8.encode(photo, model)
    assert [Path(path).name for path in (blob, picture)] == ["photo é #1.l8", "photo é #1.png"]
    assert_same_pixels(picture, latent8.decode(data))
    assert Path(encode("/encode_blob", photo=photo, model=model)).read_bytes() == data

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
        "alpha_bytes": 0,
        "bpp": pytest.approx(8 * len(data) / (116 * 75), abs=1e-4),
        "ratio_to_upload": pytest.approx(photo.stat().st_size / len(data), abs=0.01),
        "ratio_to_raw_rgb": pytest.approx(3 * 116 * 75 / len(data), abs=0.1),
        "psnr_db": pytest.approx(10 * math.log10(255**2 / error), abs=0.01),
    }
    assert 0 < facts.pop("encode_seconds") < 60 and 0 < facts.pop("decode_seconds") < 60
    assert facts == expected


def test_settings_are_used(encode: Callable[..., Any], photo: Path) -> None:
    blob, _, facts = encode("/encode", photo=photo, model="l8-tiny", levels=40, longest_side=64)
    assert Path(blob).read_bytes() == latent8.encode(photo, "l8-tiny", levels=40, longest_side=64)
    assert (facts["levels"], facts["width"], facts["height"]) == (40, 64, 41)
    blob, _, facts = encode("/encode", photo=photo, quality=20)
    assert Path(blob).read_bytes() == latent8.encode(photo, quality=20)
    assert facts["quality"] == 20


def test_blob_fits_into_the_size_asked_for(encode: Callable[..., Any], encoder: AppServer, photo: Path) -> None:
    size = Path(encode("/encode", photo=photo, quality=30)[0]).stat().st_size
    blob, _, facts = encode("/encode", photo=photo, fit_kb=size / 1000)
    assert size * 0.8 < facts["blob_bytes"] == Path(blob).stat().st_size <= size
    with pytest.raises(TooFewBytesError) as found:
        latent8.encode(photo, target_bytes=40)
    least = math.ceil(found.value.least / 100) / 10
    advice = f"it takes at least {least} KB. Choose that, or a shorter longest side (see More settings)."
    with refused(encoder, f"0.04 KB is too small for this photo: {advice}"):
        encode("/encode", photo=photo, fit_kb=0.04)
    with refused(encoder, f"0.001 KB is too small for this photo: {advice}"):
        encode("/encode", photo=photo, fit_kb=0.0001)
    assert encode("/encode", photo=photo, fit_kb=least)[2]["blob_bytes"] <= 1000 * least


@pytest.mark.parametrize("name", list(SUFFIXES))
def test_decode_gives_the_librarys_picture(decode: Callable[..., Any], blob: Path, name: str) -> None:
    picture = latent8.decode(blob.read_bytes())
    file, found = decode("/decode", blob=blob, picture_format=name)
    assert Path(file).name == f"renamed{SUFFIXES[name]}"  # as on the command line
    assert Image.open(file).format == name.upper()
    assert Path(file).read_bytes() == picture_bytes(picture, SUFFIXES[name])
    if name == "PNG":
        assert_same_pixels(file, picture)
    alone = decode("/decode_picture", blob=blob, picture_format=name)
    assert Path(alone).read_bytes() == Path(file).read_bytes()
    assert 0 < found.pop("decode_seconds") < 60
    assert found.pop("decoder") == "l8-photo" and found.pop("realism") == DEFAULT_REALISM
    assert found == describe(latent8.inspect(blob.read_bytes()))


def test_rgba_png_decodes_to_the_same_pixels_under_any_name(
    encode: Callable[..., Any], decode: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    blob = encode("/encode_blob", photo=photo, model="l8-tiny")
    png = encode("/convert", latents=Path(blob), to="png")
    expected = latent8.decode(Path(blob).read_bytes())
    renamed = written(tmp_path / "misnamed.l8", Path(png).read_bytes())
    for path, name in ((Path(png), "photo é #1.png"), (renamed, "misnamed.png")):
        file, *_ = decode("/decode", blob=path)
        assert Path(file).name == name
        assert_same_pixels(file, expected)


def test_transparency_comes_back_lossless(encode: Callable[..., Any], decode: Callable[..., Any], cutout: Path) -> None:
    blob, picture, _ = encode("/encode", photo=cutout)
    assert Path(blob).read_bytes() == latent8.encode(cutout)
    file, found = decode("/decode", blob=Path(blob))
    alpha = pixels_of(cutout)[..., 3]
    for path in (picture, file):
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


@pytest.mark.parametrize("endpoint", ["/encode", "/encode_blob", "/encode_batch"])
def test_what_is_not_given_or_null_is_the_default(encode: Callable[..., Any], photo: Path, endpoint: str) -> None:
    given: dict[str, Any] = {"photos": [photo]} if endpoint == "/encode_batch" else {"photo": photo}
    found = encode(endpoint, **given, **dict.fromkeys(ENCODER_SETTINGS))
    path = Path(found if isinstance(found, str) else found[0])
    data = zipfile.ZipFile(path).read("photo é #1.l8") if path.suffix == ".zip" else path.read_bytes()
    assert data == latent8.encode(photo)


def test_every_endpoint_of_the_decoder_works_with_a_blob_alone(decode: Callable[..., Any], blob: Path) -> None:
    expected = latent8.decode(blob.read_bytes())
    for nothing in ({}, dict.fromkeys(DECODER_SETTINGS)):
        assert_same_pixels(decode("/decode", blob=blob, **nothing)[0], expected)
        assert_same_pixels(decode("/decode_picture", blob=blob, **nothing), expected)
    for nothing in ({}, {"left": None, "right": None}):
        left, right, maps, facts = decode("/compare", blob=blob, **nothing)
        assert_same_pixels(left, latent8.decode(blob.read_bytes(), realism=0))
        assert_same_pixels(right, latent8.decode(blob.read_bytes(), realism=1))
        assert len(maps) == 1
        assert [row["decoder"] for row in facts] == ["l8-photo realism 0", "l8-photo realism 1"]
    assert Path(decode("/convert", latents=blob)).read_bytes() == latent8.convert(blob.read_bytes(), "safetensors")
    assert decode("/convert", latents=blob, to=None, space=None, raw=None).endswith("renamed.safetensors")


def test_the_photos_name_can_be_left_out(encode: Callable[..., Any], photo: Path) -> None:
    blob = Path(encode("/encode_blob", photo=photo, keep_name=False))
    assert blob.name == "photo é #1.l8" and not latent8.inspect(blob.read_bytes()).stem
    assert latent8.inspect(Path(encode("/encode_blob", photo=photo)).read_bytes()).stem == "photo é #1"


def test_metadata_is_kept_where_it_is_asked_for(
    encode: Callable[..., Any], encoder: AppServer, decode: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    path, exif = tmp_path / "dated.jpg", Image.Exif()
    exif[0x010F] = "A maker"
    with Image.open(photo) as image:
        image.save(path, exif=exif)
    blob = Path(encode("/encode_blob", photo=path, keep_metadata="no-gps"))
    assert blob.read_bytes() == latent8.encode(path, keep_metadata="no-gps")
    assert Path(encode("/encode_blob", photo=path)).read_bytes() == latent8.encode(path)
    with Image.open(decode("/decode_picture", blob=blob, picture_format="JPEG")) as picture:
        assert picture.getexif()[0x010F] == "A maker"
    with refused(encoder, "keep_metadata must be &#x27;all&#x27;, &#x27;no-gps&#x27; or None, not &#x27;some&#x27;."):
        encode("/encode_blob", photo=path, keep_metadata="some")


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
    file, found = decode("/decode", blob=named)
    assert Path(file).name == "from a tool.png"
    assert_near(file, latent8.decode(blob))
    assert found["model"] == decode("/inspect", blob=named)["model"] == "l8-tiny"
    with refused(decoder, sentence_of(lambda: latent8.read_latents(array.read_bytes()))):
        decode("/decode", blob=array)
    file, *_ = decode("/decode", blob=array, space="l8-tiny")
    assert Path(file).name == "array.png"
    assert Image.open(file).size == (120, 80)
    back = Path(decode("/convert", latents=array, to="l8", space="l8-tiny"))
    assert back.read_bytes() == latent8.convert(array.read_bytes(), "l8", space="l8-tiny")


# --- many files ---


def test_encode_batch_goes_on_after_a_bad_file(encode: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    junk = written(tmp_path / "junk.jpg", b"junk")
    same_name = written(tmp_path / "other" / photo.name, photo.read_bytes() + b"\0")
    files = [photo, junk, photo, same_name]  # the one that is there twice is done once
    archive, table = encode("/encode_batch", photos=files, quality=25, longest_side=80)
    expected = latent8.encode(photo, quality=25, longest_side=80)
    with zipfile.ZipFile(archive) as content:
        assert {name: content.read(name) for name in content.namelist()} == {
            "photo é #1.l8": expected,
            "photo é #1-2.l8": expected,
        }
    rows = table["data"]
    assert [row[0] for row in rows] == [photo.name, junk.name, same_name.name]
    size = photo.stat().st_size
    ratio = round(size / len(expected), 2)
    assert [row[1:] for row in rows] == [
        ["photo é #1.l8", size, len(expected), ratio],
        [sentence_of(lambda: latent8.encode(junk)), 4, None, None],
        ["photo é #1-2.l8", size + 1, len(expected), round((size + 1) / len(expected), 2)],
    ]


def test_zips_of_blobs_are_unpacked_and_bad_ones_are_rows(
    decode: Callable[..., Any], blob: Path, tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.zip" for name in ("good", "empty", "outside")}
    names = {"good": ["a/one.l8", "b/one.l8", "notes.txt"], "empty": ["notes.txt"], "outside": ["../up.l8"]}
    for name, path in paths.items():
        with zipfile.ZipFile(path, "w") as archive:
            for member in names[name]:
                archive.writestr(member, blob.read_bytes())
    zipped, table = decode("/decode_batch", blobs=list(paths.values()))
    assert [row[:2] for row in table["data"]] == [
        ["one.l8", "one.png"],
        ["one-2.l8", "one-2.png"],
        ["empty.zip", "The ZIP holds no .l8 files."],
        ["outside.zip", "The ZIP holds paths that lead out of it (`..`): make it anew."],
    ]
    with zipfile.ZipFile(zipped) as pictures:
        assert pictures.namelist() == ["one.png", "one-2.png"]


def test_decode_batch_goes_on_after_a_bad_file(decode: Callable[..., Any], blob: Path, tmp_path: Path) -> None:
    cut = written(tmp_path / "cut.l8", blob.read_bytes()[:-9])
    wide = written(tmp_path / "wide.l8", latent8.encode(np.zeros((1, 16384, 3), np.uint8)))
    archive, table = decode("/decode_batch", blobs=[cut, wide, blob, blob], picture_format="WebP")
    expected = picture_bytes(latent8.decode(blob.read_bytes()), ".webp")
    with zipfile.ZipFile(archive) as content:
        assert {name: content.read(name) for name in content.namelist()} == {"renamed.webp": expected}
    assert table["data"] == [
        ["cut.l8", sentence_of(lambda: latent8.decode(cut.read_bytes())), None, None, None],
        ["wide.l8", sentence_of(lambda: picture_bytes(Image.new("RGB", (16384, 1)), ".webp")), None, None, None],
        ["renamed.l8", "renamed.webp", 116, 75, "l8-photo"],
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
    assert [row[1] for row in table["data"]] == [sentence_of(lambda: latent8.read_latents(b"junk"))] * 2
