"""Room on the disk, folders, and files that come as URLs."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import httpx
import pytest
from gradio import processing_utils

from latent8.apps import bounds, files, housekeeping, inputs, uploads
from latent8.apps import quota as quotas
from latent8.apps.quota import Full, Quota

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]

MB = 1_000_000


def test_uploads_leave_room_for_results_and_for_others(tmp_path: Path) -> None:
    quota = Quota(tmp_path, 100 * MB)
    quota.take("one", 37 * MB)
    with pytest.raises(Full, match="as much as one client may"):
        quota.take("one", MB)
    with pytest.raises(Full, match="no room for more uploads"):
        quota.take("another", 0, to_come=39 * MB)
    quota.take_results()
    assert quota.used == 37 * MB
    assert quota.measure() == 0  # nothing was written
    quota.take("third", 37 * MB)


def test_clients_that_take_all_they_may_leave_room_for_one_more(tmp_path: Path) -> None:
    quota = Quota(tmp_path, 100 * MB)
    for number in range(6):
        with pytest.raises(Full, match="as much as one client may"):
            while True:
                quota.take(f"greedy {number}", MB // 10)
        quota.take(f"honest {number}", MB // 100)


def test_what_one_client_may_upload_comes_back_with_time(tmp_path: Path) -> None:
    now = [0.0]
    quota = Quota(tmp_path, 100 * MB, clock=lambda: now[0])
    for _ in range(370):
        quota.take("one", MB // 10)
    with pytest.raises(Full):
        quota.take("one", MB)
    now[0] = 3700
    quota.take("one", MB)


def test_results_stop_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "result").write_bytes(bytes(2000))
    quota = Quota(tmp_path, 1000)
    quota.measure()
    with pytest.raises(OSError):
        quota.take_results()
    monkeypatch.setattr(quotas, "FREE_BYTES", 1 << 62)
    with pytest.raises(OSError):
        Quota(tmp_path, 1 << 60).take_results()


def test_results_are_counted_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "quota", Quota(tmp_path, 1000))
    files.save_bytes(tmp_path, "first", bytes(600))
    with pytest.raises(OSError):
        files.save_bytes(tmp_path, "second", bytes(600))
    with pytest.raises(OSError), files.ZipWriter(tmp_path / "third.zip") as archive:
        archive.add("name", bytes(600))
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_what_was_unpacked_for_a_long_request_is_kept_with_its_folder(tmp_path: Path) -> None:
    folder = old(tmp_path / f"latent8-{'0' * 32}", 300)
    housekeeping.keep(folder / "file")
    housekeeping.delete_old(tmp_path, 120)
    assert (folder / "file").exists()


def old(path: Path, seconds: float, n_bytes: int = 0) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_bytes(bytes(n_bytes))
    for one in (path / "file", path):
        os.utime(one, (time.time() - seconds,) * 2)
    return path


def test_everything_of_ours_that_is_old_goes(tmp_path: Path) -> None:
    request, upload = old(tmp_path / f"latent8-{'a' * 32}", 4000), old(tmp_path / ("b" * 64), 4000)
    fresh, page, others = (
        old(tmp_path / ("c" * 64), 10),
        old(tmp_path / ("d" * 64), 4000),
        old(tmp_path / "somebody's", 4000),
    )
    housekeeping.delete_old(tmp_path, 3600, [str(page / "file")])
    assert not request.exists() and not upload.exists()
    assert fresh.exists() and page.exists() and others.exists()


def test_the_oldest_goes_first_where_room_is_short(tmp_path: Path) -> None:
    oldest, older, new = (old(tmp_path / (name * 64), age, 1000) for name, age in (("a", 900), ("b", 600), ("c", 10)))
    housekeeping.make_room(tmp_path, 2500, 120)
    assert (oldest.exists(), older.exists(), new.exists()) == (False, True, True)
    housekeeping.make_room(tmp_path, 0, 120)
    assert (older.exists(), new.exists()) == (False, True)


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        housekeeping.make_own(tmp_path / "new" / "latent8-0")
        assert stat.S_IMODE((tmp_path / "new" / "latent8-0").stat().st_mode) == 0o700
        (tmp_path / "new" / "latent8-0" / "result").write_bytes(b"")
        assert stat.S_IMODE((tmp_path / "new" / "latent8-0" / "result").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_folder_that_was_planted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "theirs").mkdir()
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit, match="is a link"):
            housekeeping.make_own(tmp_path / "link")
        with pytest.raises(SystemExit, match="cannot be made"):
            housekeeping.make_own(tmp_path / "file")
        if os.getuid() == 0:
            os.chown(tmp_path / "theirs", 12345, 12345)
            with pytest.raises(SystemExit, match="belongs to someone else"):
                housekeeping.make_own(tmp_path / "theirs")
    finally:
        os.umask(before)


def test_the_apps_keep_their_files_to_themselves(encoder: AppServer) -> None:
    path = Path(httpx.post(f"{encoder.url}gradio_api/upload", files={"files": ("a.txt", b"a")}).json()[0])
    assert path.is_relative_to(encoder.temporary)
    assert all(stat.S_IMODE(one.stat().st_mode) & 0o077 == 0 for one in (path, path.parent))


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_full_disk_is_a_sentence(name: str, app_server: type[AppServer], tmp_path: Path) -> None:
    with app_server(name, tmp_path, LATENT8_DISK_MB="20") as server:
        answers = [
            httpx.post(f"{server.url}gradio_api/upload", files={"files": (f"{n}.bin", os.urandom(3 * MB))})
            for n in range(6)
        ]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        assert answers[-1].status_code == 507
        assert answers[-1].json()["detail"] == "You have uploaded as much as one client may for now: try again later."
        answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": bytes(20 * MB)})
        assert answer.status_code == 507
        assert quotas.size_of(server.temporary) < 20 * MB


class Files(BaseHTTPRequestHandler):
    """/N: so many bytes; /slow: one after another; /loop: itself; /gone: 404."""

    def do_GET(self) -> None:
        path = self.path.strip("/")
        if path == "loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        self.send_response(404 if path == "gone" else 200)
        self.end_headers()
        try:
            for _ in range(int(path) // 1000 if path.isdecimal() else 0):
                self.wfile.write(bytes(1000))
            for _ in range(100 if path == "slow" else 0):
                self.wfile.write(b"a")
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host whose address counts as public."""

    async def transport(url: str) -> None:
        return None

    monkeypatch.setattr(uploads, "_transport", transport)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetched(url: str, folder: Path) -> Any:
    return asyncio.run(uploads.Fetcher(Quota(folder, 100 * MB)).download(url, str(folder)))


