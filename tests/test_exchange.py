"""Latents of other tools: files written here byte by byte are read, files that are written are read byte by byte."""

from __future__ import annotations

import ast
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import allocating_at_most, build_blob, gradient, png_chunk
from passthrough import make_tiny

import latent8
from latent8 import BlobError, Codec, Latents, ModelError, cli, convert, inspect, own_model, read_latents, write_latents
from latent8.contents import read
from latent8.exchange import SPACE_NAMES, SUFFIXES, as_blob

FACTORS = {  # scale, shift, channels
    "sd1": (0.18215, 0.0, 4),
    "sdxl": (0.13025, 0.0, 4),
    "sd3": (1.5305, 0.0609, 16),
    "flux1": (0.3611, 0.1159, 16),
}
MODELS = {"sd1": 2, "sdxl": 16, "sd3": 17, "flux1": 18, "l8-tiny": 1}
ROWS, COLUMNS = 3, 5


# ---- the formats, written and read without the code under test


def npy(shape: tuple, data: bytes, dtype: str = "<f4", by_columns: bool = False, version: int = 1) -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': {by_columns}, 'shape': {shape}, }}"
    return npy_with_header(header, data, version)


def npy_with_header(header: str, data: bytes, version: int = 1) -> bytes:
    head = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(head))
    return b"\x93NUMPY" + bytes([version, 0]) + length + head + data


def npy_parts(file: bytes) -> tuple[dict, bytes]:
    assert file[:8] == b"\x93NUMPY\x01\x00"
    (length,) = struct.unpack("<H", file[8:10])
    return ast.literal_eval(file[10 : 10 + length].decode()), file[10 + length :]


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_parts(file: bytes) -> tuple[dict[str, tuple[str, list[int], bytes]], dict[str, str]]:
    (length,) = struct.unpack("<Q", file[:8])
    header, data = json.loads(file[8 : 8 + length]), file[8 + length :]
    metadata = header.pop("__metadata__", {})
    return {
        name: (facts["dtype"], facts["shape"], data[slice(*facts["data_offsets"])]) for name, facts in header.items()
    }, metadata


def comfy(raw: np.ndarray, marker: bool = True, **more: tuple[str, list[int], bytes]) -> bytes:
    tensors = {"latent_tensor": ("F32", list(raw.shape), floats(raw)), **more}
    if marker:
        tensors["latent_format_version_0"] = ("F32", [0], b"")
    return safetensors(tensors, {"prompt": "{}", "workflow": '{"nodes": []}'})


def floats(values: np.ndarray) -> bytes:
    flat = values.ravel().tolist()
    return struct.pack(f"<{len(flat)}f", *flat)


def rgba_png(pixels: np.ndarray) -> bytes:
    """uint8 [h, w, 4]; no text chunk."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def z_of(space: str, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """float32 [C, 3, 5], of the latent space's variance."""
    channels = FACTORS[space][2] if space in FACTORS else 4
    return np.random.default_rng(seed).normal(0, spread, (channels, ROWS, COLUMNS)).astype(np.float32)


def raw_of(space: str, z: np.ndarray) -> np.ndarray:
    scale, shift, _ = FACTORS[space]
    return (z.astype(np.float64) / scale + shift).astype(np.float32)


def blob_of(space: str, **fields: Any) -> bytes:
    """A blob of a picture 37 x 20, in the default model's name."""
    channels = FACTORS[space][2] if space in FACTORS else 4
    symbols = np.random.default_rng(1).integers(0, 256, (channels, ROWS, COLUMNS)).astype(np.uint8)
    given = {"model_id": MODELS[space], "width": 37, "height": 20, "channels": channels, "stem": b"photo", **fields}
    return build_blob(payload=symbols.tobytes(), **given)


def z_in(blob: bytes) -> np.ndarray:
    header, symbols, _ = read(blob)
    return header.quantiser.low + symbols.astype(np.float64) * header.quantiser.step


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
    header, symbols, _ = read(blob)
    np.testing.assert_array_equal(symbols, np.moveaxis(pixels, -1, 0))
    assert (header.model_id, header.weights) == (2, bytes(4))
    raw = safetensors_parts(convert(rgba_png(pixels), "comfy"))[0]["latent_tensor"]
    expected = (np.moveaxis(pixels, -1, 0) / 255 - 0.5) * 6 / 0.18215
    np.testing.assert_allclose(np.frombuffer(raw[2], "<f4").reshape(4, ROWS, COLUMNS), expected, rtol=1e-5)


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
    np.testing.assert_array_equal(np.moveaxis(pixels, -1, 0), read(blob)[1])
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
    assert (header.quantiser.low, header.quantiser.high) == (-3, 3)


