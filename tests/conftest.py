"""Fixtures that several test modules share: loaded codecs, a photo, the command line in this process, golden files."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.register_assert_rewrite("tests.helpers")

if TYPE_CHECKING:
    from tests.helpers.checks import Run

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"
GOLDEN = Path(__file__).with_name("golden")
REWRITE = "LATENT8_REWRITE_GOLDEN"


@pytest.fixture(scope="session")
def default_threads() -> int:
    import torch

    return torch.get_num_threads()


@pytest.fixture(autouse=True)
def same_number_of_threads(default_threads: int) -> Iterator[None]:
    """Some tests change it, as actors of a bulk job do; with another number, half precision rounds in another way."""
    import torch

    torch.set_num_threads(default_threads)
    yield
    torch.set_num_threads(default_threads)


@pytest.fixture(scope="session")
def codec():
    """l8-tiny in float32 on the CPU, whose results are the same on any machine but for rounding."""
    import torch

    from latent8 import Codec

    return Codec("l8-tiny", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def half_codec():
    """l8-tiny in bfloat16."""
    import torch

    from latent8 import Codec

    return Codec("l8-tiny", device="cpu", dtype=torch.bfloat16)


@pytest.fixture(scope="session")
def photo_codec():
    """l8-photo in float32 on the CPU."""
    import torch

    from latent8 import Codec

    return Codec("l8-photo", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def half_photo_codec():
    """l8-photo in bfloat16."""
    import torch

    from latent8 import Codec

    return Codec("l8-photo", device="cpu", dtype=torch.bfloat16)


@pytest.fixture(scope="session")
def sunset() -> np.ndarray:
    """A photo without much in it, uint8 [h, w, 3] with sides of at most 192."""
    with Image.open(EXAMPLES / "sunset.jpg") as image:
        image.thumbnail((192, 192), Image.Resampling.LANCZOS)
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def run(codec, photo_codec, capsys, monkeypatch) -> Run:
    """run(*arguments) -> exit code, lines on standard output, lines on standard error; in this process."""
    from latent8 import Codec
    from latent8.cli import commands
    from latent8.pool import POOL

    loaded = {one.model: one for one in (codec, photo_codec)}  # once for all tests

    def load(model, device=None, dtype=None, max_pixels=codec.max_pixels):
        if model not in loaded or device is not None:
            return Codec(model, device, dtype, max_pixels)
        monkeypatch.setattr(loaded[model], "max_pixels", max_pixels)
        return loaded[model]

    def run(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
        try:
            code = commands.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # how argparse ends
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    monkeypatch.setattr("latent8.pool.Codec", load)
    monkeypatch.setattr(POOL, "_loaded", OrderedDict())  # the library's own pool keeps none of these float32 codecs
    return run


@pytest.fixture
def small_photo(tmp_path: Path) -> Path:
    """photo.png of 50 x 40 pixels, alone in its folder."""
    from tests.helpers.samples import gradient

    path = tmp_path / "photo.png"
    Image.fromarray(gradient(50, 40)).save(path)
    return path


@pytest.fixture
def golden() -> Callable[[str, Callable[[], bytes]], bytes]:
    """golden(name, make): bytes of tests/golden/name; `make` writes them anew only where that is asked for."""

    def read(name: str, make: Callable[[], bytes]) -> bytes:
        path = GOLDEN / name
        if os.environ.get(REWRITE) == "1":
            GOLDEN.mkdir(exist_ok=True)
            path.write_bytes(make())
        if not path.exists():
            pytest.fail(f"{path.name} is missing from tests/golden: restore it; {REWRITE}=1 writes it anew.")
        return path.read_bytes()

    return read


@pytest.fixture
def lpips_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes random weights of LPIPS for a network with few channels: function of "alexnet" or "vgg16" -> file."""
    from training.lpips import ALEXNET, VGG16

    def write(net: str) -> Path:
        random = np.random.default_rng(0)
        sides = [11, 5, 3, 3, 3] if net == "alexnet" else [3] * 13
        taps = sorted((ALEXNET if net == "alexnet" else VGG16)[1])
        arrays, inputs = {}, 3
        outputs = [4 + index for index in range(len(sides))]
        for index, (side, n) in enumerate(zip(sides, outputs, strict=True)):
            arrays[f"conv{index}.weight"] = random.normal(0, (2 / (inputs * side**2)) ** 0.5, (n, inputs, side, side))
            arrays[f"conv{index}.bias"] = random.normal(0, 0.1, n)
            inputs = n
        for index, tap in enumerate(taps):
            arrays[f"head{index}"] = random.uniform(0, 1, outputs[tap])
        path = tmp_path / f"{net}.npz"
        np.savez(path, **{name: array.astype(np.float16) for name, array in arrays.items()})
        return path

    return write
