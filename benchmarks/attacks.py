"""Attacks on the apps, for benchmarks/abuse.py: what they send, bounded in count and time."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

import latent8
from latent8.file_format.blob import MAGIC

ENDPOINTS = {"encoder": ("/encode", "encode_batch"), "decoder": ("/decode", "decode_batch")}
MB = 1_000_000


class Attacker:
    """Sends what no browser would, from an address of its own, and counts what is answered.

    app: its name. stop: set when the time is over.
    """

    def __init__(self, app: str, url: str, number: int, stop: Event):
        self.app, self.url, self.stop = app, url, stop
        self.answers: Counter[str] = Counter()
        self.address = f"127.0.0.{2 + number}"
        transport = httpx.HTTPTransport(local_address=self.address)
        self.http = httpx.Client(base_url=url, transport=transport, timeout=60)
        self.batch = f"/gradio_api/call/{ENDPOINTS[app][1]}"
        self.single = f"/gradio_api/call{ENDPOINTS[app][0]}"
        self.endpoints = httpx.get(f"{url}gradio_api/info").json()["named_endpoints"]

    def note(self, answer: httpx.Response | str) -> None:
        self.answers[answer if isinstance(answer, str) else str(answer.status_code)] += 1

    def post(self, path: str, **options: Any) -> httpx.Response | None:
        try:
            answer = self.http.post(path, **options)
        except httpx.HTTPError as error:
            self.note(type(error).__name__)
            return None
        self.note(answer)
        return answer

    def upload(self, name: str, data: bytes) -> dict | None:
        answer = self.post("/gradio_api/upload", files={"files": (name, data)})
        if answer is None or answer.status_code != 200:
            return None
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def data(self, path: str, given: Any) -> list:
        """Inputs of an endpoint: its first, and the defaults of the others, without which a call is refused."""
        parameters = self.endpoints["/" + path.rsplit("/", 1)[1]]["parameters"]
        return [given, *(parameter["parameter_default"] for parameter in parameters[1:])]

    def call(self, path: str, given: Any, wait: float | None = 30) -> None:
        """Ask for work; wait: seconds until the client goes, None for one that never listens."""
        answer = self.post(path, json={"data": self.data(path, given)})
        if wait is None or answer is None or answer.status_code != 200:
            return
        with suppress(httpx.HTTPError), self.http.stream(
            "GET", f"{path}/{answer.json()['event_id']}", timeout=httpx.Timeout(10, read=wait)
        ) as stream:  # fmt: skip
            for line in stream.iter_lines():
                if line.startswith("event: ") and line != "event: heartbeat":
                    self.note(line.removeprefix("event: "))
                if self.stop.is_set():
                    return

    def connect(self) -> Any:
        address = urlsplit(self.url)
        return socket.create_connection(
            (str(address.hostname), int(address.port or 80)), timeout=10, source_address=(self.address, 0)
        )


# Attacks: each is called over and over until its time is over.


def a_text_field(a: Attacker) -> None:
    """1,000 MB of text in an upload, whose length is not stated."""

    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
        for _ in range(1000):
            yield bytes(MB)

    a.post("/gradio_api/upload", content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"})


def a_json(a: Attacker) -> None:
    """300 MB of JSON."""

    def body() -> Iterator[bytes]:
        yield b'{"data": ["'
        for _ in range(300):
            yield b"a" * MB

    a.post("/gradio_api/queue/join", content=body(), headers={"Content-Type": "application/json"})


def duplicates(a: Attacker) -> None:
    """One upload named 60 times; the client goes after a second."""
    file = a.upload(*large_file(a))
    if file:
        a.call(a.batch, [file] * 60, wait=1)


def large_work(a: Attacker) -> None:
    """Small files of many pixels, waited for."""
    for name, data in (thin_file(a), flat_file(a)):
        file = a.upload(name, data)
        if file and not a.stop.is_set():
            a.call(a.single, file, wait=120)


def never_heard(a: Attacker) -> None:
    """The same, by clients that never listen."""
    file = a.upload(*flat_file(a))
    for _ in range(10):
        if file and not a.stop.is_set():
            a.call(a.single, file, wait=None)
    a.stop.wait(2)


def a_flood(a: Attacker) -> None:
    """As many events as are taken, each of a session of its own."""
    file = a.upload(*small_file(a))
    for _ in range(100):
        if file and not a.stop.is_set():
            a.call(a.single, file, wait=None)
    a.stop.wait(1)


def past_the_queue(a: Attacker) -> None:
    """Direct calls, and others that free their place in the queue by a cancellation."""
    file = a.upload(*flat_file(a))
    name = ENDPOINTS[a.app][0].strip("/")
    for path in (f"/gradio_api/run/{name}", f"/gradio_api/api/{name}"):
        a.post(path, json={"data": a.data(path, file)})
    config = a.http.get("/config").json()
    event = next(dep["id"] for dep in config["dependencies"] if dep["api_name"] == name)
    for _ in range(4):
        session = f"s{time.monotonic_ns()}"
        body = {"data": a.data(a.single, file), "fn_index": event, "session_hash": session}
        answer = a.post("/gradio_api/queue/join", json=body)
        if answer is not None and answer.status_code == 200:
            a.stop.wait(0.5)
            gone = {"session_hash": session, "fn_index": event, "event_id": answer.json()["event_id"]}
            a.post("/gradio_api/cancel", json=gone)


def other_routes(a: Attacker) -> None:
    """Recordings, and an open proxy."""
    a.post("/gradio_api/process_recording", files={"video": ("a.mp4", bytes(5 * MB))})
    a.note(a.http.get(f"/gradio_api/file={a.url}config"))
    a.note(a.http.get("/gradio_api/deep_link?session_hash=a"))
    a.stop.wait(0.1)


def the_disk(a: Attacker) -> None:
    """Uploads of 60 MB, each another."""
    a.upload("large.bin", np.random.default_rng(time.monotonic_ns()).bytes(60 * MB))


def parsers(a: Attacker) -> None:
    """A header of 11 MB, a blob of a model that nobody has, icons."""
    tensors = {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(200_000)}
    header = json.dumps(tensors).encode()
    files = {
        "large.safetensors": len(header).to_bytes(8, "little") + header,
        "own.l8": blob_of(65535, 1000, 1000, 100, 10, bytes(1_000_000)),
        "large.ico": icon(),
    }
    for name, data in files.items():
        file = a.upload(name, data)
        if file and not a.stop.is_set():
            a.call(a.single, file, wait=60)
            a.call("/gradio_api/call/convert", file, wait=60)


def slow_connections(a: Attacker) -> None:
    """Two hundred uploads that stand still."""
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    with ExitStack() as stack:
        for _ in range(200):
            with suppress(OSError):
                stack.enter_context(a.connect()).sendall(head)
        a.stop.wait(5)
        a.note("200 connections")


def bad_numbers(a: Attacker) -> None:
    """NaN and what is no number, in every field."""
    n_inputs = len(a.data(a.single, None))
    for number in ("NaN", "Infinity", "1e999", '"a"', "[]"):
        body = f'{{"data": [{", ".join([number] * n_inputs)}]}}'
        a.post(a.single, content=body, headers={"Content-Type": "application/json"})
    a.stop.wait(0.2)


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    "text": a_text_field,
    "json": a_json,
    "duplicates": duplicates,
    "pixels": large_work,
    "unheard": never_heard,
    "flood": a_flood,
    "past": past_the_queue,
    "routes": other_routes,
    "disk": the_disk,
    "parsers": parsers,
    "connections": slow_connections,
    "numbers": bad_numbers,
}


# Files for them.


def large_file(a: Attacker) -> tuple[str, bytes]:
    return flat_file(a)


def small_file(a: Attacker) -> tuple[str, bytes]:
    return picture_file(a, 256, 192, "small")


def flat_file(a: Attacker) -> tuple[str, bytes]:
    """16 megapixels of one colour."""
    return picture_file(a, 4096, 4096, "flat")


def thin_file(a: Attacker) -> tuple[str, bytes]:
    return picture_file(a, 262_144, 8, "thin")


_made: dict[tuple[str, str], tuple[str, bytes]] = {}


def picture_file(a: Attacker, width: int, height: int, name: str) -> tuple[str, bytes]:
    """A PNG for the encoder, a blob for the decoder."""
    key = a.app, name
    if key not in _made:
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (90, 120, 150)).save(buffer, "PNG")
        data = buffer.getvalue()
        _made[key] = (f"{name}.png", data) if a.app == "encoder" else (f"{name}.l8", latent8.encode(data))
    return _made[key]


def blob_of(model: int, width: int, height: int, channels: int, stride: int, payload: bytes) -> bytes:
    fixed = struct.pack(
        "<4sBBH4sIIBBBBeeI", MAGIC, 1, 0, model, bytes(4), width, height, channels, stride, 255, 0, -3, 3, len(payload)
    )
    body = fixed + payload
    return body + struct.pack("<I", zlib.crc32(body))


def icon() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (10_000, 10_000)).save(buffer, "PNG")
    png = buffer.getvalue()
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


def attack(name: str, app: str, url: str, number: int, stop: Event, answers: Queue) -> None:
    """One attacker, in a process of its own: it is to take as little as can be of what the server has to itself."""
    os.nice(10)
    attacker = Attacker(app, url, number, stop)
    with attacker.http:
        while not stop.is_set():
            try:
                ATTACKS[name](attacker)
            except (OSError, httpx.HTTPError, ValueError, KeyError) as error:
                attacker.note(type(error).__name__)
            stop.wait(0.05)
    answers.put(attacker.answers)
