"""The task of each model, the weights that a run starts with, and a check of a checkpoint's model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.autoencoders import AutoencoderTask
from training.export import checkpoint_in, load_checkpoint
from training.lpips import LPIPS
from training.photo import PhotoTask
from training.readings import ReadingsTask
from training.task import Architecture, Task, TrainingError
from training.tiny import TinyTask
from training.vae import VaeTask
from training.vq import VqTask
from training.weights import photo_weights

TASKS: dict[str, type[TinyTask] | type[PhotoTask]] = {"l8-tiny": TinyTask, "l8-photo": PhotoTask}
AUTOENCODERS: dict[str, type[AutoencoderTask]] = {"vae": VaeTask, "vq": VqTask}  # their shape is by options
M = TypeVar("M", bound=nn.Module)


def task_of(args: argparse.Namespace, device: torch.device) -> Task:
    def network(weights: Path | None) -> LPIPS | None:
        return channels_last(LPIPS(weights).to(device)) if weights else None

    if args.only_synthesis:
        networks = network(args.lpips), network(args.vgg16)
        return ReadingsTask(args.start_from_weights, *networks, device, only_tables=args.only_tables)
    if args.model in AUTOENCODERS:
        return AUTOENCODERS[args.model](network(args.lpips), args)
    if args.model == "l8-tiny":
        return TinyTask(network(args.lpips), args.lpips_weight)
    return PhotoTask(network(args.lpips), network(args.vgg16), device)


def start_weights(args: argparse.Namespace, device: torch.device) -> dict[str, Tensor]:
    """Weights that a new run begins with: of a checkpoint, or exported ones, or with --only-synthesis of both.

    Then all that decides on bitstreams is of the exported ones. Raises TrainingError for a bad file.
    """
    kept = load_checkpoint(checkpoint_in(args.start_from), device)["ema"] if args.start_from else {}
    if kept and not args.only_synthesis:
        return kept
    exported = photo_weights(args.start_from_weights).state_dict()
    synthesis = {name: tensor for name, tensor in kept.items() if name.startswith("synthesis.")}
    if kept and set(synthesis) != {name for name in exported if name.startswith("synthesis.")}:
        raise TrainingError(f"{args.start_from} has no synthesis of l8-photo: take a run of it.")
    return {**exported, **synthesis}


def differences(kept: Architecture, wanted: Architecture) -> str:
    """Differences of a checkpoint's architecture from the one that the options ask for; "" where there are none."""

    def flat(architecture: Architecture) -> Architecture:
        return {"model": architecture.get("model"), **architecture.get("config", {})}

    if not kept:  # checkpoints of an earlier trainer do not state it: their weights fit, or they do not
        return ""
    ours, theirs = flat(wanted), flat(kept)
    if ours["model"] != theirs["model"]:
        return f"model {theirs['model']}"
    ignored = {"sample_size"}  # the crop: layers are the same
    found = [name for name in {**theirs, **ours} if name not in ignored and ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)}" for name in found)


def channels_last(module: M) -> M:
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
