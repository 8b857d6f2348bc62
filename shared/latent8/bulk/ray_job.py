"""Very many pictures, on one machine or on a cluster: Ray Data, with a model in each actor.

    python -m latent8 bulk PHOTOS -o OUT                                              # this machine
    python -m latent8 bulk s3://bucket/photos -o s3://bucket/out --address HEAD:6379  # a Ray cluster

PHOTOS and OUT are folders, or URLs of any file system that fsspec knows and that every node reaches. Written are

    OUT/blobs/...         the tree of PHOTOS, photo.l8 for photo.jpg; photo.jpg.l8 where another has that stem too
    OUT/index/*.parquet   a row for each picture, see SCHEMA
    OUT/job.json          source and settings: the same command goes on where a job was stopped, another is refused

An actor takes a part of some hundred pictures, writes their blobs, and then the part's file of the index in one piece.
Ray gives the part of a lost actor to another one, which keeps the blobs that it finds whole and adds the others. So
each picture has one blob, written once, and one row. Needs `pip install latent8[bulk]`; see docs/BULK.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from threading import Lock
from typing import Any
from unittest import mock

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network but the cluster's own
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data's way to start actors makes it warn

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from fsspec.implementations.local import LocalFileSystem
from ray.data import ActorPoolStrategy, DataContext

from latent8.bulk.folders import distinct_names
from latent8.bulk.names import escaped, unescaped
from latent8.codec import Codec
from latent8.errors import BlobError, Latent8Error
from latent8.evaluation.metrics import psnr
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import inspect, require_encoder
from latent8.library.bulk_index import HASH, VECTOR
from latent8.library.vectors import DEFAULT, embedder
from latent8.library.vectors.base import Embedder, opaque
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.machine.disk import write_file
from latent8.machine.parallel import map_in_order
from latent8.metadata.kept import Keep
from latent8.pictures.intake import SUFFIXES, open_picture, pixel_count
from latent8.zoo.registry import DEFAULT_MODEL, model_named
from latent8.zoo.settings import DEFAULTS, Settings

PART = 256  # pictures in a file of the index, at most: what is done over, at most, when an actor is lost
SCHEMA = pa.schema(
    {
        "name": pa.string(),  # of the picture, below PHOTOS, as `escaped` gives it
        "blob": pa.string(),  # below OUT/blobs, of escaped names too; null where the picture could not be encoded
        "bytes": pa.int64(),  # of the blob
        "width": pa.int32(),  # as kept in the blob
        "height": pa.int32(),
        "bpp": pa.float64(),  # bits of the blob per pixel
        "psnr": pa.float64(),  # of what the blob gives back, dB; null where that is not asked for
        "model": pa.string(),
        "seconds": pa.float64(),  # of an actor's time, the part's mean
        "error": pa.string(),  # why there is no blob
    }
)

VECTORS = (  # more columns, of a job with vectors; the schema's metadata says which vectors they are
    pa.field("vector", pa.list_(pa.float32())),  # of the picture, for a library of latents
    pa.field("sha256", pa.string()),  # of the blob
    pa.field("quality", pa.int32()),  # null for a model without one
)

PART_SCHEMA = pa.schema([SCHEMA.field("name"), SCHEMA.field("blob")])


@dataclass(frozen=True)
class Job:
    """A job: what to encode, and how. source, output: folders or fsspec URLs."""

    source: str
    output: str
    model: str = DEFAULT_MODEL
    settings: Settings = DEFAULTS
    longest_side: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    keep_metadata: Keep = None
    measure: bool = True  # decode each blob again for its PSNR
    vectors: bool = False  # embed each picture, for a library of latents


@dataclass(frozen=True)
class Place:
    """A folder on some file system."""

    files: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def at(cls, url: str) -> Place:
        """The place at a URL or path. Raises Latent8Error for a URL that fsspec cannot serve."""
        try:
            files, root = fsspec.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise Latent8Error(f"{url} cannot be reached: {error}.") from None
        return cls(files, root.rstrip("/"))

    def names(self) -> list[str]:
        """Names of all files below it, relative to it, in order."""
        try:
            return sorted(path[len(self.root) :].lstrip("/") for path in self.files.find(self.root))
        except FileNotFoundError:  # of some file systems; others give an empty list
            return []

    def read(self, name: str) -> bytes:
        return self.files.cat_file(f"{self.root}/{name}")

    @property
    def url(self) -> str:
        return self.files.unstrip_protocol(self.root)

    def exists(self, name: str) -> bool:
        return self.files.exists(f"{self.root}/{name}")

    def modified(self, name: str) -> datetime | None:
        """None where the file system does not know."""
        try:
            found = self.files.modified(f"{self.root}/{name}")
        except NotImplementedError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def write(self, name: str, data: bytes) -> None:
        """All or nothing, on local disks and in object stores."""
        path = f"{self.root}/{name}"
        self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if isinstance(self.files, LocalFileSystem):
            write_file(path, data)
        else:
            self.files.pipe_file(path, data)


class Encoder:
    """An actor: a loaded model; called with a part, {"name": [...], "blob": [...]}, gives its rows of the index."""

    def __init__(self, job: Job, n_cpus: int):
        import torch

        torch.set_num_threads(n_cpus)
        self._job, self._workers = job, n_cpus + 1  # one more, for the time that storage takes to answer
        self._source, self._output = Place.at(job.source), Place.at(job.output)
        self._codec = Codec(job.model, max_pixels=job.max_pixels)
        self._large = Lock()
        self._embedder = embedder(DEFAULT) if job.vectors else None
        self._schema = schema_with(self._embedder) if self._embedder else SCHEMA

    def __call__(self, part: dict[str, Any]) -> pa.Table:
        names = list(map(str, part["name"]))
        index = f"index/{hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:24]}.parquet"
        if self._output.exists(index):  # by an actor that was lost before it could tell
            return pq.read_table(pa.BufferReader(self._output.read(index)), schema=self._schema)
        started = time.perf_counter()
        pairs = list(zip(names, map(str, part["blob"]), strict=True))
        rows: list[dict[str, Any]] = []
        for (name, _), row in zip(pairs, map_in_order(self._row, pairs, lambda _: False, self._workers), strict=True):
            rows.append({"name": name, "error": str(row)} if isinstance(row, Latent8Error) else row)
        seconds = (time.perf_counter() - started) / len(rows)
        table = pa.Table.from_pylist(
            [row | {"model": self._job.model, "seconds": seconds} for row in rows], self._schema
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self._output.write(index, buffer.getvalue())
        return table

    def _row(self, pair: tuple[str, str]) -> dict[str, Any]:
        """Encode a picture -> its row. Raises Latent8Error where it cannot be encoded, OSError where storage fails."""
        job, name, blob_name = self._job, unescaped(pair[0]), pair[1]
        try:
            data = self._source.read(name)
        except (FileNotFoundError, PermissionError) as error:
            if not self._source.files.exists(self._source.root):  # no fault of this picture
                raise OSError(f"{self._source.url} has gone") from None
            raise Latent8Error(f"The file cannot be read ({error.strerror or error}).") from None
        with self._large if self._codec.is_large(pixel_count(data)) else nullcontext():
            picture = open_picture(data, job.max_pixels, job.longest_side, job.keep_metadata)
            stem = PurePosixPath(name).stem
            encoded = self._kept(name, blob_name, (picture.width, picture.height))
            if encoded is None:
                encoded = self._codec.analyse(picture, self._job.settings, stem)
                self._output.write(f"blobs/{blob_name}", encoded.to_bytes())
            row = {"name": pair[0], "blob": blob_name, "bytes": encoded.n_bytes, "bpp": encoded.bpp}
            if self._job.measure:
                row["psnr"] = psnr(picture.rgb, self._codec.synthesise(encoded).rgb)
            if self._embedder:
                row["vector"] = self._embedder.vector(opaque(picture.image())).tolist()
                row["sha256"] = hashlib.sha256(encoded.to_bytes()).hexdigest()
                row["quality"] = encoded.quality
            return row | {"width": encoded.width, "height": encoded.height}

    def _kept(self, name: str, blob_name: str, size: tuple[int, int]) -> Encoded | None:
        """The blob, where this job has written it before, with these weights, and the picture has not changed since."""
        try:
            kept = inspect(self._output.read(f"blobs/{blob_name}"))
        except (FileNotFoundError, BlobError):
            return None
        written, changed = self._output.modified(f"blobs/{blob_name}"), self._source.modified(name)
        newer = written and changed and changed > written
        made_so = (kept.width, kept.height) == size and kept.header.weights == self._codec.network.weights_hash
        return None if newer or not made_so else kept


def schema_with(vectors: Embedder) -> pa.Schema:
    """Schema of the index of a job with vectors."""
    metadata = {VECTOR: vectors.name.encode(), HASH: vectors.hash.encode()}
    return pa.schema([*SCHEMA, *VECTORS], metadata=metadata)


@dataclass
class Totals:
    """Figures of one run so far. pictures: number encoded, failed ones among them. wanted: number that were to do."""

    wanted: int
    pictures: int = 0
    failed: int = 0
    n_bytes: int = 0  # of blobs
    actor_seconds: float = 0.0  # of all actors together

    def add(self, rows: pa.Table) -> None:
        self.pictures += len(rows)
        self.failed += len(rows) - rows["error"].null_count
        self.n_bytes += sum(rows["bytes"].drop_null().to_pylist())
        self.actor_seconds += sum(rows["seconds"].to_pylist())


def todo(job: Job) -> pa.Table:
    """Names and blobs of the pictures that are not in the index yet. Raises Latent8Error, also for another's output."""
    source, output = Place.at(job.source), Place.at(job.output)
    found = [PurePosixPath(name) for name in source.names() if not _within(f"{source.root}/{name}", output, source)]
    names = [path for path in found if path.suffix.lower() in SUFFIXES and not any(p[0] == "." for p in path.parts)]
    if not names:
        raise Latent8Error(f"There are no pictures in {job.source}.")
    _claim(job, source, output)
    done, taken = set[str](), set[str]()
    for name in Place(output.files, f"{output.root}/index").names():
        if name.endswith(".parquet"):
            rows = _rows(output, f"index/{name}")
            done |= set(rows["name"].to_pylist())
            taken |= {blob.lower() for blob in rows["blob"].drop_null().to_pylist()}
    stems = distinct_names({name: name.with_suffix("") for name in names})
    blobs = [(escaped(str(name)), escaped(f"{stem}.l8")) for name, stem in stems.items()]
    blobs = [(name, blob) for name, blob in blobs if name not in done]
    # A blob in the index is another picture's, one that has gone, perhaps, since
    left = [(name, f"{name}.l8" if blob.lower() in taken else blob) for name, blob in blobs]
    return pa.table({"name": [name for name, _ in left], "blob": [blob for _, blob in left]}, schema=PART_SCHEMA)


