"""l8-photo on a device: pictures -> latents -> payload -> pictures, at any quality or under a size limit."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from latent8 import hyperprior as hp
from latent8.hyperprior_coding import Tables
from latent8.loading import load_photo_model, weights_hash
from latent8.models import Model
from latent8.network import Network, fast_dtype
from latent8.photo_model import MAX_QUALITY, N_BANDS, L8Photo, band_of, level_of, scale_indices
from latent8.tiling import Demand, demand


class HyperpriorNetwork(Network):
    """Analysis and synthesis run in tiles and in half precision; the hyperprior is small and runs whole, in float32.

    Latents here are numpy arrays [160, h, w]: y as the analysis gives them, q as whole numbers; z is [64, k, l].
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        layers = load_photo_model(model).float()
        n_bytes = (dtype or fast_dtype(device)).itemsize
        demands = analysis_demand(layers, n_bytes), synthesis_demand(layers, n_bytes)
        super().__init__(model, device, dtype, (layers.analysis, layers.synthesis), demands, weights_hash(layers))
        self._layers = layers.eval().requires_grad_(False)
        self._tables = Tables(torch.cat([layers.hyper_tables, layers.tables]).flatten(0, 1).numpy())

    def pack(self, y: np.ndarray, quality: int) -> bytes:
        """Latents -> payload."""
        (z, z_tables), (q, q_tables) = self.symbols_and_tables(y, quality)
        return self._tables.encode(z, z_tables, q, q_tables, quality)

    def symbols_and_tables(self, y: np.ndarray, quality: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Latents -> z and q, each with the table of every symbol."""
        z, q = self._quantised(y, quality)
        z_tables = np.broadcast_to(self._z_tables(quality), z.shape)
        return [(z, z_tables), (q, self._q_tables(z, quality, q.shape))]

    def pack_at_most(self, y: np.ndarray, n_bytes: int) -> bytes:
        """Latents -> the payload of the highest quality found that fits; of quality 1 where none does.

        A bisection: size rises with quality.
        """
        low, high, best = 1, MAX_QUALITY, b""
        while low <= high:
            quality = (low + high) // 2
            payload = self.pack(y, quality)
            if len(payload) <= n_bytes:
                best, low = payload, quality + 1
            else:
                high = quality - 1
        return best or self.pack(y, 1)

    def unpack(self, payload: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, int]:
        """Payload and latent shape -> latents y as the synthesis takes them, quality. Raises BlobError."""

        def q_tables(z: np.ndarray, quality: int) -> np.ndarray:
            return self._q_tables(z, quality, shape)

        z, q, quality = self._tables.decode(payload, hyper_shape(shape), shape, self._z_tables, q_tables)
        return self._dequantised(z, q, quality), quality

    def render(self, y: np.ndarray, quality: int) -> np.ndarray:
        """Latents as `unpack` gives them -> uint8 [16 h, 16 w, 3]."""
        return self.decode_latents(y, torch.tensor([level_of(quality)]))

    @torch.inference_mode()
    def _quantised(self, y: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
        level = torch.tensor([level_of(quality)])
        v = torch.from_numpy(y)[None] * self._layers.log_gain(level).exp()
        z = _symbols(self._layers.hyper_analysis(v)[0])
        q = _symbols((v - self._means(z, level, y.shape))[0])
        return z, q

    @torch.inference_mode()
    def _dequantised(self, z: np.ndarray, q: np.ndarray, quality: int) -> np.ndarray:
        level = torch.tensor([level_of(quality)])
        y = (torch.from_numpy(q)[None] + self._means(z, level, q.shape)) * self._layers.log_inverse_gain(level).exp()
        return y[0].numpy()

    def _means(self, z: np.ndarray, level: Tensor, shape: tuple[int, ...]) -> Tensor:
        means: Tensor = self._layers.mean(torch.from_numpy(z)[None].float(), level)
        return means[:, :, : shape[1], : shape[2]]

    def _z_tables(self, quality: int) -> np.ndarray:
        first = band_of(quality) * hp.N_HYPER
        return np.arange(first, first + hp.N_HYPER, dtype=np.uint16)[:, None, None]

    @torch.inference_mode()
    def _q_tables(self, z: np.ndarray, quality: int, shape: tuple[int, ...]) -> np.ndarray:
        scales = scale_indices(self._layers, torch.from_numpy(z), quality)[:, : shape[1], : shape[2]].numpy()
        return scales.astype(np.uint16) + (N_BANDS * hp.N_HYPER + band_of(quality) * hp.N_SCALES)


def hyper_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return hp.N_HYPER, math.ceil(shape[1] / 4), math.ceil(shape[2] / 4)


def analysis_demand(layers: L8Photo, n_bytes: int) -> Demand:
    return _at_least(demand(layers.analysis.correction, hp.STRIDE, n_bytes, True))


def synthesis_demand(layers: L8Photo, n_bytes: int) -> Demand:
    synthesis = layers.synthesis
    chain: list[nn.Module] = []
    for entry, stage in zip(synthesis.entries, synthesis.stages, strict=True):
        chain += [entry, stage]
    return _at_least(demand(nn.Sequential(*chain, synthesis.exit), hp.STRIDE, n_bytes, False))


def _at_least(found: Demand) -> Demand:
    """The linear branch, and the picture itself in float32, live beside the largest activation."""
    return Demand(found.halo, found.bytes_per_pixel + 60)


def _symbols(x: Tensor) -> np.ndarray:
    return x.round().clamp_(-hp.MAX_SYMBOL, hp.MAX_SYMBOL).to(torch.int8).numpy()
