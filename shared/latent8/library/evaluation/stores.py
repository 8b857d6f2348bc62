"""Sizes of originals and latents, and times of keeping them in files and in a vector store: the ancestor's tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from latent8 import read_latents
from latent8.library.evaluation import published
from latent8.library.evaluation.tables import Table
from latent8.library.library import Library
from latent8.pool import CodecPool

MB = 1e6
COLUMNS = ("", "n", "mean ms", "median", "sd", "min", "max", f"published mean ({published.WHERE})")


def table_of_sizes(photos: Sequence[Path], blobs: Sequence[Path]) -> Table:
    columns = ("MB", "n", "Q1", "Q2", "Q3", "sum", f"published Q1, Q2, Q3, sum ({published.WHERE})")
    table = Table("sizes", "Bytes of originals and latents", columns)
    for name, paths, theirs in (
        ("originals", photos, published.ORIGINALS_MB),
        ("latents (.l8)", blobs, published.LATENTS_MB),
    ):
        sizes = np.array([path.stat().st_size for path in paths]) / MB
        quartiles = [float(value) for value in np.percentile(sizes, (25, 50, 75))]
        table.rows.append([name, len(sizes), *quartiles, float(sizes.sum()), ", ".join(map(str, theirs))])
    return table


def table_of_times(photos: Sequence[Path], blobs: Sequence[Path], pool: CodecPool, url: str | None) -> Table:
    """Each row is measured once for each photo, after a first call that is not counted."""
    table = Table("times", "Times of file store and vector store", COLUMNS, notes=[published.FOOTNOTE])
    _add(table, "file store, {} original{}", photos, _opened)
    _add(table, "file store, {} latent{}", blobs, lambda path: read_latents(path, pool=pool))
    _add(table, "file store, {} latent{}, reconstructed", blobs, lambda path: pool.decode(path.read_bytes()))
    with TemporaryDirectory(prefix="latent8-evaluate-") as folder:
        for kind, inline in (("latents", True), ("file names", False)):
            with Library(Path(folder) / kind, pool=pool) as library:
                library.add(blobs, inline=inline)
                _add_store(table, library, pool, kind, "")
    if url:
        for kind, inline in (("latents", True), ("file names", False)):
            with _collection(url, pool) as library:
                library.add(blobs, inline=inline)
                _add_store(table, library, pool, kind, ", server")
    return table


def _add_store(table: Table, library: Library, pool: CodecPool, kind: str, where: str) -> None:
    records = list(library.records())
    vectors = [library.vectors_of(record) for record in records]
    if kind == "latents":
        ids = [record.id for record in records]
        _add(
            table,
            f"vector store{where}, {{}} latent{{}}",
            ids,
            lambda key: read_latents(library.hit(library.by_id(key)).blob, pool=pool),
        )
    searches, found = _timed(vectors, lambda vector: library.search_vectors(vector, 5))
    decodings, _ = _timed(found, lambda hits: [hit.decode() for hit in hits])
    _add_row(table, f"top-5 search{where}, {kind} in the records", searches)
    _add_row(table, f"reconstruction of 5{where}, {kind} in the records", decodings)


def _add(table: Table, name: str, items: Sequence, call: Callable) -> None:
    seconds, _ = _timed(items, call)
    _add_row(table, name.format("one", ""), seconds)
    whole = name.format("all", "s")
    table.rows.append([whole, len(seconds), 1000 * sum(seconds), *[None] * 4, published.MEAN_MS.get(whole)])


def _add_row(table: Table, name: str, seconds: Sequence[float]) -> None:
    ms = 1000 * np.array(seconds)
    figures = [float(value) for value in (ms.mean(), np.median(ms), ms.std(), ms.min(), ms.max())]
    table.rows.append([name, len(ms), *figures, published.MEAN_MS.get(name)])


def _timed(items: Sequence, call: Callable) -> tuple[list[float], list]:
    """Seconds of each call, and what it gave."""
    call(items[0])
    seconds, results = [], []
    for item in items:
        started = time.perf_counter()
        results.append(call(item))
        seconds.append(time.perf_counter() - started)
    return seconds, results


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


@contextmanager
def _collection(url: str, pool: CodecPool) -> Iterator[Library]:
    """A new collection of the server, deleted at the end."""
    import secrets

    with Library(f"{url.rstrip('/')}/latent8-evaluate-{secrets.token_hex(6)}", pool=pool) as library:
        try:
            yield library
        finally:
            library.drop()