def test_files_at_urls_are_fetched_within_bounds(elsewhere: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "FILE_BYTES", 100_000)
    monkeypatch.setattr(bounds, "FETCH_SECONDS", 0.5)
    path = Path(fetched(f"{elsewhere}/50000", tmp_path))
    assert path.stat().st_size == 50_000 and path.name == "50000"
    for name, words in (
        ("200000", "it is larger than"),
        ("slow", "it took longer than"),
        ("loop", "from one address to the next"),
        ("gone", "the answer is 404"),
    ):
        with pytest.raises(gr.Error, match=words):
            fetched(f"{elsewhere}/{name}", tmp_path)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


def test_all_files_of_a_request_are_fetched_within_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> str:
        await asyncio.sleep(60)
        return ""

    with gr.Blocks(analytics_enabled=False) as demo:
        files_of = gr.File(type="filepath", file_count="multiple")
        gr.Button().click(len, files_of, gr.Number(), api_name="count")
    inputs.refuse_bad_inputs(demo)
    monkeypatch.setattr(bounds, "FETCH_SECONDS", 0.1)
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", never)
    named = [{"path": "https://example.org/a", "meta": {"_type": "gradio.FileData"}}] * 3
    with pytest.raises(gr.Error, match="longer than 0.1 seconds in all"):
        asyncio.run(demo.preprocess_data(next(iter(demo.fns.values())), [named], None))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/a", "http://localhost/a", "http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/"],
)
def test_files_within_the_network_are_not_fetched(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FETCH_SECONDS", 5)
    listener = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(gr.Error, match="nothing can be fetched|took longer"):
        fetched(url.replace(":1/", f":{listener.getsockname()[1]}/"), tmp_path)
    listener.close()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("10.1.2.3", "1.1.1.1, 8.8.8.8, 10.0.0.7", "8.8.8.8"),
        ("10.1.2.3", "8.8.8.8", "8.8.8.8"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("2600:1f18:1:2:3:4:5:6", None, "2600:1f18:1:2::/64"),
        (None, "", "unknown"),
    ],
)
def test_clients_of_a_space_are_told_apart(peer, forwarded, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ON_SPACE", True)
    assert bounds.client_of(peer, forwarded) == client


def test_without_a_proxy_nobody_may_make_up_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ON_SPACE", False)
    assert bounds.client_of("192.168.0.5", "8.8.8.8") == "192.168.0.5"
