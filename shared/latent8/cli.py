"""Command line: python -m latent8 encode | decode | bulk | inspect | models."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import NoReturn

from latent8 import __version__, folders
from latent8.blob import Header
from latent8.codec import DEFAULT_MAX_PIXELS, Codec, blob_bytes, blob_pixels, describe, inspect
from latent8.errors import Latent8Error
from latent8.files import picture_bytes, write_file
from latent8.models import DEFAULT_MODEL, model_named, model_with_id, models
from latent8.pictures import SUFFIXES, pixel_count
from latent8.settings import DEFAULT_QUALITY, Settings

LATENTS_PNG = ".encoded.png"


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 2 after one line on standard error for each input that failed, 1 for those of a folder."""
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
    folder = _folder_of(args)
    names = ("levels",) if args.png else ("quality", "target_bytes", "target_bpp", "levels")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    model = model_named(args.model)
    try:
        Settings(**options).check(model)
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    codec = Codec(model, args.device, max_pixels=args.max_pixels)

    run = codec.encode_rgba_png if args.png else codec.encode
    suffix = LATENTS_PNG if args.png else ".l8"

    def convert(source: Path) -> bytes:
        return run(source, longest_side=args.longest_side, **options)

    if folder:
        jobs, others = folders.plan(folder, args.output, _is_picture, lambda path: path.stem, suffix)
        outcomes = folders.convert_all(
            jobs, convert, lambda source: pixel_count(source, args.longest_side), args.skip_existing
        )
        return _folder(args, outcomes, len(jobs), others, lambda outcome: inspect(outcome.data))
    return _each(args, lambda source: (source.with_suffix(suffix), convert(source)))


def _decode(args: argparse.Namespace) -> int:
    folder = _folder_of(args)
    codecs: dict[int, Codec] = {}

    def convert(data: bytes, suffix: str) -> bytes:
        model_id = inspect(data).model_id
        with loading:
            if model_id not in codecs:
                codecs[model_id] = Codec(model_with_id(model_id), args.device, max_pixels=args.max_pixels)
        return picture_bytes(codecs[model_id].decode(data), suffix)

    loading = Lock()
    if folder:
        jobs, others = folders.plan(folder, args.output, _is_blob, _blob_stem, ".png")
        outcomes = folders.convert_all(
            jobs,
            lambda source: convert(blob_bytes(source), ".png"),
            blob_pixels,
            args.skip_existing,
            keep_existing=not args.force,
        )
        return _folder(args, outcomes, len(jobs), others, lambda outcome: inspect(blob_bytes(outcome.job.source)))

    def convert_one(source: Path) -> tuple[Path, bytes]:
        single_file = args.output is not None and len(args.files) == 1 and not args.output.is_dir()
        target = args.output if single_file else source.with_name(f"{_blob_stem(source)}.png")
        return target, convert(source.read_bytes(), target.suffix)

    return _each(args, convert_one, keep_existing=True)


def _blob_stem(path: Path) -> str:
    return path.name.removesuffix(LATENTS_PNG) if path.name.endswith(LATENTS_PNG) else path.stem


def _is_blob(path: Path) -> bool:
    return path.suffix.lower() == ".l8" or path.name.endswith(LATENTS_PNG)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(LATENTS_PNG)


def _folder_of(args: argparse.Namespace) -> Path | None:
    """The folder that is the one input, or None where files are given. Raises Latent8Error for anything between."""
    found = [path for path in args.files if path.is_dir()]
    if not found and (args.skip_existing or args.report):
        raise Latent8Error("--skip-existing and --report are for a folder: name one, with --output.")
    if found and (len(args.files) > 1 or not args.output):
        raise Latent8Error(f"{found[0]} is a directory: give it alone, and with -o the folder to write to.")
    return found[0] if found else None


def _folder(
    args: argparse.Namespace,
    outcomes: Iterable[folders.Outcome],
    total: int,
    others: int,
    header_of: Callable[[folders.Outcome], Header],
) -> int:
    """Show the progress, tell and report what became of each file, and sum up; 1 where one failed."""
    from tqdm import tqdm

    if not total:
        raise Latent8Error(f"There is nothing to convert in {args.files[0]}.")
    counts = dict.fromkeys((folders.WRITTEN, folders.SKIPPED, folders.FAILED), 0)
    with ExitStack() as stack:
        report = None
        if args.report:
            file = stack.enter_context(open(args.report, "w", newline="", encoding="utf-8", errors="backslashreplace"))
            report = folders.Report(file)
        for outcome in stack.enter_context(tqdm(outcomes, total=total, unit="file", disable=None)):
            counts[outcome.result] += 1
            if outcome.error:
                with tqdm.external_write_mode():
                    _fail(outcome.error, outcome.job.source)
            if report:
                header = header_of(outcome) if outcome.result == folders.WRITTEN else None
                report.add(outcome, header, _text(outcome.error, outcome.job.source) if outcome.error else "")
    left = f", {others} other files left alone" if others else ""
    print(f"{args.output}: {', '.join(f'{n:,} {result}' for result, n in counts.items())}{left}")
    return int(counts[folders.FAILED] > 0)


