"""The codec with l8-tiny: ranges, identity where it is promised, and refusals.

Nothing here depends on what the weights are, only on their being of some use.
"""

from __future__ import annotations

import inspect as signatures
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latent8
from latent8 import BlobError, Codec, ModelError, PictureError, inspect
from latent8.evaluation.metrics import psnr
from latent8.file_format.blob import Encoded
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import read
from latent8.latents import describe
from latent8.pictures.intake import encode_alpha
from latent8.pool import symbols_of
from tests.helpers.blob_calls import decoded, refusal, symbols_in
from tests.helpers.checks import allocating_at_most
from tests.helpers.samples import build_blob, gradient, png_claiming, side_bytes

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"


# ---- quality, roughly


def square(inside: int, outside: int) -> np.ndarray:
    picture = np.full((256, 256, 3), outside, np.uint8)
    picture[64:192, 64:192] = inside
    return picture


# What each slip in the range of the pictures gives, in dB of PSNR, measured with the bundled weights:
#                                              white on black    light on dark grey
#   no slip                                        30.5               34.6
#   encoder fed [-1, 1]                             3.7                6.3
#   encoder fed [0.5, 1]                            7.2                9.7
#   decoder's [0, 1] taken for [-1, 1]              7.2                9.6
#   decoder's [0, 1] stretched to [-1, 1]          27.6 (clipped)     12.0
# More than 55 dB would mean that the picture never went through 8-bit latents of an eighth of its size.
@pytest.mark.parametrize("inside, outside, at_least", [(255, 0, 20), (192, 64, 24)])
def test_square_survives(codec: Codec, inside: int, outside: int, at_least: float) -> None:
    picture = square(inside, outside)
    blob = codec.encode(picture)
    as_decoded = replace(inspect(blob), chunks=()).to_bytes()  # without the flat colours, which would be exact
    assert at_least < psnr(picture, decoded(codec, as_decoded)) < 55
    assert len(blob) < 4 * 32 * 32 + 36


def test_fewer_levels_make_smaller_and_coarser(codec: Codec) -> None:
    picture = gradient(160, 120)
    blobs = [codec.encode(picture, levels=levels) for levels in (16, 64, 256)]
    sizes = [len(blob) for blob in blobs]
    qualities = [psnr(picture, decoded(codec, blob)) for blob in blobs]
    assert sizes[0] < sizes[1] < sizes[2]
    assert qualities[0] < qualities[2]
    assert [inspect(blob).header.quantiser.levels for blob in blobs] == [16, 64, 256]


@pytest.mark.parametrize("name", ["aitzgorri", "life", "picos", "seeding", "sunset", "wine"])
def test_example_photos(codec: Codec, name: str) -> None:
    photo = EXAMPLES / f"{name}.jpg"
    image = Image.open(photo).convert("RGB")
    scale = 300 / max(image.size)
    wanted = tuple(round(side * scale) for side in image.size)
    blob = codec.encode(photo, longest_side=300)
    result = codec.decode(blob)
    assert (result.size, result.mode) == (wanted, "RGB")
    assert inspect(blob).stem == name
    small = np.asarray(image.resize(wanted, Image.Resampling.LANCZOS))
    assert 17 < psnr(small, np.asarray(result)) < 50


def test_half_precision_is_near(codec: Codec, half_codec: Codec) -> None:
    picture = gradient(120, 96)
    blob, half_blob = codec.encode(picture), half_codec.encode(picture)
    differing = np.abs(symbols_in(blob).astype(int) - symbols_in(half_blob))
    assert differing.mean() < 2 and np.quantile(differing, 0.99) <= 8
    exact = decoded(codec, blob)
    for other in (decoded(codec, half_blob), decoded(half_codec, blob)):
        assert psnr(exact, other) > 33


# ---- identity


def test_same_bytes_twice(codec: Codec) -> None:
    assert codec.encode(gradient(99, 77)) == codec.encode(gradient(99, 77))
    blob = codec.encode(gradient(99, 77))
    np.testing.assert_array_equal(decoded(codec, blob), decoded(codec, blob))


