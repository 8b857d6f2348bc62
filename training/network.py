"""The AutoencoderTiny architecture in plain torch.

Parameter names and shapes are those of ``diffusers.AutoencoderTiny`` (itself a port of
madebyollin/taesd), so a state dict moves over unchanged; ``tests/test_training.py`` checks that both give
the same numbers. One difference: pictures here are [0, 1], those of diffusers [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latent8.networks import folding

LATENT_MAGNITUDE = 3.0  # latents are kept in [-3, 3], as taesd does

# The bundled model. Blocks at full size are left out and spent at 1/8 size instead, where one costs 1/64 as
# much: as many weights as taesd's (1, 3, 3, 3) / (3, 3, 3, 1), about a third of its multiplications when folded.
TINY_CONFIG = {
    "latent_channels": 4,
    "num_encoder_blocks": (0, 1, 3, 6),
    "num_decoder_blocks": (6, 3, 1, 0),
    "encoder_block_out_channels": (64, 64, 64, 64),
    "decoder_block_out_channels": (64, 64, 64, 64),
}


class Block(nn.Module):
    """Three convolutions and a skip: [B, n, h, w] -> [B, n, h, w]; before training the identity on x >= 0."""

    def __init__(self, n: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(n, n, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(n, n, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(n, n, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class Encoder(nn.Module):
    def __init__(self, width: int, latent_channels: int, blocks: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        for stage, n_blocks in enumerate(blocks):
            if stage == 0:
                layers.append(nn.Conv2d(3, width, 3, padding=1))
            else:
                layers.append(nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False))
            layers += [Block(width) for _ in range(n_blocks)]
        layers.append(nn.Conv2d(width, latent_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        first, strided, *rest = self.layers
        if not (isinstance(first, nn.Conv2d) and isinstance(strided, nn.Conv2d)):  # blocks at full size
            return self.layers(x)
        kernel, bias = folding.fold_strided_pair(first, strided)
        x = F.conv2d(F.pixel_unshuffle(x, 2), kernel, bias, padding=1)
        for layer in rest:
            x = layer(x)
        return x


class Decoder(nn.Module):
    def __init__(self, width: int, latent_channels: int, blocks: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(latent_channels, width, 3, padding=1), nn.ReLU()]
        for stage, n_blocks in enumerate(blocks):
            last = stage == len(blocks) - 1
            layers += [Block(width) for _ in range(n_blocks)]
            if not last:
                layers.append(nn.Upsample(scale_factor=2))
            layers.append(nn.Conv2d(width, 3 if last else width, 3, padding=1, bias=last))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.tanh(z / LATENT_MAGNITUDE) * LATENT_MAGNITUDE
        *rest, _upsample, inner, last = self.layers
        if not (isinstance(inner, nn.Conv2d) and isinstance(last, nn.Conv2d)):  # blocks at full size
            return self.layers(x)
        for layer in rest:
            x = layer(x)
        kernel, bias = folding.fold_upsampled_pair(inner, last)
        return F.pixel_shuffle(F.conv2d(x, kernel, bias, padding=1), 2)


class TinyAutoencoder(nn.Module):
    """encoder: pictures [B, 3, H, W] in [0, 1] -> latents [B, 4, H/8, W/8] in about [-3, 3]; decoder: back."""

    def __init__(self, config: dict = TINY_CONFIG):
        super().__init__()
        width, channels = config["encoder_block_out_channels"][0], config["latent_channels"]
        self.encoder = Encoder(width, channels, config["num_encoder_blocks"])
        self.decoder = Decoder(width, channels, config["num_decoder_blocks"])

        self._initialise()

    def _initialise(self) -> None:
        """Keep the scale of the signal through every layer; blocks start as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Block):
                first, _, second, _, third = (layer for layer in module.conv)
                nn.init.kaiming_normal_(first.weight, nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.kaiming_normal_(second.weight, nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.zeros_(third.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, H, W] in [0, 1] -> (reconstruction in about [0, 1], latents before quantisation)."""
        z = self.encoder(x)
        return self.decoder(quantise_in_the_loop(z)), z


def quantise_in_the_loop(z: Tensor, levels: int = 256) -> Tensor:
    """Latents -> the values that an 8-bit blob gives back; gradients pass straight through the rounding."""
    z = z.float()
    scale = (levels - 1) / (2 * LATENT_MAGNITUDE)
    symbols = torch.round((z.clamp(-LATENT_MAGNITUDE, LATENT_MAGNITUDE) + LATENT_MAGNITUDE) * scale)
    return z + (symbols / scale - LATENT_MAGNITUDE - z).detach()
