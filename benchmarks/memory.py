"""Peak memory and seconds of encoding and decoding, by size of the picture.

    python -m benchmarks.memory 1 4 16 64

Each pair of figures comes from a process of its own: the most memory it ever held (ru_maxrss), less what it was at when
the model was loaded and had run once on a small picture, and seconds for each megapixel. The process goes from a JPEG
file to a .l8 file, or from a .l8 to decoded pixels. Runs on Linux and macOS.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# NumPy, Pillow and latent8 are imported in the child processes alone: a child's ru_maxrss begins at its parent's.


def draw(megapixels: float, target: Path) -> None:
    """Write a JPEG with 3:2 sides, of about that size."""
    import numpy as np

    from benchmarks.pictures import drawn

    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    drawn(np.random.default_rng(0), round(height * 1.5), height, (12, 18)).save(target, quality=92)


@dataclass(frozen=True)
class Cost:
    n_bytes: float
    seconds: float


def encode(source: Path, target: Path, device: str | None, model: str) -> Cost:
    """JPEG -> .l8."""
    codec = warm_codec(device, model)
    return cost(lambda: target.write_bytes(codec.encode(source)))


def decode(source: Path, device: str | None, model: str) -> Cost:
    """.l8 -> PIL image."""
    codec = warm_codec(device, model)
    return cost(lambda: codec.decode(source.read_bytes()))


def cost(work: Callable[[], object]) -> Cost:
    before, started = peak_bytes(), time.perf_counter()
    work()
    return Cost(peak_bytes() - before, time.perf_counter() - started)


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


def child(*arguments: str | Path | float) -> str:
    """Run this module in a new process on one task; what it prints."""
    command = [sys.executable, "-m", "benchmarks.memory", *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:  # its own message is on standard error
        raise SystemExit(f"{' '.join(map(str, arguments[:2]))} failed with exit status {process.returncode}")
    return process.stdout


def measure(megapixels: Sequence[float], options: Sequence[str]) -> list[tuple[float, Cost, Cost]]:
    """-> (megapixels, cost of encoding, of decoding) for each size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        picture, blob = Path(folder, "picture.jpg"), Path(folder, "picture.l8")
        for size in megapixels:
            child("--task", "draw", size, picture)
            encoding = Cost(*map(float, child("--task", "encode", picture, blob, *options).split()))
            decoding = Cost(*map(float, child("--task", "decode", blob, *options).split()))
            rows.append((size, encoding, decoding))
            print(markdown(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def markdown(rows: Sequence[tuple[float, Cost, Cost]]) -> str:
    """In MB of 10^6 bytes."""
    lines = ["| megapixels | encode, MB | s per megapixel | decode, MB | s per megapixel |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for size, *costs in rows:
        cells = [f"{one.n_bytes / 1e6:.0f} | {one.seconds / size:.3f}" for one in costs]
        lines.append(f"| {size:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run_task(task: str, paths: Sequence[str], device: str | None, model: str) -> None:
    """Work of a child process."""
    if task == "draw":
        draw(float(paths[0]), Path(paths[1]))
    elif task == "encode":
        found = encode(Path(paths[0]), Path(paths[1]), device, model)
        print(found.n_bytes, found.seconds)
    else:
        found = decode(Path(paths[0]), device, model)
        print(found.n_bytes, found.seconds)


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
