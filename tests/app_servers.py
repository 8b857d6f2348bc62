"""The two apps, started as a user starts them, on a port and in folders of their own. A pytest plugin with fixtures.

A test module gets the fixtures, and one pair of servers for all modules, by `pytest_plugins = ["app_servers"]`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

SPACES = Path(__file__).parents[1] / "spaces"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
START_SECONDS = 120


class AppServer:
    """`python spaces/NAME/app.py` in a process of its own; use it in a `with` block.

    folder: gets `cwd`, where the process is started, `tmp`, where Gradio keeps uploads and results, and `log`, all
    that it prints. more: environment variables; an empty one is taken away.
    """

    def __init__(self, name: str, folder: Path, **more: str):
        self.name, self.cwd, self.temporary = name, folder / "cwd", folder / "tmp"
        self._log = folder / "log"
        for path in (self.cwd, self.temporary):
            path.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        wanted = {
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": str(self.temporary),
            "HF_HOME": str(folder / "home"),  # with no model in it
            "PYTHONUNBUFFERED": "1",
            **OFFLINE,
            **more,
        }
        self._environment = {name: value for name, value in {**os.environ, **wanted}.items() if value}

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> AppServer:
        with open(self._log, "wb") as log:
            command = [sys.executable, str(SPACES / self.name / "app.py")]
            self._process = subprocess.Popen(
                command, cwd=self.cwd, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # at once: there is nothing to keep
        self._process.wait()

    def stop(self, seconds: float) -> int | None:
        """Send SIGTERM: the exit status, or None where it is still running after so many seconds."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _wait(self) -> None:
        """Until it answers, or raise RuntimeError with what it printed."""
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.url}gradio_api/info", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"The {self.name} app did not start:\n{self.log}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def app_server() -> type[AppServer]:
    """The class itself: a module that imports this plugin by name would load it before pytest does."""
    return AppServer


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with AppServer("encoder", tmp_path_factory.mktemp("encoder")) as server:
        yield server


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with AppServer("decoder", tmp_path_factory.mktemp("decoder")) as server:
        yield server
