"""Common parts of the commands' arguments: the parser, groups of options, and the types of their values."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from latent8 import __version__
from latent8.latents import SPACE_NAMES
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.metadata.kept import CHOICES
from latent8.zoo.registry import DEFAULT_MODEL
from latent8.zoo.settings import DEFAULT_QUALITY

OWN_MODEL = "or the folder or Hub repository of an AutoencoderTiny, AutoencoderKL or VQModel of your own"
OWN_SPACE, FILE_SPACE = "latent space of an autoencoder of your own", "latent space of a file that does not say it"
UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}

KEEP_METADATA = "--keep-metadata"
EXAMPLES = "examples:\n"

Commands = argparse._SubParsersAction  # what a command adds itself to
Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Takes what follows --keep-metadata for its choice only where it is one: it may be a file."""
        args = list(sys.argv[1:] if args is None else args)
        pairs = zip(args, [*args[1:], ""], strict=False)
        bare = [name == KEEP_METADATA and following not in CHOICES for name, following in pairs]
        whole = [f"{arg}=all" if alone else arg for arg, alone in zip(args, bare, strict=True)]
        return super().parse_known_args(whole, namespace)


class _Help(argparse.HelpFormatter):
    """Wraps text, but leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


def parser(description: str, examples: Sequence[str]) -> tuple[Parser, Commands]:
    """The whole command line, without commands -> the parser, and what commands add themselves to."""
    whole = Parser(
        prog="latent8",
        description=description,
        epilog=_epilog(examples),
        formatter_class=_Help,
    )
    whole.add_argument("--version", action="version", version=f"latent8 {__version__}")
    return whole, whole.add_subparsers(required=True, metavar="COMMAND", title="commands")


def add_command(
    commands: Commands, name: str, run: Run, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """A parser whose namespace has `run`. examples: whole command lines, for the end of its help."""
    command = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=_epilog(examples),
        formatter_class=_Help,
    )
    command.set_defaults(run=run)
    return command


def add_output(command: argparse.ArgumentParser, what: str) -> argparse._MutuallyExclusiveGroup:
    """-o, --force and -q; gives the group of --force, for what goes not with it."""
    command.add_argument("-o", "--output", metavar="PATH", help=what)
    overwriting = command.add_mutually_exclusive_group()
    overwriting.add_argument("--force", action="store_true", help="overwrite files that exist")
    add_quiet(command)
    return overwriting


def add_quiet(command: argparse.ArgumentParser) -> None:
    command.add_argument("-q", "--quiet", action="store_true", help="print errors alone: no progress, no summary")


def add_folder(command: argparse.ArgumentParser, overwriting: argparse._MutuallyExclusiveGroup) -> None:
    """Options for a folder as the one input."""
    overwriting.add_argument("--skip-existing", action="store_true", help="for a folder: go on where a run has stopped")
    command.add_argument("--report", metavar="CSV", help="for a folder: a table of what became of each file")


def add_encoding(command: argparse.ArgumentParser, models: str) -> None:
    """Options that decide what is in a blob."""
    command.add_argument("--model", default=DEFAULT_MODEL, help=models)
    group = command.add_argument_group("quality or size (one of these)")
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        "--quality", type=whole_number(1, 100), metavar="1-100", help=f"of l8-photo (default: {DEFAULT_QUALITY})"
    )
    size.add_argument(
        "--target-bytes", type=n_bytes, metavar="SIZE", help="of l8-photo: at most that large; 20000, 20k, 1.5M, 64KiB"
    )
    size.add_argument(
        "--target-bpp", type=positive_number, metavar="BPP", help="of l8-photo: at most so many bits per pixel, as 0.25"
    )
    size.add_argument(
        "--levels", type=whole_number(16, 256), metavar="16-256", help="of other models' quantiser (default: 256)"
    )
    command.add_argument(
        "--longest-side", type=positive, metavar="PIXELS", help="shrink larger pictures to that width or height"
    )
    command.add_argument(
        KEEP_METADATA,
        nargs="?",
        const="all",
        choices=CHOICES,
        help="keep EXIF and XMP data in the blob, all (the default where no choice follows) or without positions "
        "(default: keep none)",
    )


def add_space(command: argparse.ArgumentParser, own_models: bool = False) -> None:
    """Options that say how files of latents are to be read. own_models: --space is of the user's own decoders too."""
    command.add_argument(
        "--space", choices=SPACE_NAMES, help=f"{FILE_SPACE}, and {OWN_SPACE}" if own_models else FILE_SPACE
    )
    command.add_argument("--raw", action="store_true", help=".npy and .safetensors hold the autoencoder's raw latents")


def add_max_pixels(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-pixels",
        type=count,
        default=DEFAULT_MAX_PIXELS,
        metavar="PIXELS",
        help=f"largest picture that is taken, as 150M (default: {DEFAULT_MAX_PIXELS // 10**6}M)",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Type of a whole number in a range."""

    def parse(text: str) -> int:
        if not _is_whole(text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def positive(text: str) -> int:
    if not _is_whole(text) or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be a number from 0 to 1")
    return value


def n_bytes(text: str) -> int:
    """A size in bytes: 20000, 20k or 20kB (of 1,000), 1.5M, 64KiB (of 1,024)."""
    return _scaled(text, "must be a size above 0, such as 20000, 20k, 1.5M or 64KiB", "b?")


def count(text: str) -> int:
    """A number of things: 150000000 or 150M."""
    return _scaled(text, "must be a whole number above 0, such as 150000000 or 150M", "")


def _scaled(text: str, message: str, unit: str) -> int:
    found = re.fullmatch(rf"([0-9]{{1,15}}(?:\.[0-9]{{1,9}})?)([kmg]?i?){unit}", text.lower(), re.ASCII)
    if found and found[2] in UNITS and int(float(found[1]) * UNITS[found[2]]) > 0:
        return int(float(found[1]) * UNITS[found[2]])
    raise argparse.ArgumentTypeError(message)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _epilog(examples: Sequence[str]) -> str:
    return EXAMPLES + "\n".join(f"  {example}" for example in examples)
