"""Rate-distortion curves of l8-photo, l8-tiny, JPEG, WebP and AVIF on a folder of pictures.

    python benchmarks/rd.py FOLDER --lpips alexnet.npz vgg16.npz

All of it is measured in this run, from whole files with their headers: bits per pixel, PSNR, SSIM and MS-SSIM of the
luma, LPIPS for each file of weights, SSIMULACRA2 where it is asked for, and seconds from pixels to file and back. A
figure of a setting is the mean of each picture's own. Writes docs/rd.csv and docs/rd.png, and prints Markdown tables:
the means, the Bjontegaard deltas of l8-photo, and what each codec reaches at a few rates, interpolated between its
settings. Needs requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from PIL import Image, features

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for `benchmarks` and `training`, which are not installed

from benchmarks.curves import Curve, bd_rate, value_at  # noqa: E402
from latent8 import Codec, Latent8Error, PictureError  # noqa: E402
from latent8.evaluation.metrics import psnr, ssim  # noqa: E402
from latent8.pictures.intake import open_picture  # noqa: E402
from latent8.zoo.registry import model_named  # noqa: E402
from latent8.zoo.settings import Settings  # noqa: E402
from training import evaluate as ev  # noqa: E402
from training.lpips import LPIPS  # noqa: E402
from training.ms_ssim import MIN_SIDE, decibels, ms_ssim  # noqa: E402
from training.photos import photo_files  # noqa: E402

PHOTO, TINY = "l8-photo", "l8-tiny"
OPTIONS = {PHOTO: "quality", TINY: "levels", "JPEG": "quality", "WebP": "quality", "AVIF": "quality"}
# From the smallest files to about 1.2 bits per pixel on photos, as far as a codec goes
VALUES: dict[str, list[int]] = {
    PHOTO: [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    TINY: [16, 64, 256],
    "JPEG": [3, 5, 10, 20, 30, 40, 50, 70],
    "WebP": [0, 1, 5, 15, 30, 50, 70, 80],
    "AVIF": [5, 15, 25, 35, 45, 55, 65, 70],
}
EFFORTS: dict[str, dict[str, int]] = {"JPEG": {"optimize": True}, "WebP": {"method": 6}, "AVIF": {"speed": 4}}
RIVALS = ("WebP", "AVIF")  # what l8-photo is compared with by BD-rate
RATES = (0.12, 0.25, 0.5)  # bits per pixel of the table of interpolated values

STYLES: dict[str, dict[str, str | float]] = {  # colours of Okabe and Ito, told apart by colour-blind people too
    PHOTO: {"color": "#0072B2", "marker": "o", "linewidth": 2.2, "zorder": 3},
    TINY: {"color": "#56B4E9", "marker": "s"},
    "JPEG": {"color": "#999999", "marker": "v"},
    "WebP": {"color": "#E69F00", "marker": "^"},
    "AVIF": {"color": "#D55E00", "marker": "D"},
}

Measured = dict[str, list[ev.Row]]  # by codec: a row of means for each setting


@dataclass(frozen=True)
class Contender:
    """encode: picture, uint8 [H, W, 3], name of its file and value of the option -> file. decode: file -> picture."""

    name: str
    option: str
    values: Sequence[int]
    encode: Callable[[np.ndarray, str, int], bytes]
    decode: Callable[[bytes], np.ndarray]


def latent8_contender(codec: Codec, values: Sequence[int]) -> Contender:
    option = OPTIONS[codec.model.name]

    def encode(rgb: np.ndarray, stem: str, value: int) -> bytes:
        options: dict[str, Any] = {option: value}
        return codec.encode(rgb, stem=stem, **options)

    def decode(data: bytes) -> np.ndarray:
        return np.asarray(codec.decode(data).convert("RGB"))

    return Contender(codec.model.name, option, values, encode, decode)


def pillow_contender(name: str, values: Sequence[int]) -> Contender:
    def encode(rgb: np.ndarray, stem: str, value: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, name, quality=value, **EFFORTS[name])
        return buffer.getvalue()

    def decode(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    return Contender(name, OPTIONS[name], values, encode, decode)


class Original:
    """A picture that many are compared with: LPIPS looks at it once."""

    @torch.inference_mode()
    def __init__(self, rgb: np.ndarray, lpips: Mapping[str, LPIPS], with_ssimulacra2: bool = False):
        self.rgb, self.lpips, self.with_ssimulacra2 = rgb, lpips, with_ssimulacra2
        self.features = {name: network.features(ev.unit(rgb, network)) for name, network in lpips.items()}

    @torch.inference_mode()
    def distances(self, decoded: np.ndarray) -> ev.Row:
        row: ev.Row = {
            "psnr_db": psnr(self.rgb, decoded),
            "ssim": ssim(self.rgb, decoded),
            "ms_ssim": ms_ssim(self.rgb, decoded),
        }
        for name, network in self.lpips.items():
            seen = network.features(ev.unit(decoded, network))
            row[name] = network.distance(self.features[name], seen).item()
        if self.with_ssimulacra2:
            row["ssimulacra2"] = ssimulacra2(self.rgb, decoded)
        return row


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA2 of two pictures, uint8 [H, W, 3]: 100 for equal ones, about 70 for high quality, below 0 for poor.

    That of the package of this name, whose blur treats the edges of a picture otherwise than the reference does.
    """
    from ssimulacra2 import compute_ssimulacra2

    files = io.BytesIO(), io.BytesIO()
    for rgb, file in zip((a, b), files, strict=True):
        Image.fromarray(rgb).save(file, "PPM")
    return float(compute_ssimulacra2(*files))