def test_blob_of_blob_is_the_blob_itself() -> None:
    blob = blob_of("sd1", alpha=b"12345")
    assert convert(blob, "l8") is blob
    with pytest.raises(BlobError, match="checksum"):
        convert(blob[:-1] + bytes([blob[-1] ^ 1]), "l8")


def test_range_of_a_blob_holds_all_that_is_read() -> None:
    z = z_of("flux1", spread=2.5)
    assert np.abs(z).max() > 5
    blob = convert(npy(z.shape, floats(z)), "l8", space="flux1")
    quantiser = inspect(blob).quantiser
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


def test_what_a_format_has_no_place_for_is_refused() -> None:
    with pytest.raises(ModelError, match="^An RGBA PNG holds 4 latent channels, and taesd3 has 16: keep the .l8.$"):
        convert(blob_of("sd3"), "png")
    for options in ({"to": "comfy"}, {"to": "npy", "raw": True}):
        with pytest.raises(ModelError, match="^l8-tiny latents are for latent8 alone, without raw values: encode the "):
            convert(blob_of("l8-tiny"), **options)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="^There is no format 'zip' for latents: choose l8 or png or comfy or "):
        convert(blob_of("sd1"), "zip")


# ---- what is hostile


def refusal(file: bytes, space: str | None = "sd1", **options: Any) -> str:
    with pytest.raises(latent8.Latent8Error) as caught:
        read_latents(file, space, **options)
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said and len(said) < 300
    return said


GOOD = z_of("sd1")
DATA = floats(GOOD)


def with_value(value: float) -> np.ndarray:
    z = GOOD.copy()
    z[1, 2, 3] = value
    return z


