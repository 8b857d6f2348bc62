"""VQModel of diffusers as a network between pictures and indices of codes in its codebook."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from latent8.errors import BlobError
from latent8.networks.base import Network, Progress
from latent8.networks.colours import as_rgb, as_seen
from latent8.networks.tiling import Demand
from latent8.networks.vae import HALO
from latent8.zoo.registry import Model
from latent8.zoo.weights import load_autoencoder, weights_hash

AT_A_TIME = 1 << 15  # vectors whose distances to all codes are in memory at once
FIXED_POINT = 1 << 12  # what the largest number of the codebook becomes when codes are ordered in whole numbers


class VQNetwork(Network):
    """A VQModel. Its latents, [1, h, w], are numbers of codes.

    The number of a code is its place in `code_order`, so that similar codes have numbers near each other: payload
    coding predicts numbers from their neighbours. Between the two halves there are the codes themselves,
    [latent_channels, h, w]. The network runs in float32 unless another type is asked for.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        autoencoder = load_autoencoder(model)
        dtype = dtype or torch.float32
        channels = autoencoder.config.block_out_channels
        at_once = 6 * channels[0], 4 * channels[min(1, len(channels) - 1)]  # as for an AutoencoderKL
        encoding, decoding = (Demand(HALO, n * dtype.itemsize, faded=True) for n in at_once)
        analysis, synthesis = VQEncoder(autoencoder), VQDecoder(autoencoder)
        codebook = autoencoder.quantize.embedding.weight.detach()
        super().__init__(model, device, dtype, (analysis, encoding), (synthesis, decoding), weights_hash(autoencoder))
        self.latent_channels = codebook.shape[1]
        self.codebook = codebook[torch.from_numpy(code_order(codebook.numpy()))].to(device)

    def encode_pixels(self, rgb: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Pixels, uint8 [H, W, 3], sides multiples of the stride -> numbers of codes, float32 [1, h, w]."""
        latents = super().encode_pixels(rgb, progress)
        vectors = torch.from_numpy(latents.reshape(len(latents), -1).T)
        found = [nearest(part.to(self.device), self.codebook).cpu() for part in vectors.split(AT_A_TIME)]
        return torch.cat(found).float().numpy().reshape(1, *latents.shape[1:])

    def decode_latents(
        self,
        latents: np.ndarray,
        quality: int | None = None,
        realism: float | None = None,
        *,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Numbers of codes, float32 [1, h, w] -> uint8 [stride h, stride w, 3]. Raises BlobError for others.

        The other arguments are those of `Network.decode_latents`.
        """
        numbers = np.rint(latents[0])
        if numbers.min() < 0 or numbers.max() >= len(self.codebook):
            raise BlobError(
                f"The blob is damaged: it names code {numbers.max():.0f}, and the codebook has {len(self.codebook)}."
            )
        codes = self.codebook.cpu().numpy()[numbers.astype(np.int64)]
        return super().decode_latents(
            np.ascontiguousarray(np.moveaxis(codes, -1, 0)), legacy_range=legacy_range, progress=progress
        )


class VQEncoder(nn.Module):
    """RGB [B, 3, H, W] in [0, 1], sides multiples of the stride -> latents that are not yet codes, [B, C, h, w]."""

    def __init__(self, autoencoder):
        super().__init__()
        self.encoder, self.quant_conv = autoencoder.encoder, autoencoder.quant_conv
        self.n_colours = autoencoder.config.in_channels

    def forward(self, rgb: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(as_seen(rgb, self.n_colours)))


class VQDecoder(nn.Module):
    """Codes [B, C, h, w] -> RGB [B, 3, H, W] in about [0, 1]."""

    def __init__(self, autoencoder):
        super().__init__()
        self.post_quant_conv, self.decoder = autoencoder.post_quant_conv, autoencoder.decoder
        self.spatial = autoencoder.config.norm_type == "spatial"  # each normalisation then sees the codes too

    def forward(self, codes: Tensor) -> Tensor:
        return as_rgb(self.decoder(self.post_quant_conv(codes), codes if self.spatial else None))


@torch.inference_mode()
def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code nearest to each vector: vectors [n, C], codebook [codes, C] -> [n]."""
    return torch.cdist(vectors, codebook).argmin(dim=1)


def code_order(codebook: np.ndarray) -> np.ndarray:
    """Codebook [codes, C] -> indices of its codes, sorted along their first principal axis, int64 [codes].

    Every machine must find the same order, so all is done in whole numbers that int64 holds. The axis is found by power
    iteration on the covariance.
    """
    largest = float(np.abs(codebook).max()) or 1.0
    codes = np.rint(codebook.astype(np.float64) * (FIXED_POINT / largest)).astype(np.int64)
    centred = len(codes) * codes - codes.sum(axis=0)
    centred //= max(1, int(np.abs(centred).max()) >> 20)
    covariance = centred.T @ centred
    covariance //= max(1, int(np.abs(covariance).max()) >> 20)
    direction = covariance[covariance.diagonal().argmax()].copy()
    for _ in range(50):
        direction = covariance @ direction
        direction //= max(1, int(np.abs(direction).max()) >> 20)
    return np.argsort(codes @ direction, kind="stable")
