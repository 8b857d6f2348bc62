"""The two apps, started as a user starts them, on a port and in folders of their own, and what they are given. A
pytest plugin with fixtures, the browser among them.

A test module gets the fixtures, and one pair of servers for all modules, by naming this one in `pytest_plugins`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

import latent8
from tests.helpers.app_calls import SPACES, caller
from tests.helpers.passthrough import make_kl, make_tiny
from tests.helpers.samples import gradient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
            "OMP_NUM_THREADS": str(torch.get_num_threads()),  # as here: half precision rounds by their number
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


@pytest.fixture(scope="module")
def encode(encoder: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """encode(name of endpoint, **inputs): what the encoder app answers; files are downloaded."""
    return caller(encoder, tmp_path_factory.mktemp("from-encoder"))


@pytest.fixture(scope="module")
def decode(decoder: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    return caller(decoder, tmp_path_factory.mktemp("from-decoder"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 116 x 75 pixels, which are no multiples of the stride."""
    path = tmp_path_factory.mktemp("photo") / "photo é #1.jpg"
    noise = np.random.default_rng(0).integers(-25, 26, (75, 116, 3))
    Image.fromarray((gradient(116, 75) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def cutout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG with a soft alpha plane."""
    path = tmp_path_factory.mktemp("cutout") / "cutout.png"
    pixels = np.dstack([gradient(64, 48), gradient(64, 48)[..., :1]])
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def blob(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photo's blob, under another name."""
    path = tmp_path_factory.mktemp("blob") / "renamed.l8"
    path.write_bytes(latent8.encode(photo))
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small ones of two decoders of one latent space, by the names of their repositories."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "madebyollin/taesd": make_tiny(folder / "taesd"),
        "stabilityai/sd-vae-ft-mse": make_kl(folder / "sd-vae-ft-mse", 0.18215),
    }


def missing(what: str) -> NoReturn:
    """A skip on a developer's machine; on the one that decides whether a change is good, a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None) or missing("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