@pytest.mark.parametrize(
    "shape, words",
    [
        ((3, 4, 5), "3 latent channels, and latents in sd1 have 4"),
        ((60,), "of shape [60]"),
        ((2, 4, 3, 5), "a batch of 2"),
        ((0, 3, 5), "of shape [0, 3, 5]"),
        ((1, 1, 4, 3, 5), "of shape [1, 1, 4, 3, 5]"),
        ((1 << 40, 3, 5), "of shape [1099511627776, 3, 5]"),
        ((4, 60000, 60000), "asks for another number"),
    ],
)
def test_shapes_that_latents_do_not_have(shape: tuple[int, ...], words: str) -> None:
    with allocating_at_most(1_000_000):
        said = refusal(npy(shape, DATA))
    assert words in said
    if np.prod(shape, dtype=object) == GOOD.size:
        assert words in refusal(safetensors({"x": ("F32", list(shape), DATA)}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value: float) -> None:
    for file in (
        npy(GOOD.shape, floats(with_value(value))),
        comfy(with_value(value)[None]),
        safetensors({"latents": ("F32", list(GOOD.shape), floats(with_value(value)))}),
    ):
        assert refusal(file) == "The file holds numbers that are not finite: no latents can be made of them."


def test_numbers_beyond_any_latents() -> None:
    for file in (npy(GOOD.shape, floats(with_value(-101))), comfy(raw_of("sd1", with_value(101))[None])):
        assert refusal(file).startswith("The file holds values up to 101 once scaled, which latents in sd1 never have")
    doubles = struct.pack(f"<{GOOD.size}d", *with_value(0).ravel().tolist()[:-1], 1e300)
    assert "not finite" in refusal(npy(GOOD.shape, doubles, "<f8"))


@pytest.mark.parametrize("dtype", ["<i4", "|u1", "<c8", "|O", "<f16", "<U4", "|V4", [("a", "<f4")]])
def test_arrays_of_other_types(dtype: Any) -> None:
    said = refusal(npy(GOOD.shape, DATA, dtype))
    assert "latents are float16, float32 or float64" in said or "header cannot be read" in said


@pytest.mark.parametrize("dtype, size", [("I32", 4), ("U8", 1), ("BOOL", 1), ("F8_E4M3", 1)])
def test_tensors_of_other_types(dtype: str, size: int) -> None:
    file = safetensors({"x": (dtype, list(GOOD.shape), bytes(GOOD.size * size))})
    assert refusal(file).startswith(f"The safetensors file holds {dtype} values: ")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple:
            return open, (str(trap), "w")

    buffer = io.BytesIO()
    np.save(buffer, np.array([[[Trap()]]], dtype=object), allow_pickle=True)
    assert "object values" in refusal(buffer.getvalue())
    np.savez(buffer, latents=GOOD)  # a zip, which np.load would open
    refusal(buffer.getvalue())
    assert not trap.exists()


@pytest.mark.parametrize(
    "file",
    [
        npy(GOOD.shape, DATA)[:-1],
        npy(GOOD.shape, DATA) + b"x",
        npy(GOOD.shape, b""),
        npy(GOOD.shape, DATA)[:20],
        npy(GOOD.shape, DATA, version=3),
        npy_with_header("{'descr': '<f4', 'fortran_order': False}", DATA),
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': ('4', 3, 5)}", DATA),
        npy_with_header("__import__('os').abort()", DATA),
        npy_with_header("[" * 5000, DATA),
        b"\x93NUMPY",
    ],
    ids=range(10),
)
def test_damaged_npy(file: bytes) -> None:
    assert refusal(file).startswith("The .npy file ")


TENSOR = {"x": ("F32", list(GOOD.shape), DATA)}


def safetensors_with_header(header: Any, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "file",
    [
        safetensors(TENSOR)[:-1],
        safetensors(TENSOR) + b"x",
        safetensors_with_header({"x": {"dtype": "F32", "shape": [4, 3, 5], "data_offsets": [0, 1 << 40]}}),
        safetensors_with_header({"x": {"dtype": "F32", "shape": [1 << 40, 3, 5], "data_offsets": [0, 240]}}),
        safetensors_with_header({"x": {"dtype": "F32", "shape": [4, 3, 5]}}),
        safetensors_with_header(b"{"),
        safetensors_with_header(b'{"x": ' + b"[" * 100_000),
        safetensors_with_header(b"{}", b""),
        safetensors({"x": TENSOR["x"], "y": TENSOR["x"]}),
        safetensors({"latents": ("F32", [0], b"")}),
    ],
    ids=range(10),
)
def test_damaged_safetensors(file: bytes) -> None:
    with allocating_at_most(2_000_000):
        assert refusal(file).startswith(("The safetensors file ", "The file holds an array of shape [0]"))


FACTS = {"space": "sd1", "width": 37, "height": 20, "raw": False, "name": "photo"}


@pytest.mark.parametrize(
    "facts",
    [
        {"space": "sd9"},
        {"space": ["sd1"]},
        {"width": 0},
        {"width": 1 << 21},
        {"width": 37.0},
        {"width": True},
        {"width": 41},
        {"height": 16},
        {"raw": 1},
        {"name": None},
        None,
        "text",
    ],
    ids=str,
)
def test_hostile_metadata(facts: Any) -> None:
    changed = {**FACTS, **facts} if isinstance(facts, dict) else facts
    file = safetensors({"latents": TENSOR["x"]}, {"latent8": json.dumps(changed)})
    assert refusal(file, None).startswith("The safetensors file is not valid: its ")


def test_stated_names_make_no_paths() -> None:
    file = safetensors({"latents": TENSOR["x"]}, {"latent8": json.dumps({**FACTS, "name": "../../etc/pass wd"})})
    latents = read_latents(file)
    assert (latents.width, latents.height) == (37, 20)
    assert latents.stem == "etcpass wd"


def test_space_has_to_be_named_and_to_fit() -> None:
    array = npy(GOOD.shape, DATA)
    assert refusal(array, None) == (
        "The file does not say of which latent space it is: name it, sd1 or sdxl or l8-tiny."
    )
    sixteen = z_of("sd3")
    assert refusal(comfy(sixteen[None]), None).endswith("name it, sd3 or flux1.")
    assert refusal(npy((7, 1, 1), floats(np.zeros(7))), None).startswith("The file holds 7 latent channels, which no ")
    assert refusal(array, "sd3") == "The file holds 4 latent channels, and latents in sd3 have 16."
    assert refusal(array, "sd9").startswith("There is no latent space 'sd9' to read: choose sd1 or ")
    ours = convert(blob_of("sdxl"), "safetensors")
    assert read_latents(ours).space == "sdxl"
    for file in (ours, blob_of("sdxl"), convert(blob_of("sdxl"), "comfy")):
        assert refusal(file, "sd1") == "The file states the latent space sdxl, not sd1."
    assert (*FACTORS, "l8-tiny") == SPACE_NAMES


def test_pixel_limit_holds() -> None:
    for file in (npy(GOOD.shape, DATA), comfy(GOOD[None]), blob_of("sd1")):
        assert "megapixels" in refusal(file, max_pixels=700)


def test_other_files() -> None:
    words = "This is neither a .l8 blob nor latents as RGBA PNG, ComfyUI .latent, .safetensors or .npy."
    for file in (b"", b"\xff\xd8\xff\xe0", b"PK\x03\x04" + bytes(40), bytes(40), b"text"):
        assert refusal(file) == words
        assert as_blob(file) == file  # for the decoder to say what it is not


# ---- PNGs of the ancestors


def test_latents_that_only_other_programs_read(photo_codec: Codec) -> None:
    written = convert(photo_codec.encode(gradient(32, 32)), "safetensors")
    with pytest.raises(BlobError, match="holds l8-photo latents, for other programs: decode the .l8"):
        read_latents(written)


def test_legacy_range_gives_the_contrast_back(tmp_path: Path) -> None:
    """Pixels in [0, 1] where [-1, 1] is meant are those of a picture of half the contrast, all of it light."""
    codec = Codec(own_model(make_tiny(tmp_path / "tiny"), "sd1"), "cpu")
    picture = np.zeros((32, 40, 3), np.uint8)
    picture[8:24, 8:32] = [255, 0, 255]
    slipped = np.rint(127.5 + picture / 2).astype(np.uint8)  # what the encoder takes them for
    png = codec.encode_rgba_png(slipped)
    plain, legacy = (np.asarray(codec.decode(png, legacy_range=on)).astype(int) for on in (False, True))
    assert plain.min() > 120 and np.abs(plain - slipped).max() <= 2
    assert np.abs(legacy - picture).max() <= 4
    assert np.abs(legacy - picture).max() < np.abs(plain - picture).max() / 10


def test_legacy_range_is_not_for_the_default_model(photo_codec: Codec) -> None:
    with pytest.raises(BlobError, match="^The legacy range is for latents as RGBA PNG, not for blobs of l8-photo.$"):
        photo_codec.decode(photo_codec.encode(gradient(20, 20)), legacy_range=True)


# ---- on the command line


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, list[str], list[str]]]:
    def run(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.mark.parametrize("to", SUFFIXES)
def test_convert(run: Callable, tmp_path: Path, to: str) -> None:
    source = tmp_path / ("photo.latent" if to == "l8" else "photo.l8")
    source.write_bytes(convert(blob_of("sd1"), "comfy") if to == "l8" else blob_of("sd1"))
    target = tmp_path / f"photo{SUFFIXES[to]}"
    expected = convert(source.read_bytes(), to)
    assert run("convert", source, "--to", to) == (0, [f"{source} -> {target} ({len(expected):,} bytes)"], [])
    assert target.read_bytes() == expected
    code, _, err = run("convert", source, "--to", to)
    assert (code, len(err)) == (2, 1) and "exists: name another file with -o, or overwrite it with --force." in err[0]
    assert run("convert", source, "--to", to, "--force")[0] == 0


def test_convert_of_foreign_files_names_the_space(run: Callable, tmp_path: Path) -> None:
    source = tmp_path / "latents.npy"
    source.write_bytes(npy(GOOD.shape, floats(raw_of("sdxl", GOOD))))
    code, out, err = run("convert", source, "--to", "l8")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"latent8: {source}: The file does not say of which latent space it is: name it, sd1 or ")
    assert run("convert", source, "--to", "l8", "--space", "sdxl", "--raw")[0] == 0
    np.testing.assert_allclose(z_in((tmp_path / "latents.l8").read_bytes()), GOOD, atol=0.015)


