"""A stand-in for a Qdrant server on the loopback interface: its REST, as far as a library uses it, before Edge.

It keeps to the requests and answers of Qdrant 1.16's OpenAPI, which `qdrant-client` checks on its side. With
LATENT8_QDRANT_URL=http://host:6333 the same tests run against a real server.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from latent8.library.edge import EdgeEngine
from latent8.library.engine import Point

REAL = os.environ.get("LATENT8_QDRANT_URL")


class Collection:
    """A shard and what the collection states of itself."""

    def __init__(self, folder: Path, request: dict[str, Any]):
        self.request = request
        ((self.vector, parameters),) = request["vectors"].items()
        self.engine = EdgeEngine(folder, self.vector, parameters["size"])

    def info(self) -> dict[str, Any]:
        parameters = {
            "vectors": self.request["vectors"],
            "shard_number": 1,
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": True,
        }
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
        optimisers = {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        }
        config = {
            "params": parameters,
            "hnsw_config": hnsw,
            "optimizer_config": optimisers,
            "metadata": self.request.get("metadata"),
        }
        counts = {"segments_count": 1, "points_count": self.engine.count()}
        return {"status": "green", "optimizer_status": "ok", "config": config, "payload_schema": {}, **counts}


class Server(ThreadingHTTPServer):
    """key: asked of every request where it is set."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.key = folder, ""
        self.collections: dict[str, Collection] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *arguments: Any) -> None: ...

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        path = urlsplit(self.path).path
        self.server.requests.append(f"{method} {path}")
        if self.server.key and self.headers.get("api-key") != self.server.key:
            return self._send(401, "Must provide an API key or an Authorization bearer token")
        try:
            found = self._found(method, path.split("/")[2:], body)
        except LookupError as error:
            return self._send(404, {"status": {"error": f"Not found: {error}"}, "time": 0.0})
        except FileExistsError as error:
            return self._send(409, {"status": {"error": f"Wrong input: {error}"}, "time": 0.0})
        except Exception as error:
            return self._send(400, {"status": {"error": f"Wrong input: {error}"}, "time": 0.0})
        self._send(200, {"result": found, "status": "ok", "time": 0.001})

    def _send(self, status: int, answer: Any) -> None:
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _found(self, method: str, path: list[str], body: Any) -> Any:
        name, what = path[0], "/".join(path[1:])
        collections = self.server.collections
        if what == "exists":
            return {"exists": name in collections}
        if (method, what) == ("PUT", ""):
            if name in collections:
                raise FileExistsError(f"Collection `{name}` already exists!")
            collections[name] = Collection(self.server.folder / name, body)
            return True
        if (method, what) == ("DELETE", ""):
            return collections.pop(name, None) is not None
        if name not in collections:
            raise LookupError(f"Collection `{name}` doesn't exist!")
        collection = collections[name]
        engine = collection.engine
        updated = {"operation_id": 1, "status": "completed"}
        if what == "":
            return collection.info()
        if what == "index":
            return updated
        if (method, what) == ("PUT", "points"):
            engine.upsert([_point(point, collection.vector) for point in body["points"]])
            return updated
        if what == "points/delete":
            engine.delete(body["points"])
            return updated
        if what == "points/count":
            return {"count": engine.count()}
        if what == "points":
            return [
                _record(point, collection.vector) for point in engine.get(body["ids"], bool(body.get("with_vector")))
            ]
        if what == "points/scroll":
            return self._scrolled(collection, body)
        if what == "points/query/batch":
            return [self._queried(engine, request) for request in body["searches"]]
        raise LookupError(what)

    def _scrolled(self, collection: Collection, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("filter"):
            ((condition),) = body["filter"]["must"]
            points = collection.engine.find(condition["key"], condition["match"]["any"])
        else:
            points = list(collection.engine.scroll(bool(body.get("with_vector"))))
        after = [point for point in points if not body.get("offset") or point.id >= body["offset"]]
        page, rest = after[: body["limit"]], after[body["limit"] :]
        records = [_record(point, collection.vector) for point in page]
        return {"points": records, "next_page_offset": rest[0].id if rest else None}

    def _queried(self, engine: EdgeEngine, request: dict[str, Any]) -> dict[str, Any]:
        query = request["query"]
        vector = np.array(query["nearest"] if isinstance(query, dict) else query, np.float32)
        exact = bool((request.get("params") or {}).get("exact"))
        (hits,) = engine.search(vector[None], request["limit"], request.get("score_threshold"), exact)
        return {"points": [{"id": h.id, "version": 1, "score": h.score, "payload": h.payload} for h in hits]}


def _point(point: dict[str, Any], name: str) -> Point:
    return Point(point["id"], np.array(point["vector"][name], np.float32), point.get("payload") or {})


def _record(point: Point, name: str) -> dict[str, Any]:
    vector = {} if point.vector is None else {"vector": {name: point.vector.tolist()}}
    return {"id": point.id, "payload": point.payload, **vector}


@pytest.fixture
def stand_in(tmp_path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def collection_url(request) -> Iterator[str]:
    """A new collection of the real server, or of the stand-in where there is none."""
    name = f"latent8-test-{secrets.token_hex(6)}"
    if not REAL:
        yield f"{request.getfixturevalue('stand_in').url}/{name}"
        return
    yield f"{REAL.rstrip('/')}/{name}"
    from qdrant_client import QdrantClient

    QdrantClient(url=REAL, api_key=os.environ.get("QDRANT_API_KEY")).delete_collection(name)
