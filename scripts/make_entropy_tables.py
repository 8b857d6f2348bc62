"""Make shared/latent8/file_format/entropy_tables.npy, the frozen tables of the entropy coder.

Run once, when the format was made. The tables are part of the format: a new set means a new format version,
so the script refuses to replace them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parents[1] / "shared" / "latent8" / "file_format" / "entropy_tables.npy"
TOTAL = 65536
SHAPES = (1.0, 1.4, 2.0)  # generalised Gaussian: 1 is Laplace, 2 is normal
SCALES = np.geomspace(0.12, 70, 40)  # standard deviation, in quantisation steps


def table(shape: float, scale: float) -> np.ndarray:
    """Counts of the residuals 0 ... 127, -128 ... -1: sum 65536, each at least 1."""
    alpha = scale * math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    fine = (np.arange(-128 * 64, 128 * 64) + 0.5) / 64 - 0.5  # 64 points in the cell of each residual
    density = np.exp(-(np.abs(fine / alpha) ** shape)).reshape(256, 64).sum(axis=1)
    share = density / density.sum() * (TOTAL - 256)
    counts = np.floor(share).astype(np.int64) + 1
    largest_remainders = np.argsort(-(share - np.floor(share)), kind="stable")
    counts[largest_remainders[: TOTAL - counts.sum()]] += 1
    return np.roll(counts, 128)


def main() -> None:
    if OUTPUT.exists():
        raise SystemExit(f"{OUTPUT} exists and must not change: files made with it would no longer decode.")
    tables = np.stack([table(shape, scale) for shape in SHAPES for scale in SCALES])
    assert (tables.sum(axis=1) == TOTAL).all() and tables.min() >= 1
    np.save(OUTPUT, tables.astype("<u4"))


if __name__ == "__main__":
    main()
