"""Many pictures at a time: the results of one at a time, in order, with errors in their places."""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_metrics import busy

from latent8 import BlobError, Codec, Latent8Error, ModelError, PictureError
from latent8.machine import parallel
from latent8.machine.parallel import failing_once, large, map_in_order
from latent8.pictures.intake import size_of
from tests.helpers.samples import gradient

SIZES = [(64, 48), (1, 1), (33, 97), (160, 128), (17, 300), (64, 48), (250, 130), (16, 16), (129, 65)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for index, (width, height) in enumerate(SIZES):
        Image.fromarray(busy(height, width)).save(folder / f"{index} ü.png")
    ghost = np.dstack([gradient(40, 30), np.arange(1200, dtype=np.uint16).reshape(30, 40) % 256]).astype(np.uint8)
    Image.fromarray(ghost).save(folder / "ghost.png")
    return sorted(folder.iterdir())


# Codec.encode_many and decode_many


@pytest.mark.parametrize("name", ["codec", "photo_codec", "half_codec", "half_photo_codec"])
def test_same_bytes_and_pixels_as_one_at_a_time(name: str, photos: list[Path], request) -> None:
    codec: Codec = request.getfixturevalue(name)
    blobs = list(codec.encode_many(photos))
    assert blobs == [codec.encode(photo) for photo in photos]
    for image, blob in zip(codec.decode_many(blobs), blobs, strict=True):
        single = codec.decode(blob)
        assert isinstance(image, Image.Image) and image.mode == single.mode
        np.testing.assert_array_equal(np.asarray(image), np.asarray(single))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_same_bytes_whatever_the_number_of_threads(photo_codec: Codec, photos: list[Path], n_threads: int) -> None:
    alone = [photo_codec.encode(photo, quality=80) for photo in photos]
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        assert list(photo_codec.encode_many(photos, quality=80)) == alone
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


def test_threads_that_begin_later_have_torchs_number(photo_codec: Codec, photos: list[Path]) -> None:
    before, found = torch.get_num_threads(), list[int]()
    torch.set_num_threads(3)
    try:
        results = photo_codec.encode_many(photos)
        next(results)
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        results.close()  # type: ignore[attr-defined]
    finally:
        torch.set_num_threads(before)
    assert found == [3]


def test_options_are_those_of_encode(codec: Codec, photo_codec: Codec, photos: list[Path]) -> None:
    large = photos[3]
    for one, options in (
        (codec, {"levels": 32}),
        (photo_codec, {"quality": 7, "longest_side": 50}),
        (photo_codec, {"target_bytes": 2000}),
    ):
        assert list(one.encode_many([large], **options)) == [one.encode(large, **options)]
    with pytest.raises(ValueError, match="quality must be from 1 to 100"):
        photo_codec.encode_many([large], quality=0)
    for option in ("stem", "progress"):
        with pytest.raises(TypeError):
            photo_codec.encode_many([large], **{option: None})


def test_every_kind_of_source(codec: Codec, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    with Image.open(photos[0]) as image:
        image.load()
        sources = [photos[0], str(photos[0]), data, io.BytesIO(data), image, np.asarray(image)]
        blobs = list(codec.encode_many(sources))
        wanted = [codec.encode(source) for source in [*sources[:3], io.BytesIO(data), *sources[4:]]]
    assert blobs == wanted


def test_errors_come_in_their_places(photo_codec: Codec, photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    results = list(photo_codec.encode_many([photos[0], bad, photos[1], tmp_path / "missing.jpg", photos[2]]))
    assert [type(result) for result in results] == [bytes, PictureError, bytes, PictureError, bytes]
    assert "not a picture" in str(results[1]) and "There is no file" in str(results[3])

    blob = tmp_path / "good.l8"
    blob.write_bytes(results[0])  # type: ignore[arg-type]
    damaged = bytes(results[0][:60])  # type: ignore[index]
    decoded = list(photo_codec.decode_many([damaged, blob, tmp_path / "none.l8", str(blob)]))
    assert [type(result) for result in decoded] == [BlobError, Image.Image, BlobError, Image.Image]
    assert str(decoded[2]) == "The file cannot be read (No such file or directory)."


def test_large_pictures_are_left_to_the_callers_thread(codec: Codec, photos: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(parallel, "LARGE_PIXELS", 64 * 48 + 1)
    wanted, where = [codec.encode(photo) for photo in photos], dict[tuple[int, int], str]()
    encode_pixels = codec.network.encode_pixels

    def watched(rgb: np.ndarray, *others) -> np.ndarray:
        where[rgb.shape[:2]] = threading.current_thread().name
        return encode_pixels(rgb, *others)

    monkeypatch.setattr(codec.network, "encode_pixels", watched)
    assert list(codec.encode_many(photos)) == wanted
    here = threading.current_thread().name
    assert where[(128, 160)] == here and where[(136, 256)] == here
    assert where[(48, 64)].startswith("latent8") and where[(16, 16)].startswith("latent8")
    where.clear()
    list(codec.encode_many([photos[3]], longest_side=60))  # small once it is shrunk
    assert here not in where.values()


def test_what_takes_much_memory_is_large_sooner() -> None:
    plenty = 1 << 40
    assert not large(1_999_999, 256, plenty) and large(2_000_000, 1, plenty)
    assert large(512 * 1024 + 1, 1024, plenty) and not large(512 * 1024, 1024, plenty)
    cores = os.cpu_count()
    assert cores and large(1000, 1024, 2 * cores * 999 * 1024) and not large(1000, 1024, 2 * cores * 1000 * 1024)


def test_a_picture_is_large_by_what_its_network_takes(codec: Codec, monkeypatch) -> None:
    assert not codec.is_large(512 * 512)
    monkeypatch.setattr(codec.network, "bytes_per_pixel", 6 * 128 * 4)  # of a full autoencoder
    assert codec.is_large(512 * 512) and not codec.is_large(64 * 64)


def test_size_is_read_off_the_header(photos: list[Path]) -> None:
    assert [size_of(photo) for photo in photos] == [*SIZES, (40, 30)]
    assert size_of(photos[0].read_bytes()[:60]) == SIZES[0]
    assert size_of(b"nothing") == size_of("missing.png") == size_of(np.zeros(3, np.uint8)) == (0, 0)
    assert size_of(np.zeros((2, 5, 3), np.uint8)) == (5, 2)


# map_in_order


def never(_: object) -> bool:
    return False


def test_order_holds_whichever_ends_first() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.05 / (1 + item))
        return item * item

    assert list(map_in_order(slow_at_first, range(20), never, 4)) == [item * item for item in range(20)]
    assert list(map_in_order(slow_at_first, [], never, 4)) == []


def test_several_run_at_the_same_time() -> None:
    together = threading.Barrier(3)
    assert list(map_in_order(lambda _: together.wait(20) >= 0, range(3), never, 3)) == [True] * 3


def test_few_are_taken_ahead_of_the_results() -> None:
    taken = itertools.count()
    results = map_in_order(lambda item: item, taken, never, 2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert next(taken) <= 10 + 4
    results.close()  # type: ignore[attr-defined]


def test_stopping_early_ends_the_threads() -> None:
    before = threading.active_count()
    results = map_in_order(lambda item: item, itertools.count(), never, 3)
    next(results)
    assert threading.active_count() == before + 3
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_the_items_raise_comes_after_their_results() -> None:
    def items():
        yield from range(3)
        raise OSError("the list ends here")

    found = []
    with pytest.raises(OSError, match="the list ends here"):
        for result in map_in_order(lambda item: item, items(), never, 2):
            found.append(result)
    assert found == [0, 1, 2]


def test_a_defect_is_raised_and_not_given_out() -> None:
    def call(item: int) -> int:
        if item == 1:
            raise Latent8Error("bad input")
        return 1 // (2 - item)

    results = map_in_order(call, range(4), never, 2)
    assert next(results) == 0 and str(next(results)) == "bad input"
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_fails_is_tried_once_by_threads_that_ask_together() -> None:
    tried, going, problems = [], threading.Event(), []

    def load(name: str) -> None:
        tried.append(name)
        going.wait(30)
        raise ModelError(f"{name} is missing.")

    def ask() -> None:
        try:
            loaded("a model")
        except ModelError as error:
            problems.append(str(error))

    loaded = failing_once(load)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # enough for a second one to try, were it not held back
    going.set()
    for thread in threads:
        thread.join()
    assert (tried, problems) == (["a model"], ["a model is missing."] * 4)