def test_decode_takes_foreign_files_too(run: Callable, tmp_path: Path, codec: Codec) -> None:
    from PIL import Image

    blob = codec.encode(gradient(50, 40))
    source = tmp_path / "latents.safetensors"
    source.write_bytes(convert(blob, "safetensors"))
    assert run("decode", source, "--device", "cpu")[0] == 0
    found = np.asarray(Image.open(tmp_path / "latents.png")).astype(int)
    assert np.abs(found - np.asarray(codec.decode(blob))).max() <= 2
    assert found.shape == (40, 50, 3)
    bad = tmp_path / "bad.npy"
    bad.write_bytes(npy(GOOD.shape, DATA))
    assert run("decode", bad)[2][0].startswith(f"latent8: {bad}: The file does not say of which latent space it is")


def test_legacy_range_on_the_command_line(run: Callable, tmp_path: Path) -> None:
    from PIL import Image

    folder = make_tiny(tmp_path / "tiny")
    source = tmp_path / "old.png"
    slipped = np.full((16, 16, 3), 128, np.uint8)
    source.write_bytes(Codec(own_model(folder, "sd1"), "cpu").encode_rgba_png(slipped))
    options = ["--decoder", folder, "--space", "sd1", "--legacy-range", "-o", tmp_path / "new.png", "--force"]
    assert run("decode", source, *options)[0] == 0
    assert np.asarray(Image.open(tmp_path / "new.png")).max() <= 4
