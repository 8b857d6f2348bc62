"""How often a vector finds a photo by an edit of it, and how near a reconstruction stays to its original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from latent8.errors import Latent8Error
from latent8.library.edits import EDITS
from latent8.library.evaluation.dinov2 import load_dinov2
from latent8.library.evaluation.tables import Table
from latent8.library.vectors import embedder
from latent8.library.vectors.ancestor import AncestorEmbedder
from latent8.library.vectors.base import Embedder, opaque
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures.intake import open_picture
from latent8.pool import CodecPool

MAX_QUERIES = 40  # photos that are edited; all of the folder are looked among
SIDE = 1024  # longest side of the photos that are embedded


def photo(path: Path) -> Image.Image:
    return opaque(open_picture(path, DEFAULT_MAX_PIXELS, SIDE).image())


def tables_of_recall(photos: Sequence[Path], pool: CodecPool, step: Callable[[str], None]) -> list[Table]:
    """At 1 and at 5: of the edits of each kind, the share whose photo comes first, or among the first five."""
    embedders: dict[str, Embedder] = {"picture": embedder("picture"), "latents": embedder("latents")}
    ancestor = AncestorEmbedder(pool)
    embedders[f"the ancestor's ({ancestor.model})"] = ancestor
    queries = photos[:MAX_QUERIES]
    ranks = {}
    for name, one in embedders.items():
        step(f"recall of {name}")
        gallery = np.stack([one.vector(photo(path)) for path in photos])
        edited = np.stack([[one.vector(edit(photo(path))) for edit in EDITS.values()] for path in queries])
        scores = edited @ gallery.T
        own = np.take_along_axis(scores, np.arange(len(queries))[:, None, None], axis=2)
        ranks[name] = (scores > own).sum(2)
    tables = []
    for k in (1, 5):
        title = f"Recall at {k}: {len(queries)} photos under edits, among {len(photos)}"
        table = Table(f"recall_at_{k}", title, ("edit", *ranks))
        found = {name: rank < k for name, rank in ranks.items()}
        for i, edit in enumerate(EDITS):
            table.rows.append([edit, *(float(shares[:, i].mean()) for shares in found.values())])
        table.rows.append(["all", *(float(shares.mean()) for shares in found.values())])
        tables.append(table)
    return tables


def table_of_similarity(photos: Sequence[Path], blobs: Sequence[Path], pool: CodecPool, device: str | None) -> Table:
    """Cosine of the vectors of each original and of its reconstruction."""
    table = Table("similarity", "Originals and reconstructions", ("cosine", "n", "min", "Q1", "Q2", "Q3", "mean"))
    pairs = [(photo(path), opaque(pool.decode(blob.read_bytes()))) for path, blob in zip(photos, blobs, strict=True)]
    judges: dict[str, Callable[[Image.Image], np.ndarray]] = {"picture": embedder("picture").vector}
    try:
        judges["DINOv2 (small)"] = load_dinov2(device).vector
    except Latent8Error as error:
        table.notes.append(f"DINOv2 was left out: {error}")
    for name, vector in judges.items():
        cosines = np.array([float(vector(first) @ vector(second)) for first, second in pairs])
        figures = [float(value) for value in (cosines.min(), *np.percentile(cosines, (25, 50, 75)), cosines.mean())]
        table.rows.append([name, len(cosines), *figures])
    return table