def test_all_kinds_of_sources_give_the_same_latents(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "holiday.png"
    image = Image.fromarray(gradient(60, 50))
    image.save(path)
    blob = codec.encode(gradient(60, 50))
    assert codec.encode(image) == codec.encode(path.read_bytes()) == blob
    for source in (path, str(path), Image.open(path)):
        named = codec.encode(source)
        np.testing.assert_array_equal(symbols_in(named), symbols_in(blob))
        assert inspect(named).stem == "holiday"
    assert inspect(codec.encode(path, stem="other")).stem == "other"
    assert inspect(blob).stem is None


@pytest.mark.parametrize(
    "width, height", [(1, 1), (1, 9), (7, 5), (8, 8), (9, 8), (16, 17), (37, 1021), (255, 3), (101, 67)]
)
def test_sizes_are_exact(codec: Codec, width: int, height: int) -> None:
    picture = gradient(width, height)
    blob = codec.encode(picture)
    header = inspect(blob)
    assert (header.width, header.height) == (width, height)
    assert header.latent_shape == (4, -(-height // 8), -(-width // 8))
    result = codec.decode(blob)
    assert (result.size, result.mode) == ((width, height), "RGB")
    if min(width, height) > 16:  # below that, the network sees little but the zeros around the picture
        assert psnr(picture, np.asarray(result)) > 18


@pytest.mark.parametrize("width, height", [(1, 1), (61, 43)])
def test_alpha_is_kept_bit_for_bit(codec: Codec, width: int, height: int) -> None:
    alpha = np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)
    result = codec.decode(codec.encode(np.dstack([gradient(width, height), alpha])))
    assert (result.mode, result.size) == ("RGBA", (width, height))
    np.testing.assert_array_equal(np.asarray(result)[..., 3], alpha)


def test_opaque_rgba_is_encoded_as_rgb(codec: Codec) -> None:
    opaque = np.dstack([gradient(40, 30), np.full((30, 40), 255, np.uint8)])
    assert codec.encode(opaque) == codec.encode(gradient(40, 30))


def test_hidden_colours_leave_no_trace(codec: Codec) -> None:
    rgba = np.dstack([gradient(64, 48), np.full((48, 64), 255, np.uint8)])
    rgba[10:30, 20:50, 3] = 0
    other = rgba.copy()
    other[10:30, 20:50, :3] = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
    assert codec.encode(rgba) == codec.encode(other)


def test_golden_blob_stays_decodable(codec: Codec, golden) -> None:
    y, x = np.mgrid[:75, :101]
    alpha = ((x * 5 + y * 3) % 256).astype(np.uint8)
    picture = np.dstack([gradient(101, 75), alpha])
    blob = golden("picture.l8", lambda: codec.encode(picture, levels=128, stem="golden picture"))
    encoded = Encoded.parse(blob)
    assert (encoded.width, encoded.height, encoded.stem) == (101, 75, "golden picture")
    assert (encoded.model_id, encoded.header.quantiser) == (1, Quantiser(-3, 3, 128))
    assert symbols_of(encoded).values.shape == (4, 10, 13)
    result = decoded(codec, blob)
    np.testing.assert_array_equal(result[..., 3], alpha)
    visible = alpha > 0
    assert 24 < psnr(picture[visible][None, :, :3], result[visible][None, :, :3]) < 55


# ---- files and functions at the top of the package


def test_functions_on_files(tmp_path: Path) -> None:
    source, blob, target = tmp_path / "a.png", tmp_path / "a.l8", tmp_path / "b.webp"
    rgba = np.dstack([gradient(50, 40), np.full((40, 50), 9, np.uint8)])
    Image.fromarray(rgba).save(source)
    latent8.encode_file(source, blob, "l8-tiny", levels=100, device="cpu")
    assert blob.read_bytes() == latent8.encode(source, "l8-tiny", levels=100, device="cpu")
    assert latent8.decode(blob.read_bytes(), device="cpu").size == (50, 40)
    latent8.decode_file(blob, target, device="cpu")
    with Image.open(target) as image:
        assert (image.format, image.size, image.mode) == ("WEBP", (50, 40), "RGBA")
    latent8.decode_file(blob, tmp_path / "b.jpg", device="cpu")
    with Image.open(tmp_path / "b.jpg") as image:  # on white: hardly anything of the picture is left at alpha 9
        assert np.asarray(image).min() > 230
    with pytest.raises(PictureError, match=r"^No picture can be written as \.doc: use "):
        latent8.decode_file(blob, tmp_path / "b.doc", device="cpu")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.l8", "b.webp", "b.jpg"}


def test_blobs_are_taken_as_paths_and_as_bytes_of_any_kind(tmp_path: Path, codec: Codec) -> None:
    blob = codec.encode(gradient(40, 30), levels=64)
    path = tmp_path / "a.l8"
    path.write_bytes(blob)
    expected = {call: np.asarray(call(blob)) for call in (latent8.decode, codec.decode)}  # perhaps in other precisions
    for form in (path, str(path), bytearray(blob), memoryview(blob)):
        for call, picture in expected.items():
            assert np.array_equal(np.asarray(call(form)), picture)
        assert inspect(form) == inspect(blob)
        assert latent8.compare(form).decoded[0].decoder == "l8-tiny"
        assert latent8.convert(form, "npy") == latent8.convert(blob, "npy")
        assert latent8.latent_sheet(form).tobytes() == latent8.latent_sheet(blob).tobytes()
    for call in (latent8.decode, codec.decode, inspect, latent8.compare, latent8.read_latents, latent8.latent_sheet):
        with pytest.raises(BlobError, match="^The file cannot be read .No such file or directory.\\.$"):
            call(tmp_path / "none.l8")


def test_import_and_inspect_load_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.l8"
    path.write_bytes(build_blob())
    code = (
        "import sys, latent8, latent8.cli\n"
        "assert latent8.inspect(open(sys.argv[1], 'rb').read()).width == 16\n"
        "print(sorted({'torch', 'diffusers', 'gradio', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_shows_real_options() -> None:
    """Also to editors and other tools: no function of the library takes `**options`."""
    functions = [getattr(latent8, name) for name in latent8.__all__] + list(vars(Codec).values())
    for function in filter(signatures.isfunction, functions):
        parameters = signatures.signature(function).parameters.values()
        assert not any(one.kind is one.VAR_KEYWORD for one in parameters), function
    of_codec = signatures.signature(Codec.encode).parameters
    for function in (latent8.encode, latent8.encode_file):
        shown = signatures.signature(function).parameters
        wanted = [name for name, one in of_codec.items() if one.kind is one.KEYWORD_ONLY]
        assert [name for name, one in shown.items() if one.kind is one.KEYWORD_ONLY] == [*wanted, "device"]
        assert all(shown[name].default == of_codec[name].default for name in wanted)
    for name in [*wanted, "device"]:
        assert name in latent8.encode.__doc__


def test_describe_is_ready_for_json(codec: Codec) -> None:
    blob = codec.encode(np.dstack([gradient(50, 40), np.zeros((40, 50), np.uint8)]), levels=61, stem="x")
    found = json.loads(json.dumps(describe(inspect(blob))))
    assert found | {"alpha": "", "coding": ""} == {
        "model": "l8-tiny",
        "space": "l8-tiny",
        "width": 50,
        "height": 40,
        "latents": "4 x 5 x 7",
        "levels": 61,
        "range": "-3 to 3",
        "step": 0.1,
        "coding": "",
        "bytes": len(blob),
        "bpp": round(len(blob) * 8 / 2000, 4),
        "alpha": "",
        "flat_colours": "none",
        "metadata": "none",
        "name": "x",
    }
    assert found["alpha"] == f"lossless, {len(encode_alpha(np.zeros((40, 50), np.uint8)))} bytes"


# ---- the quantiser


def test_quantiser_is_that_of_taesd() -> None:
    latents = np.linspace(-3.5, 3.5, 20001, dtype=np.float32)
    wanted = np.rint(255 * np.clip(latents.astype(np.float64) / 6 + 0.5, 0, 1))
    found = Quantiser().quantise(latents)
    assert found.dtype == np.uint8
    at_a_half = np.abs((255 * (latents.astype(np.float64) / 6 + 0.5)) % 1 - 0.5) < 1e-4  # float32 may fall either way
    np.testing.assert_array_equal(found[~at_a_half], wanted[~at_a_half])
    assert Quantiser().dequantise(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([-3, -1.8, 3])


@pytest.mark.parametrize("levels", [16, 17, 100, 255, 256])
def test_quantiser_gives_each_symbol_back(levels: int) -> None:
    quantiser = Quantiser(-2.5, 4.0, levels)
    symbols = np.arange(levels, dtype=np.uint8)
    np.testing.assert_array_equal(quantiser.quantise(quantiser.dequantise(symbols)), symbols)
    assert quantiser.step == pytest.approx(6.5 / (levels - 1))


@pytest.mark.parametrize("levels", [15, 257, 0, -1])
def test_levels_out_of_range_refused(codec: Codec, levels: int) -> None:
    with pytest.raises(ValueError, match=f"^levels must be from 16 to 256, not {levels}$"):
        codec.encode(gradient(9, 9), levels=levels)


# ---- refusals


def test_blob_of_another_model_refused(codec: Codec) -> None:
    assert refusal(codec, build_blob(model_id=2)) == (
        "The blob holds sd1 latents, and l8-tiny decodes l8-tiny latents: "
        "decode it with taesd or sd-vae-ft-mse or consistency."
    )


def test_blob_of_other_weights_refused(codec: Codec) -> None:
    good = codec.network.weights_hash
    other = bytes([good[0] ^ 1]) + good[1:]
    assert refusal(codec, build_blob(weights=other)).startswith("The blob was made with other weights of l8-tiny: ")
    assert codec.decode(build_blob(weights=good)).size == (16, 8)


def test_unknown_model_refused(codec: Codec) -> None:
    said = refusal(codec, build_blob(model_id=777))
    assert said.startswith("The blob needs model 777, and this latent8 knows 1 (l8-tiny), 2 (taesd), 3 (l8-photo), ")
    assert said.endswith(", 22 (consistency): update latent8.")
    for function in (inspect, read, latent8.decode):
        with pytest.raises(BlobError, match="^The blob needs model 777"):
            function(build_blob(model_id=777))


@pytest.mark.parametrize("fields", [{"channels": 3, "payload": bytes(6)}, {"stride": 4, "payload": bytes(32)}])
def test_latents_of_another_shape_than_the_models_refused(codec: Codec, fields: dict) -> None:
    blob = build_blob(**fields)
    channels, stride = fields.get("channels", 4), fields.get("stride", 8)
    wanted = f"The blob is not valid: {channels} latent channels at 1/{stride} are not those of l8-tiny."
    assert refusal(codec, blob) == wanted
    with pytest.raises(BlobError, match="are not those of l8-tiny"):
        inspect(blob)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0 a JPEG", b"text"])
def test_other_files_refused(codec: Codec, data: bytes) -> None:
    assert refusal(codec, data) == "This is not a latent8 blob (.l8): it starts with other bytes."


def test_pixel_limit_holds_both_ways(codec: Codec, monkeypatch) -> None:
    blob = codec.encode(gradient(50, 40))
    monkeypatch.setattr(codec, "max_pixels", 1999)
    wanted = r"^The picture has 0\.0 megapixels \(50 x 40\), over the limit of 0\.0: shrink it, or raise the limit "
    with pytest.raises(PictureError, match=wanted):
        codec.encode(gradient(50, 40))
    with pytest.raises(BlobError, match=wanted):
        codec.decode(blob)
    monkeypatch.setattr(codec, "max_pixels", 2000)
    assert codec.decode(blob).size == (50, 40)


def test_small_blob_of_a_huge_picture_is_refused_before_its_latents_are_decoded(codec: Codec) -> None:
    payload = bytes(side_bytes(4) + 48_000)  # long enough for what it claims, 64 million symbols
    blob = build_blob(coding=1, width=1 << 15, height=1 << 15, payload=payload, weights=codec.network.weights_hash)
    assert inspect(blob).latent_shape == (4, 4096, 4096)
    with allocating_at_most(1_000_000):
        assert refusal(codec, blob).startswith("The picture has 1073.7 megapixels (32768 x 32768), over the limit of")
        with pytest.raises(BlobError, match=r"1073\.7 megapixels"):
            read(blob)


@pytest.mark.parametrize(
    "alpha, start",
    [
        (encode_alpha(np.zeros((8, 15), np.uint8)), "The blob is not valid: its alpha plane has another size or mode"),
        (b"garbage", "The blob is damaged: its alpha plane cannot be read."),
        (png_claiming(60_000, 60_000, 0), "The blob is not valid: its alpha plane has another size or mode"),
    ],
)
def test_hostile_alpha_planes_refused(codec: Codec, alpha: bytes, start: str) -> None:
    assert refusal(codec, build_blob(weights=codec.network.weights_hash, alpha=alpha)).startswith(start)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_unknown_device_refused(device: str) -> None:
    with pytest.raises(ModelError, match=f"^l8-tiny cannot be loaded on the device {device}: "):
        Codec("l8-tiny", device)


def test_unknown_model_name_refused() -> None:
    with pytest.raises(ModelError, match="^There is no model 'vgg': choose l8-tiny or taesd or l8-photo"):
        Codec("vgg")
