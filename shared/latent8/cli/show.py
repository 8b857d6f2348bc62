"""latent8 show: pictures of a blob's latents."""

from __future__ import annotations

import argparse
from pathlib import Path

from latent8.cli.arguments import Commands, add_command, add_device, add_max_pixels, add_output, add_space
from latent8.cli.inputs import Input
from latent8.cli.targets import Targets, convert_each
from latent8.evaluation.latent_pictures import latent_sheet
from latent8.pictures.output import picture_bytes

DESCRIPTION = """\
A picture of a blob's latents, or of those in the formats of `latent8 convert`: heat maps of the channels, their
histogram, and where the bits go. FILE is a blob, or - for standard input. No file is overwritten without --force."""
EXAMPLES = (
    "latent8 show photo.l8              writes photo.latents.png",
    "latent8 show a.l8 b.l8 -o sheets/  writes sheets/a.latents.png and sheets/b.latents.png",
)


def add_to(commands: Commands) -> None:
    summary = "pictures of a blob's latents, and of where its bits go"
    command = add_command(commands, "show", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="blobs, or -")
    add_output(command, "file (.png, .webp, .jpg), folder (also new/), or - for standard output")
    add_space(command)
    add_device(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    def convert(source: Input, suffix: str) -> bytes:
        sheet = latent_sheet(source.latents(args), source.name, device=args.device, max_pixels=args.max_pixels)
        return picture_bytes(sheet, suffix)

    return convert_each(args, Targets(args, ".latents.png", any_picture=True), convert)
