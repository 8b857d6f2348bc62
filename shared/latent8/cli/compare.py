"""latent8 compare: one blob with several decoders."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from latent8.cli.arguments import Commands, add_command, add_device, add_max_pixels, add_space, share
from latent8.cli.inputs import Input, stem_of
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import chosen_decoders, compare, names_of
from latent8.file_format.blob import clean_stem
from latent8.machine.disk import write_file
from latent8.pictures.output import picture_bytes
from latent8.zoo.own_models import chosen_model

DESCRIPTION = """\
One blob, or latents in a format of `latent8 convert`, with several decoders, or several readings of it: seconds, and
with --original how far off each is: PSNR in dB, SSIM up to 1, mean absolute error (MAE, in 1/255) and mean squared
error (MSE). FILE is a blob, or - for standard input."""
EXAMPLES = (
    "latent8 compare photo.l8 --original photo.jpg",
    "latent8 compare photo.l8 --realism 0 --realism 1 -o pictures",
    "latent8 compare photo.l8 --decoder taesd --decoder sd-vae-ft-mse -o pictures",
)


def add_to(commands: Commands) -> None:
    summary = "one blob with several decoders: seconds, and how far off each is"
    command = add_command(commands, "compare", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("file", type=Path, metavar="FILE", help="a blob, or -")
    command.add_argument(
        "--decoder", action="append", default=[], metavar="MODEL", help="one for each decoder (default: the blob's own)"
    )
    text = "0 faithful to 1 vivid; one for each reading of the blob, of decoders that have more than one"
    command.add_argument("--realism", type=share, action="append", default=[], metavar="R", help=text)
    command.add_argument("--original", type=Path, metavar="PICTURE", help="adds PSNR, SSIM, MAE and MSE")
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for the pictures and their differences")
    command.add_argument("--force", action="store_true", help="overwrite files that exist")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    add_space(command, own_models=True)
    add_device(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    source = Input(args.file).latents(args)
    decoders = chosen_decoders(source, [chosen_model(name, args.space) for name in args.decoder])
    names, pairs = names_of(decoders, args.realism, args.original is not None)
    targets = {name: _target(args, name) for name in [*names, *map(_name_of_map, pairs)]} if args.output else {}
    options = {"realisms": args.realism, "device": args.device, "max_pixels": args.max_pixels}
    found = compare(source, decoders, args.original, **options)
    print("\n".join(json.dumps(row) for row in found.rows()) if args.json else found)
    if args.output:
        pictures = {one.decoder: one.picture.image() for one in found.decoded}
        pictures |= {_name_of_map((one.first, one.second)): one.image for one in found.differences()}
        args.output.mkdir(parents=True, exist_ok=True)
        for name, target in targets.items():
            write_file(target, picture_bytes(pictures[name], ".png"))
    return 0


def _name_of_map(pair: tuple[str, str]) -> str:
    return "-".join(pair) + ".difference"


def _target(args: argparse.Namespace, name: str) -> Path:
    """Where a picture goes. Raises Latent8Error where it may not be written."""
    if args.output.exists() and not args.output.is_dir():
        raise Latent8Error(f"{args.output} is a file, where -o has to name a folder.")
    target = args.output / f"{stem_of(args.file)}.{clean_stem(name)}.png"
    if target.exists() and not args.force:
        raise Latent8Error(f"{target} exists: name another folder with -o, or overwrite with --force.")
    return target
