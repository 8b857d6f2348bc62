"""How a bulk job grows with its actors, and what a much larger one would need, from the figures of this machine.

    python -m benchmarks.bulk FOLDER --count 400 --actors 1 2

Photos of the folder, cropped and scaled to the size and used over again where they are too few, are encoded once for
each number of actors, on a Ray of this machine with a CPU for each; where the system can do that, it is kept to so many
cores, which Ray itself does not see to. Rates count the time in which actors work, not that in which they start. Then
names alone are listed, on a file system in memory, for what the driver does. Needs requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import ray

from benchmarks.many import prepare
from latent8.bulk import ray_job
from latent8.bulk.ray_job import Job, Place, Totals
from latent8.zoo.registry import DEFAULT_MODEL, models
from training.photos import photo_files

NAMES = 50_000  # names that the driver lists


@dataclass
class Found:
    actors: int
    totals: Totals
    seconds: float  # of the whole job, actors started
    index_bytes: int

    @property
    def per_actor(self) -> float:
        """Pictures per second of an actor that works."""
        return self.totals.pictures / self.totals.actor_seconds


@contextmanager
def kept_to_cores(count: int) -> Iterator[None]:
    """So many of the cores for this process and what it starts, where there are as many and the system can do it."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(job: Job, actors: int) -> Found:
    ray.init("local", num_cpus=actors, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        started = time.perf_counter()
        *_, totals = ray_job.run(job, actors)
        seconds = time.perf_counter() - started
    finally:
        ray.shutdown()
    index = sum(path.stat().st_size for path in Path(job.output, "index").iterdir())
    return Found(actors, totals, seconds, index)


def listing() -> tuple[float, float]:
    """Seconds and bytes that the driver takes for a picture before any is encoded."""
    place = Place.at("memory://listed")
    for index in range(NAMES):
        place.files.pipe_file(f"{place.root}/{index // 1000:04}/a photo of usual name {index:08}.jpg", b"")
    job = Job("memory://listed", "memory://written")
    started = time.perf_counter()
    ray_job.todo(job)
    seconds = time.perf_counter() - started
    tracemalloc.start()  # in a run of its own: it slows what it traces
    table = ray_job.todo(job)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds / len(table), peak / len(table)


def growth(found: Sequence[Found]) -> str:
    lines = ["| actors | pictures/s | of each actor | of one alone | job, s |", "| ---: |" + " ---: |" * 4]
    for one in found:
        share = f"{100 * one.per_actor / found[0].per_actor:.0f} %"
        cells = [f"{one.actors * one.per_actor:.2f}", f"{one.per_actor:.2f}", share, f"{one.seconds:.0f}"]
        lines.append(f"| {one.actors} | {' | '.join(cells)} |")
    return "\n".join(lines)


def estimate(found: Sequence[Found], pictures: float, hours: float) -> str:
    """Needs of a job of so many such pictures that is to end within the hours, from the rate of one actor alone."""
    rate = found[0].per_actor
    blob = found[-1].totals.n_bytes / found[-1].totals.pictures
    row = found[-1].index_bytes / found[-1].totals.pictures
    name_seconds, name_bytes = listing()
    actor_hours = pictures / rate / 3600
    listed = f"{pictures * name_seconds / 3600:,.1f} hours and {pictures * name_bytes / 1e9:,.0f} GB"
    return "\n".join(
        [
            f"{pictures:,.0f} such pictures, from {rate:.2f} pictures/s and {blob:,.0f} bytes each:",
            f"- {actor_hours:,.0f} actor-hours: {actor_hours / hours:,.0f} actors for {hours:g} hours",
            f"- {pictures * blob / 1e12:,.2f} TB of blobs, {pictures * row / 1e9:,.1f} GB of index",
            f"- {1e6 * name_seconds:.0f} us and {name_bytes:.0f} bytes a name, {listed} in one driver: split it",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--count", type=int, default=400, help="pictures of each job (default: 400)")
    parser.add_argument("--side", type=int, default=512, help="pixels (default: 512)")
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--model", choices=[model.name for model in models()], default=DEFAULT_MODEL)
    parser.add_argument("--no-psnr", action="store_true", help="without the decoding")
    parser.add_argument("--estimate", type=float, default=1e9, metavar="PICTURES", help="(default: 1e9)")
    parser.add_argument("--hours", type=float, default=24, help="that the estimate has (default: 24)")
    args = parser.parse_args(argv)
    try:
        photos = photo_files(args.photos)
    except OSError as error:
        parser.error(str(error))
    found = []
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "photos")
        source.mkdir()
        written = prepare(photos, args.count, args.side, source)
        for index, path in zip(range(len(set(written)), args.count), cycle(written)):
            (source / f"{index}.jpg").write_bytes(path.read_bytes())
        for actors in args.actors:
            output = str(Path(name, f"out{actors}"))
            with kept_to_cores(actors):
                found.append(measure(Job(str(source), output, args.model, measure=not args.no_psnr), actors))
            print(growth(found[-1:]), file=sys.stderr, flush=True)
    print(f"{growth(found)}\n\n{estimate(found, args.estimate, args.hours)}")
    psnr = "without" if args.no_psnr else "with"
    print(f"\n{args.model}, {args.count} pictures of {args.side} x {args.side}, {psnr} PSNR, ray {ray.__version__}")


if __name__ == "__main__":
    main()