def _bulk(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    try:
        from latent8 import bulk
    except ImportError as error:
        raise Latent8Error(f"{error.name} is missing: install latent8 with its extra, latent8[bulk].") from None
    settings = Settings(args.quality, args.target_bytes, args.target_bpp, args.levels)
    job = bulk.Job(
        args.source, args.output, args.model, settings, args.longest_side, args.max_pixels, measure=not args.no_psnr
    )
    bulk.connect(args.address)
    started, done = time.monotonic(), 0
    with tqdm(unit="picture", disable=None) as bar:
        for totals in bulk.run(job, args.actors):
            bar.total, done = totals.wanted, totals.pictures
            bar.update(done - bar.n)
    speed = f"{done:,} pictures in {time.monotonic() - started:.0f} s"
    print(f"{args.output}: {speed}, {totals.n_bytes:,} bytes, {totals.failed:,} failed")
    return int(totals.failed > 0)


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
        latents = f"{model.channels} latent channels at 1/{model.stride}"
        print(f"  id {model.id}, {latents}, {model.size_mb} MB, {model.licence}")
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


def _text(error: Exception, source: Path | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        of_source = error.filename is None or str(error.filename) == str(source)
        return f"{error.strerror}." if of_source else f"{error.strerror}: {error.filename}"
    return str(error)


def _fail(error: Exception, source: Path | None = None) -> int:
    text = _text(error, source)
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
    _add_encoding(encode)
    encode.add_argument("--png", action="store_true", help="write the latents as RGBA PNG, NAME.encoded.png")
    encode.set_defaults(run=_encode)

    decode = commands.add_parser("decode", help=".l8 blobs, or latents as RGBA PNG -> pictures")
    overwriting = decode.add_mutually_exclusive_group()
    overwriting.add_argument("--force", action="store_true", help="overwrite pictures")
    decode.set_defaults(run=_decode)

    for command, group in ((encode, encode), (decode, overwriting)):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or one folder")
        command.add_argument("-o", "--output", type=Path, help="file, or folder for several inputs or a folder's tree")
        group.add_argument("--skip-existing", action="store_true", help="of a folder: go on where a run has stopped")
        command.add_argument("--report", type=Path, metavar="CSV", help="of a folder: what became of each file")
        command.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
        command.add_argument("--max-pixels", type=_positive, default=DEFAULT_MAX_PIXELS, help="limit for a picture")

    bulk = commands.add_parser("bulk", help="very many pictures -> .l8 blobs and an index, on Ray; see docs/BULK.md")
    bulk.add_argument("source", metavar="PHOTOS", help="folder, or URL that fsspec knows")
    bulk.add_argument("-o", "--output", required=True, metavar="OUT", help="likewise")
    _add_encoding(bulk)
    bulk.add_argument("--max-pixels", type=_positive, default=DEFAULT_MAX_PIXELS, help="limit for a picture")
    bulk.add_argument("--no-psnr", action="store_true", help="leave PSNR out of the index, and with it the decoding")
    bulk.add_argument("--actors", type=_positive, help="default: one for each GPU, or without any for each CPU")
    bulk.add_argument("--address", help="of a Ray cluster (default: this machine alone)")
    bulk.set_defaults(run=_bulk)

    show = commands.add_parser("inspect", help="what a blob holds, without decoding it")
    show.add_argument("files", nargs="+", type=Path, metavar="FILE")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    show.set_defaults(run=_inspect)

    commands.add_parser("models", help="the models that blobs can name").set_defaults(run=_models)
    return parser


def _add_encoding(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", choices=[m.name for m in models()], default=DEFAULT_MODEL)
    size = command.add_mutually_exclusive_group()
    size.add_argument("--quality", type=_quality, help=f"of l8-photo, 1 to 100 (default: {DEFAULT_QUALITY})")
    size.add_argument("--target-bytes", type=_positive, help="of l8-photo: the largest blob of at most this size")
    size.add_argument("--target-bpp", type=_bpp, help="of l8-photo: the same in bits per pixel")
    size.add_argument("--levels", type=_levels, help="of the other models' quantiser, 16 to 256 (default: 256)")
    command.add_argument("--longest-side", type=_positive, help="shrink larger pictures to this many pixels")
