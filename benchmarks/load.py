"""Many users at once: requests per second, latency, errors and memory of each app; then faults under that load.

    python -m benchmarks.load --users 20 --requests 10 --photos FOLDER

Each user is a gradio_client in a thread of its own, and sends one request after another, each with an input of its own;
a latency covers upload, queue, work and download. Every result is compared with what the library gives for that input,
so one that is lost or swapped counts as an error. The same round runs twice; memory (RSS of the server, MB of 10^6
bytes) is read before, between and after, so what the second round adds is growth. Without --photos, pictures of 256 x
192 to 512 x 384 pixels are drawn.

Then, while some users go on: clients that vanish in the middle of an upload or while they wait, files over the limit,
inputs cut short, a disk that takes no more (by a limit on the size of files), and at last SIGTERM. Each has to end in a
clean answer, with right results for everyone else. The exit status is 1 where anything failed. Needs Linux and
requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import io
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

import latent8
from benchmarks.pictures import near
from benchmarks.soak import draw, resident
from latent8 import Codec, Latent8Error
from latent8.cli.arguments import positive
from latent8.evaluation.metrics import psnr
from tests.helpers.app_servers import AppServer
from training.photos import photo_files

ENDPOINTS = {"encoder": "/encode", "decoder": "/decode"}
SAME_DB = 45.0  # PSNR between two encodings of one picture that differ in a few symbols
SETTINGS: dict[str, list[str | int]] = {
    "encoder": ["l8-photo", 50, 0, 256, 0],
    "decoder": ["PNG"],
}  # what follows the file in a request
UPLOAD_LIMIT = 64 << 20  # bytes, as FILE_BYTES of latent8/apps/bounds.py
STOP_SECONDS = 10  # what containers are given


@dataclass
class Input:
    path: Path
    wanted: bytes  # the blob of a photo, or the pixels of a blob


@dataclass
class Round:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def row(self, label: str, memory: float) -> str:
        done = sorted(self.latencies) or [float("nan")]
        rate = len(self.latencies) / self.seconds
        last = done[min(len(done) - 1, int(0.99 * len(done)))]
        times = f"{statistics.median(done):.2f} | {last:.2f}"
        return f"| {label} | {rate:.2f} | {times} | {len(self.errors)} | {memory:.0f} |"


class User:
    """A client of an app, that knows what it has to get back."""

    def __init__(self, server: AppServer):
        self.endpoint = ENDPOINTS[server.name]
        self._client = Client(server.url, verbose=False, download_files=False, analytics_enabled=False)
        self._http = httpx.Client(timeout=300)

    def answer(self, path: Path) -> bytes:
        """The result file for an input."""
        found = self._client.predict(handle_file(path), api_name=self.endpoint)[0]
        response = self._http.get(found["url"])
        response.raise_for_status()
        return response.content

    def problem(self, given: Input) -> str:
        """What is wrong with the result; empty where it is right."""
        try:
            result = self.answer(given.path)
        except Exception as error:  # whatever a user would see
            return f"{given.path.name}: {type(error).__name__}: {error}"
        right = same_picture(result, given.wanted) if self.endpoint == "/encode" else near(pixels(result), given.wanted)
        return "" if right else f"{given.path.name}: the result of another input, or a damaged one"


def same_picture(found: bytes, wanted: bytes) -> bool:
    """Whether blobs are equal, or nearly: the last bit of a sum depends on the machine's load, and may tip a symbol."""
    if found == wanted:
        return True
    try:
        ours, theirs = (np.asarray(latent8.decode(blob)) for blob in (found, wanted))
    except Latent8Error:
        return False
    return ours.shape == theirs.shape and psnr(ours, theirs) > SAME_DB


def pixels(png: bytes) -> bytes:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(png)
        file.seek(0)
        with Image.open(file) as image:
            return np.asarray(image).tobytes()


