"""Small checkpoints of diffusers' real classes, their weights set by hand so that pictures pass through.

A picture of whole blocks of 8 x 8 pixels comes back as it was, and its latents are known: z = 2 x for pixels x in
[-1, 1], red, green and blue in the first three channels, their mean in all others. So whatever goes wrong with
ranges, factors or channels shows. Layers with nothing to do are zero, and residual blocks then pass on what they get.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ConsistencyDecoderVAE
from diffusers.schedulers import ConsistencyDecoderScheduler
from torch import nn

WIDTH = 8
GAIN = 2.0  # z for a pixel of 1
DECODED = 3 * math.tanh(GAIN / 3)  # what AutoencoderTiny's soft limit leaves of it
WEIGHTS = "diffusion_pytorch_model.safetensors"

# Norms see r, g, b, their negatives and two large constants, so that the mean is 0 and the deviation nearly DEVIATION.
CONSTANT = 100.0
DEVIATION = CONSTANT / 2
OFFSET = 20.0  # where SiLU is the identity
SIGNS = (1.0, 1.0, 1.0, -1.0, -1.0, -1.0)
NOISE_LEFT = 0.1  # the part of its noise that the consistency decoder shows

OF_MEAN = torch.full((3,), 1 / 3)


def make_tiny(folder: Path, channels: int = 4, **config: Any) -> Path:
    """AutoencoderTiny in the layout of madebyollin/taesd."""
    widths = {"encoder_block_out_channels": (WIDTH,) * 4, "decoder_block_out_channels": (WIDTH,) * 4}
    model: Any = AutoencoderTiny(latent_channels=channels, **widths, **config)
    _clear(model)
    first, *middle, last = (layer for layer in model.encoder.layers if isinstance(layer, nn.Conv2d))
    _pass(first, 3)
    for layer in middle:
        _average(layer, start=1)  # padded on both sides
    _set(last, GAIN * 2 * _of_rgb(channels), -GAIN)
    first, *middle, last = (layer for layer in model.decoder.layers if isinstance(layer, nn.Conv2d))
    _pass(first, 3, bias=4.0)  # above 0, for the ReLUs
    for layer in middle:
        _pass(layer, 3)
    _set(last, torch.eye(3) / (2 * DECODED), 0.5 - 4 / (2 * DECODED))
    model.save_pretrained(folder)
    return folder


def make_kl(
    folder: Path,
    scale: float,
    shift: float = 0.0,
    channels: int = 4,
    *,
    gain: float = GAIN,
    leave_out: tuple[str, ...] = (),
    **config: Any,
) -> Path:
    """AutoencoderKL. Its raw latents fit scale and shift, which config.json states too but for what is left out."""
    model: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(WIDTH,) * 4,
        layers_per_block=2,
        norm_num_groups=1,
        latent_channels=channels,
        **{"scaling_factor": scale, "shift_factor": shift or None, **config},
    )
    _clear(model)
    _six(model.encoder.conv_in, torch.eye(3), 0.0)
    for block in model.encoder.down_blocks:
        for layer in block.downsamplers or ():
            _average(layer.conv, start=0, n=WIDTH)  # padded at the far side alone
    _norm(model.encoder.conv_norm_out)
    to_raw = _of_rgb(channels) * gain / scale
    both = torch.cat([to_raw, torch.zeros(channels, 3)])  # means, then log variances
    _set(model.encoder.conv_out, both, shift - (both.sum(1) * OFFSET))
    with torch.no_grad():
        model.encoder.conv_out.bias[channels:] = 5.0  # samples would be far from the mode
    for layer in (model.quant_conv, model.post_quant_conv):
        if layer is not None:
            _pass(layer, layer.in_channels)
    _six(model.decoder.conv_in, torch.eye(3) * scale / gain, -shift * scale / gain)
    for block in model.decoder.up_blocks:
        for layer in block.upsamplers or ():
            _pass(layer.conv, WIDTH)
    _norm(model.decoder.conv_norm_out)
    _set(model.decoder.conv_out, torch.eye(3), -OFFSET)
    model.save_pretrained(folder)
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in stated.items() if k not in leave_out}))
    return folder


def make_consistency(folder: Path) -> Path:
    """ConsistencyDecoderVAE, of whose noise NOISE_LEFT is seen."""
    widths = (WIDTH,) * 4
    model: Any = ConsistencyDecoderVAE(
        encoder_block_out_channels=widths,
        encoder_norm_num_groups=1,
        decoder_block_out_channels=widths,
        decoder_norm_num_groups=1,
    )
    means, deviations = model.means.flatten(), model.stds.flatten()
    unet, scheduler = model.decoder_unet, ConsistencyDecoderScheduler()
    _clear(unet)
    # The last step gives c_out * output + c_skip * noisy, and shows the network c_in * noisy.
    c_out, c_skip, c_in = (float(values[512]) for values in (scheduler.c_out, scheduler.c_skip, scheduler.c_in))
    of_noisy = -torch.eye(3) * (1 - NOISE_LEFT) * c_skip / (c_out * c_in)
    of_latents = torch.diag(deviations[:3]) / (GAIN * c_out)
    _six(unet.conv_in, torch.cat([of_noisy, of_latents], 1), means[:3] / (GAIN * c_out))
    with torch.no_grad():
        shortcut = unet.up_blocks[-1].resnets[-1].conv_shortcut  # takes what went before, then the first layer's
        shortcut.weight[:, WIDTH:, 0, 0] = torch.eye(WIDTH)
    _norm(unet.conv_norm_out)
    _set(unet.conv_out, torch.cat([torch.eye(3), torch.zeros(3, 3)]), -OFFSET)
    model.save_pretrained(folder)
    return folder


def _clear(model: nn.Module) -> None:
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)):
                for parameter in layer.parameters():
                    parameter.zero_()


def _of_rgb(channels: int) -> torch.Tensor:
    """[channels, 3]: red, green, blue, then their mean."""
    return torch.cat([torch.eye(3), OF_MEAN.expand(channels - 3, 3)])


@torch.no_grad()
def _set(layer: nn.Conv2d, matrix: torch.Tensor, bias: float | torch.Tensor) -> None:
    """The middle tap maps the first inputs to the first outputs."""
    middle = layer.kernel_size[0] // 2
    layer.weight[: len(matrix), : matrix.shape[1], middle, middle] = matrix
    assert layer.bias is not None
    layer.bias[: len(matrix)] = bias


@torch.no_grad()
def _pass(layer: nn.Conv2d, n: int, bias: float = 0.0) -> None:
    middle = layer.kernel_size[0] // 2
    layer.weight[:n, :n, middle, middle] = torch.eye(n)
    if layer.bias is not None:
        layer.bias[:n] = bias


@torch.no_grad()
def _average(layer: nn.Conv2d, start: int, n: int = 3) -> None:
    """With stride 2: the means of 2 x 2 pixels."""
    layer.weight[:n, :n, start : start + 2, start : start + 2] = torch.eye(n)[:, :, None, None] / 4


@torch.no_grad()
def _six(layer: nn.Conv2d, matrix: torch.Tensor, bias: float | torch.Tensor) -> None:
    """Three signals, their negatives and the two constants."""
    _set(layer, torch.cat([matrix, -matrix]), torch.tensor(SIGNS) * _repeated(bias))
    layer.bias[6:] = torch.tensor([CONSTANT, -CONSTANT])  # type: ignore[index]


def _repeated(bias: float | torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(bias).expand(3).repeat(2)


@torch.no_grad()
def _norm(layer: nn.GroupNorm) -> None:
    """Gives what it gets, plus OFFSET."""
    layer.weight.fill_(DEVIATION)
    layer.bias.fill_(OFFSET)
