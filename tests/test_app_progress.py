"""The progress bars of the apps move with the tiles of large pictures."""

from __future__ import annotations

import pickle
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gradio_client import Client
from PIL import Image

import latent8
from latent8.apps import work
from tests.helpers.app_calls import SPACES, upload, written
from tests.helpers.samples import gradient

if TYPE_CHECKING:
    from gradio import Blocks

pytest_plugins = ["tests.helpers.app_servers"]


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
        patch.setattr(work, "gpu", gpu)
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
    monkeypatch.setattr(work.codec("l8-tiny").network, "max_bytes", 1)
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


def test_progress_of_an_encoding_moves_with_its_tiles(
    shown: Callable[..., Any], large_photo: Path, tmp_path: Path
) -> None:
    steps = shown("encoder", "/encode", photo=large_photo, model="l8-tiny")
    assert list(steps) == ["Encoding", "Decoding"]
    assert_moves(steps["Encoding"], 0, 0.5)
    assert_moves([0.5, *steps["Decoding"]], 0.5, 1)

    other = written(tmp_path / "other.png", large_photo.read_bytes())
    steps = shown("encoder", "/encode_batch", photos=[large_photo, other], model="l8-tiny")
    assert list(steps) == ["Photo 1 of 2", "Photo 2 of 2"]
    assert_moves(steps["Photo 1 of 2"], 0, 0.5)
    assert_moves(steps["Photo 2 of 2"], 0.5, 1)


def test_progress_of_a_decoding_moves_with_its_tiles(
    shown: Callable[..., Any], large_photo: Path, tmp_path: Path
) -> None:
    blob = written(tmp_path / "photo.l8", latent8.encode(large_photo, "l8-tiny"))
    steps = shown("decoder", "/decode", blob=blob)
    assert list(steps) == ["Decoding"]
    assert_moves(steps["Decoding"], 0, 0.9)

    other = written(tmp_path / "other.l8", blob.read_bytes())
    steps = shown("decoder", "/decode_batch", blobs=[blob, other])
    assert list(steps) == ["Blob 1 of 2", "Blob 2 of 2"]
    assert_moves(steps["Blob 1 of 2"], 0, 0.5)
    assert_moves(steps["Blob 2 of 2"], 0.5, 1)

    steps = shown("decoder", "/compare", blob=blob, original=large_photo)
    assert next(iter(steps)) == "Decoding with l8-tiny" and set(steps) <= {"Decoding with l8-tiny", "Measuring"}
    assert_moves(steps["Decoding with l8-tiny"], 0, 0.6)


def test_bar_does_nothing_outside_of_an_event() -> None:
    bar = work.Bar("Photo 1 of 2", 0, 0.5)
    assert bar.part("Encoding", 0, 0.5) == work.Bar("Photo 1 of 2: encoding", 0, 0.25)
    assert bar(0.5) is None
