"""l8-photo beside curves that others have published for the 24 Kodak pictures, by BD-rate.

    python -m benchmarks.published docs/rd.csv

Takes what benchmarks.rd has measured, on Kodak too, and benchmarks/published.csv, which names the source of each curve.
Those are means over the same pictures, taken by their authors with their own tools: MS-SSIM may be of other channels,
and bits may be estimates in place of files' bytes. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import PHOTO
from benchmarks.rd import needs
from training import evaluate as ev

PUBLISHED = Path(__file__).with_name("published.csv")
JUDGES = ("psnr_db", "ms_ssim", "lpips_alexnet", "dists")


def curves(path: Path) -> dict[str, list[ev.Row]]:
    """Rows of a CSV by codec, the smallest rate first; numbers as numbers, empty fields left out."""
    found: dict[str, list[ev.Row]] = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            row: ev.Row = {name: float(line[name]) for name in ("bpp", *JUDGES) if line.get(name)}
            found.setdefault(line["codec"], []).append(row)
    return {codec: sorted(rows, key=lambda row: row["bpp"]) for codec, rows in found.items()}


def against_published(measured: dict[str, list[ev.Row]], published: dict[str, list[ev.Row]]) -> list[ev.Row]:
    """A row for each reading of l8-photo and published curve; "none" for judges that a curve lacks."""
    return [
        {"codec": name, "against": other, **needs(measured[name], published[other], JUDGES)}
        for name in measured
        for other in published
        if name.startswith(PHOTO)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="rd.csv, of the 24 Kodak pictures")
    args = parser.parse_args(argv)
    try:
        measured = curves(args.measured)
    except (OSError, KeyError, ValueError):
        parser.error(f"{args.measured} is no table of benchmarks.rd.")
    print(ev.markdown(against_published(measured, curves(PUBLISHED))))


if __name__ == "__main__":
    main()
