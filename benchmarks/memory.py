"""Peak memory of encoding and decoding, by size of the picture.

    python benchmarks/memory.py 1 4 12 16

Each figure comes from a process of its own: the most memory it ever held (ru_maxrss), less what it was at when the
model was loaded and had run once on a small picture. The process goes from a JPEG file to a .l8 file, or from a .l8
to decoded pixels. Runs on Linux and macOS.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# NumPy, Pillow and latent8 are imported in the child processes alone: a child's ru_maxrss begins at its parent's.


def draw(megapixels: float, target: Path) -> None:
    """Write a JPEG with 3:2 sides, smooth with some grain, of about that size."""
    import numpy as np
    from PIL import Image

    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (12, 18, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-8, 9, (height, width, 1), dtype=np.int16)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(target, quality=92)


def encode(source: Path, target: Path, device: str | None, model: str) -> float:
    """JPEG -> .l8; returns the peak in bytes."""
    codec = warm_codec(device, model)
    before = peak_bytes()
    target.write_bytes(codec.encode(source))
    return peak_bytes() - before


def decode(source: Path, device: str | None, model: str) -> float:
    """.l8 -> PIL image; returns the peak in bytes."""
    codec = warm_codec(device, model)
    before = peak_bytes()
    codec.decode(source.read_bytes())
    return peak_bytes() - before


def warm_codec(device: str | None, model: str):
    """Loaded, and used once, so that what is imported or set up on first use is not counted."""
    import numpy as np

    from latent8 import Codec

    codec = Codec(model, device, max_pixels=1 << 30)
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8)))
    return codec


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def child(*arguments: str | Path | float) -> float:
    """Run this file in a new process on one task; the number that it prints."""
    command = [sys.executable, __file__, *map(str, arguments)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:  # its own message is on standard error
        raise SystemExit(f"{' '.join(map(str, arguments[:2]))} failed with exit status {process.returncode}")
    return float(process.stdout or 0)


def measure(megapixels: Sequence[float], options: Sequence[str]) -> list[tuple[float, float, float]]:
    """-> (megapixels, encode peak, decode peak) for each size, peaks in MB of 10^6 bytes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        picture, blob = Path(folder, "picture.jpg"), Path(folder, "picture.l8")
        for size in megapixels:
            child("--task", "draw", size, picture)
            encoding = child("--task", "encode", picture, blob, *options) / 1e6
            decoding = child("--task", "decode", blob, *options) / 1e6
            print(f"{size:g} megapixels: {encoding:.0f} MB, {decoding:.0f} MB", file=sys.stderr, flush=True)
            rows.append((size, encoding, decoding))
    return rows


def markdown(rows: Sequence[tuple[float, float, float]]) -> str:
    lines = ["| megapixels | encode, MB | MB per megapixel | decode, MB | MB per megapixel |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for size, encoding, decoding in rows:
        lines.append(f"| {size:g} | {encoding:.0f} | {encoding / size:.0f} | {decoding:.0f} | {decoding / size:.0f} |")
    return "\n".join(lines)


def run_task(task: str, paths: Sequence[str], device: str | None, model: str) -> None:
    """What a child process does."""
    if task == "draw":
        draw(float(paths[0]), Path(paths[1]))
    elif task == "encode":
        print(encode(Path(paths[0]), Path(paths[1]), device, model))
    else:
        print(decode(Path(paths[0]), device, model))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("megapixels", nargs="*", default=["1", "4", "12"], help="sizes (default: 1 4 12)")
    parser.add_argument("--device", default="cpu", help="only the main memory is measured, not that of a GPU")
    parser.add_argument("--model", default="l8-tiny")
    parser.add_argument("--task", choices=["draw", "encode", "decode"], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.task:
        return run_task(args.task, args.megapixels, args.device, args.model)
    try:
        sizes = [float(text) for text in args.megapixels]
    except ValueError:
        parser.error("sizes must be numbers of megapixels")
    print(markdown(measure(sizes, ["--device", args.device, "--model", args.model])))
    return None


if __name__ == "__main__":
    main()
