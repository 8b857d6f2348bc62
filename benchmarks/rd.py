"""Rate-distortion curves of l8-photo, l8-tiny, JPEG, WebP, AVIF and JPEG XL on a folder of pictures.

    python -m benchmarks.rd FOLDER --lpips alexnet.npz vgg16.npz --dists vgg16.npz dists.npz --ssimulacra2 --cvvdp

All of it is measured in this run, from whole files with their headers: bits per pixel, PSNR, SSIM and MS-SSIM of the
luma, LPIPS for each file of weights, DISTS, SSIMULACRA2 and ColorVideoVDP where they are asked for, and seconds from
pixels to file and back. AVIF is there as Pillow writes it, and tuned for PSNR at full colour resolution; JPEG XL where
pillow-jxl-plugin is installed. --realism adds readings of l8-photo beside the default one. A figure of a setting is the
mean of each picture's own. Writes docs/rd.csv and docs/rd.png, and prints Markdown tables: the means, the Bjontegaard
deltas of l8-photo, which judges its training saw, and what each codec reaches at a few rates, interpolated between its
settings. Needs requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from PIL import Image

from benchmarks.colorvideovdp import INSTALL, ColorVideoVDP
from benchmarks.contenders import (
    EFFORTS,
    JPEG_XL,
    OPTIONS,
    PHOTO,
    TINY,
    VALUES,
    Contender,
    encoders_of,
    has_jpeg_xl,
    latent8_contender,
    pillow_contender,
)
from benchmarks.curves import Curve, bd_rate, value_at
from benchmarks.judges import LOWER_IS_BETTER, PERCEPTUAL, Judges, Original, seen_in_training
from latent8 import Codec, Latent8Error, PictureError
from latent8.pictures.intake import open_picture
from latent8.zoo.registry import model_named
from latent8.zoo.settings import Settings
from training import evaluate as ev
from training.dists import DISTS
from training.ms_ssim import MIN_SIDE, decibels
from training.photos import photo_files
from training.task import TrainingError

ROOT = Path(__file__).resolve().parents[1]

RIVALS = ("WebP", "AVIF", "AVIF psnr", JPEG_XL)  # what l8-photo is compared with by BD-rate
RATES = (0.12, 0.25, 0.5)  # bits per pixel of the table of interpolated values

READING = f"{PHOTO} realism"  # how the name of a reading of l8-photo begins that is not the default one
STYLES: dict[str, dict[str, Any]] = {  # colours of Okabe and Ito, told apart by colour-blind people too
    PHOTO: {"color": "#0072B2", "marker": "o", "linewidth": 2.2, "zorder": 3},
    READING: {"color": "#0072B2", "marker": ".", "zorder": 3},
    TINY: {"color": "#56B4E9", "marker": "s"},
    "JPEG": {"color": "#999999", "marker": "v"},
    "WebP": {"color": "#E69F00", "marker": "^"},
    "AVIF": {"color": "#D55E00", "marker": "D"},
    "AVIF psnr": {"color": "#D55E00", "marker": "d", "linestyle": ":"},
    JPEG_XL: {"color": "#CC79A7", "marker": "P"},
}

Measured = dict[str, list[ev.Row]]  # by codec: a row of means for each setting


def measure(
    contenders: Sequence[Contender],
    files: Sequence[Path],
    judges: Judges,
) -> tuple[Measured, int]:
    """Rows of means by codec, and of how many pictures; what cannot be read or is too small is named and left out."""
    rows: dict[tuple[str, int], list[ev.Row]] = {(c.name, value): [] for c in contenders for value in c.values}
    started, count = time.perf_counter(), 0
    for done, path in enumerate(files, 1):
        try:
            rgb = large_enough(open_picture(path, max_pixels=1 << 30).rgb)
        except PictureError as error:
            print(f"left out {path.name}: {error}", file=sys.stderr, flush=True)
            continue
        original = Original(rgb, judges)
        for contender in contenders:
            if not count:  # so that nothing is set up on the clock
                contender.decode(contender.encode(rgb, path.stem, contender.values[0]))
            for value in contender.values:
                rows[contender.name, value].append(measure_one(contender, value, original, path.stem))
        count += 1
        minutes = (time.perf_counter() - started) / 60
        print(f"{path.name}: {done} of {len(files)} pictures in {minutes:.1f} minutes", file=sys.stderr, flush=True)
    if not count:
        raise FileNotFoundError("None of the pictures could be measured.")
    measured: Measured = {}
    for contender in contenders:
        named: list[ev.Row] = []
        for value in contender.values:
            means = ev.means(rows[contender.name, value])
            named.append({"codec": contender.name, "setting": f"{contender.option} {value}", **means})
        measured[contender.name] = sorted(named, key=lambda row: row["bpp"])
    return measured, count


def measure_one(contender: Contender, value: int, original: Original, stem: str) -> ev.Row:
    started = time.perf_counter()
    data = contender.encode(original.rgb, stem, value)
    between = time.perf_counter()
    decoded = contender.decode(data)
    ended = time.perf_counter()
    return {
        "bpp": ev.bits_per_pixel(len(data), original.rgb),
        **original.distances(decoded),
        "encode_s": between - started,
        "decode_s": ended - between,
    }


def large_enough(rgb: np.ndarray) -> np.ndarray:
    if min(rgb.shape[:2]) < MIN_SIDE:
        raise PictureError(f"MS-SSIM needs {MIN_SIDE} pixels a side.")
    return rgb


def figures(rows: Sequence[ev.Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows]


def judged_by(measured: Measured) -> list[str]:
    """The columns that codecs are compared by."""
    perceptual = (name for name in measured[PHOTO][0] if name.startswith(PERCEPTUAL))
    return ["psnr_db", "ms_ssim", *perceptual]


def quality_curve(rows: Sequence[ev.Row], column: str) -> Curve:
    """For the BD-rate: MS-SSIM in dB; LPIPS and DISTS turned round, as more of them is worse."""
    values = figures(rows, column)
    if column == "ms_ssim":
        values = [decibels(value) for value in values]
    elif column.startswith(LOWER_IS_BETTER):
        values = [-value for value in values]
    return figures(rows, "bpp"), values


def bd_rates(measured: Measured) -> list[ev.Row]:
    """What each reading of l8-photo needs in place of each rival, by each measure."""
    ours = [name for name in measured if name.startswith(PHOTO)]
    return [
        {"codec": name, "against": rival, **needs(measured[name], measured[rival], judged_by(measured))}
        for name, rival in itertools.product(ours, [r for r in RIVALS if r in measured])
    ]


def needs(ours: Sequence[ev.Row], theirs: Sequence[ev.Row], columns: Sequence[str]) -> ev.Row:
    """By each column the BD-rate over the qualities that both reach; "none" where there are none, or both lack it."""
    row: ev.Row = {}
    for column in columns:
        try:
            row[column] = f"{bd_rate(quality_curve(theirs, column), quality_curve(ours, column)).percent:+.1f} %"
        except (ValueError, KeyError):
            row[column] = "none"
    return row


def at_rates(measured: Measured, rates: Sequence[float] = RATES) -> list[ev.Row]:
    """Figures of each codec at each rate that its settings span."""
    table: list[ev.Row] = []
    for rate in rates:
        for name, rows in measured.items():
            row: ev.Row = {"bpp": f"{rate:g}", "codec": name}
            for column in ["psnr_db", "ssim", *judged_by(measured)[1:]]:
                try:
                    row[column] = value_at((figures(rows, "bpp"), figures(rows, column)), rate)
                except ValueError:
                    row[column] = "–"
            table.append(row)
    return table


def plot(measured: Measured, n_pictures: int, path: Path) -> None:
    """Each measure against bits per pixel, better upwards."""
    columns = judged_by(measured)
    n_rows = (len(columns) + 1) // 2
    figure = Figure(figsize=(11, 0.8 + 4.1 * n_rows), dpi=120, layout="constrained")
    for index, column in enumerate(columns):
        axes = figure.add_subplot(n_rows, 2, index + 1)
        for name, rows in measured.items():
            values = figures(rows, column)
            if column == "ms_ssim":
                values = [decibels(value) for value in values]
            style = {"markersize": 4.5, "linewidth": 1.4, **style_of(name)}
            axes.plot(figures(rows, "bpp"), values, label=name, **style)
        axes.set(xscale="log", xlabel="bits per pixel", title=title(column))
        axes.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        rates = [float(row["bpp"]) for rows in measured.values() for row in rows]
        axes.set_xlim(min(rates) / 1.1, max(rates) * 1.1)
        if column.startswith(LOWER_IS_BETTER):
            axes.invert_yaxis()
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"Means over {n_pictures} pictures; up is better")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def style_of(name: str) -> dict:
    """Readings of l8-photo have the longer dashes the higher their realism."""
    if not name.startswith(READING):
        return STYLES[name]
    return {**STYLES[READING], "linestyle": (0, (1 + 5 * float(name.removeprefix(READING)), 1.5))}


def title(column: str) -> str:
    if column.startswith("lpips"):
        return f"LPIPS ({column.removeprefix('lpips_')}), axis turned round"
    return {
        "psnr_db": "PSNR, dB",
        "ms_ssim": "MS-SSIM, dB: -10 log10(1 - MS-SSIM)",
        "ssimulacra2": "SSIMULACRA2",
        "dists": "DISTS, axis turned round",
        "cvvdp_jod": "ColorVideoVDP, JOD",
    }[column]


def conditions(codec: Codec, rivals: Sequence[str]) -> str:
    """Conditions of the measurement: machine and type of the numbers, and encoders of the baselines."""
    precision = str(codec.network.dtype).removeprefix("torch.")
    where = f"{codec.network.device}, {torch.get_num_threads()} threads, {precision}"
    return f"Encoders of Pillow {Image.__version__}: {encoders_of(rivals)}. latent8: {where}."


def median_seconds(measured: Measured) -> str:
    """For each codec, over its settings: one line."""
    parts = []
    for name, rows in measured.items():
        encode, decode = (statistics.median(figures(rows, column)) for column in ("encode_s", "decode_s"))
        parts.append(f"{name} {encode:.3f} and {decode:.3f}")
    return f"Seconds to encode and to decode, medians over the settings: {'; '.join(parts)}."


def option_of(name: str) -> str:
    """The option that sets the values of a codec."""
    return name.lower().replace(" ", "-")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of pictures, searched with its subfolders")
    parser.add_argument("--checkpoint", type=Path, help="of training l8-photo: measure it in place of the release")
    parser.add_argument("--limit", type=int, help="take the first so many pictures, for a quick try")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of rd.csv and rd.png")
    for name, default in VALUES.items():
        text = f"each {OPTIONS[name]} (default: {' '.join(map(str, default))})"
        parser.add_argument(f"--{option_of(name)}", type=int, nargs="+", default=default, metavar="N", help=text)
    text = "readings of l8-photo to measure beside the default one, 0 to 1"
    parser.add_argument("--realism", type=float, nargs="+", default=[], metavar="R", help=text)
    text = "weights for DISTS: of VGG16 from training.lpips_weights, and its own from training.dists"
    parser.add_argument("--dists", type=Path, nargs=2, metavar=("VGG16", "DISTS"), help=text)
    parser.add_argument("--ssimulacra2", action="store_true", help="measure it too: about a second for each file")
    text = f"measure ColorVideoVDP too: 0.6 s for each file. Needs a package: {INSTALL}"
    parser.add_argument("--cvvdp", action="store_true", help=text)
    text = "networks of LPIPS and DISTS in bfloat16: on a CPU with AMX 3 times as fast, at most 0.0002 off"
    parser.add_argument("--bfloat16", action="store_true", help=text)
    ev.add_shared_arguments(parser)
    args = parser.parse_args(argv)
    values: dict[str, list[int]] = {name: getattr(args, option_of(name).replace("-", "_")) for name in VALUES}

    try:
        for name in (PHOTO, TINY):
            for value in values[name]:
                Settings(**{OPTIONS[name]: value}).check(model_named(name))
        files = photo_files(args.folder)[: args.limit]
        if args.checkpoint:
            photo = ev.checkpoint_codec(args.checkpoint, PHOTO, args.device, args.photos)
        else:
            photo = Codec(PHOTO, args.device)
        codecs = [photo, Codec(TINY, args.device)]
        contenders = [latent8_contender(codec, values[codec.model.name]) for codec in codecs]
        contenders[1:1] = [latent8_contender(photo, values[PHOTO], realism) for realism in args.realism]
        rivals = [name for name in EFFORTS if name != JPEG_XL or has_jpeg_xl()]
        contenders += [pillow_contender(name, values[name]) for name in rivals]
        device = photo.network.device
        dists = DISTS(*args.dists).to(device) if args.dists else None
        cvvdp = ColorVideoVDP(device) if args.cvvdp else None
        judges = Judges(ev.load_lpips(args.lpips, device), dists, args.ssimulacra2, cvvdp, args.bfloat16)
        measured, count = measure(contenders, files, judges)
    except (ImportError, OSError, Latent8Error, TrainingError, ValueError) as error:
        parser.error(str(error))
    rows = [row for rows in measured.values() for row in rows]
    ev.write_csv(args.output / "rd.csv", rows)
    plot(measured, count, args.output / "rd.png")
    print(
        f"Means over {count} pictures. {conditions(photo, rivals)}\n\n{ev.markdown(rows)}\n\n{median_seconds(measured)}"
    )
    print(f"\nBits that l8-photo needs for the same quality:\n\n{ev.markdown(bd_rates(measured))}")
    print(f"\nWhich judges training saw:\n\n{ev.markdown(seen_in_training(list(rows[0])))}")
    print(f"\nInterpolated at the same size:\n\n{ev.markdown(at_rates(measured))}")


if __name__ == "__main__":
    main()
