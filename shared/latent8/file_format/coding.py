"""The contract that every coding of payloads keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from latent8.file_format.blob import Encoded, Header
from latent8.file_format.extension import Chunk
from latent8.zoo.settings import Settings


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
    def encode(
        self,
        latents: np.ndarray,
        settings: Settings,
        header: Header,
        alpha_png: bytes = b"",
        chunks: tuple[Chunk, ...] = (),
    ) -> Encoded:
        """Latents, float32 [C, h, w] -> encoded picture.

        settings: what the caller asks of size or quality. alpha_png, chunks: of the encoded picture, which count
        where a size is asked for. Raises PictureError for a size that cannot be met.
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
