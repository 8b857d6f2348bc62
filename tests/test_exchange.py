"""Latents of other tools: files written here byte by byte are read, files that are written are read byte by byte."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest

import latent8
from latent8 import BlobError, Codec, Latents, ModelError, convert, inspect, own_model, read_latents, write_latents
from latent8.exchange import SUFFIXES, formats_of, open_latents
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import read
from latent8.pool import symbols_of
from latent8.zoo.registry import model_named
from tests.helpers.foreign_files import (
    COLUMNS,
    FACTORS,
    MODELS,
    ROWS,
    blob_of,
    comfy,
    floats,
    npy,
    npy_parts,
    raw_of,
    rgba_png,
    safetensors,
    safetensors_parts,
    z_in,
    z_of,
)
from tests.helpers.passthrough import make_tiny
from tests.helpers.samples import gradient

# ---- what there is to convert to


@pytest.mark.parametrize("model", ["l8-photo", "l8-tiny", "taesd"])
@pytest.mark.parametrize("as_array", [False, True])
def test_formats_are_those_that_convert_gives(model: str, as_array: bool) -> None:
    data = blob_of("sd1") if model == "taesd" else latent8.encode(gradient(24, 16), model)
    if as_array and model != "l8-photo":  # whose arrays are for other programs
        data = convert(data, "safetensors")
    source, found = open_latents(data), []
    for name in SUFFIXES:
        try:
            convert(data, name)
            found.append(name)
        except ModelError:
            pass
    if isinstance(source, Encoded):
        found.remove("l8")  # it is one
    assert sorted(formats_of(source)) == sorted(found)


# ---- reading


@pytest.mark.parametrize("space", FACTORS)
def test_comfy_file_is_read_in_the_space_that_is_named(space: str) -> None:
    z = z_of(space)
    for more in ({}, {"batch_index": ("I64", [1], bytes(8))}):
        latents = read_latents(comfy(raw_of(space, z)[None], **more), space)
        np.testing.assert_allclose(latents.values, z, atol=1e-5)
        assert (latents.space, latents.width, latents.height, latents.model_id) == (space, 40, 24, MODELS[space])


def test_comfy_file_without_the_marker_is_scaled_first() -> None:
    z = z_of("sd1")
    np.testing.assert_allclose(read_latents(comfy(z[None], marker=False), "sd1").values, z, atol=1e-6)
    sdxl = read_latents(comfy(z[None], marker=False), "sdxl").values
    np.testing.assert_allclose(sdxl, z * (0.13025 / 0.18215), atol=1e-6)


@pytest.mark.parametrize("space", FACTORS)
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("batch", [(), (1,)])
def test_arrays_are_read(space: str, raw: bool, batch: tuple[int, ...]) -> None:
    z = z_of(space)
    stored = raw_of(space, z) if raw else z
    shape = (*batch, *z.shape)
    files = [
        npy(shape, floats(stored)),
        npy(shape, floats(stored), version=2),
        npy(shape, floats(stored), version=3),
        safetensors({"latents": ("F32", list(shape), floats(stored))}),
        safetensors({"anything": ("F32", list(shape), floats(stored))}, {"author": "someone"}),
        safetensors({"mask": ("U8", [1], b"0"), "latents": ("F32", list(shape), floats(stored))}),
    ]
    for file in files:
        latents = read_latents(file, space, raw=raw)
        np.testing.assert_allclose(latents.values, z, atol=1e-5)
        assert latents.values.dtype == np.float32 and latents.space == space


@pytest.mark.parametrize("code, dtype, tolerance", [("e", "<f2", 1e-3), ("f", "<f4", 0), ("d", "<f8", 1e-7)])
def test_types_of_floating_point_numbers(code: str, dtype: str, tolerance: float) -> None:
    z = z_of("sd1")
    data = struct.pack(f"<{z.size}{code}", *z.ravel().tolist())
    swapped = struct.pack(f">{z.size}{code}", *z.ravel().tolist())
    name = {"e": "F16", "f": "F32", "d": "F64"}[code]
    for file in (
        npy(z.shape, data, dtype),
        npy(z.shape, swapped, dtype.replace("<", ">")),
        safetensors({"x": (name, list(z.shape), data)}),
    ):
        np.testing.assert_allclose(read_latents(file, "sd1").values, z, rtol=tolerance)


def test_bfloat16() -> None:
    z = z_of("sd1")
    halves = b"".join(struct.pack("<f", value)[2:] for value in z.ravel().tolist())  # the upper half of a float32
    found = read_latents(safetensors({"x": ("BF16", list(z.shape), halves)}), "sd1").values
    np.testing.assert_allclose(found, z, rtol=2**-7)
    assert found[0, 0, 0] != z[0, 0, 0]


def test_array_by_columns() -> None:
    z = z_of("sd1")
    data = struct.pack(f"<{z.size}f", *z.T.ravel().tolist())  # the first index runs fastest
    np.testing.assert_array_equal(read_latents(npy(z.shape, data, by_columns=True), "sd1").values, z)


def test_taesds_png_is_read_and_becomes_the_same_bytes() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (ROWS, COLUMNS, 4), np.uint8)
    latents = read_latents(rgba_png(pixels))
    np.testing.assert_allclose(latents.values, (np.moveaxis(pixels, -1, 0) / 255 - 0.5) * 6, atol=1e-6)
    assert (latents.space, latents.width, latents.height) == ("sd1", 40, 24)
    blob = convert(rgba_png(pixels), "l8")
    encoded = read(blob)
    np.testing.assert_array_equal(symbols_of(encoded).values, np.moveaxis(pixels, -1, 0))
    assert (encoded.model_id, encoded.header.weights) == (2, bytes(4))
    raw = safetensors_parts(convert(rgba_png(pixels), "comfy"))[0]["latent_tensor"]
    expected = (np.moveaxis(pixels, -1, 0) / 255 - 0.5) * 6 / 0.18215
    np.testing.assert_allclose(np.frombuffer(raw[2], "<f4").reshape(4, ROWS, COLUMNS), expected, rtol=1e-5)


def test_png_that_names_no_model_is_of_the_space_that_is_named() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (ROWS, COLUMNS, 4), np.uint8)
    for space, model_id in (("sd1", 2), ("sdxl", model_named("taesdxl").id)):
        header = open_latents(rgba_png(pixels), space).header
        assert (header.model_id, header.width, header.height) == (model_id, 40, 24)
        latents = read_latents(rgba_png(pixels), space)
        assert latents.space == space
        np.testing.assert_allclose(latents.values, (np.moveaxis(pixels, -1, 0) / 255 - 0.5) * 6, atol=1e-6)
    named = convert(rgba_png(pixels), "png")  # from here on it names taesd
    assert open_latents(named, "sdxl").header.model_id == 2
    with pytest.raises(BlobError, match="^The file states the latent space sd1, not sdxl.$"):
        read_latents(named, "sdxl")
    with pytest.raises(BlobError, match="^An RGBA PNG holds 4 latent channels, and sd3 latents have 16.$"):
        open_latents(rgba_png(pixels), "sd3")


# ---- writing


@pytest.mark.parametrize("space", FACTORS)
def test_comfy_file_is_what_comfyui_loads(space: str) -> None:
    blob = blob_of(space)
    tensors, metadata = safetensors_parts(convert(blob, "comfy"))
    assert set(tensors) == {"latent_tensor", "latent_format_version_0"}
    assert tensors["latent_format_version_0"] == ("F32", [0], b"")
    dtype, shape, data = tensors["latent_tensor"]
    assert (dtype, shape) == ("F32", [1, FACTORS[space][2], ROWS, COLUMNS])
    scale, shift, _ = FACTORS[space]
    expected = z_in(blob) / scale + shift
    np.testing.assert_allclose(np.frombuffer(data, "<f4").reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)
    assert all(isinstance(value, str) for value in metadata.values())


@pytest.mark.parametrize("space", [*FACTORS, "l8-tiny"])
@pytest.mark.parametrize("raw", [False, True])
def test_arrays_are_written(space: str, raw: bool) -> None:
    if raw and space == "l8-tiny":
        return
    blob = blob_of(space)
    expected = z_in(blob)
    if raw:
        scale, shift, _ = FACTORS[space]
        expected = expected / scale + shift
    header, data = npy_parts(convert(blob, "npy", raw=raw))
    assert header == {"descr": "<f4", "fortran_order": False, "shape": (1, *expected.shape)}
    np.testing.assert_allclose(np.frombuffer(data, "<f4").reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)
    tensors, metadata = safetensors_parts(convert(blob, "safetensors", raw=raw))
    assert list(tensors) == ["latents"]
    assert tensors["latents"] == ("F32", [1, *expected.shape], data)
    facts = {"space": space, "width": 37, "height": 20, "raw": raw, "name": "photo"}
    assert json.loads(metadata["latent8"]) == facts


def test_png_is_taesds() -> None:
    from PIL import Image

    blob = blob_of("sd1")
    pixels = np.asarray(Image.open(io.BytesIO(convert(blob, "png"))))
    np.testing.assert_array_equal(np.moveaxis(pixels, -1, 0), symbols_of(read(blob)).values)
    wide = blob_of("sd1", low=-6.0, high=6.0)  # clipped, as that format has no other range
    pixels = np.asarray(Image.open(io.BytesIO(convert(wide, "png"))))
    expected = np.rint(255 * np.clip(z_in(wide) / 6 + 0.5, 0, 1))
    assert np.abs(np.moveaxis(pixels, -1, 0) - expected).max() <= 1
    assert pixels.min() == 0 and pixels.max() == 255
    np.testing.assert_allclose(z_in(convert(convert(wide, "png"), "l8")), z_in(wide).clip(-3, 3), atol=0.013)


@pytest.mark.parametrize("space", FACTORS)
@pytest.mark.parametrize("to", ["comfy", "safetensors", "npy"])
def test_there_and_back_is_the_same_picture(space: str, to: str) -> None:
    blob = blob_of(space)
    back = convert(convert(blob, to), "l8", space=space)
    header, before = inspect(back), inspect(blob)
    size = (37, 20, "photo") if to != "npy" else (40, 24, None)
    assert (header.width, header.height, header.stem) == size
    assert header.model_id == before.model_id
    np.testing.assert_allclose(z_in(back), z_in(blob), atol=0.002)
    assert (header.header.quantiser.low, header.header.quantiser.high) == (-3, 3)


def test_blob_of_blob_is_the_blob_itself() -> None:
    blob = blob_of("sd1", alpha=b"12345")
    assert convert(blob, "l8") is blob
    with pytest.raises(BlobError, match="checksum"):
        convert(blob[:-1] + bytes([blob[-1] ^ 1]), "l8")


def test_range_of_a_blob_holds_all_that_is_read() -> None:
    z = z_of("flux1", spread=2.5)
    assert np.abs(z).max() > 5
    blob = convert(npy(z.shape, floats(z)), "l8", space="flux1")
    quantiser = inspect(blob).header.quantiser
    assert quantiser.low <= z.min() < quantiser.low + 0.01 and quantiser.high - 0.01 < z.max() <= quantiser.high
    assert np.abs(z_in(blob) - z).max() <= quantiser.step / 2 + 1e-5


def test_latents_from_an_array_of_the_users() -> None:
    z = z_of("sdxl").astype(np.float64)
    blob = write_latents(Latents.from_array(z, "sdxl"), "l8")
    assert inspect(blob).model_id == 16
    np.testing.assert_allclose(z_in(blob), z, atol=0.015)
    raw = Latents.from_array(raw_of("sdxl", z)[None], "sdxl", raw=True)
    np.testing.assert_allclose(raw.values, z, atol=1e-5)


def test_array_of_the_default_model(photo_codec: Codec) -> None:
    """Its latents are known to it alone, but are an array as well."""
    blob = photo_codec.encode(gradient(40, 33))
    (values,) = np.load(io.BytesIO(convert(blob, "npy")), allow_pickle=False)
    assert values.shape == (240, 3, 3) and values.std() > 0.01
    assert json.loads(safetensors_parts(convert(blob, "safetensors"))[1]["latent8"])["space"] == "l8-photo"
    for to in ("comfy", "png"):
        with pytest.raises(ModelError, match=r"l8-photo.*[.]$"):
            convert(blob, to)
    with pytest.raises(ModelError, match="^There is no latent space 'l8-photo' to read: choose sd1 or "):
        convert(convert(blob, "npy"), "l8", space="l8-photo")


def test_latents_of_an_own_model(tmp_path: Path) -> None:
    model = own_model(make_tiny(tmp_path / "own"))
    blob = latent8.encode(gradient(40, 33), model)
    assert npy_parts(convert(blob, "npy"))[0]["shape"] == (1, 4, 5, 5)
    with pytest.raises(ModelError, match="^An RGBA PNG names the model, which "):
        convert(blob, "png")
    with pytest.raises(ModelError, match="^own latents are for latent8 alone"):
        convert(blob, "comfy")
