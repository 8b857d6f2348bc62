"""The network of an AutoencoderTiny."""

from __future__ import annotations

import torch

from latent8.networks.base import Network, fast_dtype
from latent8.networks.folding import folded_decoder, folded_encoder
from latent8.networks.tiling import demand
from latent8.zoo.registry import Model
from latent8.zoo.weights import load_autoencoder, require_factors, weights_hash


class TinyNetwork(Network):
    """An AutoencoderTiny, its two ends folded. Its latents z, in about [-3, 3], are quantised uniformly."""

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        autoencoder = load_autoencoder(model)
        require_factors(model, autoencoder.config, 1.0, 0.0)  # its latents are z already
        stride, n_bytes = model.stride, (dtype or fast_dtype(device)).itemsize
        encoder, decoder = folded_encoder(autoencoder.encoder.layers), folded_decoder(autoencoder.decoder.layers)
        analysis = encoder, demand(encoder, stride, n_bytes, cell=1)
        synthesis = decoder, demand(decoder, stride, n_bytes, cell=stride)
        super().__init__(model, device, dtype, analysis, synthesis, weights_hash(autoencoder))
