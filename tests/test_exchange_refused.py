"""Files of latents that are damaged, hostile or do not fit are refused in one sentence."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latent8
from latent8 import BlobError, Codec, ModelError, convert, read_latents
from latent8.exchange import SPACE_NAMES, open_latents
from latent8.zoo.registry import OWN_ID
from tests.helpers.checks import allocating_at_most
from tests.helpers.foreign_files import (
    DATA,
    FACTORS,
    GOOD,
    blob_of,
    comfy,
    floats,
    npy,
    npy_with_header,
    raw_of,
    safetensors,
    z_of,
)
from tests.helpers.samples import build_blob, gradient


def test_what_a_format_has_no_place_for_is_refused() -> None:
    with pytest.raises(ModelError, match="^An RGBA PNG holds 4 latent channels, and taesd3 has 16: keep the .l8.$"):
        convert(blob_of("sd3"), "png")
    for options in ({"to": "comfy"}, {"to": "npy", "raw": True}):
        with pytest.raises(ModelError, match="^l8-tiny latents are for latent8 alone, without raw values: encode the "):
            convert(blob_of("l8-tiny"), **options)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="^There is no format 'zip' for latents: choose l8 or png or comfy or "):
        convert(blob_of("sd1"), "zip")


def refusal(file: bytes, space: str | None = "sd1", **options: Any) -> str:
    with pytest.raises(latent8.Latent8Error) as caught:
        read_latents(file, space, **options)
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said and len(said) < 300
    return said


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bits", [0x7F800001, 0xFFC00000, 0x7F7FFFFF, 0x00000001])
def test_odd_bits_of_numbers_warn_of_nothing(bits: int) -> None:
    """A signalling NaN, a NaN, the greatest number, the least above 0; found by benchmarks/fuzz.py."""
    data = struct.pack("<I", bits) * GOOD.size
    tensor = {"latent_tensor": ("F32", [1, *GOOD.shape], data)}
    for file in (npy(GOOD.shape, data), safetensors(tensor), safetensors({"x": ("F32", list(GOOD.shape), data)})):
        for raw in (False, True):
            if bits == 1:
                assert read_latents(file, "sd1", raw=raw).values.max() < 1e-30
            else:
                refusal(file, raw=raw)


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
        npy(GOOD.shape, DATA, version=4),
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
        with pytest.raises(BlobError) as found:
            open_latents(file)
        assert str(found.value) == words


def test_latents_that_only_other_programs_read(photo_codec: Codec) -> None:
    written = convert(photo_codec.encode(gradient(32, 32)), "safetensors")
    with pytest.raises(BlobError, match="holds l8-photo latents, for other programs: decode the .l8"):
        read_latents(written)
    with pytest.raises(BlobError, match="holds own latents, for other programs: decode the .l8"):
        read_latents(convert(build_blob(model_id=OWN_ID), "safetensors"))
