"""How fast: latent8 beside plain diffusers calls and Pillow's JPEG, WebP and AVIF, from a PIL image and back to one.

    python -m benchmarks.speed
    python -m benchmarks.speed PHOTO --megapixels 0.25 1 --csv speed.csv --plot speed.png

Prints Markdown: one size in milliseconds; several sizes in milliseconds per megapixel; where latent8's time goes; what
the arithmetic of the networks takes at the least; and, where there is a CUDA device, pictures per second on it.

Contenders take turns, round by round; times are medians, and a ratio is the median of each round's own ratio to plain
diffusers calls with taesd's shape, in float32 and torch's default layout. diffusers goes no further than the latents;
`Codec.encode` and `Codec.decode` also quantise, entropy-code and write or check the blob. The weights of taesd's shape
are random: they take as long as taesd's own. JPEG, WebP and AVIF have the highest quality that needs no more bytes than
l8-photo for the picture nearest to one megapixel. Takes about ten minutes on two cores. Needs requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image, ImageOps

from benchmarks import speed_contenders as who
from benchmarks import speed_report as report
from benchmarks.arithmetic import count_flops, matrix_rate
from benchmarks.speed_gpu import pictures_per_second
from benchmarks.timing import Contender, measure, rounds_for
from latent8 import Codec, PictureError
from latent8.networks.base import fast_dtype
from latent8.pictures.intake import open_picture
from latent8.zoo.registry import Model
from latent8.zoo.settings import DEFAULT_QUALITY
from training.evaluate import write_csv

ROOT = Path(__file__).resolve().parents[1]

PHOTO = ROOT / "spaces" / "encoder" / "examples" / "picos.jpg"
PLAIN_MEGAPIXELS = 5  # plain diffusers needs over a gigabyte of memory for each megapixel
FLOP_SIDE = 256  # pixels; operations are in proportion to the area


def measure_size(contenders: Mapping[str, Contender], image: Image.Image, rounds: int) -> report.Size:
    """Plain diffusers is left out of large pictures; the first round counts there, as it is as good as others."""
    megapixels = image.width * image.height / 1e6
    large = megapixels > PLAIN_MEGAPIXELS
    chosen = {name: c for name, c in contenders.items() if not (large and name.startswith("diffusers"))}
    timings = measure(chosen, image, rounds, warm_up=not large)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    decoding = []
    for _ in range(rounds):
        started = time.perf_counter()
        open_picture(buffer.getvalue(), image.width * image.height)
        decoding.append(time.perf_counter() - started)
    return report.Size(megapixels, timings, decoding)


def networks_over_floors(size: report.Size, codecs: Mapping[str, Codec]) -> list[report.Floor]:
    found = []
    for name, codec in codecs.items():
        calls = who.flop_calls(codec, FLOP_SIDE)
        timing = size.timings[name]
        for half, times, call in zip(("encoder", "decoder"), (timing.encode, timing.decode), calls, strict=True):
            seconds = statistics.median(times.stages["network"]) / size.megapixels / 1e6
            found.append(report.Floor(name, half, count_flops(call) / FLOP_SIDE**2, seconds, size.megapixels))
    return found


def conditions(codec: Codec) -> str:
    """One line on what the figures hold for."""
    capabilities = torch.cpu.get_capabilities()
    amx = "with" if capabilities.get("amx_bf16") else "without"
    precision = str(codec.network.dtype).removeprefix("torch.")
    name = capabilities.get("cpu_name", platform.processor())
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"{name} {amx} AMX, {threads}, Pillow {Image.__version__}; latent8 in {precision}, diffusers in float32"


def cpu_sections(photo: Image.Image, taesd: Model, args: argparse.Namespace) -> list[str]:
    plain, codecs = who.plain_contenders(taesd), who.codecs(taesd, "cpu")
    ours = who.latent8_contenders(codecs, args.quality)
    image = ImageOps.fit(photo, tuple(args.size))
    say(f"{image.width} x {image.height}, {args.rounds} rounds")
    one_size = report.one_size(measure({**plain, **ours}, image, args.rounds))
    line = conditions(codecs["latent8, l8-photo"])
    sections = [f"{one_size}\n\n{image.width} x {image.height}, median of {args.rounds} rounds, {line}"]

    sample = who.picture_of(min(args.megapixels, key=report.from_usual), photo)
    n_bytes = len(codecs["latent8, l8-photo"].encode(sample, quality=args.quality))
    everyone = {**plain, **ours, **who.pillow_contenders(sample, n_bytes)}
    sizes = []
    for megapixels in sorted(args.megapixels):
        rounds = rounds_for(megapixels, max(2, args.rounds // 2))
        say(f"{megapixels:g} megapixels, {rounds} rounds")
        sizes.append(measure_size(everyone, who.picture_of(megapixels, photo), rounds))
    sections += [report.all_sizes(sizes, "encode"), report.all_sizes(sizes, "decode"), report.stages(sizes)]

    fast = {torch.float32, fast_dtype(torch.device("cpu"))}  # bfloat16 is measured only where the CPU is made for it
    rates = {dtype: matrix_rate("cpu", dtype) for dtype in (torch.float32, torch.bfloat16) if dtype in fast}
    floors = networks_over_floors(report.usual_size(sizes), codecs)
    told = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {str(dtype)[6:]}" for dtype, rate in rates.items())
    own_rate = rates.get(codecs["latent8, l8-photo"].network.dtype, rates[torch.float32])
    sections.append(f"{report.floors(floors, own_rate)}\n\nMatrix products: {told}.")
    if args.csv:
        write_csv(args.csv, report.csv_rows(sizes))
    if args.plot:
        report.plot(sizes, args.plot)
    return sections


def say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=PHOTO, help="what all pictures are cut from")
    parser.add_argument("--size", type=int, nargs=2, default=(768, 512), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4, 16], metavar="MP")
    parser.add_argument("--rounds", type=int, default=15, help="at --size; the others have half or fewer (default: 15)")
    parser.add_argument("--quality", type=int, default=DEFAULT_QUALITY, help="of l8-photo (default: 50)")
    parser.add_argument("--csv", type=Path, help="write the figures of all sizes here")
    parser.add_argument("--plot", type=Path, help="draw them here, as PNG")
    args = parser.parse_args(argv)
    if any(side % 8 or side <= 0 for side in args.size):
        parser.error("--size must be multiples of 8: plain diffusers takes no other")
    if min(args.megapixels) < 0.01 or max(args.megapixels) > 100:
        parser.error("--megapixels must be from 0.01 to 100")
    if args.rounds < 1 or not 1 <= args.quality <= 100:
        parser.error("--rounds must be 1 or more, --quality from 1 to 100")
    diffusers_logging.set_verbosity_error()  # it warns of an entry in the config that it wrote itself
    try:
        photo = Image.fromarray(open_picture(args.photo, 1 << 28).rgb)
    except (OSError, PictureError) as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        taesd = who.random_taesd(Path(folder))
        sections = cpu_sections(photo, taesd, args)
        if torch.cuda.is_available():
            sections.append(pictures_per_second(photo, taesd, args.quality))
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
