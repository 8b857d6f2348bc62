"""Weighted mean of the weights of two runs, of which the second began with the weights of the first.

    python -m training.average runs/first/checkpoint.pt runs/second/checkpoint.pt 0.7 --out runs/between.pt

The share is that of the second run. A mean of two such runs works too, and can keep most of what each is better at
(Wortsman et al., "Robust fine-tuning of zero-shot models", 2022). Writes a checkpoint to export or start from. Of a vq
it is the mean of codes too, so take two moments between which few codes started anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from training.export import load_checkpoint
from training.task import TrainingError


def between(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) first + share second, weight by weight; what is no number comes from the second.

    Raises TrainingError where they are of different networks.
    """
    shapes = [{name: tensor.shape for name, tensor in weights.items()} for weights in (first, second)]
    if shapes[0] != shapes[1]:
        raise TrainingError("The checkpoints are of different networks: give two of one shape.")
    return {
        name: first[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in second.items()
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="checkpoint.pt")
    parser.add_argument("second", type=Path, help="checkpoint.pt of the run that began with --start-from the first")
    parser.add_argument("share", type=float, help="of the second, 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if not 0 <= args.share <= 1:
        parser.error(f"the share must be from 0 to 1, not {args.share:g}")
    try:
        first, second = (load_checkpoint(path) for path in (args.first, args.second))
        known = {"architecture": second["architecture"]} if "architecture" in second else {}
        torch.save({"ema": between(first["ema"], second["ema"], args.share), **known}, args.out)
    except TrainingError as error:
        parser.error(str(error))
    except (OSError, RuntimeError) as error:
        parser.error(f"{args.out} cannot be written ({error}).")


if __name__ == "__main__":
    main()
