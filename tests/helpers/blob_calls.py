"""What tests say about blobs in one word."""

from __future__ import annotations

import numpy as np
import pytest

from latent8 import BlobError, Codec
from latent8.file_format.blob import Encoded
from latent8.pool import symbols_of


def symbols_in(blob: bytes) -> np.ndarray:
    """uint8 [C, h, w], of a model without a hyperprior."""
    return symbols_of(Encoded.parse(blob)).values


def decoded(codec: Codec, blob: bytes) -> np.ndarray:
    return np.asarray(codec.decode(blob))


def refusal(codec: Codec, blob: bytes) -> str:
    with pytest.raises(BlobError) as found:
        codec.decode(blob)
    return str(found.value)
