"""latent8 convert: latents between formats of files."""

from __future__ import annotations

import argparse
from pathlib import Path

from latent8.cli.arguments import Commands, add_command, add_max_pixels, add_output, add_space
from latent8.cli.inputs import Input
from latent8.cli.targets import Targets, convert_each
from latent8.exchange import SUFFIXES
from latent8.exchange import convert as convert_latents

DESCRIPTION = """\
Latents between .l8, TAESD's RGBA PNG, ComfyUI .latent, .safetensors and .npy; what is read tells itself. FILE is a
file, or - for standard input. No file is overwritten without --force."""
EXAMPLES = (
    "latent8 convert photo.l8 --to comfy                     writes photo.latent",
    "latent8 convert latents.npy --to l8 --space sd1 --raw   raw: not yet shifted and scaled",
)


def add_to(commands: Commands) -> None:
    summary = "latents between .l8, TAESD's RGBA PNG, ComfyUI .latent, .safetensors and .npy"
    command = add_command(commands, "convert", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or -")
    command.add_argument("--to", choices=SUFFIXES, required=True, help="format to write")
    add_output(command, "file, folder (also new/), or - for standard output")
    add_space(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    def convert(source: Input, _: str) -> bytes:
        return convert_latents(source.read(), args.to, space=args.space, raw=args.raw, max_pixels=args.max_pixels)

    return convert_each(args, Targets(args, SUFFIXES[args.to]), convert)
