"""Codings of payloads: what every one of them can do, and the table of those that there are.

    id      coding
    0       one byte for each symbol                                   latent8/file_format/raw_coding.py
    1       prediction from neighbours, then a range coder             latent8/file_format/neighbour_coding.py
    2       a mean-scale hyperprior, then a range coder                latent8/file_format/hyperprior_coding.py
    256     the whole file is an 8-bit RGBA PNG; never in a blob       latent8/file_format/rgba_png.py

A new coding is one module with a subclass of `Coding`, its field table on top, and one row here, or a call of
`register` from outside. Ids below 256 are written into blobs: they are given by hand and never used again.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latent8.errors import BlobError

if TYPE_CHECKING:
    from latent8.file_format.blob import Encoded, Header
    from latent8.zoo.settings import Settings

RAW, NEIGHBOURS, HYPERPRIOR, RGBA_PNG = 0, 1, 2, 256
_CODINGS: dict[int, str | type[Coding]] = {
    RAW: "latent8.file_format.raw_coding:RawCoding",
    NEIGHBOURS: "latent8.file_format.neighbour_coding:NeighbourCoding",
    HYPERPRIOR: "latent8.file_format.hyperprior_coding:HyperpriorCoding",
    RGBA_PNG: "latent8.file_format.rgba_png:RgbaPngCoding",
}


@dataclass(frozen=True)
class Symbols:
    """The whole numbers in a payload, for pictures and figures of them.

    values: [C, h, w], `first` and above. latents: what they stand for, float32 [C, h, w]. bits: what each position
    takes as coded, float32 [h, w], where the coding can tell.
    """

    values: np.ndarray
    latents: np.ndarray
    first: int = 0
    bits: np.ndarray | None = None


class Coding(ABC):
    """One way of writing latents into a payload.

    network: the loaded network of the model, which only codings with `needs_network` use.
    """

    id: ClassVar[int]
    name: ClassVar[str]  # as `inspect` tells it
    in_blobs: ClassVar[bool] = True  # False where the payload is the whole file of another format
    needs_network: ClassVar[bool] = False  # whether the symbols can be told only with the model's network

    def __init__(self, network: Any = None):
        self.network = network

    @abstractmethod
    def encode(self, latents: np.ndarray, settings: Settings, header: Header, alpha_png: bytes = b"") -> Encoded:
        """Latents, float32 [C, h, w] -> encoded picture.

        settings: what the caller asks of size or quality. alpha_png: the alpha plane, which counts where a size is
        asked for. Raises PictureError for a size that cannot be met.
        """

    @abstractmethod
    def symbols(self, encoded: Encoded) -> Symbols:
        """Raises BlobError where the payload cannot be decoded."""

    def decode(self, encoded: Encoded) -> np.ndarray:
        """Encoded picture -> latents, float32 [C, h, w]. Raises BlobError as `symbols` does."""
        return self.symbols(encoded).latents

    @classmethod
    @abstractmethod
    def check(cls, header: Header, payload: bytes) -> None:
        """Raises BlobError where the payload cannot hold such latents, before anything is allocated for them."""

    @classmethod
    def quality(cls, payload: bytes) -> int | None:
        """1 ... 100, where the coding has a quality."""
        return None


def coding_with_id(coding: int) -> type[Coding]:
    """Raises BlobError for an id without a coding: only a file can bring one."""
    if coding not in _CODINGS:
        raise BlobError(f"The blob needs payload coding {coding}, which this latent8 does not know: update latent8.")
    found = _CODINGS[coding]
    if isinstance(found, str):
        found = _CODINGS[coding] = load(found)
    return found


def may_be_in_blobs(coding: int) -> bool:
    return coding in _CODINGS and coding_with_id(coding).in_blobs


def register(coding: type[Coding]) -> None:
    """Add a coding from outside of latent8. Raises ValueError for an id that is taken."""
    if coding.id in _CODINGS:
        raise ValueError(f"payload coding {coding.id} is taken")
    _CODINGS[coding.id] = coding


def load(name: str) -> Any:
    """What "package.module:Class" names. Tables name classes so, for modules that bring torch to be loaded late."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