def _rows(output: Place, name: str) -> pa.Table:
    """Names and blobs of a file of the index."""
    try:
        return pq.read_table(pa.BufferReader(output.read(name)), columns=PART_SCHEMA.names)
    except (pa.ArrowException, ValueError):
        raise Latent8Error(f"{output.url}/{name} is damaged: delete it, and its pictures are indexed again.") from None


def _within(path: str, output: Place, source: Place) -> bool:
    same = source.files == output.files and source.root != output.root
    return same and path.startswith(f"{output.root}/")


def _claim(job: Job, source: Place, output: Place) -> None:
    """Mark the output as this job's. Raises Latent8Error where it is another's."""
    wanted = json.loads(json.dumps({**asdict(job), "source": source.url}))
    del wanted["output"], wanted["measure"]
    for name in ("keep_metadata", "vectors"):  # as jobs from before there was a choice have it
        if not wanted[name]:
            del wanted[name]
    if not output.exists("job.json"):
        if output.exists("blobs"):
            raise Latent8Error(f"{job.output} holds blobs that are not of such a job: name an empty folder.")
        output.write("job.json", json.dumps(wanted, indent=1).encode())
        return
    try:
        found = json.loads(output.read("job.json"))
    except ValueError:
        raise Latent8Error(f"{output.url}/job.json is damaged: name an empty folder.") from None
    if found != wanted:
        raise Latent8Error(f"{job.output} holds a job with another source or settings: name an empty folder.")


