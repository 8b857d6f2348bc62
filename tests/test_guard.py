"""Requests that no browser and no client library would send, sent to both apps as they are."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.helpers.app_calls import client

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]

MB = 1_000_000
APPS = ["encoder", "decoder"]
FIRST = {"encoder": "encode", "decoder": "decode"}


@pytest.fixture(params=APPS)
def server(request) -> AppServer:
    return request.getfixturevalue(request.param)


def resident(server: AppServer) -> float:
    """MB of 10^6 bytes."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024 / 1e6


def raw(server: AppServer, head: str, body: Iterable[bytes] = ()) -> tuple[int, bytes]:
    """A request as it is written here: status and what comes back. Sends no more than the server takes."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        with suppress(OSError):
            for block in body:
                connection.sendall(block)
        answer = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in answer and (block := connection.recv(1 << 16)):
                answer += block
    assert answer, "no answer"
    return int(answer.split()[1]), answer


def blocks(n_bytes: int, before: bytes = b"", chunked: bool = False) -> Iterator[bytes]:
    first = True
    for _ in range(n_bytes // 50_000):
        block = (before if first else b"") + bytes(50_000)
        first = False
        yield b"%x\r\n%s\r\n" % (len(block), block) if chunked else block


FIELD = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
MULTIPART = "Content-Type: multipart/form-data; boundary=b"


@pytest.mark.parametrize("sent", ["stated", "chunked"])
def test_a_text_field_of_an_upload_is_not_kept(server: AppServer, sent: str) -> None:
    before = resident(server)
    length = "Content-Length: 200000000" if sent == "stated" else "Transfer-Encoding: chunked"
    head = f"POST /gradio_api/upload HTTP/1.1\nHost: 127.0.0.1\n{MULTIPART}\n{length}"
    status, _ = raw(server, head, blocks(200 * MB, FIELD, sent == "chunked"))
    assert status == 413
    assert resident(server) < before + 40


@pytest.mark.parametrize("path", ["queue/join", "call/{}", "call/v2/{}", "cancel", "mcp/"])
@pytest.mark.parametrize("sent", ["stated", "chunked"])
def test_json_over_a_megabyte_is_refused(server: AppServer, path: str, sent: str) -> None:
    before = resident(server)
    length = {"stated": "Content-Length: 30000000", "chunked": "Transfer-Encoding: chunked"}[sent]
    head = (
        f"POST /gradio_api/{path.format(FIRST[server.name])} HTTP/1.1\nHost: 127.0.0.1\n"
        "Content-Type: application/json\nAccept: application/json, text/event-stream\n"
    )
    status, answer = raw(server, head + length, blocks(30 * MB, b'{"data": ["', sent == "chunked"))
    assert status == 413
    assert b"The request is too large: at most 1 MB are taken." in answer or answer.endswith(b"\r\n\r\n")
    assert resident(server) < before + 40


def test_many_files_in_one_upload_are_taken_and_too_many_are_not(server: AppServer) -> None:
    """A browser sends all files of a drop at once."""
    small = [("files", (f"{number}.jpg", bytes(100_000))) for number in range(30)]
    assert len(httpx.post(f"{server.url}gradio_api/upload", files=small).json()) == 30
    answer = httpx.post(f"{server.url}gradio_api/upload", files=[("files", ("a", b"a"))] * 300)
    assert answer.status_code == 400 and "Too many files" in answer.text
    assert parts_settle(server)


def test_an_upload_that_breaks_off_leaves_nothing(server: AppServer) -> None:
    head = f"POST /gradio_api/upload HTTP/1.1\nHost: 127.0.0.1\n{MULTIPART}\nContent-Length: 9000000"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + bytes(300_000)
    address = urlsplit(server.url)
    for _ in range(5):
        with socket.create_connection((str(address.hostname), int(address.port or 80))) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + part)
            time.sleep(0.1)
    assert parts_settle(server)


def parts_settle(server: AppServer, seconds: float = 10) -> bool:
    """Whether the parts of uploads are gone in the end; the empty ones are Gradio's, made of uploads that are whole."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(part.is_file() and part.stat().st_size for part in server.temporary.glob("tmp*")):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "path",
    [
        "GET /gradio_api/file=http://127.0.0.1:1/",
        "GET /gradio_api/file=HTTPS://127.0.0.1:1/",
        "HEAD /gradio_api/file=http://127.0.0.1:1/",
        "GET /gradio_api/file/http://127.0.0.1:1/",
        "GET /gradio_api/file%3Dhttp://127.0.0.1:1/",
        "GET /gradio_api/proxy=http://127.0.0.1:1/",
        "POST /gradio_api/process_recording",
        "POST /gradio_api/component_server",
        "POST /gradio_api/vibe-edit",
        "GET /gradio_api/deep_link?session_hash=a",
        "GET /gradio_api/runs",
        "POST /gradio_api/run-history/connect",
        "POST /gradio_api/stream/a",
        "POST /login",
        "GET /monitoring",
        "GET /docs",
    ],
)
def test_routes_that_are_not_ours_are_closed(server: AppServer, path: str) -> None:
    files = set(server.temporary.rglob("*"))
    status, answer = raw(server, f"{path} HTTP/1.1\nHost: 127.0.0.1\n{MULTIPART}\nContent-Length: 0")
    assert status == 404 and (b"no such page here" in answer or path.startswith("HEAD") or answer.endswith(b"\r\n\r\n"))
    assert set(server.temporary.rglob("*")) == files


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/theme.css"])
def test_routes_of_the_page_are_open_and_carry_headers(server: AppServer, path: str) -> None:
    answer = httpx.get(server.url.rstrip("/") + path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize("path", ["run/{}", "api/{}", "run/predict", "run/facts"])
def test_the_queue_cannot_be_walked_around(server: AppServer, path: str) -> None:
    url = f"{server.url}gradio_api/{path.format(FIRST[server.name])}"
    events = httpx.get(f"{server.url}config").json()["dependencies"]
    queued = [event for event in events if event["queue"] is not False and event["backend_fn"]]
    assert len(queued) > 5
    for event in queued:
        body = {"data": [None] * len(event["inputs"]), "fn_index": event["id"]}
        answer = httpx.post(url, json=body)
        assert answer.status_code == 404 and "data" not in answer.json(), event["api_name"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "a.localhost", "127.0.0.1:99", "LOCALHOST"])
