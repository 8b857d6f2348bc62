"""The built wheel holds all that encoding and decoding need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[1] / "shared"
ROUND_TRIP = """
import sys, numpy as np, latent8
assert latent8.__file__.startswith(sys.argv[1]), latent8.__file__
picture = np.full((40, 50, 3), 90, np.uint8)
for model in ("l8-photo", "l8-tiny"):
    back = np.asarray(latent8.decode(latent8.encode(picture, model, device="cpu"), device="cpu")).astype(int)
    assert back.shape == picture.shape and abs(back - picture).max() < 25, model
"""


@pytest.mark.slow
def test_wheel_installed_by_itself_encodes_and_decodes(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = shutil.copytree(SHARED, tmp_path / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    build = [*pip, "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("latent8-*.whl")
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", str(wheel), "--no-deps", "--target", str(installed)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", ROUND_TRIP, str(installed)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    assert (installed / "bin" / "latent8").exists()