def connect(address: str | None) -> None:
    """To the Ray cluster there, or to one that is started on this machine and ends with this process."""
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        with _named_in_utf8():
            ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **local)
    except (ConnectionError, ValueError) as error:
        if address and not isinstance(error, UnicodeError):
            raise Latent8Error(f"There is no Ray cluster at {address}: {_brief(error)}.") from None
        raise Latent8Error(f"Ray cannot be started: {_brief(error)}.") from None
    except RuntimeError as error:  # of another version of Ray or Python, say
        raise Latent8Error(f"Ray cannot be used: {_brief(error)}.") from None
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextmanager
def _named_in_utf8() -> Iterator[None]:
    """Ray tells its cluster the command line of the process, and cannot where an argument is not UTF-8."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        with mock.patch("ray._private.utils.get_entrypoint_name", lambda: escaped(" ".join(sys.argv))):
            yield
    else:
        yield


def run(job: Job, actors: int | None = None) -> Iterator[Totals]:
    """Encode what is left of the job, on the cluster that is connected; the totals at first, and after each part.

    actors: by default one for each GPU of the cluster, or where it has none for each CPU; they share its CPUs evenly.
    Raises Latent8Error, also where storage does not answer or an actor cannot work at all; a job can then be run again.
    """
    try:
        job.settings.check(model_named(job.model))
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    require_encoder(model_named(job.model))
    actors, n_cpus, n_gpus = _shares(actors)
    table = todo(job)
    totals = Totals(len(table))
    yield totals
    if not len(table):
        return
    n_rows = min(PART, math.ceil(len(table) / (4 * actors)))  # so that no actor is left with much more than the others
    parts = [table[start : start + n_rows] for start in range(0, len(table), n_rows)]
    rows = ray.data.from_arrow(parts).map_batches(
        Encoder,
        batch_size=None,  # a part as it is
        compute=ActorPoolStrategy(size=min(actors, len(parts))),
        fn_constructor_args=(_anywhere(job), n_cpus),
        num_cpus=n_cpus,
        num_gpus=n_gpus or None,
    )
    try:
        for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            totals.add(batch)
            yield totals
    except ray.exceptions.RayError as error:
        raise Latent8Error(f"The job has stopped ({_brief(error)}): run it again, and it goes on.") from None


def _anywhere(job: Job) -> Job:
    """The same, also for a process in another working directory."""
    return replace(job, source=Place.at(job.source).url, output=Place.at(job.output).url)


def _shares(actors: int | None) -> tuple[int, int, float]:
    """Number of actors -> that number, CPUs and GPUs of each."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    n_cpus = sum(int(node.get("CPU", 0)) for node in nodes)
    n_gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    used = [node for node in nodes if node.get("GPU" if n_gpus else "CPU") and node.get("CPU")]
    if not used:
        raise Latent8Error("The cluster has no CPUs that an actor could run on: start a node with some.")
    actors = actors or n_gpus or n_cpus
    per_actor = min(n_cpus // actors, *(int(node["CPU"] // node.get("GPU", 1)) for node in used))
    return actors, max(1, per_actor), min(1.0, n_gpus / actors)


def _brief(error: BaseException) -> str:
    """The last line that says something: what was raised at first, of what Ray wraps around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
