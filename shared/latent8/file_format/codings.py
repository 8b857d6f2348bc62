"""The table of payload codings. Their contract is in latent8/file_format/coding.py.

    id      coding
    0       one byte for each symbol                                   latent8/file_format/raw_coding.py
    1       prediction from neighbours, then a range coder             latent8/file_format/neighbour_coding.py
    2       a mean-scale hyperprior, then a range coder                latent8/file_format/hyperprior_coding.py
    3       numbers of codes, contexts that learn, then a range coder  latent8/file_format/context_coding.py
    256     the whole file is an 8-bit RGBA PNG; never in a blob       latent8/file_format/rgba_png.py

A new coding is one module with a subclass of `Coding`, its field table on top, and one row here, or a call of
`register` from outside. Ids below 256 are written into blobs: they are given by hand and never used again.
"""

from __future__ import annotations

import importlib
from typing import Any

from latent8.errors import BlobError

RAW, NEIGHBOURS, HYPERPRIOR, CONTEXTS, RGBA_PNG = 0, 1, 2, 3, 256
_CODINGS: dict[int, Any] = {
    RAW: "latent8.file_format.raw_coding:RawCoding",
    NEIGHBOURS: "latent8.file_format.neighbour_coding:NeighbourCoding",
    HYPERPRIOR: "latent8.file_format.hyperprior_coding:HyperpriorCoding",
    CONTEXTS: "latent8.file_format.context_coding:ContextCoding",
    RGBA_PNG: "latent8.file_format.rgba_png:RgbaPngCoding",
}


def coding_with_id(coding: int) -> Any:
    """The class of a coding. Raises BlobError for an id that is not in the table: only a file can bring one."""
    if coding not in _CODINGS:
        raise BlobError(f"The blob needs payload coding {coding}, which this latent8 does not know: update latent8.")
    found = _CODINGS[coding]
    if isinstance(found, str):
        found = _CODINGS[coding] = load(found)
    return found


def may_be_in_blobs(coding: int) -> bool:
    """Whether a blob may state this id."""
    return coding in _CODINGS and coding_with_id(coding).in_blobs


def register(coding: Any) -> None:
    """Add a coding, a subclass of `Coding`, from outside of latent8. Raises ValueError for an id that is taken."""
    if coding.id in _CODINGS:
        raise ValueError(f"payload coding {coding.id} is taken")
    _CODINGS[coding.id] = coding


def load(name: str) -> Any:
    """Import what "package.module:Class" names. Tables name classes so, and modules with torch are imported late."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
