"""l8-tiny beside JPEG, WebP and AVIF on the 24 Kodak pictures: bits per pixel against PSNR, SSIM and LPIPS.

    python benchmarks/kodak.py KODAK_FOLDER --lpips alexnet.npz vgg16.npz

All of it is measured in this run, from whole files. Means are means of each picture's own figure. Writes
docs/kodak.csv and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for `training`, which is not installed

from latent8 import Codec, Latent8Error  # noqa: E402
from latent8.pictures import open_picture  # noqa: E402
from training import evaluate as ev  # noqa: E402
from training.lpips import LPIPS  # noqa: E402
from training.photos import photo_files  # noqa: E402

# How hard each encoder of Pillow tries, and qualities that span the range of l8-tiny's file sizes and beyond.
OPTIONS: dict[str, dict[str, int]] = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}, "AVIF": {"speed": 4}}
QUALITIES = {"JPEG": [10, 20, 30, 40], "WEBP": [5, 15, 30, 50], "AVIF": [15, 25, 35, 45, 55]}
LEVELS = [256, 128, 64, 32, 16]
COMPARED = {"bpp": "bpp", "psnr_db": "psnr_db", "lpips_alexnet": "lpips_alex"}  # our columns and those of --anchors


def anchor_picture(rgb: np.ndarray, codec: str, quality: int, lpips: dict[str, LPIPS]) -> ev.Row:
    """uint8 [H, W, 3] through Pillow's JPEG, WEBP or AVIF and back."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, codec, quality=quality, **OPTIONS[codec])
    decoded = np.asarray(Image.open(buffer).convert("RGB"))
    return {"bpp": ev.bits_per_pixel(buffer.tell(), rgb), **ev.distances(rgb, decoded, lpips)}


def anchor_rows(files: Sequence[Path], settings: dict[str, list[int]], lpips: dict[str, LPIPS]) -> list[ev.Row]:
    """One row of means for each codec and quality."""
    pictures = [open_picture(path, max_pixels=1 << 30).rgb for path in files]
    rows = []
    for codec, qualities in settings.items():
        for quality in qualities:
            means = ev.means([anchor_picture(rgb, codec, quality, lpips) for rgb in pictures])
            rows.append(_told({"codec": codec, "setting": f"quality {quality}", **means}))
    return rows


def l8_rows(codec: Codec, files: Sequence[Path], levels: Sequence[int], lpips: dict[str, LPIPS]) -> list[ev.Row]:
    """One row of means for each number of levels; l8_to_png: bytes of the .l8 over those of its latents as PNG."""
    rows = []
    for n in levels:
        means = ev.means(ev.evaluate(codec, files, n, lpips))
        del means["bytes"], means["png_bytes"]
        rows.append(_told({"codec": codec.model.name, "setting": f"{n} levels", **means}))
    return rows


def _told(row: ev.Row) -> ev.Row:
    print(*(f"{name} {ev.shown(name, value)}" for name, value in row.items()), sep="  ", file=sys.stderr, flush=True)
    return row


def largest_deviations(rows: Sequence[ev.Row], anchors: Sequence[dict[str, str]]) -> dict[str, float]:
    """How far this run's anchors are from earlier figures, by column."""
    ours = {(row["codec"], row["setting"]): row for row in rows}
    pairs = [(ours[anchor["codec"], f"quality {anchor['quality']}"], anchor) for anchor in anchors]
    return {
        name: max(abs(float(row[name]) - float(anchor[theirs])) for row, anchor in pairs)
        for name, theirs in COMPARED.items()
        if name in rows[0] and theirs in anchors[0]
    }


def read_anchors(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def settings_of(anchors: Sequence[dict[str, str]]) -> dict[str, list[int]]:
    """Codec and quality columns -> the qualities of each codec."""
    settings: dict[str, list[int]] = {}
    for anchor in anchors:
        settings.setdefault(anchor["codec"], []).append(int(anchor["quality"]))
    return settings


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the Kodak pictures, kodim01.png to kodim24.png")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, help="of the quantiser, 16 to 256")
    parser.add_argument(
        "--anchors", type=Path, help="earlier figures (CSV: codec, quality, ...), to repeat and compare"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "kodak.csv")
    ev.add_codec_arguments(parser)
    args = parser.parse_args(argv)

    try:
        files, codec = photo_files(args.folder), ev.codec_of(args)
        lpips = ev.load_lpips(args.lpips, codec.network.device)
        anchors = read_anchors(args.anchors) if args.anchors else []
    except (OSError, Latent8Error) as error:
        parser.error(str(error))
    measured = anchor_rows(files, settings_of(anchors) if anchors else QUALITIES, lpips)
    rows = l8_rows(codec, files, args.levels, lpips) + measured
    ev.write_csv(args.output, rows)
    print(f"Means over {len(files)} pictures.\n\n{ev.markdown(rows)}")
    if anchors:
        differences = largest_deviations(measured, anchors).items()
        print(f"\nLargest deviation from {args.anchors.name}: {', '.join(f'{n} {d:.4f}' for n, d in differences)}.")


if __name__ == "__main__":
    main()
