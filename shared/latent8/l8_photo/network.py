"""l8-photo on a device: pictures -> latents -> payload -> pictures, at any quality or under a size limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from latent8.file_format.hyperprior_coding import Tables, checksum
from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import MAX_QUALITY, N_BANDS, L8Photo, all_tables, band_of, bitstream_hash, level_of
from latent8.l8_photo.passes import Passes, hyper_latents, hyper_shape
from latent8.networks.base import Network, Progress, fast_dtype, reported
from latent8.networks.tiling import Demand, Tile, demand, scaled, tiles
from latent8.zoo.registry import Model
from latent8.zoo.weights import load_autoencoder

QUARTER_BYTES, MAX_ACTIVATION_BYTES = 192 << 20, 384 << 20  # of layers at 1/4 size, and at smaller ones
SECTION_PIXELS = 40_000_000
ROUNDED_AT_ONCE = 1_000_000  # latents, each of which takes some 50 bytes while it is rounded


class HyperpriorNetwork(Network):
    """Analysis and synthesis run in tiles and in half precision; the hyperprior in float32, see `Passes`.

    Latents here are numpy arrays [240, h, w]: y as the analysis gives them, q as whole numbers; z is [64, k, l].
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        layers = load_autoencoder(model).float()
        n_bytes = (dtype or fast_dtype(device)).itemsize
        self._parts = demands_of_parts(layers, n_bytes)
        largest = self._parts[0][0], self._parts[1][0]  # a half that is run whole needs no more
        super().__init__(model, device, dtype, (layers.analysis, layers.synthesis), largest, bitstream_hash(layers))
        self.max_bytes = MAX_ACTIVATION_BYTES
        self.default_realism: float | None = layers.config.default_realism  # None: there is one reading only
        self._layers = layers.eval().requires_grad_(False)
        self._tables = Tables(all_tables(layers).numpy())
        self.bits = self._tables.bits()  # what each symbol -127 ... 127 costs under each table: float32 [n, 255]
        of_magnitudes = self.bits[:, hp.MAX_SYMBOL :]
        self._distortion_bits = hp.distortion_bits()
        self._bits_saved = torch.from_numpy(np.diff(of_magnitudes, axis=1, prepend=of_magnitudes[:, :1]))

    def encode_pixels(self, rgb: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        rows, columns = (side // hp.STRIDE for side in rgb.shape[:2])
        sections = self._sections(0, rows, columns)
        if len(sections) == 1:
            return self._encode_section(rgb, progress)
        latents = np.empty((hp.N_LATENTS, rows, columns), np.float32)
        for number, tile in enumerate(sections):
            of_section = _share(progress, number, len(sections))
            found = self._encode_section(rgb[scaled(tile.outer, hp.STRIDE)], of_section)
            latents[:, *tile.inner] = found[:, *tile.crop(1)]
        return latents

    def _sections(self, half: int, rows: int, columns: int) -> list[Tile]:
        """Of a picture whose features would take too much memory as a whole: few, so their long halos cost little."""
        halo = sum(part.halo for part in self._parts[half])
        return tiles(rows, columns, Demand(halo, 1), hp.STRIDE, SECTION_PIXELS)

    def _encode_section(self, rgb: np.ndarray, progress: Progress | None) -> np.ndarray:
        rows, columns = (side // hp.STRIDE for side in rgb.shape[:2])
        quarter, eighth, sixteenth = self._tiles_of_parts(0, rows, columns)
        if len(quarter) == 1:
            for tile in reported(progress, quarter):
                latents = self.analysis(self._pixels(rgb, tile))[0]
            return latents.cpu().numpy()
        steps = reported(progress, quarter, eighth, sixteenth)
        y = torch.empty(1, hp.N_LATENTS, rows, columns)
        features = self._empty(hp.WIDTHS[1], 2 * rows, 2 * columns)
        for tile in islice(steps, len(quarter)):
            coefficients, part = self._run(0, self._pixels(rgb, tile), method="quarter")
            _keep(y, tile, 1, coefficients)
            _keep(features, tile, 2, part)
        finer, features = features, self._empty(hp.WIDTHS[2], rows, columns)
        for tile in islice(steps, len(eighth)):
            _keep(features, tile, 1, *self._run(0, finer[..., *scaled(tile.outer, 2)], method="eighth"))
        del finer
        for tile in steps:
            (part,) = self._run(0, features[..., *tile.outer], method="sixteenth")
            y[..., *tile.inner] += part[..., *tile.crop(1)].cpu()
        return y[0].numpy()

    @torch.inference_mode()
    def _synthesised(
        self, latents: np.ndarray, conditions: Sequence[Tensor], progress: Progress | None
    ) -> Iterator[tuple[Tile, Tensor]]:
        rows, columns = latents.shape[1:]
        quarter, eighth, sixteenth = self._tiles_of_parts(1, rows, columns)
        y = torch.from_numpy(latents)[None]
        if len(quarter) == 1:
            for tile in reported(progress, quarter):
                yield tile, self.synthesis(y, *conditions)[0]
            return
        steps = reported(progress, sixteenth, eighth, quarter)
        features = self._empty(hp.WIDTHS[2], rows, columns)
        for tile in islice(steps, len(sixteenth)):
            _keep(features, tile, 1, *self._run(1, y[..., *tile.outer], *conditions, method="sixteenth"))
        coarser, features = features, self._empty(hp.WIDTHS[1], 2 * rows, 2 * columns)
        for tile in islice(steps, len(eighth)):
            _keep(features, tile, 2, *self._run(1, coarser[..., *tile.outer], *conditions, method="eighth"))
        del coarser
        for tile in steps:
            inputs = features[..., *scaled(tile.outer, 2)], y[..., *tile.outer]
            yield tile, self._run(1, *inputs, *conditions, method="quarter")[0][0].clamp_(0, 1)

    def _tiles_of_parts(self, half: int, rows: int, columns: int) -> list[list[Tile]]:
        """For the layers at 1/4, 1/8 and 1/16 size of one half, when each are run over the whole picture in turn.

        Taken by themselves they see not far, so that tiles may be small. Those at 1/4 size are: where they take memory
        that was just used, they are faster than in large ones.
        """
        budgets = min(QUARTER_BYTES, self.max_bytes), self.max_bytes, self.max_bytes
        return [
            self._tiles(demand, rows, columns, budget)
            for demand, budget in zip(self._parts[half], budgets, strict=True)
        ]

    def _empty(self, channels: int, height: int, width: int) -> Tensor:
        return torch.empty(1, channels, height, width, device=self.device, memory_format=torch.channels_last)

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
        latents, log_gain = torch.from_numpy(y), self._layers.log_gain(torch.tensor([level_of(quality)]))
        gain, residual_gain = log_gain.exp()[0], hp.residual_gain(log_gain)[0]
        z = hyper_latents(self._layers, latents, quality).numpy()
        passes = Passes(self._layers, z, quality, y.shape)
        for rows_and_columns in passes.in_order():
            for channels in _few_channels(latents[rows_and_columns].shape):
                places = channels, *rows_and_columns[1:]
                tables = torch.from_numpy(self._q_tables(passes, places).astype(np.int64))
                residual = latents[places] * gain[channels] - passes.means[places]
                worth = self._distortion_bits[channels]
                passes.q[places] = self._rounded(residual * residual_gain[channels], tables, worth)
        return self.with_tables(passes)

    def with_tables(self, passes: Passes) -> list[tuple[np.ndarray, np.ndarray]]:
        """z and q when all are known, each with the table of every symbol: a row of `bits`."""
        z, q = passes.z, passes.q.numpy()
        return [(z, self._z_tables(z.shape, passes.quality)), (q, self._q_tables(passes))]

    def _rounded(self, residual: Tensor, tables: Tensor, worth: Tensor) -> Tensor:
        """Residuals in steps, the table of each, what a squared step is worth -> int8 symbols."""
        first = tables * self._bits_saved.shape[1]
        q = hp.rounded_towards_zero(residual, lambda n: self._bits_saved.take(first + n.long()), worth)
        return q.to(torch.int8)

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
        level = torch.tensor([level_of(passes.quality)])
        inverse_gain = self._layers.log_inverse_gain(level).exp()[0]
        residual_gain = hp.residual_gain(self._layers.log_gain(level))[0]
        shifts = self._layers.reconstruction_shift
        for channels in _few_channels(passes.means.shape):
            shift = shifts[torch.from_numpy(passes.tables((channels,)).astype(np.int64))]
            y = hp.dequantised(passes.q[channels], passes.means[channels], shift, residual_gain[channels])
            torch.mul(y, inverse_gain[channels], out=passes.means[channels])
        return passes.means.numpy()

    def render(
        self, y: np.ndarray, quality: int, progress: Progress | None = None, realism: float | None = None
    ) -> np.ndarray:
        """Latents as `unpack` gives them -> uint8 [16 h, 16 w, 3].

        realism: from 0, faithful, to 1, vivid; by default `default_realism`.
        """
        rows, columns = y.shape[1:]
        level = torch.tensor([level_of(quality)])
        reading = torch.tensor([(self.default_realism or 0.0) if realism is None else realism])
        sections = self._sections(1, rows, columns)
        if len(sections) == 1:
            return self.decode_latents(y, level, reading, progress=progress)
        rgb = np.empty((rows * hp.STRIDE, columns * hp.STRIDE, 3), np.uint8)
        for number, tile in enumerate(sections):
            of_section = _share(progress, number, len(sections))
            found = self.decode_latents(y[:, *tile.outer], level, reading, progress=of_section)
            rgb[scaled(tile.inner, hp.STRIDE)] = found[tile.crop(hp.STRIDE)]
        return rgb

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


def _share(progress: Progress | None, number: int, count: int) -> Progress | None:
    """`progress` of one of so many steps."""
    return None if progress is None else lambda share: progress((number + share) / count)


def _keep(whole: Tensor, tile: Tile, scale: int, part: Tensor) -> None:
    """Put a tile's result [1, C, h, w], of `scale` squared values for each latent, in its place."""
    whole[..., *scaled(tile.inner, scale)] = part[..., *tile.crop(scale)]


def demands_of_parts(layers: L8Photo, n_bytes: int) -> tuple[list[Demand], list[Demand]]:
    """Of the layers at 1/4, 1/8 and 1/16 size, for analysis and synthesis."""
    down, up = layers.analysis.correction, layers.synthesis
    first, second = hp.ENDS
    analysis = [(down[:first], 1), (down[first:second], 8), (down[second:], 16)]
    stages = [nn.Sequential(*stage) for stage in zip(up.entries, up.stages, strict=True)]
    synthesis = [(nn.Sequential(stages[2], up.exit), 8), (stages[1], 16), (stages[0], 16)]
    found = [[demand(part, hp.STRIDE, n_bytes, cell) for part, cell in half] for half in (analysis, synthesis)]
    for half in found:
        half[0] = _with_picture(half[0])
    return found[0], found[1]


def _with_picture(found: Demand) -> Demand:
    """Pictures in float32, twice, and as bytes, live beside the largest activations."""
    return replace(found, bytes_per_pixel=found.bytes_per_pixel + 28)
