"""A collection of a Qdrant server as an engine, over HTTP by qdrant-client."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from latent8.errors import LibraryError
from latent8.library.engine import INDEXED, Point, Scored

PAGE, BATCH = 256, 64
TIMEOUT = 60  # seconds that an answer may take
HNSW_EF = 128  # as of the embedded engine
KEY = "QDRANT_API_KEY"
Result = TypeVar("Result")


class RemoteEngine:
    """The collection at `url`, `http://host:6333/name`. Nothing is asked of the server before the first call.

    Raises LibraryError for a URL that names no collection, or holds a password.
    """

    def __init__(self, url: str):
        self.url = url
        server, self.collection = _split(url)
        with warnings.catch_warnings():  # of a key over plain HTTP, which docs/LIBRARY.md speaks of
            warnings.simplefilter("ignore")
            self._client = QdrantClient(
                url=server, api_key=os.environ.get(KEY), timeout=TIMEOUT, check_compatibility=False
            )
        self._name = ""

    def describe(self) -> tuple[dict[str, int], dict[str, Any]] | None:
        """Sizes of the named vectors and metadata of the collection, or None where there is none yet."""
        if not self._attempt(self._client.collection_exists, self.collection):
            return None
        config = self._attempt(self._client.get_collection, self.collection).config
        vectors = config.params.vectors
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        return {name: found.size for name, found in named.items() if found}, getattr(config, "metadata", None) or {}

    def use(self, vector_name: str) -> None:
        """The named vector that points have from now on."""
        self._name = vector_name

    def create(self, vector_name: str, size: int, metadata: dict[str, Any]) -> None:
        """Make the collection, unless another has in the meantime."""
        parameters = models.VectorParams(size=size, distance=models.Distance.COSINE)
        try:
            self._client.create_collection(
                self.collection, vectors_config={vector_name: parameters}, metadata=metadata, on_disk_payload=True
            )
        except UnexpectedResponse as error:
            if error.status_code != 409:
                raise self._error(error) from None
        except (ResponseHandlingException, OSError) as error:
            raise self._error(error) from None
        for field in INDEXED:
            self._attempt(
                self._client.create_payload_index, self.collection, field, models.PayloadSchemaType.KEYWORD, wait=True
            )
        self.use(vector_name)

    def drop(self) -> None:
        """Delete the collection."""
        self._attempt(self._client.delete_collection, self.collection)

    def upsert(self, points: Sequence[Point]) -> None:
        for first in range(0, len(points), BATCH):
            batch = [
                models.PointStruct(id=point.id, vector={self._name: _floats(point.vector)}, payload=point.payload)
                for point in points[first : first + BATCH]
            ]
            self._attempt(self._client.upsert, self.collection, batch, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        selector = models.PointIdsList(points=list(ids))
        self._attempt(self._client.delete, self.collection, selector, wait=True)

    def count(self) -> int:
        return self._attempt(self._client.count, self.collection, exact=True).count

    def get(self, ids: Sequence[str], vectors: bool = False) -> list[Point]:
        found = self._attempt(
            self._client.retrieve, self.collection, list(ids), with_payload=True, with_vectors=vectors
        )
        return [self._point(record) for record in found]

    def find(self, field: str, values: Sequence[str]) -> list[Point]:
        condition = models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))
        return list(self._scroll(False, models.Filter(must=[condition])))

    def search(
        self, vectors: np.ndarray, k: int, min_score: float | None = None, exact: bool = False
    ) -> list[list[Scored]]:
        requests = [
            models.QueryRequest(
                query=_floats(vector),
                using=self._name,
                limit=k,
                with_payload=True,
                score_threshold=min_score,
                params=models.SearchParams(exact=exact, hnsw_ef=max(HNSW_EF, k)),
            )
            for vector in vectors
        ]
        answers = self._attempt(self._client.query_batch_points, self.collection, requests)
        return [[Scored(str(hit.id), hit.score, hit.payload or {}) for hit in answer.points] for answer in answers]

    def scroll(self, vectors: bool = False) -> Iterator[Point]:
        return self._scroll(vectors, None)

    def optimise(self) -> None:
        """A server does so by itself."""

    def flush(self) -> None:
        """A server does so by itself."""

    def close(self) -> None:
        self._client.close()

    def _scroll(self, vectors: bool, condition: models.Filter | None) -> Iterator[Point]:
        offset = None
        while True:
            records, offset = self._attempt(
                self._client.scroll,
                self.collection,
                scroll_filter=condition,
                limit=PAGE,
                offset=offset,
                with_payload=True,
                with_vectors=vectors,
            )
            yield from map(self._point, records)
            if offset is None:
                return

    def _point(self, record: Any) -> Point:
        vector = record.vector and np.array(record.vector[self._name], np.float32)
        return Point(str(record.id), vector, record.payload or {})

    def _attempt(self, call: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        try:
            return call(*arguments, **named)
        except (UnexpectedResponse, ResponseHandlingException, OSError) as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> LibraryError:
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return LibraryError(f"{self.url} asks for a key that is allowed to do this: set {KEY}.")
        if status == 404:
            return LibraryError(f"There is no library at {self.url}: add photos or blobs to make one.")
        if status is not None:
            text = bytes(getattr(error, "content", b"")).decode("utf-8", "replace")
            return LibraryError(f"{self.url} answered with an error ({status}: {' '.join(text.split())[:200]}).")
        text = " ".join(str(error).split())[:200] or type(error).__name__
        return LibraryError(f"{self.url} cannot be reached ({text}): is the server running, and the address right?")


def _floats(vector: np.ndarray | None) -> list[float]:
    """A vector as the engine takes it. Raises ValueError for one that finds nothing."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        raise ValueError("a vector must be finite, and not zero")
    return vector.tolist()


def _split(url: str) -> tuple[str, str]:
    """URL of a collection -> URL of its server, name of the collection."""
    form = "a library on a server is http://host:6333/name"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise LibraryError(f"The address cannot be understood: {form}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LibraryError(f"{url} is no address of a Qdrant server: {form}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise LibraryError(f"The address may hold no password, key or query: {form}, and a key is taken from {KEY}.")
    prefix, _, name = parts.path.rstrip("/").rpartition("/")
    if not name or not all(character.isalnum() or character in "-_." for character in name):
        raise LibraryError(f"{url} names no collection: {form}, the name of letters, digits, - and _.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 6333)}{prefix}", name