def measure(
    contenders: Sequence[Contender],
    files: Sequence[Path],
    lpips: Mapping[str, LPIPS],
    with_ssimulacra2: bool = False,
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
        original = Original(rgb, lpips, with_ssimulacra2)
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
    perceptual = (name for name in measured[PHOTO][0] if name.startswith(("lpips", "ssimulacra2")))
    return ["psnr_db", "ms_ssim", *perceptual]


def quality_curve(rows: Sequence[ev.Row], column: str) -> Curve:
    """For the BD-rate: MS-SSIM in dB, and LPIPS turned round, as more of it is worse."""
    values = figures(rows, column)
    if column == "ms_ssim":
        values = [decibels(value) for value in values]
    elif column.startswith("lpips"):
        values = [-value for value in values]
    return figures(rows, "bpp"), values


def bd_rates(measured: Measured) -> list[ev.Row]:
    """l8-photo against each rival by each measure; a word in place of the number where there is none."""
    table: list[ev.Row] = []
    for rival in RIVALS:
        for column in judged_by(measured):
            row: ev.Row = {"l8-photo against": rival, "by": column}
            try:
                delta = bd_rate(quality_curve(measured[rival], column), quality_curve(measured[PHOTO], column))
                row |= {"BD-rate": f"{delta.percent:+.1f} %", "over": overlap(column, delta.low, delta.high)}
            except ValueError as error:
                row |= {"BD-rate": "none", "over": str(error)}
            table.append(row)
    return table


def overlap(column: str, low: float, high: float) -> str:
    """The range that a BD-rate is a mean over, in the measure's own values."""
    if column == "ms_ssim":
        low, high = (1 - 10 ** (-value / 10) for value in (low, high))
    elif column.startswith("lpips"):
        low, high = -low, -high
    return f"{ev.shown(column, low)} to {ev.shown(column, high)}"


def at_rates(measured: Measured, rates: Sequence[float] = RATES) -> list[ev.Row]:
    """What each codec reaches at each rate that its settings span."""
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
            style: dict = {"markersize": 4.5, "linewidth": 1.4, **STYLES[name]}
            axes.plot(figures(rows, "bpp"), values, label=name, **style)
        axes.set(xscale="log", xlabel="bits per pixel", title=title(column))
        axes.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        rates = [float(row["bpp"]) for rows in measured.values() for row in rows]
        axes.set_xlim(min(rates) / 1.1, max(rates) * 1.1)
        if column.startswith("lpips"):
            axes.invert_yaxis()
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
    figure.suptitle(f"Means over {n_pictures} pictures; up is better")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def title(column: str) -> str:
    if column.startswith("lpips"):
        return f"LPIPS ({column.removeprefix('lpips_')}), axis turned round"
    return {"psnr_db": "PSNR, dB", "ms_ssim": "MS-SSIM, dB: -10 log10(1 - MS-SSIM)", "ssimulacra2": "SSIMULACRA2"}[
        column
    ]


def conditions(codec: Codec) -> str:
    """What the seconds, and the files of the others, hold for."""
    versions = {"JPEG": features.version("jpg"), "WebP": features.version("webp"), "AVIF": features.version("avif")}
    encoders = ", ".join(
        f"{name} {versions[name]} ({', '.join(f'{k} {int(v)}' for k, v in effort.items())})"
        for name, effort in EFFORTS.items()
    )
    precision = str(codec.network.dtype).removeprefix("torch.")
    where = f"{codec.network.device}, {torch.get_num_threads()} threads, {precision}"
    return f"Encoders of Pillow {Image.__version__}: {encoders}. latent8: {where}."


def median_seconds(measured: Measured) -> str:
    """For each codec, over its settings: one line."""
    parts = []
    for name, rows in measured.items():
        encode, decode = (statistics.median(figures(rows, column)) for column in ("encode_s", "decode_s"))
        parts.append(f"{name} {encode:.3f} and {decode:.3f}")
    return f"Seconds to encode and to decode, medians over the settings: {'; '.join(parts)}."


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of pictures, searched with its subfolders")
    parser.add_argument("--checkpoint", type=Path, help="of training l8-photo: measure it in place of the release")
    parser.add_argument("--limit", type=int, help="take the first so many pictures, for a quick try")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of rd.csv and rd.png")
    for name, default in VALUES.items():
        text = f"each {OPTIONS[name]} (default: {' '.join(map(str, default))})"
        parser.add_argument(f"--{name.lower()}", type=int, nargs="+", default=default, metavar="N", help=text)
    parser.add_argument("--ssimulacra2", action="store_true", help="measure it too: about a second for each file")
    ev.add_shared_arguments(parser)
    args = parser.parse_args(argv)
    values: dict[str, list[int]] = {name: getattr(args, name.lower().replace("-", "_")) for name in VALUES}

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
        contenders += [pillow_contender(name, values[name]) for name in EFFORTS]
        measured, count = measure(contenders, files, ev.load_lpips(args.lpips, photo.network.device), args.ssimulacra2)
    except (OSError, Latent8Error, ValueError) as error:
        parser.error(str(error))
    rows = [row for rows in measured.values() for row in rows]
    ev.write_csv(args.output / "rd.csv", rows)
    plot(measured, count, args.output / "rd.png")
    print(f"Means over {count} pictures. {conditions(photo)}\n\n{ev.markdown(rows)}\n\n{median_seconds(measured)}")
    print(f"\nBits that l8-photo needs for the same quality:\n\n{ev.markdown(bd_rates(measured))}")
    print(f"\nInterpolated at the same size:\n\n{ev.markdown(at_rates(measured))}")


if __name__ == "__main__":
    main()
