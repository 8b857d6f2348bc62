"""What several test modules share: loaded codecs, synthetic pictures, a packer for hostile blobs, golden files."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.register_assert_rewrite(
    "app_calls", "blob_calls", "blobs_by_hand", "drawn_photos", "foreign_files", "library_photos", "picture_files"
)

EXAMPLES = Path(__file__).parents[1] / "spaces" / "encoder" / "examples"
GOLDEN = Path(__file__).with_name("golden")
REWRITE = "LATENT8_REWRITE_GOLDEN"
Run = Callable[..., tuple[int, list[str], list[str]]]


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
    return run


@pytest.fixture
def small_photo(tmp_path: Path) -> Path:
    """photo.png of 50 x 40 pixels, alone in its folder."""
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


def build_blob(
    *,
    magic: bytes = b"\x89L8\n",
    version: int = 1,
    flags: int | None = None,
    model_id: int = 1,
    weights: bytes = b"\xde\xad\xbe\xef",
    width: int = 16,
    height: int = 8,
    channels: int = 4,
    stride: int = 8,
    top: int = 255,
    coding: int = 0,
    low: float = -3.0,
    high: float = 3.0,
    payload: bytes = bytes(range(8)),
    payload_bytes: int | None = None,
    stem: bytes | None = None,
    alpha: bytes | None = None,
    area: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A blob of any fields whatever, with a right checksum; written from the field table, not from the packer."""
    if flags is None:
        flags = (stem is not None) + 2 * (alpha is not None) + 4 * (area is not None)
    body = magic + struct.pack("<BBH", version, flags, model_id) + weights + struct.pack("<II", width, height)
    body += struct.pack("<BBBBee", channels, stride, top, coding, low, high)
    body += struct.pack("<I", len(payload) if payload_bytes is None else payload_bytes)
    if stem is not None:
        body += struct.pack("<B", len(stem)) + stem
    if alpha is not None:
        body += struct.pack("<I", len(alpha)) + alpha
    if area is not None:
        body += struct.pack("<I", len(area)) + area
    body += payload
    return body + struct.pack("<I", zlib.crc32(body)) + tail


def side_bytes(channels: int) -> int:
    """Bytes that a coded payload has before its words: 8 + c weights, and a table for each of 12 contexts."""
    return sum(8 + channel + 12 for channel in range(channels))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, colour_type: int, *chunks: bytes) -> bytes:
    """A PNG of 8 bits a channel that states this size and holds a few bytes of picture data."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(bytes(64))), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def gradient(width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]: a ramp along each axis and one across, easy for any codec."""
    y, x = np.mgrid[:height, :width] / max(width, height, 2)
    return np.rint(np.stack([40 + 160 * x, 60 + 130 * y, 200 - 80 * (x + y)], axis=-1)).astype(np.uint8)


def smooth_symbols(channels: int, height: int, width: int, levels: int, seed: int = 0) -> np.ndarray:
    """uint8 [channels, height, width] such as a photo gives: soft slopes, related channels, some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.sin(x / 5 + 1) + np.cos(y / 4) + rng.normal(0, 0.1, (height, width))
    planes = [0.5 + 0.12 * base * np.cos(k) + 0.05 * np.sin((x + k * y) / 3) for k in range(channels)]
    return np.rint(np.clip(planes, 0, 1) * (levels - 1)).astype(np.uint8)


@contextmanager
def allocating_at_most(n_bytes: int) -> Iterator[None]:
    """Fail when Python and NumPy together take more memory than that at any moment of the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= n_bytes, f"{peak} bytes were allocated"
