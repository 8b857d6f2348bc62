"""Command line: python -m latent8 encode | decode | convert | inspect | show | compare | models."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from PIL import Image

from latent8 import __version__
from latent8.blob import clean_stem
from latent8.codec import DEFAULT_MAX_PIXELS, Codec, describe, inspect, require_decoder, require_encoder
from latent8.comparison import compare
from latent8.errors import Latent8Error
from latent8.exchange import SPACE_NAMES, SUFFIXES, as_blob
from latent8.exchange import convert as convert_latents
from latent8.files import picture_bytes, write_file
from latent8.latent_pictures import latent_sheet
from latent8.latent_spaces import SPACES
from latent8.models import DEFAULT_MODEL, Model, model_with_id, models
from latent8.own_models import chosen_model
from latent8.settings import DEFAULT_QUALITY, Settings


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 2 after one line on standard error for each input that failed."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what cannot be printed
    try:
        return args.run(args)
    except (Latent8Error, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130


def _encode(args: argparse.Namespace) -> int:
    names = ("levels",) if args.png else ("quality", "target_bytes", "target_bpp", "levels")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    model = chosen_model(args.model, args.space)
    try:
        Settings(**options).check(model)
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    require_encoder(model)
    codec = Codec(model, args.device, max_pixels=args.max_pixels)

    def convert(source: Path) -> tuple[Path, bytes]:
        run = codec.encode_rgba_png if args.png else codec.encode
        data = run(source, longest_side=args.longest_side, **options)
        return source.with_suffix(".encoded.png" if args.png else ".l8"), data

    return _each(args, convert)


def _decode(args: argparse.Namespace) -> int:
    codecs: dict[Model, Codec] = {}
    decoder = chosen_model(args.decoder, args.space) if args.decoder else None

    def convert(source: Path) -> tuple[Path, bytes]:
        data = as_blob(source.read_bytes(), args.space, raw=args.raw, max_pixels=args.max_pixels)
        header = inspect(data)
        model = decoder or model_with_id(header.model_id)
        require_decoder(header, model)  # before it is loaded
        if model not in codecs:
            codecs[model] = Codec(model, args.device, max_pixels=args.max_pixels)
        return _picture(args, source, ".png", codecs[model].decode(data, legacy_range=args.legacy_range))

    return _each(args, convert, keep_existing=True)


def _convert(args: argparse.Namespace) -> int:
    def convert(source: Path) -> tuple[Path, bytes]:
        options = {"space": args.space, "raw": args.raw, "max_pixels": args.max_pixels}
        data = convert_latents(source.read_bytes(), args.to, **options)
        return source.with_name(_stem(source) + SUFFIXES[args.to]), data

    return _each(args, convert, keep_existing=True)


def _show(args: argparse.Namespace) -> int:
    def convert(source: Path) -> tuple[Path, bytes]:
        data = source.read_bytes()
        sheet = latent_sheet(data, source.name, device=args.device, max_pixels=args.max_pixels)
        return _picture(args, source, ".latents.png", sheet)

    return _each(args, convert, keep_existing=True)


def _compare(args: argparse.Namespace) -> int:
    decoders = [chosen_model(name, args.space) for name in args.decoder]
    blob = args.file.read_bytes()
    found = compare(blob, decoders, args.original, device=args.device, max_pixels=args.max_pixels)
    print("\n".join(json.dumps(row) for row in found.rows()) if args.json else found)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        pictures = {one.decoder: one.picture.image() for one in found.decoded}
        pictures |= {f"{one.first}-{one.second}.difference": one.image for one in found.differences()}
        for name, image in pictures.items():
            target = args.output / f"{args.file.stem}.{clean_stem(name)}.png"
            write_file(target, picture_bytes(image, ".png"))
    return 0


def _picture(args: argparse.Namespace, source: Path, ending: str, image: Image.Image) -> tuple[Path, bytes]:
    """Where a picture made from a blob goes, and the bytes of its file."""
    single_file = args.output is not None and len(args.files) == 1 and not args.output.is_dir()
    target = args.output if single_file else source.with_name(f"{_stem(source)}{ending}")
    return target, picture_bytes(image, target.suffix)


def _stem(source: Path) -> str:
    """File name without its ending, the two of NAME.encoded.png included."""
    return source.name.removesuffix(".encoded.png") if source.name.endswith(".encoded.png") else source.stem


def _inspect(args: argparse.Namespace) -> int:
    failed = 0
    for source in args.files:
        try:
            header = inspect(source.read_bytes())
        except (Latent8Error, OSError) as error:
            failed = _fail(error, source)
            continue
        if args.json:
            print(json.dumps({"file": str(source), **describe(header)}))
        else:
            print(source)
            for name, value in describe(header).items():
                print(f"  {name:<14}{value}")
    return failed


def _models(args: argparse.Namespace) -> int:
    for model in models():
        default = " (default)" if model.name == DEFAULT_MODEL else ""
        print(f"{model.name}{default}: {model.summary}")
        latents = f"latent space {model.space}, {model.channels} channels at 1/{model.stride}"
        size = f"{model.size_mb} MB {'bundled' if model.bundled else f'downloaded from {model.source} on first use'}"
        print(f"  id {model.id}; {latents}; {size}; licence {model.licence}; needs {model.needs}")
    return 0


def _each(args: argparse.Namespace, convert: Callable[[Path], tuple[Path, bytes]], keep_existing: bool = False) -> int:
    """Convert every input and write it beside itself, or where --output says; go on after a bad one."""
    into_folder = args.output is not None and (len(args.files) > 1 or args.output.is_dir())
    if into_folder:
        args.output.mkdir(parents=True, exist_ok=True)
    failed, written = 0, set[Path]()
    for source in args.files:
        try:
            target, data = convert(source)
            if into_folder:
                target = args.output / target.name
            elif args.output:
                target = args.output
            if target in written:
                raise Latent8Error(f"{target} was just written from another input: rename one of the two.")
            if keep_existing and (into_folder or not args.output) and target.exists() and not args.force:
                raise Latent8Error(f"{target} exists: name another file with -o, or overwrite it with --force.")
            write_file(target, data)
            written.add(target)
        except (Latent8Error, OSError) as error:
            failed = _fail(error, source)
            continue
        print(f"{source} -> {target} ({len(data):,} bytes)")
    return failed


def _fail(error: Exception, source: Path | None = None) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        of_source = error.filename is None or str(error.filename) == str(source)
        text = f"{error.strerror}." if of_source else f"{error.strerror}: {error.filename}"
    print(f"latent8: {source}: {text}" if source else f"latent8: {text}", file=sys.stderr)
    return 2


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


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="latent8", description="Pictures as small 8-bit latent blobs, and back.")
    parser.add_argument("--version", action="version", version=f"latent8 {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    encode = commands.add_parser("encode", help="pictures -> .l8 blobs")
    own = "or the folder or Hub repository of an AutoencoderTiny or AutoencoderKL of your own"
    encode.add_argument("--model", default=DEFAULT_MODEL, help=f"see the command models; {own}")
    size = encode.add_mutually_exclusive_group()
    size.add_argument("--quality", type=_quality, help=f"of l8-photo, 1 to 100 (default: {DEFAULT_QUALITY})")
    size.add_argument("--target-bytes", type=_positive, help="of l8-photo: the largest blob of at most this size")
    size.add_argument("--target-bpp", type=_bpp, help="of l8-photo: the same in bits per pixel")
    size.add_argument("--levels", type=_levels, help="of the other models' quantiser, 16 to 256 (default: 256)")
    encode.add_argument("--longest-side", type=_positive, help="shrink larger pictures to this many pixels")
    encode.add_argument("--png", action="store_true", help="write the latents as RGBA PNG, NAME.encoded.png")
    encode.set_defaults(run=_encode)

    decode = commands.add_parser("decode", help=".l8 blobs, or latents in the formats of convert -> pictures")
    decode.add_argument("--decoder", metavar="MODEL", help=f"another model of the same latent space, {own}")
    decode.add_argument("--legacy-range", action="store_true", help="of PNGs that early Spaces encoded from [0, 1]")
    decode.set_defaults(run=_decode)

    convert = commands.add_parser(
        "convert", help="latents between .l8, TAESD's RGBA PNG, ComfyUI .latent, .safetensors and .npy"
    )
    convert.add_argument("--to", choices=SUFFIXES, required=True, help="format to write; what is read tells itself")
    convert.set_defaults(run=_convert)

    show = commands.add_parser("show", help="pictures of a blob's latents, and of where its bits go")
    show.set_defaults(run=_show)

    several = commands.add_parser("compare", help="one blob with several decoders: seconds, and how far off each is")
    several.add_argument("file", type=Path, metavar="FILE")
    several.add_argument("--decoder", action="append", default=[], metavar="MODEL", help="one for each decoder")
    several.add_argument("--original", type=Path, metavar="PICTURE", help="adds PSNR, SSIM, MAE and MSE")
    several.add_argument("-o", "--output", type=Path, help="folder for the pictures and their differences")
    several.add_argument("--json", action="store_true", help="one JSON object a line")
    several.set_defaults(run=_compare)

    for command in (decode, convert):
        command.add_argument(
            "--raw", action="store_true", help=".npy and .safetensors hold the autoencoder's raw latents"
        )
    for command in (decode, convert, show):
        command.add_argument("--force", action="store_true", help="overwrite files")
    for command in (encode, decode, convert, show):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE")
        command.add_argument("-o", "--output", type=Path, help="file, or folder for several inputs")
    for command in (encode, decode, convert, show, several):
        command.add_argument("--max-pixels", type=_positive, default=DEFAULT_MAX_PIXELS, help="limit for a picture")
    for command in (encode, decode, show, several):
        command.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")

    own_space, file_space = "latent space of an autoencoder of your own", "latent space of a file that does not say it"
    for command in (encode, several):
        command.add_argument("--space", choices=SPACES, help=own_space)
    decode.add_argument("--space", choices=SPACE_NAMES, help=f"{file_space}, and {own_space}")
    convert.add_argument("--space", choices=SPACE_NAMES, help=file_space)

    facts = commands.add_parser("inspect", help="what a blob holds, without decoding it")
    facts.add_argument("files", nargs="+", type=Path, metavar="FILE")
    facts.add_argument("--json", action="store_true", help="one JSON object a line")
    facts.set_defaults(run=_inspect)

    commands.add_parser("models", help="the models that blobs can name").set_defaults(run=_models)
    return parser
