"""The contract of payload codings: what each of them can do."""

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

    values: [C, h, w], `first` and above. latents: the latents that they stand for, float32 [C, h, w]. bits: bits that
    each position takes as coded, float32 [h, w]; None where the coding cannot tell.
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
    name: ClassVar[str]  # as `latent8 inspect` shows it
    in_blobs: ClassVar[bool] = True  # False where the payload is the whole file of another format
    needs_network: ClassVar[bool] = False  # whether decoding the symbols takes the model's network

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

        settings: the size or quality that the caller asks for. alpha_png, chunks: the rest of the encoded picture,
        which counts towards a size. Raises PictureError for a size that cannot be met.
        """

    @abstractmethod
    def symbols(self, encoded: Encoded) -> Symbols:
        """Decode the symbols. Raises BlobError for a payload that is damaged."""

    def decode(self, encoded: Encoded) -> np.ndarray:
        """Encoded picture -> latents, float32 [C, h, w]. Raises BlobError as `symbols` does."""
        return self.symbols(encoded).latents

    @classmethod
    @abstractmethod
    def check(cls, header: Header, payload: bytes) -> None:
        """Raise BlobError where the payload cannot hold latents of this shape. Allocates nothing for them."""

    @classmethod
    def quality(cls, payload: bytes) -> int | None:
        """Quality 1 ... 100 that the payload states; None for a coding without one."""
        return None
