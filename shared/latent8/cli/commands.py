"""Command line: python -m latent8 encode | decode | convert | bulk | inspect | show | compare | models."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image

from latent8.bulk import folders
from latent8.cli.arguments import parser
from latent8.codec import Codec
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import compare
from latent8.evaluation.latent_pictures import latent_sheet
from latent8.exchange import SUFFIXES, as_blob
from latent8.exchange import convert as convert_latents
from latent8.file_format.blob import Header, clean_stem
from latent8.file_format.reader import blob_bytes, describe, inspect, require_decoder, require_encoder
from latent8.file_format.rgba_png import require_four_channels
from latent8.machine.disk import write_file
from latent8.machine.parallel import failing_once
from latent8.pictures.intake import SUFFIXES as PICTURE_SUFFIXES
from latent8.pictures.intake import pixel_count
from latent8.pictures.output import picture_bytes
from latent8.zoo.own_models import chosen_model
from latent8.zoo.registry import DEFAULT_MODEL, Model, model_with_id, models
from latent8.zoo.settings import Settings

if TYPE_CHECKING:
    from latent8.networks.base import Progress

LATENTS_PNG = SUFFIXES["png"]
BAR_DELAY = 1.0  # seconds


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 2 after one line on standard error for each input that failed, 1 for those of a folder."""
    args = parser(RUNS).parse_args(argv)
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
    names = ("quality", "target_bytes", "target_bpp", "levels")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    model = chosen_model(args.model, args.space)
    try:
        Settings(**options).check(model)
    except ValueError as error:
        raise Latent8Error(f"{error}.") from None
    require_encoder(model)
    if args.png:
        require_four_channels(model.name, model.channels)
    codec = Codec(model, args.device, max_pixels=args.max_pixels)

    run = codec.encode_rgba_png if args.png else codec.encode
    suffix = LATENTS_PNG if args.png else ".l8"

    def convert(source: Path, progress: Progress | None = None) -> bytes:
        return run(source, longest_side=args.longest_side, progress=progress, **options)

    def convert_one(source: Path) -> tuple[Path, bytes]:
        with _tile_bar(source) as progress:
            return source.with_suffix(suffix), convert(source, progress)

    if folder:
        jobs, others = folders.plan(folder, args.output, _is_picture, lambda path: path.stem, suffix)
        outcomes = folders.convert_all(
            jobs, convert, lambda source: codec.is_large(pixel_count(source, args.longest_side)), args.skip_existing
        )
        return _folder(args, outcomes, len(jobs), others, lambda outcome: inspect(outcome.data))
    return _each(args, convert_one)


def _decode(args: argparse.Namespace) -> int:
    folder = _folder_of(args)
    decoder = chosen_model(args.decoder, args.space) if args.decoder else None

    @failing_once
    @cache
    def loaded(model: Model) -> Codec:
        return Codec(model, args.device, max_pixels=args.max_pixels)

    def opened(source: Path) -> tuple[bytes, Header, Codec]:
        data = as_blob(blob_bytes(source), args.space, raw=args.raw, max_pixels=args.max_pixels)
        header = inspect(data)
        model = decoder or model_with_id(header.model_id)
        require_decoder(header, model)  # before it is loaded
        with loading:
            return data, header, loaded(model)

    def image_of(source: Path, progress: Progress | None = None) -> Image.Image:
        data, _, codec = opened(source)
        return codec.decode(data, legacy_range=args.legacy_range, progress=progress)

    def is_large(source: Path) -> bool:
        try:
            _, header, codec = opened(source)
        except Latent8Error:  # said when it is decoded
            return False
        return codec.is_large(header.width * header.height)

    def convert_one(source: Path) -> tuple[Path, bytes]:
        with _tile_bar(source) as progress:
            image = image_of(source, progress)
        return _picture(args, source, ".png", image)

    loading = Lock()
    if folder:
        jobs, others = folders.plan(folder, args.output, _is_blob, _stem, ".png")
        outcomes = folders.convert_all(
            jobs,
            lambda source: picture_bytes(image_of(source), ".png"),
            is_large,
            args.skip_existing,
            keep_existing=not args.force,
        )
        return _folder(args, outcomes, len(jobs), others, lambda outcome: inspect(blob_bytes(outcome.job.source)))

    return _each(args, convert_one, keep_existing=True)


@contextmanager
def _tile_bar(source: Path) -> Iterator[Progress]:
    """A bar for the tiles of a large picture, on a terminal."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}"
    options = {"delay": BAR_DELAY, "mininterval": 0, "leave": False, "disable": None}
    with tqdm(total=1.0, desc=source.name, bar_format=form, **options) as bar:
        yield lambda share: bar.update(share - bar.n)


def _is_blob(path: Path) -> bool:
    return path.suffix.lower() == ".l8" or path.name.endswith(LATENTS_PNG)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.endswith(LATENTS_PNG)


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
        from latent8.bulk import ray_job
    except ImportError as error:
        raise Latent8Error(f"{error.name} is missing: install latent8 with its extra, latent8[bulk].") from None
    settings = Settings(args.quality, args.target_bytes, args.target_bpp, args.levels)
    job = ray_job.Job(
        args.source, args.output, args.model, settings, args.longest_side, args.max_pixels, measure=not args.no_psnr
    )
    ray_job.connect(args.address)
    started, done = time.monotonic(), 0
    with tqdm(unit="picture", disable=None) as bar:
        for totals in ray_job.run(job, args.actors):
            bar.total, done = totals.wanted, totals.pictures
            bar.update(done - bar.n)
    speed = f"{done:,} pictures in {time.monotonic() - started:.0f} s"
    print(f"{args.output}: {speed}, {totals.n_bytes:,} bytes, {totals.failed:,} failed")
    return int(totals.failed > 0)


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
    return source.name.removesuffix(LATENTS_PNG) if source.name.endswith(LATENTS_PNG) else source.stem


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


def _text(error: Exception, source: Path | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        of_source = error.filename is None or str(error.filename) == str(source)
        return f"{error.strerror}." if of_source else f"{error.strerror}: {error.filename}"
    return str(error)


def _fail(error: Exception, source: Path | None = None) -> int:
    text = _text(error, source)
    print(f"latent8: {source}: {text}" if source else f"latent8: {text}", file=sys.stderr)
    return 2


RUNS = {
    "encode": _encode,
    "decode": _decode,
    "convert": _convert,
    "bulk": _bulk,
    "inspect": _inspect,
    "show": _show,
    "compare": _compare,
    "models": _models,
}
