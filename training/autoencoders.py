"""Common parts of `vae` and `vq`: diffusers' layers, losses on pictures in [-1, 1], options of the command line."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor, nn

from latent8.networks.colours import as_rgb, as_seen
from training.group_norm import normalise_in_float32
from training.lpips import LPIPS, SMALLEST
from training.optimiser import make_optimisers
from training.task import Architecture, Task, TrainingError

GROUPS = 8  # groups of the group normalisation; a width must be a multiple of it
MULTIPLES = (1, 2, 4, 4)  # channels of the stages, in widths; those after the last have as many as it
MAX_STAGES, MAX_WIDTH, MAX_LATENT_CHANNELS, MAX_LAYERS = 7, 512, 64, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that only `vae` and `vq` have."""
    shape = parser.add_argument_group("shape of vae and vq")
    shape.add_argument("--width", type=int, default=32, help=f"channels of the first stage, a multiple of {GROUPS}")
    shape.add_argument("--stages", type=int, help="each but the last halves the sides (default: 4 for vae, 3 for vq)")
    shape.add_argument("--layers", type=int, default=1, help="residual blocks of a stage; the decoder has one more")
    shape.add_argument("--latent-channels", type=int, help="default: 4 for vae, 16 for vq, where it is a code's length")
    shape.add_argument("--attention", action="store_true", help="attention in the middle; its cost grows with crops")
    shape.add_argument("--grey", action="store_true", help="train on the luma alone")
    losses = parser.add_argument_group("losses of vae and vq, on pictures in [-1, 1]")
    losses.add_argument("--mae-weight", type=float, default=1.0, help="of the mean absolute error")
    losses.add_argument("--mse-weight", type=float, default=1.0, help="of the mean squared error")
    losses.add_argument("--kl-weight", type=float, default=1e-3, help="of vae: of the KL in nats per latent")
    losses.add_argument("--beta", type=float, default=0.25, help="of vq: of the commitment of latents to their codes")
    codebook = parser.add_argument_group("codebook of vq")
    codebook.add_argument("--codes", type=int, default=256, help="entries, 2 to 256")
    codebook.add_argument("--codebook-decay", type=float, default=0.99, help="of the running means that codes are")
    codebook.add_argument(
        "--restart-below", type=float, default=0.05, help="a code with less of an even share of use starts anew"
    )


class Trainee(nn.Module):
    """One of diffusers' autoencoders in training.

    latent_deviation: running standard deviation of the latents, a scalar, which an export turns into the factor that
    brings them to 1.
    """

    autoencoder: Any
    latent_deviation: Tensor

    def __init__(self, autoencoder: Any):
        super().__init__()
        normalise_in_float32(autoencoder)
        self.autoencoder = autoencoder
        self.register_buffer("latent_deviation", torch.ones(()))


class AutoencoderTask(Task):
    """Losses of a reconstruction: MAE and MSE of pictures in [-1, 1], LPIPS, each times its weight."""

    default_stages: int
    default_channels: int

    def __init__(self, lpips: LPIPS | None, args: argparse.Namespace):
        self.args, self.lpips, self.lpips_weight = args, lpips, args.lpips_weight
        self.stages = args.stages or self.default_stages
        self.latent_channels = args.latent_channels or self.default_channels
        self.multiple = 2 ** (self.stages - 1)
        self.deviation: Tensor | None = None  # of the latents of the last batch

    @property
    def architecture(self) -> Architecture:
        return {"model": self.args.model, "config": self.config()}

    @classmethod
    def check(cls, args: argparse.Namespace) -> None:
        """Raise TrainingError for options that make no model, or none for crops of this size."""
        stages, channels = args.stages or cls.default_stages, args.latent_channels or cls.default_channels
        for name, value, low, high in (
            ("stages", stages, 1, MAX_STAGES),
            ("latent-channels", channels, 1, MAX_LATENT_CHANNELS),
            ("width", args.width, GROUPS, MAX_WIDTH),
            ("layers", args.layers, 1, MAX_LAYERS),
            ("codes", args.codes, 2, 256),
        ):
            if not low <= value <= high:
                raise TrainingError(f"--{name} must be from {low} to {high}, not {value}.")
        for name in ("mae_weight", "mse_weight", "kl_weight", "beta", "restart_below"):
            value = getattr(args, name)
            if not (math.isfinite(value) and value >= 0):
                raise TrainingError(f"--{name.replace('_', '-')} must be 0 or more, not {value}.")
        if not 0 < args.codebook_decay < 1:
            raise TrainingError(f"--codebook-decay must lie between 0 and 1, not {args.codebook_decay}.")
        if args.width % GROUPS:
            raise TrainingError(f"--width must be a multiple of {GROUPS}, not {args.width}.")
        multiple = 2 ** (stages - 1)
        if args.crop < multiple or args.crop % multiple:
            below = args.crop // multiple * multiple
            fitting = f"{below} or {below + multiple}" if below else f"{multiple}"
            raise TrainingError(
                f"--crop {args.crop} is no multiple of {multiple}, which --stages {stages} needs: take {fitting}, "
                "or fewer stages."
            )
        if args.lpips and args.crop < SMALLEST:
            raise TrainingError(f"--lpips needs a --crop of at least {SMALLEST}, not {args.crop}.")

    def config(self) -> dict[str, Any]:
        """Arguments from which diffusers builds the autoencoder, those that its two classes share."""
        args = self.args
        n_colours = 1 if args.grey else 3
        widths = [args.width * MULTIPLES[min(stage, len(MULTIPLES) - 1)] for stage in range(self.stages)]
        return {
            "in_channels": n_colours,
            "out_channels": n_colours,
            "down_block_types": ["DownEncoderBlock2D"] * self.stages,
            "up_block_types": ["UpDecoderBlock2D"] * self.stages,
            "block_out_channels": widths,
            "layers_per_block": args.layers,
            "latent_channels": self.latent_channels,
            "norm_num_groups": GROUPS,
            "sample_size": args.crop,
            "mid_block_add_attention": args.attention,
        }

    def optimisers(self, model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
        return make_optimisers(model, rate)

    def after_step(self, model: nn.Module, averaged: nn.Module) -> None:
        assert isinstance(model, Trainee) and self.deviation is not None
        if torch.isfinite(self.deviation):  # a single latent has none
            model.latent_deviation.lerp_(self.deviation, 0.02)
        for kept, trained in zip(averaged.buffers(), model.buffers(), strict=True):
            kept.copy_(trained)  # they are running means already

    def seen(self, photos: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] -> input of the model, [B, 1 or 3, S, S] in [-1, 1]."""
        return as_seen(photos, 1 if self.args.grey else 3)

    def picture_losses(self, output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Reconstruction, picture, [B, 1 or 3, S, S] in [-1, 1] -> weighted sum of losses, figures for the log."""
        error = output.float() - target
        mae, mse = error.abs().mean(), error.square().mean()
        loss = self.args.mae_weight * mae + self.args.mse_weight * mse
        perceptual = math.nan
        if self.lpips and self.perceptual:
            distance = self.lpips(as_rgb(output.float()), as_rgb(target)).mean()
            loss = loss + self.lpips_weight * distance
            perceptual = distance.item()
        psnr = 10 * math.log10(4 / max(mse.item(), 1e-10))  # the range has a length of 2
        return loss, {"mae": mae.item(), "mse": mse.item(), "psnr_db": psnr, "lpips": perceptual}
