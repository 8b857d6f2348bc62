"""Hostile inputs by the million: real files, changed with their structure in mind, each opened as a user's would be.

    python -m benchmarks.fuzz blobs --inputs 1000000          # the parser, and payloads down to their symbols
    python -m benchmarks.fuzz latents --inputs 1000000        # RGBA PNG, .npy, .safetensors, ComfyUI's .latent
    python -m benchmarks.fuzz pictures --inputs 100000 --seed 7
    python -m benchmarks.fuzz metadata --inputs 100000        # EXIF and XMP data to be kept, of pictures and blobs
    python -m benchmarks.fuzz pictures --seconds 60           # as many as there is time for
    python -m benchmarks.fuzz pictures --only 4711            # one input again, with its traceback

An input is made of the seed and its number alone, so any is made again on any machine. A child process opens them; what
is wrong is a crash of it, over 5 s for one input, any error but latent8's own of one line, a warning, and a peak of
memory that grows by over 64 MB and 40 times what the limit of pixels allows. Each find is written to --out, and the
rest goes on. Exit code 1 where there was any.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import random
import resource
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latent8.errors import Latent8Error
from latent8.exchange import open_latents, write_latents
from latent8.file_format import codings, context_coding
from latent8.file_format.blob import Encoded
from latent8.file_format.extension import EXIF as EXIF_TAG
from latent8.file_format.extension import XMP as XMP_TAG
from latent8.file_format.extension import packed
from latent8.file_format.flat import FlatColour, FlatColours
from latent8.file_format.reader import read
from latent8.latents import Latents
from latent8.metadata.kept import CHOICES, Metadata
from latent8.pictures.intake import Picture, encode_alpha, open_picture
from latent8.pictures.output import picture_bytes
from latent8.pool import symbols_of
from latent8.zoo.registry import OWN_ID
from tests.helpers.foreign_files import GOOD, comfy, floats, npy, rgba_png, safetensors, z_of
from tests.helpers.metadata_files import XMP, exif_block, picture_file
from tests.helpers.samples import build_blob, smooth_symbols
from tests.helpers.tiff_files import DEFLATE, LZW, tiff

ROOT = Path(__file__).resolve().parents[1]

MAX_PIXELS = 250_000
HANG_SECONDS = 5.0
MEMORY_BYTES = 64_000_000 + 40 * 3 * MAX_PIXELS
FLUSH = 200  # inputs between two signs of life of the child
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


# ---- what is changed


@cache
def seeds(target: str) -> list[bytes]:
    """Sound files of a few hundred bytes to a few thousand."""
    return {"blobs": _blobs, "latents": _latents, "pictures": _pictures, "metadata": _metadata}[target]()


def _blobs() -> list[bytes]:
    golden = sorted((ROOT / "tests" / "golden").glob("*.l8"))
    files = [path.read_bytes() for path in golden if path.stat().st_size < 9000 and path.stem != "codes"]  # see _codes
    files += [build_blob(stem=b"name", alpha=encode_alpha(np.arange(128, dtype=np.uint8).reshape(8, 16)))]
    noise = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    z = Latents.from_array((noise / np.float32(43) - 3)[None], "sd1")
    flat = FlatColours(
        (FlatColour((255, 255, 255), 32), FlatColour((0, 9, 90), 127)), np.arange(3, dtype=np.uint8)[None]
    )
    files += [build_blob(width=80, payload=bytes(40), area=packed([flat.chunk(), (b"aBCD", b"xyz")]))]
    return [*files, build_blob(), write_latents(z, "l8"), _codes()]


def _codes() -> bytes:
    """A blob of numbers of codes. It is small, since their decoder is by far the slowest."""
    payload = context_coding.encode(smooth_symbols(1, 9, 14, 256))
    return build_blob(
        model_id=OWN_ID,
        coding=codings.CONTEXTS,
        payload=payload,
        width=54,
        height=33,
        channels=1,
        stride=4,
        low=0.0,
        high=255.0,
    )


def _latents() -> list[bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 4), np.uint8)
    files = [rgba_png(pixels), comfy(GOOD[None]), comfy(GOOD[None], marker=False), npy(GOOD.shape, floats(GOOD))]
    files += [npy(GOOD.shape, floats(GOOD), version=version) for version in (2, 3)]
    files += [safetensors({"latents": ("F32", list(GOOD.shape), floats(GOOD))}, {"latent8": "{}"})]
    sixteen = z_of("sd3")
    files += [safetensors({"x": ("F16", list(sixteen.shape), sixteen.astype("<f2").tobytes())})]
    return files + [path.read_bytes() for path in (ROOT / "tests" / "odd").glob("*.encoded.png")]


def _pictures() -> list[bytes]:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:24, :32]
    rgb = np.stack([x * 7, y * 9, (x + y) * 4], axis=-1).astype(np.uint8)
    grey, rgba = rgb[..., 0], np.dstack([rgb, rng.integers(0, 256, (24, 32), np.uint8)])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    options: list[tuple[np.ndarray, str, dict[str, Any]]] = [
        *((rgb, kind, {"exif": exif}) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")),
        *((rgb, kind, {}) for kind in ("GIF", "BMP", "DIB", "JPEG2000", "PPM", "QOI", "IM")),
        *((rgba, kind, {}) for kind in ("PNG", "AVIF", "BMP", "SGI", "DDS")),
        *((grey, kind, {}) for kind in ("JPEG", "PCX", "SPIDER")),
        (rgb, "JPEG", {"progressive": True}),
        (grey, "PNG", {"transparency": 21}),
        (rgba, "WEBP", {"lossless": True}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (rgba, "TIFF", {"compression": "packbits"}),
        (rgb, "TGA", {"compression": "tga_rle"}),
        (rgba, "ICO", {"sizes": [(16, 16)]}),
    ]
    files = []
    for pixels, kind, more in options:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **more)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    Image.fromarray(rgb).quantize(8).save(buffer, "PNG", transparency=b"\0\x80")
    unit = rgb / np.float32(255)
    files += [buffer.getvalue(), tiff(unit, compression=DEFLATE, predictor=3), tiff(unit[..., 0], photometric=0)]
    files += [tiff((unit * 65535).astype(np.uint16), planar=True, compression=LZW), tiff(rgb, tile=16, big=True)]
    odd = [path.read_bytes() for path in sorted((ROOT / "tests" / "odd").iterdir()) if path.stat().st_size < 4000]
    return files + odd


def _metadata() -> list[bytes]:
    pictures = [picture_file(kind, exif_block(), XMP) for kind in ("JPEG", "PNG", "WEBP", "AVIF")]
    data = Metadata(exif_block(">"), XMP)
    chunks = [tag + struct.pack("<I", len(content)) + content for tag, content in data.chunks()]
    return [
        *pictures,
        *(exif_block(order) for order in "<>"),
        XMP,
        build_blob(area=b"".join(chunks) + b"aBCD\3\0\0\0xyz"),
    ]


# ---- how


def mutated(target: str, seed: int, number: int) -> bytes:
    """The input of that number: a file with one to eight changes, its checksums put right again three times in four."""
    chance = random.Random(f"{target} {seed} {number}")
    files = seeds(target)
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if data:
            chance.choice(_CHANGES)(data, chance, files)
    return _with_checksums(bytes(data[:200_000])) if chance.random() < 0.75 else bytes(data[:200_000])


def _place(data: bytearray, chance: random.Random) -> int:
    """Headers are where parsers trip, so half of the places are among the first 128."""
    return chance.randrange(min(len(data), 128) if chance.random() < 0.5 else len(data))


def _flip(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = _place(data, chance)
    data[at : at + chance.choice((1, 1, 2, 4, 9))] = chance.randbytes(chance.choice((1, 1, 2, 4, 9)))


def _number(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at, code = _place(data, chance), chance.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    value = max(0, chance.choice(NUMBERS) + chance.choice((-1, 0, 0, 1))) & (1 << 8 * struct.calcsize(code)) - 1
    data[at : at + struct.calcsize(code)] = struct.pack(code, value)


def _cut(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    if chance.random() < 0.5:
        del data[_place(data, chance) :]
    else:
        at = _place(data, chance)
        del data[at : at + chance.choice((1, 2, 4, 12, 64))]


def _repeat(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at, length = _place(data, chance), chance.choice((1, 4, 12, 40, 200))
    data[at:at] = data[at : at + length] * chance.choice((1, 2, 20, 300))


def _graft(data: bytearray, chance: random.Random, files: list[bytes]) -> None:
    other = chance.choice(files)
    start = chance.randrange(len(other))
    at = _place(data, chance)
    data[at : at + chance.choice((0, 8, 64))] = other[start : start + chance.choice((4, 16, 64, 256))]


_CHANGES: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    _flip, _flip, _overwrite, _overwrite, _number, _number, _number, _cut, _repeat, _graft,
)  # fmt: skip


def _with_checksums(data: bytes) -> bytes:
    """CRCs of PNG chunks and of blobs made right, so that what stands behind them is reached."""
    if data[:4] == b"\x89L8\n" and len(data) > 8:
        return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        body = data[at + 4 : at + 8 + length]
        parts.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join([*parts, data[at:]])


# ---- what is done with it


def open_blob(data: bytes, _: int) -> None:
    found = read(data, MAX_PIXELS)
    FlatColours.of_chunks(found.chunks, found.width, found.height)
    symbols_of(found)


def open_foreign(data: bytes, number: int) -> None:
    found = open_latents(data, ("sd1", "sd3", "sdxl", None)[number % 4], raw=number % 8 < 4, max_pixels=MAX_PIXELS)
    if isinstance(found, Encoded):
        symbols_of(found)


def open_drawn(data: bytes, _: int) -> None:
    picture = open_picture(data, MAX_PIXELS)
    assert picture.rgb.dtype == np.uint8 and picture.rgb.shape[2] == 3
    assert picture.width * picture.height <= MAX_PIXELS


def open_kept(data: bytes, number: int) -> None:
    """Bare blocks and packets reach a blob's chunks by their compression, which no change would survive."""
    if data.startswith(b"\x89L8\n"):
        found = Metadata.of_chunks(read(data, MAX_PIXELS).chunks)
    elif data[:2] in (b"II", b"MM") or data.lstrip()[:1] == b"<":
        tag = XMP_TAG if data.lstrip()[:1] == b"<" else EXIF_TAG
        found = Metadata.of_chunks([(tag, zlib.compress(data))])
    else:
        found = open_picture(data, MAX_PIXELS, keep_metadata=CHOICES[number % 2]).metadata
    assert Metadata.of_chunks(found.chunks()) == found
    picture_bytes(
        Picture(np.zeros((8, 8, 3), np.uint8), metadata=found).image(), (".png", ".webp", ".avif")[number % 3]
    )