def inputs(paths: Sequence[Path], folder: Path) -> dict[str, list[Input]]:
    """Photos for the encoder, each under a name of its own, and their blobs for the decoder."""
    found: dict[str, list[Input]] = {"encoder": [], "decoder": []}
    codec = Codec(device="cpu")
    copies = []
    for index, path in enumerate(paths):
        copies.append(folder / f"{index}{path.suffix}")
        copies[-1].write_bytes(path.read_bytes())
    for path, blob in zip(copies, codec.encode_many(copies), strict=True):
        if isinstance(blob, Latent8Error):
            raise blob
        found["encoder"].append(Input(path, blob))
        found["decoder"].append(Input(path.with_suffix(".l8"), pixels_of(codec, blob)))
        path.with_suffix(".l8").write_bytes(blob)
    return found


def pixels_of(codec: Codec, blob: bytes) -> bytes:
    return np.asarray(codec.decode(blob)).tobytes()


def run_round(users: Sequence[User], given: Sequence[Input]) -> Round:
    """Each user sends its share, all at once."""
    found, started = Round(), time.perf_counter()

    def work(index: int) -> None:
        for one in given[index :: len(users)]:
            begun = time.perf_counter()
            problem = users[index].problem(one)
            if problem:
                found.errors.append(problem)
            else:
                found.latencies.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(work, range(len(users))))
    found.seconds = time.perf_counter() - started
    return found


@contextmanager
def in_background(users: Sequence[User], given: Sequence[Input]) -> Iterator[Round]:
    """The users go on and on while the block runs."""
    found, stop = Round(), threading.Event()

    def work(index: int) -> None:
        for one in cycle(given[index :: len(users)]):
            if stop.is_set():
                return
            begun = time.perf_counter()
            problem = users[index].problem(one)
            if problem:
                found.errors.append(problem)
                return
            found.latencies.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(users))]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# Faults. Each gives what is wrong with how the app took it, one sentence each.


def vanish_in_mid_upload(server: AppServer, given: Input) -> list[str]:
    address, before = urlsplit(server.url), set(parts_of_uploads(server))
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    )
    with ExitStack() as stack:
        for _ in range(10):
            connection = socket.create_connection((str(address.hostname), int(address.port or 80)))
            stack.enter_context(connection).sendall(head.encode() + bytes(300_000))
        begun = settles(lambda: len(set(parts_of_uploads(server)) - before) >= 10)
    return [] if begun else ["uploads are not taken"]


def parts_of_uploads(server: AppServer) -> list[Path]:
    """Uploads that go on, or were broken off: those that are whole lie in folders of their own."""
    return [path for path in server.temporary.glob("tmp*") if path.is_file()]


def vanish_while_waiting(server: AppServer, given: Input) -> list[str]:
    for index in range(10):
        with httpx.Client(base_url=server.url, timeout=30) as client:
            with open(given.path, "rb") as file:
                path = client.post("gradio_api/upload", files={"files": file}).json()[0]
            data = {"path": path, "meta": {"_type": "gradio.FileData"}}
            call = client.post(
                f"gradio_api/call{ENDPOINTS[server.name]}", json={"data": [data, *SETTINGS[server.name]]}
            )
            if call.status_code != 200:
                return [f"a request is answered with {call.status_code}"]
            with suppress(httpx.TransportError):
                client.get(
                    f"gradio_api/call{ENDPOINTS[server.name]}/{call.json()['event_id']}", timeout=0.02 * (index + 1)
                )
    return []


