"""`Codec.encode_many` and `decode_many` beside a plain loop: pictures per second on photos of 512 x 512.

    python -m benchmarks.many FOLDER --count 200

Photos of the folder, cropped and scaled to the size, are written as JPEG and used over again where they are too few;
both sides read those files. The two take turns in one process, round by round; figures are medians, and the ratio is
the median of each round's own. That both give the same blobs and pictures is checked. The second table has the loop and
its parts on all of torch's threads and on one: what a loop loses is what the network does not gain from the other
threads, and what runs on one of them anyway. The third has the most that could be gained: a thread for each picture,
as fast as one thread alone is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
from PIL import Image, ImageOps

from benchmarks.pictures import near
from latent8 import Codec
from latent8.cli.arguments import positive
from latent8.pictures.intake import open_picture, pad_to_multiple
from latent8.zoo.registry import DEFAULT_MODEL, models
from training.photos import photo_files

Times = dict[str, list[float]]  # seconds, one for each round


def prepare(photos: Iterable[Path], count: int, side: int, folder: Path) -> list[Path]:
    """Write the photos as JPEG of side x side: paths, `count` of them."""
    paths = []
    for index, photo in enumerate(islice(photos, count)):
        paths.append(folder / f"{index}.jpg")
        with Image.open(photo) as image:
            ImageOps.fit(image.convert("RGB"), (side, side)).save(paths[-1], quality=92)
    return list(islice(cycle(paths), count))


def measure(
    contenders: dict[str, Callable[[], list[bytes]]], rounds: int, same: Callable[[bytes, bytes], bool]
) -> Times:
    """They take turns; a first round is not counted. Raises RuntimeError where results are not the same."""
    times: Times = {name: [] for name in contenders}
    for _ in range(1 + rounds):
        results = []
        for name, run in contenders.items():
            started = time.perf_counter()
            results.append(run())
            times[name].append(time.perf_counter() - started)
        if not all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True)):
            raise RuntimeError(f"{' and '.join(contenders)} gave different results")
    return {name: values[1:] for name, values in times.items()}


def parts(codec: Codec, paths: Sequence[Path], n_threads: int) -> dict[str, float]:
    """Seconds per picture of the parts of encoding, of all of it, and of decoding, medians, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    found: Times = {"reading": [], "network": [], "encode": [], "decode": []}
    for path in paths:
        started = time.perf_counter()
        picture = open_picture(path, codec.max_pixels)
        opened = time.perf_counter()
        codec.network.encode_pixels(pad_to_multiple(picture.rgb, codec.model.stride))
        run = time.perf_counter()
        blob = codec.encode(path)
        encoded = time.perf_counter()
        codec.decode(blob)
        times = opened - started, run - opened, encoded - run, time.perf_counter() - encoded
        for values, seconds in zip(found.values(), times, strict=True):
            values.append(seconds)
    torch.set_num_threads(before)
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {**medians, "coding": medians["encode"] - medians["reading"] - medians["network"]}


def rate_row(name: str, count: int, times: Times) -> str:
    loop, many = times.values()
    gain = statistics.median(one / other for one, other in zip(loop, many, strict=True))
    rates = [f"{count / statistics.median(values):.2f}" for values in (loop, many)]
    return f"| {name} | {rates[0]} | {rates[1]} | {gain:.2f} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--count", type=positive, default=200, help="photos in a round (default: 200)")
    parser.add_argument("--side", type=int, default=512, help="pixels (default: 512)")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--model", choices=[model.name for model in models()], default=DEFAULT_MODEL)
    parser.add_argument("--device", help="by default the best there is")
    args = parser.parse_args(argv)
    try:
        photos = photo_files(args.photos)
    except OSError as error:
        parser.error(str(error))
    codec = Codec(args.model, args.device)
    with tempfile.TemporaryDirectory() as name:
        try:
            paths = prepare(photos, args.count, args.side, Path(name))
        except OSError as error:
            parser.error(f"one of the pictures cannot be used: {error}")
        blobs = [codec.encode(path) for path in paths]
        encode = measure(
            {
                "encode": lambda: [codec.encode(path) for path in paths],
                "encode_many": lambda: list(codec.encode_many(paths)),  # type: ignore[arg-type]
            },
            args.rounds,
            bytes.__eq__,
        )
        decode = measure(
            {
                "decode": lambda: [codec.decode(blob).tobytes() for blob in blobs],
                "decode_many": lambda: [image.tobytes() for image in codec.decode_many(blobs)],  # type: ignore[union-attr]
            },
            args.rounds,
            near,
        )
        n_threads = torch.get_num_threads()
        split = {n: parts(codec, paths[: min(40, len(paths))], n) for n in sorted({1, n_threads})}
    print("| pictures per second | loop | many | times as fast |\n| --- | ---: | ---: | ---: |")
    print(rate_row("encode", len(paths), encode))
    print(rate_row("decode", len(paths), decode))
    print("\n| ms a picture | reading | network | entropy coding | encode | decode |\n| --- |" + " ---: |" * 5)
    for n, found in split.items():
        cells = [f"{1000 * found[part]:.1f}" for part in ("reading", "network", "coding", "encode", "decode")]
        print(f"| on {n} thread{'s' * (n > 1)} | {' | '.join(cells)} |")
    print("\n| at best | times as fast |\n| --- | ---: |")
    for half in ("encode", "decode"):
        print(f"| {half} | {n_threads * split[n_threads][half] / split[1][half]:.2f} |")
    size = f"{len(paths)} pictures of {args.side} x {args.side}, median of {args.rounds} rounds"
    print(f"\n{args.model} on {codec.network.device}, {size}, {n_threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
