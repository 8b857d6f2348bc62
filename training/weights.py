"""Exported weights of l8-photo -> the float networks that they were exported from, to train on from.

The export keeps the networks of the scale indices in fixed point, with the level's share of the first biases for
each quality: the rows of their level tables come back by least squares, to about 1e-6. It does not keep what training
assumes of the hyper-latents' distributions: that is fitted to the probability tables, which were counted.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from latent8.l8_photo import layers as hp
from latent8.l8_photo.model import ACTIVATION_BITS, MAX_QUALITY, WEIGHT_BITS, level_of
from training.export import logistic, photo_model, scale_layers


def photo_weights(folder: Path) -> hp.Hyperprior:
    """A folder of l8-photo's weights -> the networks of training. Raises TrainingError for another folder.

    Readings that the folder lacks start as the one that it has.
    """
    model = photo_model(folder)
    layers = hp.Hyperprior()
    layers.load_state_dict(dict(model.named_parameters()), strict=False)
    levels = torch.tensor([level_of(quality) for quality in range(1, MAX_QUALITY + 1)])
    with torch.no_grad():
        for name, layer, condition in scale_layers(layers):
            layer.weight.copy_(model.get_buffer(name).double() / 2**WEIGHT_BITS)
            bias = model.get_buffer(f"{name}_bias").double() / 2 ** (WEIGHT_BITS + ACTIVATION_BITS)
            assert layer.bias is not None
            if condition:
                rows = table_rows(bias, levels)
                bias = rows.mean(0)
                condition.rows.copy_(rows - bias)
            layer.bias.copy_(bias)
        layers.hyper_scale.rows.copy_(likeliest_scales(model.get_buffer("hyper_tables")))
    return layers


def bundled_tables(folder: Path) -> Tensor:
    """Probability tables of the latents in a folder of weights: int32 [bands, scale indices, 128 symbols]."""
    return photo_model(folder).get_buffer("tables")


def table_rows(values: Tensor, levels: Tensor) -> Tensor:
    """Values of a `LevelTable` at these levels, [Q, n] -> its rows [N_LEVELS, n], by least squares in float64."""
    basis = hp.at_levels(torch.eye(hp.N_LEVELS, dtype=torch.float64), levels)
    return torch.linalg.lstsq(basis, values.double()).solution


def likeliest_scales(counts: Tensor) -> Tensor:
    """Counts of symbols [..., 255] -> scale index of the logistic distribution of greatest likelihood, [...]."""
    scales = torch.arange(0, hp.N_SCALES - 1, 0.25)
    bits = -logistic(scales).clamp_min(1e-30).log2()
    return scales[(counts.double() @ bits.T).argmin(-1)]
