"""Crops of pictures beside what l8-photo, AVIF and others make of them in the same number of bytes, as one picture.

    python -m benchmarks.crops wine.jpg:420,200 aitzgorri.jpg:560,330 --bpp 0.2

Each argument is a picture and the left upper corner of the crop, in pixels. The whole picture is encoded: at the
target by latent8, and in at most as many bytes by the others. --realism adds readings of the same blob beside the
default one. Writes docs/crops.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latent8 import Codec, Latent8Error
from latent8.evaluation.baselines import at_most
from latent8.pictures.intake import open_picture

ROOT = Path(__file__).resolve().parents[1]
LABEL_HEIGHT, GAP = 22, 6  # pixels


def panels(codec: Codec, path: Path, bpp: float, realisms: Sequence[float] = ()) -> list[tuple[str, np.ndarray]]:
    """(label, uint8 [H, W, 3]) of the original, latent8 in its readings, and its rivals."""
    rgb = open_picture(path, codec.max_pixels).rgb
    blob = codec.encode(rgb, target_bpp=bpp)
    found = [("original", rgb), (f"{codec.model.name}, {len(blob):,} bytes", np.asarray(codec.decode(blob)))]
    found += [(f"the same, realism {r:g}", np.asarray(codec.decode(blob, realism=r))) for r in realisms]
    for rival in reversed(at_most(len(blob), rgb)):
        label = f"{rival.name}, {rival.n_bytes:,} bytes"
        found.append((label, np.zeros_like(rgb) if rival.image is None else np.asarray(rival.image)))
    return found


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]], side: int) -> Image.Image:
    """Rows of labelled crops, each `side` pixels square."""
    width = len(rows[0]) * (side + GAP) - GAP
    image = Image.new("RGB", (width, len(rows) * (LABEL_HEIGHT + side)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    for row, cells in enumerate(rows):
        for column, (label, crop) in enumerate(cells):
            left, top = column * (side + GAP), row * (LABEL_HEIGHT + side)
            draw.text((left + 2, top + 2), label, "black", font)
            image.paste(Image.fromarray(crop), (left, top + LABEL_HEIGHT))
    return image


def crop_argument(text: str) -> tuple[Path, int, int]:
    path, _, corner = text.rpartition(":")
    left, _, top = corner.partition(",")
    if not (path and left.isdigit() and top.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not PICTURE:LEFT,TOP")
    return Path(path), int(left), int(top)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=crop_argument, nargs="+", metavar="PICTURE:LEFT,TOP")
    parser.add_argument("--bpp", type=float, default=0.2, help="bits per pixel (default: 0.2)")
    parser.add_argument("--side", type=int, default=240, help="of a crop, in pixels (default: 240)")
    parser.add_argument("--realism", type=float, nargs="+", default=[], help="readings to show beside the default one")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "crops.png")
    args = parser.parse_args(argv)
    codec = Codec("l8-photo")
    rows = []
    try:
        for path, left, top in args.crops:
            box = slice(top, top + args.side), slice(left, left + args.side)
            rows.append([(label, pixels[box]) for label, pixels in panels(codec, path, args.bpp, args.realism)])
    except (Latent8Error, ValueError) as error:
        parser.error(str(error))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, args.side).save(args.output, optimize=True)
    print(args.output)


if __name__ == "__main__":
    main()
