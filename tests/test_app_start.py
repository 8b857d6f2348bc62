"""Starting the apps asks no other host and writes nothing beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.app_calls import SPACES, caller, written

if TYPE_CHECKING:
    from tests.helpers.app_servers import AppServer

pytest_plugins = ["tests.helpers.app_servers"]


# Run by Python at its start: writes down each host that is looked up or connected to.
NETWORK_LOG = """
import os, sys
log = os.open(os.environ["NETWORK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        os.write(log, f"{arguments[0]}\\n".encode())
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        os.write(log, f"{arguments[1][0]}\\n".encode())

sys.addaudithook(watch)
"""
OWN_HOSTS = {"localhost", "127.0.0.1", "0.0.0.0", "::1", "None"}


@pytest.fixture
def network_log(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """File with a line for each host, variables for the process to be watched."""
    written(tmp_path / "hook" / "sitecustomize.py", NETWORK_LOG.encode())
    folders = [str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])]
    log = tmp_path / "hosts"
    # Neither offline mode nor the telemetry switch: a user has not set them.
    unset = {"HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_TELEMETRY": "", "GRADIO_ANALYTICS_ENABLED": ""}
    return log, {"PYTHONPATH": os.pathsep.join(folders), "NETWORK_LOG": str(log), **unset}


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_start_asks_no_other_host(
    name: str,
    app_server: type[AppServer],
    network_log: tuple[Path, dict[str, str]],
    photo: Path,
    blob: Path,
    tmp_path: Path,
) -> None:
    log, variables = network_log
    with app_server(name, tmp_path / name, **variables) as server:
        call = caller(server, tmp_path / "results")
        _ = call("/encode", photo=photo) if name == "encoder" else call("/decode", blob=blob)
        time.sleep(1)  # for threads that were started and not waited for
    hosts = set(log.read_text().split())
    assert hosts & OWN_HOSTS  # else nothing was written down
    assert hosts <= OWN_HOSTS


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_import_starts_no_server(name: str, network_log: tuple[Path, dict[str, str]]) -> None:
    log, variables = network_log
    result = subprocess.run(
        [sys.executable, "-B", "-c", "import app; print(type(app.demo).__name__)"],
        cwd=SPACES / name,
        env={key: value for key, value in {**os.environ, **variables}.items() if value},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stdout) == (0, "Blocks\n"), result.stderr
    assert set(log.read_text().split()) <= OWN_HOSTS


def test_nothing_is_written_where_the_app_was_started(
    encoder: AppServer, decoder: AppServer, encode: Callable[..., Any], decode: Callable[..., Any], photo: Path
) -> None:
    blob, *_ = encode("/encode", photo=photo)
    decode("/decode", blob=Path(blob))
    assert [*encoder.cwd.iterdir(), *decoder.cwd.iterdir()] == []
