"""The figures of benchmarks/speed.py as Markdown tables, CSV rows and a plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.rd import STYLES
from benchmarks.speed_contenders import REFERENCE
from benchmarks.timing import Times, Timing, speed_up
from training.evaluate import Row

NONE = "–"
USUAL_MEGAPIXELS = 1.0  # the size that stands for others where a table shows one


@dataclass(frozen=True)
class Size:
    """Timings of all contenders, by name, for one picture; decoding: seconds to open it as a JPEG, for each round."""

    megapixels: float
    timings: Mapping[str, Timing]
    decoding: Sequence[float]


@dataclass(frozen=True)
class Floor:
    """Work of one half of a network: FLOP per pixel, and seconds per pixel for the picture of that size."""

    name: str
    half: str
    flops: float
    seconds: float
    megapixels: float


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown: the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def milliseconds(seconds: float, megapixels: float = 1.0) -> str:
    """Per megapixel."""
    return two_digits(1000 * seconds / megapixels)


def two_digits(value: float) -> str:
    """At least two, and no more than needed for that."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def usual_size(sizes: Sequence[Size]) -> Size:
    return min(sizes, key=lambda size: from_usual(size.megapixels))


def from_usual(megapixels: float) -> float:
    """How far a size is from the usual one."""
    return abs(math.log(megapixels / USUAL_MEGAPIXELS))


def one_size(timings: Mapping[str, Timing]) -> str:
    """Milliseconds for one picture, and how many times as fast as the first contender."""
    reference = next(iter(timings.values()))
    rows = []
    for name, timing in timings.items():
        cells = [name]
        for first, own in ((reference.encode, timing.encode), (reference.decode, timing.decode)):
            cells += [milliseconds(own.median), f"{speed_up(first.whole, own.whole):.2f}"]
        rows.append(cells)
    return table(["", "encode, ms", "times as fast", "decode, ms", "times as fast"], rows)


def all_sizes(sizes: Sequence[Size], direction: str) -> str:
    """Milliseconds per megapixel at each size, and in brackets how many times as fast as REFERENCE."""
    usual = usual_size(sizes)
    names = list(dict.fromkeys(name for size in sizes for name in size.timings))
    rows = []
    for name in names:
        cells = [name]
        for size in sizes:
            if name not in size.timings:
                cells.append(NONE)
                continue
            own = getattr(size.timings[name], direction)
            cell = milliseconds(own.median, size.megapixels)
            if REFERENCE in size.timings:
                cell += f" ({two_digits(speed_up(getattr(size.timings[REFERENCE], direction).whole, own.whole))})"
            cells.append(cell)
        n_bytes = usual.timings[name].n_bytes if name in usual.timings else 0
        rows.append([*cells, f"{8 * n_bytes / usual.megapixels / 1e6:.2f}" if n_bytes else NONE])
    columns = [*(f"{s.megapixels:.3g} MP" for s in sizes), f"bpp at {usual.megapixels:.3g} MP"]
    return table([f"{direction}, ms per megapixel", *columns], rows)


def stages(sizes: Sequence[Size]) -> str:
    """Where the time of latent8 goes, in milliseconds per megapixel, from the bytes of a JPEG and back to pixels."""
    rows = []
    for size in sizes:
        for name, timing in size.timings.items():
            if not timing.encode.stages:
                continue
            for direction, decoding in (("encode", statistics.median(size.decoding)), ("decode", 0.0)):
                times: Times = getattr(timing, direction)
                shares = times.shares()
                parts = [shares["network"], shares["entropy coding"], shares["rest"], times.median + decoding]
                cells = [milliseconds(part, size.megapixels) for part in parts]
                first = milliseconds(decoding, size.megapixels) if decoding else NONE
                rows.append([name, direction, f"{size.megapixels:.3g}", first, *cells])
    header = ["ms per megapixel", "", "MP", "image decoding", "network", "entropy coding", "rest", "in all"]
    return table(header, rows)


def floors(found: Sequence[Floor], rate: float) -> str:
    """rate: FLOP per second of a matrix product."""
    rows = []
    for floor in found:
        least = floor.flops / rate
        cells = [f"{floor.flops / 1000:.0f}", milliseconds(least, 1e-6), milliseconds(floor.seconds, 1e-6)]
        rows.append([floor.name, floor.half, *cells, f"{floor.seconds / least:.2f}", f"{floor.megapixels:.3g}"])
    header = [
        "network",
        "half",
        "kFLOP per pixel",
        "floor, ms per MP",
        "measured, ms per MP",
        "times the floor",
        "at MP",
    ]
    return table(header, rows)


def csv_rows(sizes: Sequence[Size]) -> list[Row]:
    """A row for each contender, size and direction; seconds are medians."""
    rows: list[Row] = []
    for size in sizes:
        for name, timing in size.timings.items():
            for direction, times in (("encode", timing.encode), ("decode", timing.decode)):
                row: Row = {
                    "contender": name,
                    "megapixels": size.megapixels,
                    "direction": direction,
                    "rounds": len(times.whole),
                    "bytes": timing.n_bytes,
                    "seconds": times.median,
                }
                if times.stages:
                    row |= {f"{stage}_s".replace(" ", "_"): value for stage, value in times.shares().items()}
                if REFERENCE in size.timings:
                    row["times_as_fast"] = speed_up(getattr(size.timings[REFERENCE], direction).whole, times.whole)
                rows.append(row)
    return rows


def plot(sizes: Sequence[Size], path: Path) -> None:
    """Milliseconds per megapixel against megapixels, faster downwards."""
    figure = Figure(figsize=(11, 5.2), dpi=120, layout="constrained")
    names = list(dict.fromkeys(name for size in sizes for name in size.timings))
    for index, direction in enumerate(("encode", "decode")):
        axes = figure.add_subplot(1, 2, index + 1)
        for name in names:
            points = [
                (s.megapixels, 1000 * getattr(s.timings[name], direction).median / s.megapixels)
                for s in sizes
                if name in s.timings
            ]
            style: dict = {"markersize": 4.5, "linewidth": 1.4, **style_of(name)}
            axes.plot(*zip(*points, strict=True), label=name.split(", quality")[0], **style)
        axes.set(xscale="log", yscale="log", xlabel="megapixels", title=f"{direction}, ms per megapixel")
        axes.set_xticks([size.megapixels for size in sizes])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:.4g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def style_of(name: str) -> dict[str, str | float]:
    """The colours of docs/rd.png; diffusers dashed, taesd's shape in colours of its own."""
    known = next((style for codec, style in STYLES.items() if codec in name), {"color": "#009E73", "marker": "P"})
    return {**known, "linestyle": "--" if name.startswith("diffusers") else "-"}
