"""l8-photo on a device: pictures -> latents -> payload -> pictures, at any quality or under a size limit."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from latent8 import hyperprior as hp
from latent8.hyperprior_coding import Tables, checksum
from latent8.hyperprior_passes import Passes, hyper_latents
from latent8.loading import load_photo_model, weights_hash
from latent8.models import Model
from latent8.network import Network, Progress, fast_dtype
from latent8.photo_model import MAX_QUALITY, N_BANDS, L8Photo, all_tables, band_of, level_of
from latent8.tiling import Demand, demand

MAX_ACTIVATION_BYTES = 5 << 28  # less than of other networks, as there are more latents beside them
ROUNDED_AT_ONCE = 4_000_000  # latents, each of which takes some 50 bytes meanwhile


class HyperpriorNetwork(Network):
    """Analysis and synthesis run in tiles and in half precision; the hyperprior in float32, see `Passes`.

    Latents here are numpy arrays [240, h, w]: y as the analysis gives them, q as whole numbers; z is [64, k, l].
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        layers = load_photo_model(model).float()
        n_bytes = (dtype or fast_dtype(device)).itemsize
        demands = analysis_demand(layers, n_bytes), synthesis_demand(layers, n_bytes)
        super().__init__(model, device, dtype, (layers.analysis, layers.synthesis), demands, weights_hash(layers))
        self.max_bytes = MAX_ACTIVATION_BYTES
        self._layers = layers.eval().requires_grad_(False)
        self._tables = Tables(all_tables(layers).numpy())
        self.bits = self._tables.bits()  # what each symbol -127 ... 127 costs under each table: float32 [n, 255]
        of_magnitudes = self.bits[:, hp.MAX_SYMBOL :]
        self._bits_saved = torch.from_numpy(np.diff(of_magnitudes, axis=1, prepend=of_magnitudes[:, :1]))

    def pack(self, y: np.ndarray, quality: int) -> bytes:
        """Latents -> payload."""
        (z, z_tables), (q, q_tables) = self.symbols_and_tables(y, quality)
        groups = [(z, z_tables)]
        for phases in hp.PASSES:
            groups += [(q[:, row::2, column::2], q_tables[:, row::2, column::2]) for row, column in phases]
        return self._tables.encode(groups, quality, checksum(z, q))

    @torch.inference_mode()
    def symbols_and_tables(self, y: np.ndarray, quality: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Latents -> z and q, each with the table of every symbol."""
        latents, gain = torch.from_numpy(y), self._layers.log_gain(torch.tensor([level_of(quality)])).exp()[0]
        z = hyper_latents(self._layers, latents, quality).numpy()
        passes = Passes(self._layers, z, quality, y.shape)
        for rows_and_columns in passes.in_order():
            for channels in _few_channels(latents[rows_and_columns].shape):
                places = channels, *rows_and_columns[1:]
                tables = torch.from_numpy(self._q_tables(passes, places).astype(np.int64))
                passes.q[places] = self._rounded(latents[places] * gain[channels] - passes.means[places], tables)
        return self.with_tables(passes)

    def with_tables(self, passes: Passes) -> list[tuple[np.ndarray, np.ndarray]]:
        """z and q when all are known, each with the table of every symbol: a row of `bits`."""
        z, q = passes.z, passes.q.numpy()
        return [(z, self._z_tables(z.shape, passes.quality)), (q, self._q_tables(passes))]

    def _rounded(self, residual: Tensor, tables: Tensor) -> Tensor:
        """Residuals in steps, and the table of each -> int8 symbols."""
        first = tables * self._bits_saved.shape[1]
        return hp.rounded_towards_zero(residual, lambda n: self._bits_saved.take(first + n.long())).to(torch.int8)

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

    @torch.inference_mode()
    def unpack(self, payload: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, int]:
        """Payload and latent shape -> latents y as the synthesis takes them, quality. Raises BlobError."""
        passes = self.symbols(payload, shape)
        return self.latents(passes), passes.quality

    @torch.inference_mode()
    def symbols(self, payload: bytes, shape: tuple[int, int, int]) -> Passes:
        """Payload and latent shape -> all symbols. Raises BlobError."""
        decoder = self._tables.decoder(payload)
        z = decoder.decode(self._z_tables(hyper_shape(shape), decoder.quality))
        passes = Passes(self._layers, z, decoder.quality, shape)
        for places in passes.in_order():
            passes.q[places] = torch.from_numpy(decoder.decode(self._q_tables(passes, places)))
        decoder.check(z, passes.q.numpy())
        return passes

    @torch.inference_mode()
    def latents(self, passes: Passes) -> np.ndarray:
        """All symbols -> latents y, in the memory of their means."""
        inverse_gain = self._layers.log_inverse_gain(torch.tensor([level_of(passes.quality)])).exp()[0]
        return passes.means.add_(passes.q).mul_(inverse_gain).numpy()

    def render(self, y: np.ndarray, quality: int, progress: Progress | None = None) -> np.ndarray:
        """Latents as `unpack` gives them -> uint8 [16 h, 16 w, 3]."""
        return self.decode_latents(y, torch.tensor([level_of(quality)]), progress=progress)

    def _z_tables(self, shape: tuple[int, ...], quality: int) -> np.ndarray:
        first = band_of(quality) * hp.N_HYPER
        return np.broadcast_to(np.arange(first, first + hp.N_HYPER, dtype=np.uint16)[:, None, None], shape)

    def _q_tables(self, passes: Passes, places: tuple[slice, ...] = ()) -> np.ndarray:
        """Behind the tables of all hyper-latents: uint16, at places that have been given."""
        first = N_BANDS * hp.N_HYPER + band_of(passes.quality) * hp.N_SCALES
        return passes.tables(places).astype(np.uint16) + np.uint16(first)


def _few_channels(shape: tuple[int, ...]) -> list[slice]:
    """All of [C, h, w], or of a large picture so many at a time that memory stays in bounds."""
    count = max(1, ROUNDED_AT_ONCE // (shape[1] * shape[2] + 1))
    return [slice(first, first + count) for first in range(0, shape[0], count)]


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
    """The picture in float32, twice, lives beside the largest activations."""
    return Demand(found.halo, found.bytes_per_pixel + 28)