OPEN: dict[str, Callable[[bytes, int], None]] = {"blobs": open_blob, "latents": open_foreign, "pictures": open_drawn}
OPEN["metadata"] = open_kept


def complaint(target: str, data: bytes, number: int) -> tuple[str | None, bool]:
    """What is wrong with how the input was taken (None: nothing), and whether it was opened."""
    try:
        OPEN[target](data, number)
        return None, True
    except Latent8Error as error:
        said = str(error)
        return ("a message of several lines" if "\n" in said or not said.endswith((".", ")")) else None), False
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}", False


def child(target: str, seed: int, start: int, end: int, now: Any, pipe: Any) -> None:
    """Opens inputs start ... end - 1. now: number and time of the one in work. pipe: gets (number, complaint) of each
    find, and (inputs done, opened) now and then."""
    for data in seeds(target):  # all is loaded before memory is measured
        complaint(target, data, 0)
    warnings.simplefilter("error")  # one that reaches the user is a find
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    done = opened = 0
    for number in range(start, end):
        data = mutated(target, seed, number)
        now[0], now[1] = number, time.monotonic()
        wrong, open_now = complaint(target, data, number)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if wrong is None and peak - base > MEMORY_BYTES:
            wrong = f"{(peak - base) / 1e6:.0f} MB"
        base = max(base, peak - MEMORY_BYTES // 2)  # slow growth of the heap is none of one input
        done, opened = done + 1, opened + open_now
        if wrong is not None:
            pipe.send((number, wrong))
        if done == FLUSH:
            pipe.send((done, opened))
            done = opened = 0
    pipe.send((done, opened))
    pipe.send(None)


def run(target: str, n_inputs: int, seed: int, first: int = 0, seconds: float = 1e9) -> dict[str, Any]:
    """-> inputs, opened, seconds, and finds: number -> complaint."""
    context, finds = multiprocessing.get_context("spawn"), {}
    total = opened = 0
    start, end, started = first, first + n_inputs, time.monotonic()
    while start < end and time.monotonic() - started < seconds:
        now = context.Array("d", [start, 0.0], lock=False)
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(target, seed, start, end, now, theirs), daemon=True)
        process.start()
        theirs.close()
        finished = killed = False
        while not finished:
            try:
                message = mine.recv() if mine.poll(0.2) else ()
            except EOFError:
                break
            if message is None:
                finished = True
            elif message and isinstance(message[1], str):
                finds[message[0]] = message[1]
            elif message:
                total, opened = total + message[0], opened + message[1]
            hangs = now[1] and time.monotonic() - now[1] > HANG_SECONDS
            if hangs or time.monotonic() - started > seconds:
                if hangs and not mine.poll(0):
                    finds[int(now[0])] = f"over {HANG_SECONDS:.0f} s"
                process.kill()
                killed = True
                break
        process.join()
        if process.exitcode and not killed:  # a kill that is not ours is that of a system without memory
            finds[int(now[0])] = f"the process ended with {process.exitcode}"
        start = end if finished else int(now[0]) + 1
    return {"inputs": total, "opened": opened, "seconds": time.monotonic() - started, "finds": finds}


def main() -> int:
    args = parsed_arguments()
    if args.only is not None:
        data = mutated(args.target, args.seed, args.only)
        try:
            OPEN[args.target](data, args.only)
        except Latent8Error:
            traceback.print_exc()
        return 0
    found = run(args.target, args.inputs, args.seed, args.first, args.seconds)
    rate = found["inputs"] / max(found["seconds"], 1e-9)
    print(
        f"{args.target}: {found['inputs']:,} inputs from {args.first:,} on, seed {args.seed}, {found['opened']:,} of "
        f"them opened, {rate:,.0f} a second, {len(found['finds'])} finds"
    )
    for number, wrong in sorted(found["finds"].items()):
        print(f"  {number}: {wrong}")
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"{args.target}-{args.seed}-{number}").write_bytes(mutated(args.target, args.seed, number))
    return 1 if found["finds"] else 0


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=OPEN)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, 100,000 unless said otherwise")
    parser.add_argument("--seconds", type=float, default=1e9, help="at most for so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first, to go on where another run ended")
    parser.add_argument("--only", type=int, help="this input alone, in this process")
    parser.add_argument("--out", type=Path, help="folder for the inputs that were found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
