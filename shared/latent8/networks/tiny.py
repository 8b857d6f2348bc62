"""The network of an AutoencoderTiny."""

from __future__ import annotations

import torch

from latent8.networks.base import Network, fast_dtype
from latent8.networks.folding import folded_decoder, folded_encoder
from latent8.networks.tiling import demand
from latent8.zoo.registry import Model
from latent8.zoo.weights import load_autoencoder, require_factors, weights_hash


class TinyNetwork(Network):
    """An AutoencoderTiny, its ends folded; its latents are quantised evenly."""

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        autoencoder = load_autoencoder(model)
        require_factors(model, autoencoder.config, 1.0, 0.0)  # its latents are z already
        halves = folded_encoder(autoencoder.encoder.layers), folded_decoder(autoencoder.decoder.layers)
        n_bytes = (dtype or fast_dtype(device)).itemsize
        demands = demand(halves[0], model.stride, n_bytes, 1), demand(halves[1], model.stride, n_bytes, model.stride)
        super().__init__(model, device, dtype, halves, demands, weights_hash(autoencoder))
