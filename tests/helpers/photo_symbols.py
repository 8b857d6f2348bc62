"""Symbols of l8-photo as its tests take them apart: those that were decoded, payloads and blobs of any others.

Nothing in the tests that use this depends on what the weights are, only on their being of some use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latent8 import Codec
from latent8.file_format.blob import Encoded, Header
from latent8.file_format.codings import HYPERPRIOR
from latent8.file_format.hyperprior_coding import checksum
from latent8.file_format.quantiser import Quantiser
from latent8.l8_photo import layers as hp
from latent8.l8_photo.passes import Passes
from latent8.zoo.registry import model_named
from tests.helpers.samples import build_blob
from training.export import logistic, table_counts

MODEL = model_named("l8-photo")

Symbols = tuple[np.ndarray, np.ndarray, int]


def logistic_tables() -> torch.Tensor:
    """int32 [64, 255]: what training assumes, as counts."""
    return table_counts(logistic(torch.arange(64)))


def decoded(codec: Codec, blob: bytes) -> np.ndarray:
    return np.asarray(codec.decode(blob))


def decoded_symbols(codec: Codec, encoded: Encoded) -> Symbols:
    """z, q and quality, as this codec's integers decode them."""
    passes = codec.network.entropy_model.unpack(encoded.payload, encoded.latent_shape)
    return passes.z, passes.q.numpy(), passes.quality


def photo_payload(payload: bytes, shape: Sequence[int]) -> Encoded:
    """An encoded picture of l8-photo with this payload and latents of this shape."""
    width, height = 16 * shape[2], 16 * shape[1]
    header = Header(3, bytes(4), width, height, 240, 16, Quantiser(-127.0, 127.0, 255))
    return Encoded(header, HYPERPRIOR, payload)


def encoded_symbols(codec: Codec, z: np.ndarray, q: np.ndarray, quality: int) -> bytes:
    """Payload of symbols that need not come from any picture."""
    model = codec.network.entropy_model
    passes = Passes(model.layers, z, quality, q.shape)
    groups = [(z, model.z_tables(z.shape, quality))]
    for places in passes.in_order():
        groups.append((q[places], model.q_tables(passes, places)))
        passes.q[places] = torch.from_numpy(q[places])
    return model.tables.encode(groups, quality, checksum(z, q))


def assert_same(found: Symbols, wanted: Symbols) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    assert found[2] == wanted[2]


def changed(codec: Codec, change: Callable[[nn.Module], object]) -> Codec:
    """A codec whose layers are copies that `change` was done to."""
    other = copy.copy(codec)
    network = other.network = copy.copy(codec.network)
    network.entropy_model = copy.copy(network.entropy_model)
    network.entropy_model.layers = copy.deepcopy(network.entropy_model.layers)
    network.analysis, network.synthesis = (copy.copy(half) for half in (network.analysis, network.synthesis))
    for half in (network.analysis, network.synthesis):
        half.layers = copy.deepcopy(half.layers)
    for module in (network.entropy_model.layers, network.analysis.layers, network.synthesis.layers):
        change(module)
    return other


def random_q(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """z and q of a picture of some latents, mostly small."""
    random = np.random.default_rng(seed)
    z = np.rint(random.normal(0, 2, (64, -(-height // 4), -(-width // 4)))).clip(-127, 127)
    q = np.rint(random.laplace(0, 2, (hp.N_LATENTS, height, width))).clip(-127, 127)
    return z.astype(np.int8), q.astype(np.int8)


def known_before(number: int, symbols: np.ndarray) -> np.ndarray:
    """Symbols [240, h, w] with those of the pass of that number and of later ones set to 0."""
    known = np.zeros_like(symbols)
    for row, column in (phase for phases in hp.PASSES[:number] for phase in phases):
        known[:, row::2, column::2] = symbols[:, row::2, column::2]
    return known


def framed(symbols: np.ndarray) -> Tensor:
    """int8, with a zero more on each side."""
    return torch.from_numpy(np.pad(symbols.astype(np.int8), ((0, 0), (1, 1), (1, 1))))


def photo_blob(payload: bytes, weights: bytes = b"\xde\xad\xbe\xef", **fields: Any) -> bytes:
    """A blob of l8-photo with this payload, whatever it is, and a right checksum; by default of 16 x 16 pixels."""
    fields = {"width": 16, "height": 16, "low": -127.0, "high": 127.0, "top": 254, **fields}
    return build_blob(model_id=3, channels=240, stride=16, coding=2, weights=weights, payload=payload, **fields)
