"""The entropy model of l8-photo: latents y -> symbols z and q, each with its probability table, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latent8.file_format.hyperprior_coding import Tables, checksum
from latent8.l8_photo import bit_cost
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import N_BANDS, L8Photo, all_tables, band_of, level_of
from latent8.l8_photo.passes import Passes, hyper_latents, hyper_shape

ROUNDED_AT_ONCE = 1_000_000  # latents, each of which takes some 50 bytes while it is rounded


class EntropyModel:
    """The hyperprior and the contexts, in float32 and in integers on the CPU, see `Passes`.

    Latents here are numpy arrays [240, h, w]: y as the analysis gives them, q as whole numbers; z is [64, k, l].
    """

    def __init__(self, layers: L8Photo):
        self.layers = layers
        self.tables = Tables(all_tables(layers).numpy())
        self.bits = self.tables.bits()  # what each symbol -127 ... 127 costs under each table: float32 [n, 255]
        of_magnitudes = self.bits[:, hp.MAX_SYMBOL :]
        self._distortion_bits = hp.distortion_bits()
        self._bits_saved = torch.from_numpy(np.diff(of_magnitudes, axis=1, prepend=of_magnitudes[:, :1]))

    def pack(self, y: np.ndarray, quality: int) -> bytes:
        """Latents -> payload."""
        (z, z_tables), (q, q_tables) = self.symbols_and_tables(y, quality)
        groups = [(z, z_tables)]
        for phases in hp.PASSES:
            groups += [(q[:, row::2, column::2], q_tables[:, row::2, column::2]) for row, column in phases]
        return self.tables.encode(groups, quality, checksum(z, q))

    @torch.inference_mode()
    def symbols_and_tables(self, y: np.ndarray, quality: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Latents -> z and q, each with the table of every symbol."""
        latents, log_gain = torch.from_numpy(y), self.layers.log_gain(torch.tensor([level_of(quality)]))
        gain, residual_gain = log_gain.exp()[0], hp.residual_gain(log_gain)[0]
        z = hyper_latents(self.layers, latents, quality).numpy()
        passes = Passes(self.layers, z, quality, y.shape)
        for rows_and_columns in passes.in_order():
            for channels in _few_channels(latents[rows_and_columns].shape):
                places = channels, *rows_and_columns[1:]
                tables = torch.from_numpy(self.q_tables(passes, places).astype(np.int64))
                residual = latents[places] * gain[channels] - passes.means[places]
                worth = self._distortion_bits[channels]
                passes.q[places] = self.rounded(residual * residual_gain[channels], tables, worth)
        return self.with_tables(passes)

    def with_tables(self, passes: Passes) -> list[tuple[np.ndarray, np.ndarray]]:
        """z and q when all are known, each with the table of every symbol: a row of `bits`."""
        z, q = passes.z, passes.q.numpy()
        return [(z, self.z_tables(z.shape, passes.quality)), (q, self.q_tables(passes))]

    def rounded(self, residual: Tensor, tables: Tensor, worth: Tensor) -> Tensor:
        """Residuals in steps, the table of each, what a squared step is worth -> int8 symbols."""
        first = tables * self._bits_saved.shape[1]
        q = hp.rounded_towards_zero(residual, lambda n: self._bits_saved.take(first + n.long()), worth)
        return q.to(torch.int8)

    @torch.inference_mode()
    def unpack(self, payload: bytes, shape: tuple[int, int, int]) -> Passes:
        """Payload and latent shape -> all symbols. Raises BlobError."""
        decoder = self.tables.decoder(payload)
        z = decoder.decode(self.z_tables(hyper_shape(shape), decoder.quality))
        passes = Passes(self.layers, z, decoder.quality, shape)
        for places in passes.in_order():
            passes.q[places] = torch.from_numpy(decoder.decode(self.q_tables(passes, places)))
        decoder.check(z, passes.q.numpy())
        return passes

    @torch.inference_mode()
    def latents(self, passes: Passes) -> np.ndarray:
        """All symbols -> latents y, in the memory of their means."""
        level = torch.tensor([level_of(passes.quality)])
        inverse_gain = self.layers.log_inverse_gain(level).exp()[0]
        residual_gain = hp.residual_gain(self.layers.log_gain(level))[0]
        shifts = self.layers.reconstruction_shift
        for channels in _few_channels(passes.means.shape):
            shift = shifts[torch.from_numpy(passes.tables((channels,)).astype(np.int64))]
            y = hp.dequantised(passes.q[channels], passes.means[channels], shift, residual_gain[channels])
            torch.mul(y, inverse_gain[channels], out=passes.means[channels])
        return passes.means.numpy()

    def bits_per_position(self, passes: Passes) -> np.ndarray:
        """All symbols -> what each position takes as coded, float32 [h, w]."""
        return bit_cost.bits_per_position(self.with_tables(passes), self.bits, passes.q.shape[1:])

    def z_tables(self, shape: tuple[int, ...], quality: int) -> np.ndarray:
        first = band_of(quality) * hp.N_HYPER
        return np.broadcast_to(np.arange(first, first + hp.N_HYPER, dtype=np.uint16)[:, None, None], shape)

    def q_tables(self, passes: Passes, places: tuple[slice, ...] = ()) -> np.ndarray:
        """Behind the tables of all hyper-latents: uint16, at places that have been given."""
        first = N_BANDS * hp.N_HYPER + band_of(passes.quality) * hp.N_SCALES
        return passes.tables(places).astype(np.uint16) + np.uint16(first)


def _few_channels(shape: tuple[int, ...]) -> list[slice]:
    """All of [C, h, w], or of a large picture so many at a time that memory stays in bounds."""
    count = max(1, ROUNDED_AT_ONCE // (shape[1] * shape[2] + 1))
    return [slice(first, first + count) for first in range(0, shape[0], count)]
