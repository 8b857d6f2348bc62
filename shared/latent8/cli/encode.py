"""latent8 encode: pictures -> .l8 blobs."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent8.bulk import folders
from latent8.cli import console, folder_runs
from latent8.cli.arguments import (
    OWN_MODEL,
    OWN_SPACE,
    Commands,
    add_command,
    add_device,
    add_encoding,
    add_folder,
    add_max_pixels,
    add_output,
)
from latent8.cli.inputs import LATENTS_PNG, Input, folder_of, stem_of
from latent8.cli.targets import Targets, convert_each
from latent8.codec import Codec
from latent8.errors import BlobError, Latent8Error
from latent8.file_format.blob import MAGIC, is_blob
from latent8.file_format.reader import inspect, require_encoder
from latent8.file_format.rgba_png import names_its_model, require_four_channels
from latent8.pictures.intake import SUFFIXES as PICTURE_SUFFIXES
from latent8.pictures.intake import pixel_count
from latent8.pool import CodecPool
from latent8.zoo.latent_spaces import SPACES
from latent8.zoo.own_models import chosen_model
from latent8.zoo.settings import Settings

if TYPE_CHECKING:
    from latent8.networks.base import Progress

DESCRIPTION = """\
Pictures -> .l8 blobs, beside each picture or where -o says. FILE is a picture, - for standard input, or one folder,
which is mirrored below the folder that -o names. An existing blob is replaced, any other file only with --force."""
EXAMPLES = (
    "latent8 encode photo.jpg --target-bytes 20k        writes photo.l8 of at most 20,000 bytes",
    "latent8 encode photos -o blobs --skip-existing     a folder; goes on where a run has stopped",
    "latent8 encode photo.jpg --keep-metadata no-gps    EXIF and XMP data stay, but for where it was",
    "latent8 encode - -o - <photo.jpg >photo.l8         standard input to standard output",
)


def add_to(commands: Commands) -> None:
    command = add_command(commands, "encode", run, "pictures -> .l8 blobs", DESCRIPTION, EXAMPLES)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pictures, - or one folder")
    overwriting = add_output(command, "file, folder (also new/), or - for standard output")
    add_encoding(command, f"a name from `latent8 models`, {OWN_MODEL}")
    command.add_argument("--space", choices=SPACES, help=OWN_SPACE)
    command.add_argument("--png", action="store_true", help="write the latents as RGBA PNG, NAME.encoded.png")
    add_folder(command, overwriting)
    add_device(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    folder = folder_of(args)
    with console.waiting("loading the model", args.quiet):
        codec, options = _codec_and_options(args)
    encode = codec.encode_rgba_png if args.png else codec.encode
    ending = LATENTS_PNG if args.png else ".l8"
    ours, called = (_is_latents_file, "PNG of latents") if args.png else (_is_blob_file, "latent8 blob")

    def convert(source: Path | bytes, progress: Progress | None = None) -> bytes:
        return encode(source, longest_side=args.longest_side, progress=progress, **options)

    def convert_one(source: Input, _: str) -> bytes:
        with console.tile_bar(source.name, args.quiet) as progress:
            return convert(source.content, progress)

    if not folder:
        return convert_each(args, Targets(args, ending, replaces=(ours, called)), convert_one, compared=True)
    jobs, others = folders.plan(folder, folder_runs.output_folder(args), _is_picture, stem_of, ending)
    total = len(jobs)
    jobs, failed = folders.settle_names(jobs, ours)
    outcomes = folders.convert_all(
        jobs,
        convert,
        lambda source: codec.is_large(pixel_count(source, args.longest_side)),
        skip_existing=args.skip_existing,
        replaceable=lambda path: args.force or ours(path),
    )
    return folder_runs.tell(
        args, chain(failed, outcomes), total, others, lambda outcome: inspect(outcome.data), compared=True
    )


def _codec_and_options(args: argparse.Namespace) -> tuple[Codec, dict[str, Any]]:
    """Codec and options of a command. Raises Latent8Error, before loading, for options that the model lacks."""
    names = ("quality", "target_bytes", "target_bpp", "levels")
    options: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    model = chosen_model(args.model, args.space)
    try:
        Settings(**options).check(model)
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    require_encoder(model)
    if args.png:
        require_four_channels(model.name, model.channels)
        if args.keep_metadata:
            raise Latent8Error("An RGBA PNG of latents has no place for metadata: keep the .l8.")
    else:
        options["keep_metadata"] = args.keep_metadata
    return CodecPool(args.device, max_pixels=args.max_pixels).codec(model), options


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.endswith(LATENTS_PNG)


def _is_blob_file(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return is_blob(file.read(len(MAGIC)))
    except OSError:
        return False


def _is_latents_file(path: Path) -> bool:
    """Whether it is a PNG that --png wrote."""
    try:
        return names_its_model(path.read_bytes())
    except (BlobError, OSError):
        return False
