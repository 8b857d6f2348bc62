"""latent8 decode: .l8 blobs, or latents of other tools -> pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from latent8.bulk import folders
from latent8.cli import console, folder_runs
from latent8.cli.arguments import (
    OWN_MODEL,
    Commands,
    add_command,
    add_device,
    add_folder,
    add_max_pixels,
    add_output,
    add_space,
    share,
)
from latent8.cli.inputs import LATENTS_PNG, Input, folder_of, stem_of
from latent8.cli.targets import Targets, convert_each
from latent8.codec import Codec
from latent8.errors import Latent8Error
from latent8.exchange import open_latents
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import inspect, require_decoder
from latent8.latents import Latents
from latent8.machine.parallel import failing_once
from latent8.pictures.output import picture_bytes
from latent8.pool import CodecPool
from latent8.zoo.own_models import chosen_model
from latent8.zoo.registry import Model, model_with_id

if TYPE_CHECKING:
    from PIL import Image

    from latent8.networks.base import Progress

FORMATS = ("png", "webp", "jpg", "avif")
DESCRIPTION = """\
.l8 blobs, or latents in the formats of `latent8 convert` -> pictures, beside each blob or where -o says. FILE is a
blob, - for standard input, or one folder, which is mirrored below the folder that -o names. No file is overwritten
without --force."""
EXAMPLES = (
    "latent8 decode photo.l8 -o photo.webp     PNG without -o; JPEG, WebP and AVIF are written at quality 95",
    "latent8 decode blobs -o photos --to jpg   a folder, and what it holds as JPEG",
    "latent8 decode - <photo.l8 >photo.png     standard input to standard output",
)


def add_to(commands: Commands) -> None:
    summary = ".l8 blobs, or latents in the formats of convert -> pictures"
    command = add_command(commands, "decode", run, summary, DESCRIPTION, EXAMPLES)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="blobs, - or one folder")
    overwriting = add_output(command, "file, folder (also new/), or - for standard output")
    command.add_argument("--to", choices=FORMATS, default="png", help="format where -o names no file (default: png)")
    command.add_argument("--decoder", metavar="MODEL", help=f"another model of the same latent space, {OWN_MODEL}")
    text = "0 faithful to 1 vivid, for models that read a blob in more than one way (default: the model's own choice)"
    command.add_argument("--realism", type=share, metavar="R", help=text)
    add_space(command, own_models=True)
    command.add_argument("--legacy-range", action="store_true", help="of PNGs that early Spaces encoded from [0, 1]")
    add_folder(command, overwriting)
    add_device(command)
    add_max_pixels(command)


def run(args: argparse.Namespace) -> int:
    folder, ending = folder_of(args), f".{args.to}"
    decoding = _Decoding(args)

    def convert_one(source: Input, suffix: str) -> bytes:
        with console.tile_bar(source.name, args.quiet) as progress:
            image = decoding.image_of(source.content, progress)
        return picture_bytes(image, suffix)

    if not folder:
        return convert_each(args, Targets(args, ending, any_picture=True), convert_one)
    jobs, others = folders.plan(folder, folder_runs.output_folder(args), _is_blob, stem_of, ending)
    outcomes = folders.convert_all(
        jobs,
        lambda source: picture_bytes(decoding.image_of(source), ending),
        decoding.is_large,
        skip_existing=args.skip_existing,
        replaceable=lambda _: args.force,
    )
    return folder_runs.tell(args, outcomes, len(jobs), others, lambda outcome: inspect(outcome.job.source))


class _Decoding:
    """Decodes with the decoder that is asked for, or else each blob with its own model; models are loaded once."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self._decoder = chosen_model(args.decoder, args.space) if args.decoder else None
        self._loaded = failing_once(CodecPool(args.device, max_pixels=args.max_pixels).codec)

    def image_of(self, source: Path | bytes, progress: Progress | None = None) -> Image.Image:
        found, codec = self._opened(source)
        return codec.decode(found, realism=self._args.realism, legacy_range=self._args.legacy_range, progress=progress)

    def is_large(self, source: Path) -> bool:
        try:
            found, codec = self._opened(source)
        except Latent8Error:  # said when it is decoded
            return False
        return codec.is_large(found.width * found.height)

    def _opened(self, source: Path | bytes) -> tuple[Encoded | Latents, Codec]:
        args = self._args
        found = open_latents(source, args.space, raw=args.raw, max_pixels=args.max_pixels)
        model: Model = self._decoder or model_with_id(found.header.model_id)
        require_decoder(found.header, model)  # before it is loaded
        return found, self._loaded(model)


def _is_blob(path: Path) -> bool:
    return path.suffix.lower() == ".l8" or path.name.endswith(LATENTS_PNG)
