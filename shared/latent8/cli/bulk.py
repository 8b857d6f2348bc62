"""latent8 bulk: very many pictures, on Ray."""

from __future__ import annotations

import argparse
import time

from latent8.cli import console
from latent8.cli.arguments import Commands, add_command, add_encoding, add_max_pixels, add_quiet, positive
from latent8.errors import Latent8Error
from latent8.zoo.settings import Settings

DESCRIPTION = """\
Very many pictures -> .l8 blobs and an index, on this machine or a Ray cluster; see docs/BULK.md. The same command goes
on where a job has stopped. PHOTOS and OUT are folders, or URLs that fsspec knows."""
EXAMPLES = (
    "latent8 bulk photos -o out --quality 40",
    "latent8 bulk s3://bucket/photos -o s3://bucket/out --address HEAD:6379",
)


def add_to(commands: Commands) -> None:
    summary = "very many pictures -> .l8 blobs and an index, on Ray; see docs/BULK.md"
    command = add_command(commands, "bulk", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("source", metavar="PHOTOS", help="folder or URL")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="folder or URL")
    add_encoding(command, "a name from `latent8 models`")
    command.add_argument("--no-psnr", action="store_true", help="leave PSNR out of the index, and with it the decoding")
    command.add_argument("--vectors", action="store_true", help="add vectors to the index, for `latent8 library add`")
    command.add_argument(
        "--actors", type=positive, metavar="N", help="default: one for each GPU, or without any for each CPU"
    )
    command.add_argument("--address", help="of a Ray cluster (default: this machine alone)")
    add_max_pixels(command)
    add_quiet(command)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    try:
        from latent8.bulk import ray_job
    except ImportError as error:
        raise Latent8Error(f"{error.name} is missing: install latent8 with its extra, latent8[bulk].") from None
    settings = Settings(args.quality, args.target_bytes, args.target_bpp, args.levels)
    job = ray_job.Job(
        args.source,
        args.output,
        args.model,
        settings,
        args.longest_side,
        args.max_pixels,
        args.keep_metadata,
        measure=not args.no_psnr,
        vectors=args.vectors,
    )
    ray_job.connect(args.address)
    started = time.monotonic()
    with tqdm(unit="picture", disable=args.quiet or None) as bar:
        for totals in ray_job.run(job, args.actors):
            bar.total = totals.wanted
            bar.update(totals.pictures - bar.n)
    speed = f"{totals.pictures:,} pictures in {time.monotonic() - started:.0f} s"
    console.say(f"{args.output}: {speed}, {totals.n_bytes:,} bytes, {totals.failed:,} failed", args.quiet)
    return int(totals.failed > 0)
