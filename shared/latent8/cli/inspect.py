"""latent8 inspect: what a blob holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from latent8.cli import console
from latent8.cli.arguments import Commands, add_command, add_space
from latent8.cli.inputs import STANDARD, Input
from latent8.errors import Latent8Error
from latent8.latents import describe
from latent8.limits import MAX_PIXELS

DESCRIPTION = """\
What a blob holds, without decoding it: model, size in pixels, latents, quality or levels, bytes, bits per pixel (bpp).
FILE is a blob, latents in another format of `latent8 convert`, or - for standard input."""
EXAMPLES = (
    "latent8 inspect photo.l8",
    "latent8 inspect --json blobs/*.l8   one JSON object a line",
)


def add_to(commands: Commands) -> None:
    summary = "what a blob holds, without decoding it"
    command = add_command(commands, "inspect", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="blobs, or -")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    add_space(command)
    command.set_defaults(max_pixels=MAX_PIXELS)  # nothing is decoded


def run(args: argparse.Namespace) -> int:
    failed = 0
    for path in args.files:
        source = Input(path)
        try:
            facts = describe(source.latents(args), source.n_bytes)
        except (Latent8Error, OSError) as error:
            failed = console.fail(error, path)
            continue
        shown = source.name if path == STANDARD else str(path)
        if args.json:
            print(json.dumps({"file": shown, **facts}))
        else:
            print(shown)
            for name, value in facts.items():
                print(f"  {name:<14}{value}")
    return failed
