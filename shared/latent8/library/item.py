"""What is added to a library: a photo or blob that is still to be read, or one that is embedded already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latent8.library.records import Record


@dataclass(frozen=True)
class Item:
    """A photo or blob to add. path: of its file; None where it is in a ZIP."""

    name: str
    path: Path | None
    read: Callable[[], bytes]  # raises Latent8Error or OSError


@dataclass(frozen=True)
class Embedded(Item):
    """A blob with its record and vector, float32 [d] of unit length."""

    record: Record
    vector: np.ndarray
