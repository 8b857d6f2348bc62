"""Command line: latent8, or python -m latent8. Each command is a module that adds itself to the parser."""

from __future__ import annotations

import io
import os
import sys

from latent8.cli import bulk, compare, console, convert, decode, encode, inspect, library_arguments, models, show
from latent8.cli.arguments import Parser, parser
from latent8.errors import Latent8Error

DESCRIPTION = "Pictures as small 8-bit latent blobs, and back."
EXAMPLES = (
    "latent8 encode photo.jpg              writes photo.l8, seven to ten times smaller",
    "latent8 decode photo.l8               writes photo.png",
    "latent8 encode --help                 options of a command, with examples",
)
COMMANDS = (encode, decode, convert, bulk, inspect, show, compare, library_arguments, models)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 2 after one line on standard error for each input that failed, 1 for those of a folder."""
    args = whole_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what cannot be printed
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python ends
        return 141
    except (Latent8Error, OSError) as error:
        return console.fail(error)
    except KeyboardInterrupt:
        return 130


def whole_parser() -> Parser:
    whole, commands = parser(DESCRIPTION, EXAMPLES)
    for command in COMMANDS:
        command.add_to(commands)
    return whole
