"""A small VQModel of diffusers in a folder, its codes among the latents that photos have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import VQModel

from tests.helpers.drawn_photos import photo


def make_vq(folder: Path, codes: int = 256, seed: int = 0, **config: Any) -> Path:
    """Random layers at 1/4 size; the codebook is a sample of latents, so that neighbours often have near codes."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "norm_num_groups": 4,
        "latent_channels": 4,
        "mid_block_add_attention": False,
    }
    model: Any = VQModel(num_vq_embeddings=codes, **{**shape, **config}).eval()
    pictures = torch.from_numpy(np.stack([photo(64, 64, seed) for seed in range(4)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        z = model.encode(pictures[:, : model.config.in_channels].float() / 127.5 - 1).latents
        vectors = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        model.quantize.embedding.weight.copy_(vectors[torch.randperm(len(vectors))[:codes]])
    model.save_pretrained(folder)
    return folder
