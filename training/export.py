"""Checkpoint -> folder that `diffusers.AutoencoderTiny.from_pretrained` loads: config.json, fp16 safetensors.

python -m training.export runs/tiny/checkpoint.pt shared/latent8/weights/l8-tiny
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from training.network import LATENT_MAGNITUDE, TINY_CONFIG, TinyAutoencoder


def export(checkpoint: Path, folder: Path) -> None:
    """Write the EMA weights of a checkpoint. Raises RuntimeError when they do not fit the architecture."""
    model = TinyAutoencoder()
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"])
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    config = {
        "_class_name": "AutoencoderTiny",
        "in_channels": 3,
        "out_channels": 3,
        "act_fn": "relu",
        "upsample_fn": "nearest",
        "upsampling_scaling_factor": 2,
        "latent_magnitude": int(LATENT_MAGNITUDE),
        "latent_shift": 0.5,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
        **TINY_CONFIG,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    export(args.checkpoint, args.folder)
