"""A stand-in for the Hugging Face Hub on the loopback address: model downloads, Space creation and uploads.

It speaks only the requests that huggingface_hub makes for these, and keeps what it was sent for tests to look at.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef" * 2 + "01234567"


class HubServer:
    """Serves folders of checkpoint files as model repositories, and takes one Space; use it in a `with` block.

    refuse: HTTP status that all changes are answered with. space: files that the Space holds already, None
    where it does not exist. private: whether an existing Space is. models_exist: whether each model asked for has
    a revision, also one without files.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Path] | None = None,
        *,
        refuse: int | None = None,
        space: Mapping[str, bytes] | None = None,
        private: bool = False,
        models_exist: bool = False,
    ):
        self.checkpoints = dict(checkpoints or {})
        self.refuse = refuse
        self.space: dict[str, bytes] | None = None if space is None else dict(space)
        self.private, self.models_exist = private, models_exist
        self.requests: list[str] = []  # "METHOD path" of each, in order
        self.tokens: set[str | None] = set()
        self.created: dict = {}  # body of the request that created the Space
        self.hardware: str | None = None  # asked for after creation
        self.variables: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def client_environment(endpoint: str, home: Path, **more: str) -> dict[str, str]:
    """Variables for a process that takes `endpoint` for the Hub and keeps its cache and login below `home`."""
    kept = {name: value for name, value in os.environ.items() if not re.match("HF_|HUGGING|PYTHONPATH", name)}
    return {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def unreachable_url() -> str:
    """An address on this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self._note()
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/\w+)?", path):
                self._model(match[1])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
                self._checkpoint_file(match[1], match[2])
            elif match := re.fullmatch(r"/api/spaces/([^/]+/[^/]+)(/revision/\w+)?", path):
                self._space(match[1])
            elif re.fullmatch(r"/api/spaces/[^/]+/[^/]+/tree/\w+", path):
                files = hub.space or {}
                self._answer([{"type": "file", "path": p, "size": len(d), "oid": _oid(d)} for p, d in files.items()])
            else:
                self._missing("RepoNotFound")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            path = self._note()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if path == "/api/repos/create":
                self._create(json.loads(body))
            elif path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif hub.refuse:
                self._answer({"error": "refused"}, hub.refuse)
            elif "/preupload/" in path:
                paths = [file["path"] for file in json.loads(body)["files"]]
                self._answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
            elif "/commit/" in path:
                self._commit(path, [json.loads(line) for line in body.splitlines()])
            elif path.endswith("/hardware"):
                hub.hardware = json.loads(body)["flavor"]
                self._answer({"stage": "BUILDING", "hardware": {"current": None, "requested": hub.hardware}})
            elif path.endswith("/variables"):
                found = json.loads(body)
                hub.variables[found["key"]] = found["value"]
                self._answer({found["key"]: {"value": found["value"], "updatedAt": "2026-01-01T00:00:00.000Z"}})
            else:
                self._missing("RepoNotFound")

        def _model(self, name: str) -> None:
            if name not in hub.checkpoints and not hub.models_exist:
                return self._missing("RepoNotFound")
            folder = hub.checkpoints.get(name)
            siblings = [{"rfilename": path.name} for path in sorted(folder.iterdir())] if folder else []
            self._answer({"id": name, "modelId": name, "sha": COMMIT, "tags": [], "siblings": siblings})

        def _checkpoint_file(self, name: str, file: str) -> None:
            if name not in hub.checkpoints:
                return self._missing("RepoNotFound")
            path = hub.checkpoints[name] / file
            if not path.is_file():
                return self._missing("EntryNotFound")
            data = path.read_bytes()
            self._send(200, data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"})

        def _space(self, name: str) -> None:
            if hub.space is None:
                return self._missing("RepoNotFound")
            self._answer({"id": name, "sha": COMMIT, "private": hub.private, "tags": [], "siblings": []})

        def _create(self, body: dict) -> None:
            if hub.refuse:
                return self._answer({"error": "refused"}, hub.refuse)
            url = f"{hub.url}/spaces/{body['organization']}/{body['name']}"
            if hub.space is not None:
                return self._answer({"error": "You already created this space repo", "url": url}, 409)
            hub.created, hub.space = body, {}
            self._answer({"url": url})

        def _commit(self, path: str, lines: list[dict]) -> None:
            hub.space = hub.space or {}
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    hub.space[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    hub.space.pop(value["path"], None)
            page = path.removeprefix("/api").removesuffix("/commit/main")
            self._answer({"commitUrl": f"{hub.url}{page}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

        def _note(self) -> str:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            hub.tokens.add(self.headers.get("Authorization"))
            return path

        def _missing(self, code: str) -> None:
            self._answer({"error": code}, 404, {"X-Error-Code": code})

        def _answer(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
            self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

        def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
