"""Does an app keep memory? Requests one after another, and the resident memory (RSS) of the server between them.

    python -m benchmarks.soak --requests 200 --photos FOLDER

Starts the encoder and then the decoder, each in a process of its own, and sends photos through gradio_client; the
decoder gets their blobs. Without --photos, pictures of 256 x 192 to 512 x 384 pixels are drawn. Growth is from the
median of requests 20 to 60 to that of the last 40, so it leaves out what is loaded on first use. The exit status is 1
where it is above the limit. Results are kept for an hour by design: their number is shown, and is no leak. Needs Linux
(/proc) and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file

from benchmarks.pictures import drawn
from tests.helpers.app_servers import AppServer
from training.photos import photo_files

EVERY = 10  # requests between two readings
EARLY, LATE = range(20, 61), 40  # requests, and how many at the end, that are compared
Readings = dict[int, float]  # after so many requests: MB of 10^6 bytes


def draw(folder: Path, count: int = 24) -> list[Path]:
    """Write JPEGs of many sizes and shapes."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(count):
        width, height = int(random.integers(256, 513)), int(random.integers(192, 385))
        paths.append(folder / f"{index}.jpg")
        drawn(random, width, height, (6, 8)).save(paths[-1], quality=90)
    return paths


def resident(pid: int) -> float:
    """Memory of a process that is in RAM, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024 / 1e6


def soak(name: str, inputs: Iterable[Path], folder: Path) -> tuple[Readings, list[Any], str]:
    """Send each input to the app called `name`: memory, first output of each request, what is left on disk."""
    readings, outputs = {}, []
    with AppServer(name, folder) as server:
        client = Client(server.url, verbose=False, download_files=False, analytics_enabled=False)
        endpoint = {"encoder": "/encode", "decoder": "/decode"}[name]
        for done, path in enumerate(inputs, 1):
            answer = client.predict(handle_file(path), api_name=endpoint)
            outputs.append(Path(answer[0]["path"]))
            if done % EVERY == 0:
                readings[done] = resident(server.pid)
                print(f"{name} {done}: {readings[done]:.0f} MB", file=sys.stderr, flush=True)
        left = [path.stat().st_size for path in server.temporary.rglob("*") if path.is_file()]
    return readings, outputs, f"{len(left)} files ({sum(left) / 1e6:.0f} MB) left on disk"


def growth(readings: Readings) -> tuple[float, float, float]:
    """-> early median, late median, both in MB, and MB per request between them."""
    last = max(readings)
    early = [done for done in readings if done in EARLY]
    late = [done for done in readings if done > last - LATE]
    medians = [statistics.median(readings[done] for done in part) for part in (early, late)]
    apart = statistics.median(late) - statistics.median(early)
    return medians[0], medians[1], (medians[1] - medians[0]) / apart


def markdown(found: dict[str, Readings]) -> str:
    lines = [f"| requests | {' | '.join(f'{name}, MB' for name in found)} |", "| ---: |" + " ---: |" * len(found)]
    for done in next(iter(found.values())):
        lines.append(f"| {done} | {' | '.join(f'{readings[done]:.0f}' for readings in found.values())} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="to each app, at least 110 (default: 200)")
    parser.add_argument("--photos", type=Path, help="folder of pictures to send, over and over")
    parser.add_argument("--limit", type=float, default=50, help="growth that is too much, in MB (default: 50)")
    args = parser.parse_args(argv)
    if args.requests < EARLY[-1] + LATE + EVERY:
        parser.error("--requests must be at least 110: fewer have no early and late part to compare")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            photos = photo_files(args.photos) if args.photos else draw(folder)
        except OSError as error:
            parser.error(str(error))
        turns = itertools.islice(itertools.cycle(photos), args.requests)
        found, notes = {}, {}
        found["encoder"], blobs, notes["encoder"] = soak("encoder", turns, folder / "encoder")
        found["decoder"], _, notes["decoder"] = soak("decoder", blobs, folder / "decoder")
    print(markdown(found), end="\n\n")
    grown = []
    for app, readings in found.items():
        early, late, per_request = growth(readings)
        grown.append(late - early)
        medians = f"median {early:.0f} MB early, {late:.0f} MB late"
        print(f"{app}: {medians}, growth {late - early:+.1f} MB ({per_request:+.3f} a request); {notes[app]}")
    return int(max(grown) > args.limit)


if __name__ == "__main__":
    raise SystemExit(main())