def file_over_the_limit(server: AppServer, given: Input) -> list[str]:
    with tempfile.TemporaryFile() as file:
        file.truncate(UPLOAD_LIMIT + 1)
        status = httpx.post(f"{server.url}gradio_api/upload", files={"files": file}, timeout=300).status_code
    problems = [] if status == 413 else [f"it is answered with {status}, not 413"]
    return problems if settles(lambda: not files_of(server, UPLOAD_LIMIT // 2)) else [*problems, "it is kept"]


def input_cut_short(server: AppServer, given: Input) -> list[str]:
    data = given.path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / given.path.name
        path.write_bytes(data[: len(data) // 2])
        return refusal(server, path, ("cut short", "damaged"))


def full_disk(server: AppServer, given: Input) -> list[str]:
    """Files of the server can no longer grow past a few kilobytes."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    size = given.path.stat().st_size
    problems = []
    for limit in (size // 2, size + 200):  # the upload does not fit; the result does not fit
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
        problems += refusal(server, given.path, ("Insufficient Storage", "server could not"))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    wrong = User(server).problem(given)
    return [*problems, *([f"afterwards: {wrong}"] if wrong else [])]


FAULTS: dict[str, Callable[[AppServer, Input], list[str]]] = {
    "clients that vanish in mid-upload": vanish_in_mid_upload,
    "clients that vanish while they wait": vanish_while_waiting,
    "a file over the limit": file_over_the_limit,
    "an input cut short": input_cut_short,
}


def refusal(server: AppServer, path: Path, words: Sequence[str]) -> list[str]:
    """A request that has to fail, in words that tell a person why."""
    try:
        User(server).answer(path)
    except Exception as error:
        text = str(error)
        return [] if any(word in text for word in words) else [f"the message is: {text}"]
    return ["it is answered as if nothing were wrong"]


def stop_under_load(server: AppServer) -> tuple[list[str], float]:
    """What is wrong, and after how many seconds the app has ended."""
    before, started = len(server.log), time.monotonic()
    code = server.stop(STOP_SECONDS)
    seconds = time.monotonic() - started
    problems = [] if code == 0 else [f"its exit status is {code}" if code else "it goes on"]
    return [*problems, "its log ends in a traceback"] if "Traceback" in server.log[before:] else problems, seconds


def files_of(server: AppServer, size: int) -> list[Path]:
    """Files that the server keeps, from that size on."""
    return [path for path in server.temporary.rglob("*") if path.is_file() and path.stat().st_size >= size]


def settles(good: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not good():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def load(name: str, given: Sequence[Input], n_users: int, n_background: int, folder: Path) -> tuple[list[str], int]:
    """One app under load: lines to print, and how many things went wrong."""
    lines, problems = list[str](), list[str]()
    with AppServer(name, folder) as server:
        users = [User(server) for _ in range(n_users)]
        users[0].problem(given[0])  # what is loaded on first use
        before = resident(server.pid)
        lines.append(f"| {name}, at the start | | | | | {before:.0f} |")
        for number in (1, 2):
            found = run_round(users, given)
            problems += found.errors
            lines.append(found.row(f"{name}, round {number}", resident(server.pid)))
            print(lines[-1], file=sys.stderr, flush=True)  # a round takes minutes
        for fault, cause in FAULTS.items():
            with in_background(users[:n_background], given) as others:
                wrong = cause(server, given[0])
            problems += tell(name, fault, [*wrong, *others.errors])
        problems += tell(name, "a full disk", full_disk(server, given[0]))
        with redirect_stderr(io.StringIO()), in_background(users[:n_background], given):  # whose errors are no defect
            time.sleep(1)
            wrong, seconds = stop_under_load(server)
        problems += tell(name, f"SIGTERM, {seconds:.1f} s", wrong)
    return lines, len(problems)


def tell(name: str, fault: str, problems: list[str]) -> list[str]:
    print(f"{name}, {fault}: {'; '.join(problems) or 'taken well'}", file=sys.stderr, flush=True)
    return problems


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=positive, default=20)
    parser.add_argument("--requests", type=positive, default=10, help="of each user in a round (default: 10)")
    parser.add_argument("--photos", type=Path, help="folder of pictures to send")
    parser.add_argument("--background", type=int, default=4, help="users that go on during faults (default: 4)")
    args = parser.parse_args(argv)
    lines = ["| | requests/s | median, s | 99th percentile, s | errors | memory, MB |", f"| --- |{' ---: |' * 5}"]
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        count = args.users * args.requests
        try:
            photos = photo_files(args.photos) if args.photos else draw(folder, count)
        except OSError as error:
            parser.error(str(error))
        (folder / "inputs").mkdir()
        try:
            given = inputs(list(islice(cycle(photos), count)), folder / "inputs")
        except Latent8Error as error:
            parser.error(f"one of the pictures cannot be used: {error}")
        for app, own in given.items():
            rows, problems = load(app, own, args.users, args.background, folder / app)
            lines += rows
            failed += problems
    print("\n".join(lines))
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
