"""Measures a library of very many vectors: adding, building the index, opening, searching, memory and disk.

    python -m benchmarks.library PHOTOS --count 100000 --folder /tmp/large

Vectors are those of the photos, of crops and of edits of them, and mixtures of these with noise, up to the number that
is asked for; queries are made likewise, and are not in the library. The search is measured in a process of its own, as
a user's is, against comparing with each vector. CPU seconds stand beside the others. Where the folder holds a library
of the benchmark already, adding goes on with it: a long run can be done in slices (--count 200000, --count 400000 ...).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from tqdm import tqdm

from latent8.library.edits import EDITS, crop
from latent8.library.engine import Point
from latent8.library.places import FolderPlace
from latent8.library.records import Record
from latent8.library.vectors.picture import PictureEmbedder

BATCH = 1000  # points that are kept at once
SIDE = 512  # longest side of the photos, in pixels
MIXED, NOISE = 0.6, 0.5  # lengths of another photo's vector and of noise, beside a photo's own of length 1
QUERIES, EXACT_QUERIES = 400, 100


def real_vectors(folder: Path, cache: Path) -> np.ndarray:
    """Unit vectors, float32 [n, d], of photos and of two crops and one edit of each; kept in `cache`."""
    if cache.exists():
        return np.load(cache, allow_pickle=False)
    embedder, draw, found = PictureEmbedder(), random.Random(0), []
    for path in tqdm(sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        crops = [crop(draw.uniform(0.5, 0.9), draw.random(), draw.random())(image) for _ in range(2)]
        found += [embedder.vector(view) for view in (image, *crops, EDITS[draw.choice(list(EDITS))](image))]
    np.save(cache, np.stack(found))
    return np.stack(found)


def mixtures(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Unit vectors, float32 [count, d], each of a photo, something of another one, and noise."""
    draw = np.random.default_rng(seed)
    first, second = draw.integers(0, len(real), (2, count))
    noise = draw.standard_normal((count, real.shape[1]), dtype=np.float32) / np.sqrt(real.shape[1])
    found = real[first] + MIXED * draw.random((count, 1), dtype=np.float32) * real[second] + NOISE * noise
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def points(real: np.ndarray, start: int, count: int) -> Iterator[list[Point]]:
    """Points number start ... count - 1, in batches; the first are real vectors."""
    for first in range(start, count, BATCH):
        size = min(BATCH, count - first)
        vectors = mixtures(real, size, first) if first + size > len(real) else real[first : first + size]
        batch = []
        for number, vector in enumerate(vectors, first):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            path = f"/photos/{number // 1000:04}/photo {number:07}.jpg"
            record = Record(path[8:], sha256, 40_000, 768, 512, "l8-photo", 50, path[16:-4], path, True, source=sha256)
            batch.append(Point(record.id, vector, record.payload()))
        yield batch


def add(folder: Path, real: np.ndarray, count: int) -> dict[str, float]:
    place = FolderPlace(folder, None)
    place.engine_for_adding()
    start = place.count()
    started, cpu = time.perf_counter(), time.process_time()
    for batch in points(real, start, count):
        place.put(batch)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = psutil.Process().memory_info().rss
    place.close()
    added = count - start
    return {
        "added": added,
        "added_per_second": added / max(seconds, 1e-9),
        "added_per_cpu_second": added / max(cpu, 1e-9),
        "rss_mb_adding": memory / 1e6,
    }


def index(folder: Path) -> dict[str, float]:
    place = FolderPlace(folder, None)
    started, cpu = time.perf_counter(), time.process_time()
    place.engine.optimise()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = psutil.Process().memory_info().rss
    place.close()
    return {"index_seconds": seconds, "index_cpu_seconds": cpu, "rss_mb_indexing": memory / 1e6}


def search(folder: Path, real: np.ndarray) -> dict[str, float]:
    before = psutil.Process().memory_info().rss
    started, cpu = time.perf_counter(), time.process_time()
    place = FolderPlace(folder, None)
    opened, opened_cpu = time.perf_counter() - started, time.process_time() - cpu
    queries = mixtures(real, QUERIES, 2**31)
    seconds, found = timed(place, queries, exact=False)
    exact_seconds, wanted = timed(place, queries[:EXACT_QUERIES], exact=True)
    hits = [len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=False)]
    memory = psutil.Process().memory_info()
    count = place.count()
    place.close()
    return {
        "pictures": count,
        "open_seconds": opened,
        "open_cpu_seconds": opened_cpu,
        "search_ms_median": 1000 * float(np.median(seconds)),
        "search_ms_p95": 1000 * float(np.percentile(seconds, 95)),
        "search_ms_first": 1000 * seconds[0],
        "exact_ms_median": 1000 * float(np.median(exact_seconds)),
        "recall_at_5": float(np.mean(hits)),
        "rss_mb_searching": (memory.rss - before) / 1e6,
        "of_them_mb_mapped_files": getattr(memory, "shared", 0) / 1e6,
        "disk_mb_shard": size_of(folder / "shard") / 1e6,
        "disk_mb_journal": size_of(folder / "journal.jsonl") / 1e6,
    }


def timed(place: FolderPlace, queries: np.ndarray, exact: bool) -> tuple[list[float], list[list[str]]]:
    seconds, found = [], []
    for query in queries:
        started = time.perf_counter()
        (hits,) = place.engine.search(query[None], 5, exact=exact)
        seconds.append(time.perf_counter() - started)
        found.append([hit.id for hit in hits])
    return seconds, found


def size_of(path: Path) -> int:
    """Bytes on disk, of a file or of all below a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True, help="of the library, which stays there")
    parser.add_argument("--step", choices=("add", "index", "search"), help="only this (default: all, one by one)")
    args = parser.parse_args()
    real = real_vectors(args.photos, args.folder.with_suffix(".real.npy"))
    if args.step:
        steps = {"add": lambda: add(args.folder, real, args.count), "index": lambda: index(args.folder)}
        print(json.dumps(steps.get(args.step, lambda: search(args.folder, real))()))
        return
    for step in ("add", "index", "search"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.library",
            str(args.photos),
            "--folder",
            str(args.folder),
            "--count",
            str(args.count),
        ]
        done = subprocess.run([*command, "--step", step], check=True, capture_output=True, text=True)
        for name, value in json.loads(done.stdout).items():
            print(f"{name:<26}{value:,.3f}".rstrip("0").rstrip("."), flush=True)


if __name__ == "__main__":
    main()
