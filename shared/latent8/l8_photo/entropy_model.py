"""The entropy model of l8-photo: latents y -> symbols z and q, each with its probability table (PMF), and back.

It is what lies between y and y' in the diagram on top of layers.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latent8.file_format.hyperprior_coding import Tables, checksum
from latent8.l8_photo import bit_cost
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import N_BANDS, L8Photo, all_tables, band_of, level_of
from latent8.l8_photo.passes import Passes, hyper_latents, hyper_shape
from latent8.l8_photo.quantisation import dequantised, inverse_lambdas, rdo_quantised, residual_gain
from latent8.machine.pauses import pause

QUANTISED_AT_ONCE = 1_000_000  # latents, each of which takes some 50 bytes while it is quantised


class EntropyModel:
    """Hyperprior and context models, run on the CPU: means in float32, probabilities in integers, see `Passes`.

    Arrays are of numpy: latents y, float32 [240, h, w], as the analysis gives them; symbols q, int8 [240, h, w];
    hyper-latents z, int8 [64, k, l]. A symbol's table is given by its row in `tables` and `bits`, uint16.
    """

    def __init__(self, layers: L8Photo):
        self.layers = layers
        self.tables = Tables(all_tables(layers).numpy())
        self.bits = self.tables.bits()  # of the symbols -127 ... 127 under each table: float32 [n, 255]
        magnitude_bits = self.bits[:, hp.MAX_SYMBOL :]
        self._inverse_lambdas = inverse_lambdas()
        # bits by which a magnitude n - 1 is cheaper than n under each table: float32 [n, 128], 0 for n = 0
        self._bits_saved = torch.from_numpy(np.diff(magnitude_bits, axis=1, prepend=magnitude_bits[:, :1]))

    def pack(self, y: np.ndarray, quality: int) -> bytes:
        """Latents y, at quality 1 ... 100 -> payload."""
        (z, z_tables), (q, q_tables) = self.symbols_and_tables(y, quality)
        groups = [(z, z_tables)]
        for phases in hp.PASSES:
            groups += [(q[:, row::2, column::2], q_tables[:, row::2, column::2]) for row, column in phases]
        return self.tables.encode(groups, quality, checksum(z, q))

    @torch.inference_mode()
    def symbols_and_tables(self, y: np.ndarray, quality: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Latents y, at quality 1 ... 100 -> z and q, each with the row of every symbol's table, in the same shape."""
        latents, log_gain = torch.from_numpy(y), self.layers.log_gain(torch.tensor([level_of(quality)]))
        gain, r = log_gain.exp()[0], residual_gain(log_gain)[0]
        z = hyper_latents(self.layers, latents, quality).numpy()
        passes = Passes(self.layers, z, quality, y.shape)
        for rows_and_columns in passes.in_order():
            for channels in _few_channels(latents[rows_and_columns].shape):
                places = channels, *rows_and_columns[1:]
                tables = torch.from_numpy(self.q_tables(passes, places).astype(np.int64))
                residual = latents[places] * gain[channels] - passes.means[places]
                inverse_lambda = self._inverse_lambdas[channels]
                passes.q[places] = self.rounded(residual * r[channels], tables, inverse_lambda)
                pause()
        return self.with_tables(passes)

    def with_tables(self, passes: Passes) -> list[tuple[np.ndarray, np.ndarray]]:
        """z and q, when all are known, each with the row of every symbol's table, in the same shape."""
        z, q = passes.z, passes.q.numpy()
        return [(z, self.z_tables(z.shape, passes.quality)), (q, self.q_tables(passes))]

    def rounded(self, residual: Tensor, tables: Tensor, inverse_lambda: Tensor) -> Tensor:
        """Rate-distortion-optimised quantisation: residuals in steps -> int8 symbols, see `rdo_quantised`.

        tables: row of each residual's table, int64, in the same shape. inverse_lambda: bits per squared step.
        """
        first = tables * self._bits_saved.shape[1]
        q = rdo_quantised(residual, lambda n: self._bits_saved.take(first + n.long()), inverse_lambda)
        return q.to(torch.int8)

    @torch.inference_mode()
    def unpack(self, payload: bytes, shape: tuple[int, int, int]) -> Passes:
        """Payload and latent shape [240, h, w] -> all symbols. Raises BlobError for a payload that is damaged."""
        decoder = self.tables.decoder(payload)
        z = decoder.decode(self.z_tables(hyper_shape(shape), decoder.quality))
        passes = Passes(self.layers, z, decoder.quality, shape)
        for places in passes.in_order():
            passes.q[places] = torch.from_numpy(decoder.decode(self.q_tables(passes, places)))
        decoder.check(z, passes.q.numpy())
        return passes

    @torch.inference_mode()
    def latents(self, passes: Passes) -> np.ndarray:
        """All symbols -> latents y', float32 [240, h, w]; they take the place of `passes.means`."""
        level = torch.tensor([level_of(passes.quality)])
        inverse_gain = self.layers.log_inverse_gain(level).exp()[0]
        r = residual_gain(self.layers.log_gain(level))[0]
        shifts = self.layers.reconstruction_shift
        for channels in _few_channels(passes.means.shape):
            shift = shifts[torch.from_numpy(passes.tables((channels,)).astype(np.int64))]
            y = dequantised(passes.q[channels], passes.means[channels], shift, r[channels])
            torch.mul(y, inverse_gain[channels], out=passes.means[channels])
            pause()
        return passes.means.numpy()

    def bits_per_position(self, passes: Passes) -> np.ndarray:
        """All symbols -> bits at each position, summed over channels, hyper-latents included: float32 [h, w]."""
        return bit_cost.bits_per_position(self.with_tables(passes), self.bits, passes.q.shape[1:])

    def z_tables(self, shape: tuple[int, ...], quality: int) -> np.ndarray:
        """Row of the table of each hyper-latent, uint16 of `shape` [64, k, l]: one for each rate band and channel."""
        first = band_of(quality) * hp.N_HYPER
        return np.broadcast_to(np.arange(first, first + hp.N_HYPER, dtype=np.uint16)[:, None, None], shape)

    def q_tables(self, passes: Passes, places: tuple[slice, ...] = ()) -> np.ndarray:
        """Row of the table of each latent, at places that have been given: uint16, one for each band and scale index.

        These rows come behind those of the hyper-latents.
        """
        first = N_BANDS * hp.N_HYPER + band_of(passes.quality) * hp.N_SCALES
        return passes.tables(places).astype(np.uint16) + np.uint16(first)


def _few_channels(shape: tuple[int, ...]) -> list[slice]:
    """Channels of [C, h, w] to work on at a time: all, or for a large picture so few that memory stays bounded."""
    count = max(1, QUANTISED_AT_ONCE // (shape[1] * shape[2] + 1))
    return [slice(first, first + count) for first in range(0, shape[0], count)]
