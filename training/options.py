"""The command line of training.train, and the config file that can take its place."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from training import autoencoders, config
from training.ms_ssim import MIN_SIDE
from training.ranges import number, positive, whole
from training.task import TrainingError
from training.tasks import AUTOENCODERS, TASKS

SAVE_EVERY = 500  # steps
CROP, PHOTO_CROP = 128, 192  # pixels; MS-SSIM, in the loss of l8-photo, needs 161


def parse_args(argv: list[str] | None = None, description: str | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder of photos, searched with its subfolders")
    parser.add_argument("--config", type=Path, help="YAML file of these options; those given beside it count more")
    parser.add_argument("--model", choices=[*TASKS, *AUTOENCODERS], default="l8-tiny")
    parser.add_argument("--out", type=Path, help="folder for checkpoint.pt, log.csv, grid.png and other pictures")
    parser.add_argument("--minutes", type=positive, default=120, help="training time in all, earlier runs included")
    parser.add_argument("--schedule-steps", type=whole(1), help="steps in all, in place of --minutes")
    parser.add_argument("--steps", type=whole(0), help="stop earlier, at this step")
    parser.add_argument("--batch", type=whole(1), default=8)
    parser.add_argument("--save-every", type=whole(1), default=SAVE_EVERY, help="steps between checkpoints")
    text = "share of crops that are text, lines, screenshots"
    parser.add_argument("--drawn", type=number(0, 1), default=0.0, help=text)
    text = f"side of a crop in pixels (default: {CROP}, of l8-photo {PHOTO_CROP})"
    parser.add_argument("--crop", type=whole(1), help=text)
    text = "crops cover up to so many times their own side"
    parser.add_argument("--zoom-out", type=number(1, 100), default=1.5, help=text)
    text = "crops cover at least this share of a photo's shorter side, as whole pictures that were shrunk do"
    parser.add_argument("--cover", type=number(0, 1), default=0.0, help=text)
    text = "factors, drawn for each photo, by which photos are shrunk: fewer artefacts of JPEGs"
    parser.add_argument(
        "--shrink", type=number(0.05, 1), nargs=2, default=[0.5, 0.75], metavar=("LEAST", "MOST"), help=text
    )
    text = "processes that make crops, for a GPU; 0 for a thread"
    parser.add_argument("--workers", type=whole(0), default=0, help=text)
    parser.add_argument("--lr", type=positive, default=1e-3)
    parser.add_argument("--lpips", type=Path, help="weights from training.lpips_weights; without: MSE alone")
    parser.add_argument("--lpips-weight", type=number(0), default=2.0)
    text = "share of the budget that goes by without LPIPS"
    parser.add_argument("--lpips-from", type=number(0, 1), default=0.0, help=text)
    parser.add_argument(
        "--start-from", type=Path, help="checkpoint.pt of another run, whose averaged weights to start from"
    )
    text = "folder of exported weights of l8-photo to start from, such as shared/latent8/weights/l8-photo"
    parser.add_argument("--start-from-weights", type=Path, help=text)
    text = "of l8-photo: train how bitstreams of --start-from-weights are read, and leave the bits as they are"
    parser.add_argument("--only-synthesis", action="store_true", help=text)
    text = "with --only-synthesis: train its tables of the realism alone"
    parser.add_argument("--only-tables", action="store_true", help=text)
    parser.add_argument("--vgg16", type=Path, help="of l8-photo: weights from training.lpips_weights")
    parser.add_argument("--device", type=device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)
    text = "pictures for latent-space.webp and progress.webp, or 0"
    parser.add_argument("--watch", type=whole(0), default=100, help=text)
    parser.add_argument("--watch-every", type=whole(1), default=250, help="steps between two of their frames")
    parser.add_argument("--validation", type=Path, help="folder of pictures to watch (default: some of the photos)")
    parser.add_argument("--gif", action="store_true", help="GIF animations too")
    parser.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard too")
    autoencoders.add_arguments(parser)
    args = read(parser, argv)
    check(args, parser)
    if args.model in AUTOENCODERS:
        try:
            AUTOENCODERS[args.model].check(args)
        except TrainingError as error:
            parser.error(str(error))
    return args


def check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with a sentence for options that do not go together."""
    args.crop = args.crop or (PHOTO_CROP if args.model == "l8-photo" else CROP)
    if args.model in TASKS:
        multiple = TASKS[args.model].multiple
        if args.crop % multiple or args.crop < 32:
            parser.error(f"--crop must be a multiple of {multiple}, at least 32")
    if args.model == "l8-photo" and args.crop < MIN_SIDE:
        parser.error(f"--model l8-photo needs a --crop of at least {MIN_SIDE}, for MS-SSIM")
    if args.start_from_weights and args.model != "l8-photo":
        parser.error("--start-from-weights is for l8-photo")
    if args.start_from_weights and args.start_from and not args.only_synthesis:
        parser.error("give either --start-from or --start-from-weights; with --only-synthesis both may be given")
    if args.only_synthesis and not args.start_from_weights:
        parser.error("--only-synthesis needs --start-from-weights: the weights whose bitstreams are to be read")
    if args.only_tables and not args.only_synthesis:
        parser.error("--only-tables goes with --only-synthesis")
    if args.vgg16 and args.model != "l8-photo":
        parser.error("--vgg16 is for l8-photo")


def device(name: str) -> str:
    """Argparse's type for a device that torch has here."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):  # of a word that is none, and of a build without the device
        raise argparse.ArgumentTypeError(f"there is no device {name} here: take cpu, or leave it out") from None
    return name


def read(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Options of the command line, and of the config that it names."""
    given = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(given)
    if args.config:
        try:
            kept, photos = config.options_of(args.config, parser)
        except TrainingError as error:
            parser.error(str(error))
        args = parser.parse_args([*kept, *given])
        args.photos = args.photos or (photos and Path(photos))
    if args.photos is None or args.out is None:
        parser.error("a folder of photos and --out are needed, on the command line or in the --config")
    return args
