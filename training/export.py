"""Checkpoint -> folder that `from_pretrained` loads: config.json, fp16 safetensors.

python -m training.export runs/tiny/checkpoint.pt shared/latent8/weights/l8-tiny
python -m training.export runs/photo/checkpoint.pt shared/latent8/weights/l8-photo --model l8-photo
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from latent8 import hyperprior as hp
from training.network import LATENT_MAGNITUDE, TINY_CONFIG, TinyAutoencoder

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def export(checkpoint: Path, folder: Path) -> None:
    """Write the EMA weights of an l8-tiny checkpoint. Raises RuntimeError when they do not fit the architecture."""
    model = TinyAutoencoder()
    model.load_state_dict(ema_weights(checkpoint))
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
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


def export_photo(checkpoint: Path, folder: Path) -> None:
    """Write the EMA weights of an l8-photo checkpoint, with all that decides on probabilities frozen as integers."""
    from latent8.photo_model import ACTIVATION_BITS, MAX_QUALITY, WEIGHT_BITS, L8Photo, level_of

    layers = hp.Hyperprior()
    layers.load_state_dict(ema_weights(checkpoint))
    model = L8Photo()
    shared = {name: tensor for name, tensor in layers.state_dict().items() if name in dict(model.named_parameters())}
    missing, _ = model.load_state_dict(shared, strict=False)
    assert set(missing) == set(dict(model.named_buffers())), missing

    levels = torch.tensor([level_of(quality) for quality in range(1, MAX_QUALITY + 1)])
    scale = layers.scale
    bias_bits = WEIGHT_BITS + ACTIVATION_BITS
    with torch.no_grad():
        model.tables.copy_(logistic_tables())
        model.hyper_indices.copy_(layers.hyper_scale(levels).flatten(1).round().clamp(0, hp.N_SCALES - 1))
        for name, layer in (("first", scale.first), ("second", scale.second), ("third", scale.third)):
            model.get_buffer(f"scale_{name}").copy_(fixed_point(layer.weight, WEIGHT_BITS, torch.int16))
        first_bias = scale.first.bias + scale.condition(levels).flatten(1)
        model.scale_first_bias.copy_(fixed_point(first_bias, bias_bits, torch.int32))
        model.scale_second_bias.copy_(fixed_point(scale.second.bias, bias_bits, torch.int32))
        model.scale_third_bias.copy_(fixed_point(scale.third.bias, bias_bits, torch.int32))
    model.half().save_pretrained(folder)


def ema_weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"]


def fixed_point(x: Tensor | None, fractional_bits: int, dtype: torch.dtype) -> Tensor:
    assert x is not None  # a bias is optional to torch, and always there in these layers
    limit = torch.iinfo(dtype).max
    return (x.double() * 2**fractional_bits).round().clamp(-limit, limit).to(dtype)


def logistic_tables() -> Tensor:
    """int32 [64, 255]: the distributions that training assumes, as counts with the sum 2^20, every one at least 1."""
    from latent8.photo_model import TABLE_BITS

    deviation = hp.standard_deviation(torch.arange(hp.N_SCALES, dtype=torch.float64))[:, None]
    edges = torch.arange(-hp.MAX_SYMBOL, hp.MAX_SYMBOL, dtype=torch.float64) + 0.5
    cdf = torch.sigmoid(edges * math.pi / math.sqrt(3) / deviation)
    ends = torch.zeros(hp.N_SCALES, 1, dtype=torch.float64)
    probabilities = torch.cat([ends, cdf, ends + 1], dim=1).diff(dim=1)  # what lies beyond goes to the last symbols
    n_symbols = probabilities.shape[1]
    counts = (probabilities * (2**TABLE_BITS - n_symbols)).floor().to(torch.int32) + 1
    counts[:, hp.MAX_SYMBOL] += 2**TABLE_BITS - counts.sum(dim=1)  # to the likeliest, 0
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=["l8-tiny", "l8-photo"], default="l8-tiny")
    args = parser.parse_args()
    (export if args.model == "l8-tiny" else export_photo)(args.checkpoint, args.folder)
