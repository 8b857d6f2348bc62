"""DINOv2 (Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023) in plain torch.

A vision transformer whose class token says what a picture shows. The weights are those of the Hugging Face Hub, in
the layout that `transformers` keeps them in; Apache License 2.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from latent8.errors import ModelError
from latent8.library.vectors.base import unit

REPOSITORY = "facebook/dinov2-small"
RESIZED, SIDE = 256, 224  # pixels of the shorter side, and of the square in its middle
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, width] -> [B, n, width]."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in self.attention.values()
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.output["dense"](attended.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, mlp_ratio: int, epsilon: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, heads)
        self.layer_scale1, self.layer_scale2 = (
            nn.ParameterDict({"lambda1": nn.Parameter(torch.ones(width))}) for _ in range(2)
        )
        hidden = width * mlp_ratio
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x)) * self.layer_scale1["lambda1"]
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return x + self.mlp["fc2"](hidden) * self.layer_scale2["lambda1"]


class DinoV2(nn.Module):
    """Pixels [B, 3, H, W], normalised, sides multiples of the patch size -> class token [B, width]."""

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        width, self.patch = config["hidden_size"], config["patch_size"]
        self.grid = config["image_size"] // self.patch
        epsilon, heads = config["layer_norm_eps"], config["num_attention_heads"]
        self.embeddings = nn.ParameterDict(
            {
                "cls_token": nn.Parameter(torch.zeros(1, 1, width)),
                "mask_token": nn.Parameter(torch.zeros(1, width)),
                "position_embeddings": nn.Parameter(torch.zeros(1, self.grid**2 + 1, width)),
            }
        )
        self.projection = nn.Conv2d(3, width, self.patch, self.patch)
        layers = [Layer(width, heads, config["mlp_ratio"], epsilon) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.layernorm = nn.LayerNorm(width, epsilon)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.projection(pixels)
        tokens = patches.flatten(2).transpose(1, 2) + self._positions(*patches.shape[2:])
        class_token = self.embeddings["cls_token"] + self.embeddings["position_embeddings"][:, :1]
        x = torch.cat([class_token.expand(len(pixels), -1, -1), tokens], dim=1)
        for layer in self.encoder["layer"].children():
            x = layer(x)
        return self.layernorm(x)[:, 0]

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings of a grid of another size than that of training."""
        known = self.embeddings["position_embeddings"][:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        found = functional.interpolate(known, (rows, columns), mode="bicubic", align_corners=False)
        return found.flatten(2).transpose(1, 2)

    @torch.inference_mode()
    def vector(self, image: Image.Image) -> np.ndarray:
        """Picture of mode RGB -> float32 [width] of unit length."""
        scale = RESIZED / min(image.size)
        size = [max(SIDE, round(side * scale)) for side in image.size]
        square = ImageOps.fit(image.resize((size[0], size[1]), Image.Resampling.BICUBIC), (SIDE, SIDE))
        pixels = (np.asarray(square, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.layernorm.weight.device)
        return unit(self(tensor)[0].cpu().numpy())


def load_dinov2(device: str | None = None, repository: str = REPOSITORY) -> DinoV2:
    """Load the network from the Hub, or its cache on this machine. Raises ModelError where it cannot be loaded."""
    from huggingface_hub import hf_hub_download

    try:
        config, weights = (Path(hf_hub_download(repository, name)) for name in ("config.json", "model.safetensors"))
    except Exception as error:  # of the network, the Hub or the disk; the Hub's library has many kinds
        reason = " ".join(str(error).split()).partition(". ")[0].rstrip(".")[:200] or type(error).__name__
        raise ModelError(f"{repository} cannot be downloaded ({reason}).") from None
    try:
        network = DinoV2(json.loads(config.read_text()))
        network.load_state_dict({_renamed(name): tensor.float() for name, tensor in load_file(weights).items()})
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError):
        raise ModelError(f"{repository} holds no DINOv2 of a kind that is known here.") from None
    return network.eval().requires_grad_(False).to(device or "cpu")


def _renamed(name: str) -> str:
    """Name of a tensor in `transformers` -> here."""
    return name.replace("embeddings.patch_embeddings.projection", "projection")
