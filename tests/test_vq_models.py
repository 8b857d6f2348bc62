"""Vector-quantised models of the user's own: a blob holds one number of a code for each place."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import VQModel
from PIL import Image

import latent8
from latent8 import BlobError, Codec, ModelError, own_model
from latent8.evaluation.latent_pictures import code_pictures
from latent8.file_format.blob import Encoded
from latent8.file_format.codings import CONTEXTS
from latent8.networks.vq import code_order
from latent8.pictures import drawing
from latent8.pictures.intake import open_picture
from tests.helpers.drawn_photos import photo
from tests.helpers.vq_folders import make_vq


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vq(tmp_path_factory.mktemp("vq"))


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return Codec(own_model(folder), "cpu")


def test_a_blob_holds_the_codes_that_diffusers_chooses_and_decodes_to_its_picture(folder: Path, codec: Codec) -> None:
    picture = photo(70, 90)
    encoded = Encoded.parse(codec.encode(picture))
    assert (encoded.header.latent_shape, encoded.header.quantiser.counts) == ((1, 18, 23), True)
    numbers = codec.latents(encoded)

    theirs = VQModel.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
    padded = np.pad(picture, ((0, 2), (0, 2), (0, 0)), mode="edge")
    with torch.inference_mode():
        z = theirs.encode(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1).latents
        _, _, (_, _, indices) = theirs.quantize(z)
        output = theirs.decode(z).sample[0].permute(1, 2, 0) / 2 + 0.5
    ours = code_order(theirs.quantize.embedding.weight.detach().numpy())[numbers.astype(int).ravel()]
    assert (ours == indices.numpy()).mean() > 0.99 and len(set(ours)) > 20
    decoded = np.asarray(codec.decode(encoded), int)
    expected = output.clamp(0, 1).mul(255).round().numpy()[:70, :90]
    assert np.median(np.abs(decoded - expected)) <= 1 and decoded.shape == (70, 90, 3)


def test_codes_are_kept_without_loss_and_in_fewer_bytes_than_places(codec: Codec) -> None:
    encoded = Encoded.parse(codec.encode(photo(256, 320)))
    n_places = 64 * 80
    assert encoded.coding == CONTEXTS and len(encoded.payload) < 0.8 * n_places
    numbers = codec.latents(encoded)
    again = codec.analyse(open_picture(photo(256, 320), codec.max_pixels))
    np.testing.assert_array_equal(codec.latents(again), numbers)
    np.testing.assert_array_equal(numbers, np.rint(numbers))


def test_the_order_of_codes_is_along_the_widest_direction_and_keeps_every_code() -> None:
    random = np.random.default_rng(0)
    along = random.normal(0, 1, 256)
    direction = random.normal(0, 1, 8)
    codebook = (along[:, None] * direction + random.normal(0, 0.05, (256, 8))).astype(np.float32)
    order = code_order(codebook)
    assert sorted(order) == list(range(256))
    ranks = np.argsort(np.argsort(along))[order]
    assert abs(np.corrcoef(ranks, np.arange(256))[0, 1]) > 0.99
    np.testing.assert_array_equal(code_order(codebook * np.float32(4)), order)  # the scale does not matter
    np.testing.assert_array_equal(code_order(np.zeros((5, 3), np.float32)), np.arange(5))
    # a fixed codebook has a fixed order: that of blobs that are about
    small = np.array([[1, 2], [-3, 1], [0, 0], [5, -2], [2, 2]], np.float32)
    np.testing.assert_array_equal(code_order(small), FIXED_ORDER)


FIXED_ORDER = [1, 2, 0, 4, 3]


def test_the_map_of_codes_and_their_use_are_pictured_without_the_model(codec: Codec, tmp_path: Path) -> None:
    blob = codec.encode(photo(64, 64))
    names = [view.caption for view in latent8.latent_pictures(blob)]
    counts = np.unique(codec.latents(Encoded.parse(blob))).size
    assert names[:2] == ["numbers of codes", "codes, each a colour"]
    assert names[2].startswith(f"{counts} codes in use, perplexity ")
    numbers = np.repeat(np.arange(4, dtype=np.uint8), 8).reshape(4, 8)
    assert code_pictures(numbers, 16)[2].caption == "4 codes in use, perplexity 4.0"
    colours = np.asarray(drawing.categories(numbers))
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 4 and (colours[0] == colours[0, 0]).all()
    everyone = np.asarray(drawing.categories(np.arange(256, dtype=np.uint8).reshape(16, 16)))
    assert len(np.unique(everyone.reshape(-1, 3), axis=0)) == 256
    latent8.latent_sheet(blob).save(tmp_path / "sheet.png")


def test_codes_leave_as_an_array_of_numbers(codec: Codec) -> None:
    blob = codec.encode(photo(64, 64))
    array = np.load(io.BytesIO(latent8.convert(blob, "npy")))
    np.testing.assert_array_equal(array[0], codec.latents(Encoded.parse(blob)))
    for to in ("png", "comfy"):
        with pytest.raises((ModelError, BlobError)):
            latent8.convert(blob, to)
    latents = latent8.read_latents(blob)
    np.testing.assert_array_equal(np.asarray(codec.decode(latents)), np.asarray(codec.decode(blob)))
    assert latent8.latent_pictures(latents)[0].caption == "numbers of codes"


@pytest.mark.parametrize(
    "config",
    [
        {"in_channels": 1, "out_channels": 1},
        {"norm_type": "spatial", "block_out_channels": (32, 32, 32), "norm_num_groups": 32},
        {"codes": 7},
    ],
)
def test_grey_spatial_and_small_ones_work_too(tmp_path: Path, config: dict) -> None:
    codec = Codec(own_model(make_vq(tmp_path / "vq", **config)), "cpu")
    decoded = np.asarray(codec.decode(codec.encode(photo(32, 48))))
    assert decoded.shape == (32, 48, 3) and decoded.std() > 1
    if "in_channels" in config:
        assert (decoded == decoded[..., :1]).all()


def test_blobs_of_other_codebooks_are_refused(tmp_path: Path, codec: Codec) -> None:
    blob = codec.encode(photo(64, 64))
    other = own_model(make_vq(tmp_path / "other", seed=1))
    with pytest.raises(BlobError, match="^The blob was made with another autoencoder than "):
        latent8.decode(blob, other)
    few = Codec(own_model(make_vq(tmp_path / "few", codes=20)), "cpu")
    encoded = Encoded.parse(blob)
    forged = replace(encoded, header=replace(encoded.header, weights=few.network.weights_hash))
    with pytest.raises(BlobError, match="^The blob is damaged: it names code [0-9]+, and the codebook has 20.$"):
        few.decode(forged)


def test_what_a_vector_quantised_model_has_no_use_for_is_refused(folder: Path, codec: Codec) -> None:
    for options in ({"levels": 64}, {"quality": 30}, {"target_bytes": 1000}):
        name = next(iter(options))
        with pytest.raises(ValueError, match=f"^{name} is for other models: .* has one size of file$"):
            codec.encode(photo(32, 32), **options)
    with pytest.raises(ModelError, match="^.* has 1 latent channels at 1/4, and latents in sd1 have 4 at 1/8.$"):
        own_model(folder, "sd1")


@pytest.mark.parametrize(
    "values, words",
    [
        ({"num_vq_embeddings": 512}, "has a codebook of 512 codes: blobs hold numbers of up to 256."),
        ({"num_vq_embeddings": "many"}, "has a codebook of many codes: blobs hold numbers of up to 256."),
        ({"in_channels": 4}, "is not for pictures of 3 or 1 channels, which are all that can be used."),
        ({"block_out_channels": [8] * 9}, "in 9 stages, which no blob can hold."),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, values: dict, words: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel", "block_out_channels": [8], **values}))
    with pytest.raises(ModelError) as caught:
        own_model(tmp_path)
    assert str(caught.value).endswith(words)


def test_on_the_command_line(run, folder: Path, tmp_path: Path) -> None:
    Image.fromarray(photo(64, 64)).save(tmp_path / "photo.png")
    blob = tmp_path / "photo.l8"
    assert run("encode", tmp_path / "photo.png", "--model", folder)[0] == 0 and blob.exists()
    code, lines, _ = run("inspect", blob)
    assert code == 0 and any("1 x 16 x 16" in line for line in lines)
    assert run("decode", blob, "--decoder", folder, "-o", tmp_path / "back.png")[0] == 0
    assert Image.open(tmp_path / "back.png").size == (64, 64)
    assert run("show", blob)[0] == 0
    code, _, errors = run("encode", tmp_path / "photo.png", "--model", folder, "--levels", "64", "--force")
    assert code == 2 and "levels is for other models" in errors[0]
    code, _, errors = run("decode", blob, "-o", tmp_path / "again.png")
    assert code == 2 and "The blob was made with an autoencoder of the user's own" in errors[0]
