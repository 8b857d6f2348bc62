"""Arguments of the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from latent8 import __version__
from latent8.cli.library_arguments import add_library
from latent8.exchange import SPACE_NAMES, SUFFIXES
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.zoo.latent_spaces import SPACES
from latent8.zoo.registry import DEFAULT_MODEL
from latent8.zoo.settings import DEFAULT_QUALITY

_OWN = "or the folder or Hub repository of an AutoencoderTiny or AutoencoderKL of your own"
_OWN_SPACE, _FILE_SPACE = "latent space of an autoencoder of your own", "latent space of a file that does not say it"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(runs: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """`run` of what it parses is that of the command."""
    whole = _Parser(prog="latent8", description="Pictures as small 8-bit latent blobs, and back.")
    whole.add_argument("--version", action="version", version=f"latent8 {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    encode = commands.add_parser("encode", help="pictures -> .l8 blobs")
    _add_encoding(encode, f"see the command models; {_OWN}")
    encode.add_argument("--png", action="store_true", help="write the latents as RGBA PNG, NAME.encoded.png")

    decode = commands.add_parser("decode", help=".l8 blobs, or latents in the formats of convert -> pictures")
    decode.add_argument("--decoder", metavar="MODEL", help=f"another model of the same latent space, {_OWN}")
    decode.add_argument("--legacy-range", action="store_true", help="of PNGs that early Spaces encoded from [0, 1]")
    overwriting = decode.add_mutually_exclusive_group()

    convert = commands.add_parser(
        "convert", help="latents between .l8, TAESD's RGBA PNG, ComfyUI .latent, .safetensors and .npy"
    )
    convert.add_argument("--to", choices=SUFFIXES, required=True, help="format to write; what is read tells itself")

    bulk = commands.add_parser("bulk", help="very many pictures -> .l8 blobs and an index, on Ray; see docs/BULK.md")
    bulk.add_argument("source", metavar="PHOTOS", help="folder, or URL that fsspec knows")
    bulk.add_argument("-o", "--output", required=True, metavar="OUT", help="likewise")
    _add_encoding(bulk, "see the command models")
    bulk.add_argument("--no-psnr", action="store_true", help="leave PSNR out of the index, and with it the decoding")
    bulk.add_argument("--actors", type=positive, help="default: one for each GPU, or without any for each CPU")
    bulk.add_argument("--address", help="of a Ray cluster (default: this machine alone)")

    inspect = commands.add_parser("inspect", help="what a blob holds, without decoding it")
    show = commands.add_parser("show", help="pictures of a blob's latents, and of where its bits go")

    compare = commands.add_parser("compare", help="one blob with several decoders: seconds, and how far off each is")
    compare.add_argument("file", type=Path, metavar="FILE")
    compare.add_argument("--decoder", action="append", default=[], metavar="MODEL", help="one for each decoder")
    compare.add_argument("--original", type=Path, metavar="PICTURE", help="adds PSNR, SSIM, MAE and MSE")
    compare.add_argument("-o", "--output", type=Path, help="folder for the pictures and their differences")

    add_library(commands, positive)

    models = commands.add_parser("models", help="the models that blobs can name")

    for command, group in ((encode, encode), (decode, overwriting)):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or one folder")
        command.add_argument("-o", "--output", type=Path, help="file, or folder for several inputs or a folder's tree")
        group.add_argument("--skip-existing", action="store_true", help="of a folder: go on where a run has stopped")
        command.add_argument("--report", type=Path, metavar="CSV", help="of a folder: what became of each file")
    for command in (convert, show):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE")
        command.add_argument("-o", "--output", type=Path, help="file, or folder for several inputs")
    for group in (overwriting, convert, show):
        group.add_argument("--force", action="store_true", help="overwrite files")
    for command in (decode, convert):
        command.add_argument(
            "--raw", action="store_true", help=".npy and .safetensors hold the autoencoder's raw latents"
        )
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for command in (inspect, compare):
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    for command in (encode, compare):
        command.add_argument("--space", choices=SPACES, help=_OWN_SPACE)
    decode.add_argument("--space", choices=SPACE_NAMES, help=f"{_FILE_SPACE}, and {_OWN_SPACE}")
    convert.add_argument("--space", choices=SPACE_NAMES, help=_FILE_SPACE)
    for command in (encode, decode, convert, bulk, show, compare):
        command.add_argument("--max-pixels", type=positive, default=DEFAULT_MAX_PIXELS, help="limit for a picture")
    for command in (encode, decode, show, compare):
        command.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")

    every = {"encode": encode, "decode": decode, "convert": convert, "bulk": bulk}
    every |= {"inspect": inspect, "show": show, "compare": compare, "models": models}
    for name, command in every.items():
        command.set_defaults(run=runs[name])
    return whole


def _add_encoding(command: argparse.ArgumentParser, models: str) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL, help=models)
    size = command.add_mutually_exclusive_group()
    size.add_argument("--quality", type=_quality, help=f"of l8-photo, 1 to 100 (default: {DEFAULT_QUALITY})")
    size.add_argument("--target-bytes", type=positive, help="of l8-photo: the largest blob of at most this size")
    size.add_argument("--target-bpp", type=_bpp, help="of l8-photo: the same in bits per pixel")
    size.add_argument("--levels", type=_levels, help="of the other models' quantiser, 16 to 256 (default: 256)")
    command.add_argument("--longest-side", type=positive, help="shrink larger pictures to this many pixels")


def _levels(text: str) -> int:
    if not text.isdigit() or not 16 <= int(text) <= 256:
        raise argparse.ArgumentTypeError("must be a whole number from 16 to 256")
    return int(text)


def _quality(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 100")
    return int(text)


def _bpp(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)