def test_names_of_this_machine_are_taken(server: AppServer, name: str) -> None:
    assert raw(server, f"GET /config HTTP/1.1\nHost: {name}")[0] == 200


@pytest.mark.parametrize("name", ["rebound.example", "rebound.example:7860", "192.168.0.1", "127.0.0.1.a", "", "["])
@pytest.mark.parametrize("request_line", ["GET /", "GET /config", "POST /gradio_api/mcp/", "POST /gradio_api/upload"])
def test_other_names_are_refused(server: AppServer, name: str, request_line: str) -> None:
    """A page of such a name may have been pointed at this machine (DNS rebinding)."""
    assert raw(server, f"{request_line} HTTP/1.1\nHost: {name}\nContent-Length: 0")[0] in (400, 403)


@pytest.mark.parametrize("path", ["queue/join", "upload", "mcp/", "cancel"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:1", "https://127.0.0.1", "null", "", "http://["]
)
def test_pages_of_others_may_not_post(server: AppServer, path: str, origin: str) -> None:
    answer = httpx.post(f"{server.url}gradio_api/{path}", headers={"Origin": origin}, json={})
    assert answer.status_code == 403


def test_own_page_may_post(server: AppServer) -> None:
    own = {"Origin": server.url.rstrip("/")}
    assert httpx.post(f"{server.url}gradio_api/upload", headers=own, files={"files": b"a"}).status_code == 200
    answer = httpx.post(f"{server.url}gradio_api/cancel", headers={"Sec-Fetch-Site": "cross-site"}, json={})
    assert answer.status_code == 403


NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999"]


@pytest.mark.parametrize("number", NOT_FINITE)
def test_numbers_that_are_not_finite_are_a_sentence(server: AppServer, number: str) -> None:
    """Of any event, in any field, whoever is meant to send it."""
    before, config = len(server.log), httpx.get(f"{server.url}config").json()
    components = {component["id"]: component for component in config["components"]}
    asked = 0
    for event in config["dependencies"]:
        for index, component in enumerate(event["inputs"]):
            kind = components[component]["type"]
            if kind not in ("number", "slider", "json") or not event["backend_fn"]:
                continue
            data = ["null"] * len(event["inputs"])
            data[index] = number if kind != "json" else f'{{"a": [{number}]}}'
            assert_sentence(server, event["id"], data, "must be a number that is finite")
            asked += 1
    assert asked or server.name == "decoder"
    assert server.log[before:] == ""


def assert_sentence(server: AppServer, event: int, data: list[str], words: str) -> None:
    """data: JSON of each input."""
    session = f"session{time.monotonic_ns()}"
    body = f'{{"data": [{",".join(data)}], "fn_index": {event}, "session_hash": "{session}"}}'
    headers = {"Content-Type": "application/json"}
    joined = httpx.post(f"{server.url}gradio_api/queue/join", content=body, headers=headers)
    assert joined.status_code == 200, joined.text
    last = None
    with httpx.stream("GET", f"{server.url}gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] == "process_completed":
                    last = message
    assert last is not None and not last["success"]
    assert words in last["output"]["error"]


@pytest.mark.parametrize(
    "content", [b"[" * 900_000, b'{"data":' * 100_000, b'{"data": [' + b"1," * 400_000 + b"1]}", b"\xff"]
)
def test_odd_json_is_no_internal_error(server: AppServer, content: bytes) -> None:
    before = len(server.log)
    for path in (f"call/{FIRST[server.name]}", "queue/join", "cancel"):
        answer = httpx.post(
            f"{server.url}gradio_api/{path}", content=content, headers={"Content-Type": "application/json"}, timeout=30
        )
        assert answer.status_code in (400, 422, 200)
    assert "Traceback" not in server.log[before:]


def test_clients_and_pages_still_work(server: AppServer, tmp_path: Path) -> None:
    assert client(server, tmp_path).view_api(return_format="dict")["named_endpoints"]


def test_one_client_may_not_take_all_connections(server: AppServer) -> None:
    """From another address of this machine, so that the other tests' own are not counted."""
    address = urlsplit(server.url)
    head = f"POST /gradio_api/upload HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 10\n{MULTIPART}\n\n"
    held, refused = [], []
    try:
        for _ in range(130):
            connection = socket.create_connection(
                (str(address.hostname), int(address.port or 80)), timeout=5, source_address=("127.0.0.9", 0)
            )
            connection.sendall(head.replace("\n", "\r\n").encode())
            held.append(connection)

        def look(connection: socket.socket) -> None:
            connection.settimeout(2)
            with suppress(OSError):
                refused.append(b" 503 " in connection.recv(100))

        threads = [threading.Thread(target=look, args=(connection,)) for connection in held]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(refused) >= 10
        assert httpx.get(f"{server.url}config").status_code == 200
    finally:
        for connection in held:
            connection.close()
