"""AutoencoderKL and ConsistencyDecoderVAE of diffusers as networks between pictures and z."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latent8.errors import ModelError
from latent8.networks.base import MAX_ACTIVATION_BYTES, Network
from latent8.networks.colours import as_rgb, as_seen
from latent8.networks.tiling import Demand
from latent8.zoo.latent_spaces import SPACES
from latent8.zoo.registry import Model
from latent8.zoo.weights import load_autoencoder, require_factors, stated_factor, weights_hash

HALO = 8  # latents; tiles are faded into each other over twice that
LARGEST_CONSISTENCY_TILE = 512  # pixels, both ways: about what it was trained on
CONSISTENCY_STEPS, SEED = 2, 0


class KLNetwork(Network):
    """An AutoencoderKL. Its latents are the mean of the encoder's distribution, never a sample.

    It runs in float32 unless another type is asked for: half precision would cost the quality that it has over a tiny
    autoencoder.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        autoencoder = load_autoencoder(model)
        scale, shift = _factors(model, autoencoder.config)
        dtype = dtype or torch.float32
        channels = autoencoder.config.block_out_channels
        # Floating-point numbers that live at the same time for a pixel, measured with 128, 256, 512 and 512 channels.
        at_once = 6 * channels[0], 4 * channels[min(1, len(channels) - 1)]
        encoding, decoding = (Demand(HALO, n * dtype.itemsize, faded=True) for n in at_once)
        analysis = KLEncoder(autoencoder, scale, shift), encoding
        synthesis = KLDecoder(autoencoder, scale, shift), decoding
        super().__init__(model, device, dtype, analysis, synthesis, weights_hash(autoencoder))


class ConsistencyNetwork(Network):
    """A ConsistencyDecoderVAE, which only decodes. Its noise is seeded, so a blob always gives the same picture."""

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        autoencoder = load_autoencoder(model)
        scale, shift = _factors(model, autoencoder.config)
        largest = Demand(HALO, MAX_ACTIVATION_BYTES // LARGEST_CONSISTENCY_TILE**2, faded=True)
        decoder = ConsistencyDecoder(autoencoder, scale, shift)
        super().__init__(model, device, dtype, (_NoEncoder(model), largest), (decoder, largest), bytes(4))


class KLEncoder(nn.Module):
    """RGB [B, 3, H, W] in [0, 1], sides multiples of the stride -> z [B, C, h, w]."""

    def __init__(self, autoencoder, scale: float, shift: float):
        super().__init__()
        self.encoder, self.quant_conv = autoencoder.encoder, autoencoder.quant_conv or nn.Identity()
        self.scale, self.shift, self.n_colours = scale, shift, autoencoder.config.in_channels

    def forward(self, rgb: Tensor) -> Tensor:
        mean, _ = self.quant_conv(self.encoder(as_seen(rgb, self.n_colours))).chunk(
            2, dim=1
        )  # the other half: log variances
        return (mean - self.shift) * self.scale


class KLDecoder(nn.Module):
    """z [B, C, h, w] -> RGB [B, 3, H, W] in about [0, 1]."""

    def __init__(self, autoencoder, scale: float, shift: float):
        super().__init__()
        self.post_quant_conv, self.decoder = autoencoder.post_quant_conv or nn.Identity(), autoencoder.decoder
        self.scale, self.shift = scale, shift

    def forward(self, z: Tensor) -> Tensor:
        return as_rgb(self.decoder(self.post_quant_conv(z / self.scale + self.shift)))


class ConsistencyDecoder(nn.Module):
    """z [B, C, h, w] -> RGB [B, 3, H, W] in about [0, 1]."""

    def __init__(self, autoencoder, scale: float, shift: float):
        super().__init__()
        autoencoder.encoder = nn.Identity()  # never run
        self.autoencoder, self.scale, self.shift = autoencoder, scale, shift

    def forward(self, z: Tensor) -> Tensor:
        noise = torch.Generator().manual_seed(SEED)  # on the CPU, so that every device draws the same
        raw = z / self.scale + self.shift
        decoded = self.autoencoder.decode(raw, generator=noise, num_inference_steps=CONSISTENCY_STEPS)
        return decoded.sample / 2 + 0.5


class _NoEncoder(nn.Module):
    def __init__(self, model: Model):
        super().__init__()
        self.name = model.name

    def forward(self, rgb: Tensor) -> Tensor:
        raise ModelError(f"{self.name} only decodes.")


def _factors(model: Model, config) -> tuple[float, float]:
    """Scale and shift of the latents: those of the latent space; without one, those that config.json states."""
    space = SPACES.get(model.space)
    if space is None:
        return stated_factor(model, config, "scaling_factor", 1.0), stated_factor(model, config, "shift_factor", 0.0)
    require_factors(model, config, space.scale, space.shift)
    return space.scale, space.shift
