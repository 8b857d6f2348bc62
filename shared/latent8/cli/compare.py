"""latent8 compare: one blob with several decoders."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from latent8.cli.arguments import OWN_SPACE, Commands, add_command, add_device, add_max_pixels, share
from latent8.cli.inputs import Input
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import compare
from latent8.file_format.blob import clean_stem
from latent8.machine.disk import write_file
from latent8.pictures.output import picture_bytes
from latent8.zoo.latent_spaces import SPACES
from latent8.zoo.own_models import chosen_model

DESCRIPTION = """\
One blob with several decoders, or several readings of it: seconds, and with --original how far off each is: PSNR in
dB, SSIM up to 1, mean absolute error (MAE, in 1/255) and mean squared error (MSE). FILE is a blob, or - for standard
input."""
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
    command.add_argument("--space", choices=SPACES, help=OWN_SPACE)
    add_device(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    source = Input(args.file)
    decoders = [chosen_model(name, args.space) for name in args.decoder]
    options = {"realisms": args.realism, "device": args.device, "max_pixels": args.max_pixels}
    found = compare(source.read(), decoders, args.original, **options)
    print("\n".join(json.dumps(row) for row in found.rows()) if args.json else found)
    if args.output:
        pictures = {one.decoder: one.picture.image() for one in found.decoded}
        pictures |= {f"{one.first}-{one.second}.difference": one.image for one in found.differences()}
        stem = args.file.stem
        targets = {args.output / f"{stem}.{clean_stem(name)}.png": image for name, image in pictures.items()}
        existing = [target for target in targets if target.exists() and not args.force]
        if existing:
            raise Latent8Error(f"{existing[0]} exists: name another folder with -o, or overwrite with --force.")
        args.output.mkdir(parents=True, exist_ok=True)
        for target, image in targets.items():
            write_file(target, picture_bytes(image, ".png"))
    return 0
