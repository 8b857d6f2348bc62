"""Both apps under requests that are meant to harm, beside one honest user.

    python -m benchmarks.abuse --app encoder --attacks json,duplicates

Each app is started as a user starts it. The honest user sends a photo of 768 x 512 pixels (to the decoder, its blob)
every 5 s, first alone, then beside each attack, which comes from another address of this machine (127.0.0.2 and so on;
all that can be told apart there). Shown are its median and 95th percentile from upload to result, how often it failed,
the most memory (RSS of the server, MB of 10^6 bytes) and disk, and what the attackers were answered. After all of them
the folder of uploads and results is tidied as if an hour had passed, and what is left is listed.

The exit status is 1 where the honest user failed, where its 95th percentile over all attacks was over 4 times the quiet
one, memory over 4 GB, the disk over its quota, or something was left. All is bounded in count and time, and nothing
but this machine is asked. Needs Linux and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file

import latent8
from benchmarks.attacks import ATTACKS, ENDPOINTS, MB, attack
from benchmarks.pictures import drawn
from benchmarks.soak import resident
from latent8.apps import bounds, housekeeping
from latent8.apps.quota import size_of
from tests.helpers.app_servers import AppServer

EVERY = 5.0  # seconds, of the honest user
SLOWER, MOST_MEMORY = 4, 4_000  # times; MB


@dataclass
class Seen:
    """What happened while something went on."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    memory: float = 0.0
    disk: float = 0.0  # MB
    answers: Counter[str] = field(default_factory=Counter)  # to the attackers

    def row(self, name: str) -> str:
        told = ", ".join(f"{count} x {answer}" for answer, count in self.answers.most_common(4))
        times = f"{statistics.median(self.latencies):.2f} | {p95(self.latencies):.2f}" if self.latencies else "- | -"
        return f"| {name} | {times} | {len(self.failures)} | {self.memory:.0f} | {self.disk:.0f} | {told} |"


def p95(values: Sequence[float]) -> float:
    """Of few values, the largest."""
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


class Honest:
    def __init__(self, server: AppServer, given: Path):
        self.endpoint, self.given = ENDPOINTS[server.name][0], given
        self.client = Client(server.url, verbose=False, download_files=False, analytics_enabled=False)
        self.http = httpx.Client(timeout=120)

    def ask(self, seen: Seen) -> None:
        begun = time.monotonic()
        try:
            found = self.client.predict(handle_file(self.given), api_name=self.endpoint)
            url = found[0]["url"] if isinstance(found, (tuple, list)) else found["url"]
            self.http.get(url).raise_for_status()
        except Exception as error:  # whatever a user would see
            seen.failures.append(f"{type(error).__name__}: {error}")
        else:
            seen.latencies.append(time.monotonic() - begun)

    def ask_every_so_often(self, seen: Seen, seconds: float) -> None:
        end, due = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            self.ask(seen)
            due = max(due + EVERY, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))


@contextmanager
def watched(server: AppServer, seen: Seen) -> Iterator[None]:
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            with suppress(OSError, StopIteration):
                seen.memory = max(seen.memory, resident(server.pid))
                seen.disk = max(seen.disk, size_of(server.temporary) / MB)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def attacked(server: AppServer, name: str, n_attackers: int, seen: Seen) -> Iterator[None]:
    here = multiprocessing.get_context("spawn")
    stop, answers = here.Event(), here.Queue()
    arguments = [(name, server.name, server.url, number, stop, answers) for number in range(n_attackers)]
    attackers = [here.Process(target=attack, args=one, daemon=True) for one in arguments]
    for attacker in attackers:
        attacker.start()
    try:
        yield
    finally:
        stop.set()
        for _ in attackers:
            with suppress(queue.Empty):
                seen.answers += answers.get(timeout=130)
        for attacker in attackers:
            attacker.kill()


def left_over(server: AppServer, kept: set[Path]) -> list[str]:
    """Files in the folder of uploads and results once an hour has passed, but for those there at the start.

    Requests that nobody waits for any more get a minute to end.
    """
    names, end = [str(path) for path in kept], time.monotonic() + 60
    while True:
        housekeeping.delete_broken_uploads(server.temporary, -1)
        housekeeping.delete_old(server.temporary, -1, names)
        found = [path for path in server.temporary.rglob("*") if path.is_file() and path not in kept]
        if not found or time.monotonic() > end:
            return [str(path.relative_to(server.temporary)) for path in found]
        time.sleep(1)


def run(name: str, attacks: Sequence[str], args: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """One app: rows of the table, and what was wrong."""
    photo = folder / "honest.jpg"
    drawn(np.random.default_rng(0), 768, 512, (6, 8)).save(photo, quality=90)
    if name == "decoder":
        photo.with_suffix(".l8").write_bytes(latent8.encode(photo))
        photo = photo.with_suffix(".l8")
    rows, wrong, all_seen = [], list[str](), list[Seen]()
    with AppServer(name, folder / name) as server:
        kept = {path for path in server.temporary.rglob("*") if path.is_file()}
        honest, quiet = Honest(server, photo), Seen()
        honest.ask(Seen())  # what is loaded on first use
        with watched(server, quiet):
            honest.ask_every_so_often(quiet, args.quiet)
        rows.append(quiet.row(f"{name}, quiet"))
        print(rows[-1], file=sys.stderr, flush=True)
        for kind in attacks:
            seen = Seen()
            with watched(server, seen), attacked(server, kind, args.attackers, seen):
                honest.ask_every_so_often(seen, args.seconds)
            all_seen.append(seen)
            rows.append(seen.row(f"{name}, {kind}"))
            print(rows[-1], file=sys.stderr, flush=True)
            wrong += [f"{name}, {kind}: the honest user got {failure}" for failure in seen.failures]
        left = left_over(server, kept)
    latencies = [latency for seen in all_seen for latency in seen.latencies]
    times = p95(latencies) / p95(quiet.latencies)
    total = f"{name}: 95th percentile over all attacks {p95(latencies):.2f} s, {times:.1f} times the quiet one"
    rows.append(f"\n{total}; {len(left)} files left after housekeeping\n")
    if times > SLOWER:
        wrong.append(total)
    memory, disk = max(seen.memory for seen in all_seen), max(seen.disk for seen in all_seen)
    wrong += [f"{name}: {memory:.0f} MB of memory"] if memory > MOST_MEMORY else []
    wrong += [f"{name}: {disk:.0f} MB on the disk"] if disk > bounds.DISK_MB else []
    wrong += [f"{name}: left over: {', '.join(left[:9])}"] if left else []
    return rows, wrong


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--app", choices=sorted(ENDPOINTS), action="append", help="default: both")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help=f"of {','.join(ATTACKS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=25, help="of each attack (default: 25)")
    parser.add_argument("--quiet", type=float, default=40, help="seconds without one (default: 40)")
    parser.add_argument("--attackers", type=int, default=2, help="addresses that attack (default: 2)")
    args = parser.parse_args(argv)
    attacks = args.attacks.split(",")
    if unknown := set(attacks) - ATTACKS.keys():
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    head = "| | median, s | 95th percentile, s | failed | memory, MB | disk, MB | answers to the attackers |"
    lines, wrong = [head, f"| --- |{' ---: |' * 5} --- |"], list[str]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for app in args.app or sorted(ENDPOINTS):
            rows, problems = run(app, attacks, args, Path(name))
            lines += rows
            wrong += problems
    print("\n".join([*lines, *(f"WRONG: {one}" for one in wrong)]))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
