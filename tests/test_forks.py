"""Children that are forked after the parent has encoded."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys

import pytest

CODE = """
import hashlib, json, multiprocessing
import numpy as np, latent8

def work(seed):
    blob = latent8.encode(np.random.default_rng(seed).integers(0, 256, (300, 400, 3), np.uint8), device="cpu")
    return hashlib.sha256(blob).hexdigest(), latent8.decode(blob, device="cpu").size

if __name__ == "__main__":
    before = [work(seed) for seed in range(2)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(json.dumps([before, pool.map_async(work, [0, 1] * 2).get(timeout=100)]))
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no forks on this system")
@pytest.mark.slow
def test_children_encode_and_decode_after_the_parent_has() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert found.returncode == 0, found.stderr[-2000:]
    before, after = json.loads(found.stdout)
    assert after == before * 2 and len({blob for blob, _ in before}) == 2
