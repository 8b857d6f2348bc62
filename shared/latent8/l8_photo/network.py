"""l8-photo on a device: pictures -> latents -> pictures, in tiles at each size of the layers; and its entropy model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from latent8.l8_photo import layers as hp
from latent8.l8_photo.entropy_model import EntropyModel
from latent8.l8_photo.layers import Analysis, Synthesis
from latent8.l8_photo.model import L8Photo, bitstream_hash, level_of
from latent8.networks.base import Network, Progress, fast_dtype, reported
from latent8.networks.tiling import Demand, Tile, demand, scaled, tiles
from latent8.zoo.registry import Model
from latent8.zoo.settings import DEFAULT_QUALITY
from latent8.zoo.weights import load_autoencoder

QUARTER_BYTES, MAX_ACTIVATION_BYTES = 192 << 20, 384 << 20  # for a tile's activations at 1/4 size, and at 1/8 and 1/16
TILE_PIXELS = 2_000_000  # about the most of a tile at 1/8 and 1/16 size: others may want the machine after each
SECTION_PIXELS = 40_000_000  # of a picture above which features are not kept for the whole of it


class HyperpriorNetwork(Network):
    """The network of l8-photo: analysis and synthesis, in tiles, in the device's fast type, and the entropy model.

    Latents y are numpy arrays, float32 [240, h, w]. The entropy model runs on the CPU: it decodes the same everywhere.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        layers = load_autoencoder(model).float().eval().requires_grad_(False)
        n_bytes = (dtype or fast_dtype(device)).itemsize
        self.analysis_parts, self.synthesis_parts = demands_of_parts(layers, n_bytes)
        analysis = layers.analysis, self.analysis_parts[0]  # a half that is run whole needs no more
        synthesis = layers.synthesis, self.synthesis_parts[0]
        super().__init__(model, device, dtype, analysis, synthesis, bitstream_hash(layers))
        self.max_bytes = MAX_ACTIVATION_BYTES
        self.default_realism = layers.config.default_realism
        self.entropy_model = EntropyModel(layers)

    def encode_pixels(self, rgb: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        rows, columns = (side // hp.STRIDE for side in rgb.shape[:2])
        sections = self.sections(self.analysis_parts, rows, columns)
        if len(sections) == 1:
            return self._encode_section(rgb, progress)
        latents = np.empty((hp.N_LATENTS, rows, columns), np.float32)
        for number, tile in enumerate(sections):
            section_progress = _share(progress, number, len(sections))
            found = self._encode_section(rgb[scaled(tile.outer, hp.STRIDE)], section_progress)
            latents[:, *tile.inner] = found[:, *tile.crop(1)]
        return latents

    def sections(self, parts: list[Demand], rows: int, columns: int) -> list[Tile]:
        """Sections of about SECTION_PIXELS of a picture whose features would take too much memory; one where not.

        They are large, since their halos are: all layers' halos together.
        """
        halo = sum(part.halo for part in parts)
        return tiles(rows, columns, Demand(halo, 1), hp.STRIDE, SECTION_PIXELS)

    def _encode_section(self, rgb: np.ndarray, progress: Progress | None) -> np.ndarray:
        rows, columns = (side // hp.STRIDE for side in rgb.shape[:2])
        quarter, eighth, sixteenth = self.tiles_of_parts(self.analysis_parts, rows, columns)
        if len(quarter) == 1:
            for tile in reported(progress, quarter):
                latents = self.analysis(self._pixels(rgb, tile))[0]
            return latents.cpu().numpy()
        steps = reported(progress, quarter, eighth, sixteenth)
        y = torch.empty(1, hp.N_LATENTS, rows, columns)
        features = self._empty(hp.WIDTHS[1], 2 * rows, 2 * columns)
        for tile in islice(steps, len(quarter)):
            coefficients, part = self.analysis.run(Analysis.quarter, self._pixels(rgb, tile))
            _keep(y, tile, 1, coefficients)
            _keep(features, tile, 2, part)
        finer, features = features, self._empty(hp.WIDTHS[2], rows, columns)
        for tile in islice(steps, len(eighth)):
            _keep(features, tile, 1, *self.analysis.run(Analysis.eighth, finer[..., *scaled(tile.outer, 2)]))
        del finer
        for tile in steps:
            (part,) = self.analysis.run(Analysis.sixteenth, features[..., *tile.outer])
            y[..., *tile.inner] += part[..., *tile.crop(1)].cpu()
        return y[0].numpy()

    @torch.inference_mode()
    def _synthesised(
        self, latents: np.ndarray, conditions: Sequence[Tensor], progress: Progress | None
    ) -> Iterator[tuple[Tile, Tensor]]:
        rows, columns = latents.shape[1:]
        quarter, eighth, sixteenth = self.tiles_of_parts(self.synthesis_parts, rows, columns)
        y = torch.from_numpy(latents)[None]
        if len(quarter) == 1:
            for tile in reported(progress, quarter):
                yield tile, self.synthesis(y, *conditions)[0].clamp_(0, 1)
            return
        steps = reported(progress, sixteenth, eighth, quarter)
        features = self._empty(hp.WIDTHS[2], rows, columns)
        for tile in islice(steps, len(sixteenth)):
            _keep(features, tile, 1, *self.synthesis.run(Synthesis.sixteenth, y[..., *tile.outer], *conditions))
        coarser, features = features, self._empty(hp.WIDTHS[1], 2 * rows, 2 * columns)
        for tile in islice(steps, len(eighth)):
            _keep(features, tile, 2, *self.synthesis.run(Synthesis.eighth, coarser[..., *tile.outer], *conditions))
        del coarser
        for tile in steps:
            inputs = features[..., *scaled(tile.outer, 2)], y[..., *tile.outer]
            yield tile, self.synthesis.run(Synthesis.quarter, *inputs, *conditions)[0][0].clamp_(0, 1)

    def tiles_of_parts(self, parts: list[Demand], rows: int, columns: int) -> list[list[Tile]]:
        """Tiles for the layers of a half at 1/4, 1/8 and 1/16 size; each is run over the whole section before the next.

        Taken by themselves these layers have short halos, so that tiles may be small. Tiles at 1/4 size are smaller
        than they need be: activations that reuse memory still in the cache are faster.
        """
        budgets = [QUARTER_BYTES, *(TILE_PIXELS * demand.bytes_per_pixel for demand in parts[1:])]
        return [
            self._tiles(demand, rows, columns, min(budget, self.max_bytes))
            for demand, budget in zip(parts, budgets, strict=True)
        ]

    def _empty(self, channels: int, height: int, width: int) -> Tensor:
        return torch.empty(1, channels, height, width, device=self.device, memory_format=torch.channels_last)

    def decode_latents(
        self,
        latents: np.ndarray,
        quality: int | None = None,
        realism: float | None = None,
        *,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        rows, columns = latents.shape[1:]
        sections = self.sections(self.synthesis_parts, rows, columns)
        if len(sections) == 1:
            return super().decode_latents(latents, quality, realism, legacy_range=legacy_range, progress=progress)
        rgb = np.empty((rows * hp.STRIDE, columns * hp.STRIDE, 3), np.uint8)
        for number, tile in enumerate(sections):
            part, section_progress = latents[:, *tile.outer], _share(progress, number, len(sections))
            found = super().decode_latents(part, quality, realism, legacy_range=legacy_range, progress=section_progress)
            rgb[scaled(tile.inner, hp.STRIDE)] = found[tile.crop(hp.STRIDE)]
        return rgb

    def _conditions(self, quality: int | None, realism: float | None) -> tuple[Tensor, ...]:
        reading = (self.default_realism or 0.0) if realism is None else realism
        return torch.tensor([level_of(quality or DEFAULT_QUALITY)]), torch.tensor([reading])


def _share(progress: Progress | None, number: int, count: int) -> Progress | None:
    """`progress` for part `number` of `count` equal parts."""
    return None if progress is None else lambda share: progress((number + share) / count)


def _keep(whole: Tensor, tile: Tile, scale: int, part: Tensor) -> None:
    """Put a tile's result [1, C, h, w], with `scale` x `scale` values for each latent, in its place."""
    whole[..., *scaled(tile.inner, scale)] = part[..., *tile.crop(scale)]


def demands_of_parts(layers: L8Photo, n_bytes: int) -> tuple[list[Demand], list[Demand]]:
    """Demands of the analysis and of the synthesis, each by layers at 1/4, 1/8 and 1/16 size.

    n_bytes: bytes per number of an activation.
    """
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
    """Add what a picture takes beside the largest activations: float32 twice, and bytes."""
    return replace(found, bytes_per_pixel=found.bytes_per_pixel + 28)
