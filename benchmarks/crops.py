"""Crops of pictures beside what l8-photo, AVIF and JPEG XL make of them in the same number of bytes, for eyes.

    python -m benchmarks.crops KODAK --bpp 0.2 0.1 0.4 --others FOLDER

KODAK is the folder of the Kodak pictures: of them and of a bundled photo the crops that CROPS names are taken. Crops of
other pictures are PICTURE:LEFT,TOP each, the left upper corner in pixels. The whole picture is encoded: at the target
by latent8, whose blob is decoded at each realism, and in as many bytes as that by the others, as near as their steps of
quality allow, with the efforts of benchmarks.rd; what cannot go that low is shown at its least, and labelled so. Writes
docs/crops.png for the first rate, and crops-RATE.png in the folder of the others for each further one. Needs
pillow-jxl-plugin, unless --rivals leaves JPEG XL out.
"""

from __future__ import annotations

import argparse
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.contenders import EFFORTS, JPEG_XL, has_jpeg_xl, pillow_contender
from latent8 import Codec, Latent8Error
from latent8.errors import TooFewBytesError
from latent8.pictures.intake import open_picture

ROOT = Path(__file__).resolve().parents[1]
SUNSET = ROOT / "spaces" / "encoder" / "examples" / "sunset.jpg"
# Left upper corners: a face, skin and paint, leaves, text, water, a sky at dusk
CROPS: dict[str, tuple[int, int]] = {
    "kodim04.png": (190, 320),
    "kodim15.png": (380, 120),
    "kodim13.png": (60, 190),
    "kodim14.png": (500, 290),
    "kodim06.png": (150, 330),
    str(SUNSET): (40, 240),
}
QUALITIES = range(81)  # of rivals; 80 needs over 1.2 bits per pixel
LINE, GAP = 16, 6  # of a label, and between crops; pixels


@dataclass(frozen=True)
class Panel:
    """What is under two lines of label. pixels: uint8 [H, W, 3]."""

    name: str
    note: str
    pixels: np.ndarray


class Rival:
    """Another codec's files of one picture, each quality encoded once."""

    def __init__(self, name: str, rgb: np.ndarray):
        self.name, self.contender = name, pillow_contender(name, [])
        self.file = cache(lambda quality: self.contender.encode(rgb, "", quality))

    def nearest(self, n_bytes: int) -> bytes:
        """The file whose size is nearest to so many bytes."""
        above = bisect_right(QUALITIES, n_bytes, key=lambda quality: len(self.file(quality)))
        beside = [self.file(quality) for quality in (above - 1, above) if quality in QUALITIES]
        return min(beside, key=lambda file: abs(len(file) - n_bytes))


def panels(
    codec: Codec, rgb: np.ndarray, rivals: Sequence[Rival], bpp: float, realisms: Sequence[float]
) -> list[Panel]:
    """Readings of one blob, and rivals in as many bytes; a codec that cannot go that low is at its least."""
    limit = int(bpp * rgb.shape[0] * rgb.shape[1] / 8)
    try:
        blob = codec.encode(rgb, target_bytes=limit)
    except TooFewBytesError:
        blob = codec.encode(rgb, quality=1)
    note = size(blob, rgb, len(blob) > limit)
    found = [
        Panel(f"{codec.model.name}, realism {realism:g}", note, np.asarray(codec.decode(blob, realism=realism)))
        for realism in realisms
    ]
    for rival in rivals:
        data = rival.nearest(len(blob))
        is_least = len(data) > len(blob) and data == rival.file(QUALITIES[0])
        found.append(Panel(rival.name, size(data, rgb, is_least), rival.contender.decode(data)))
    return found


def size(data: bytes, rgb: np.ndarray, is_least: bool) -> str:
    bpp = f"{8 * len(data) / (rgb.shape[0] * rgb.shape[1]):.3f} bpp"
    return f"{bpp}, its least" if is_least else f"{len(data):,} bytes, {bpp}"


def cut(panel: Panel, left: int, top: int, side: int) -> Panel:
    height, width = panel.pixels.shape[:2]
    if left + side > width or top + side > height:
        raise ValueError(f"{side} pixels from {left},{top} go beyond {panel.note}, which has {width} x {height}.")
    return replace(panel, pixels=panel.pixels[top : top + side, left : left + side])


def sheet(rows: Sequence[Sequence[Panel]], side: int) -> Image.Image:
    """Rows of labelled crops, each `side` pixels square."""
    height = 2 * LINE + side + GAP
    image = Image.new("RGB", (len(rows[0]) * (side + GAP) - GAP, len(rows) * height - GAP), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for row, cells in enumerate(rows):
        for column, panel in enumerate(cells):
            left, top = column * (side + GAP), row * height
            draw.text((left + 2, top), panel.name, "black", font)
            draw.text((left + 2, top + LINE), panel.note, "#555555", font)
            image.paste(Image.fromarray(panel.pixels), (left, top + 2 * LINE))
    return image


def crop_argument(text: str) -> list[tuple[Path, int, int]]:
    if (folder := Path(text)).is_dir():
        return [(folder / name, left, top) for name, (left, top) in CROPS.items()]
    path, _, corner = text.rpartition(":")
    left, _, top = corner.partition(",")
    if not (path and left.isdigit() and top.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a folder nor PICTURE:LEFT,TOP")
    return [(Path(path), int(left), int(top))]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=crop_argument, nargs="+", metavar="KODAK|PICTURE:LEFT,TOP")
    parser.add_argument("--bpp", type=float, nargs="+", default=[0.2], help="bits per pixel (default: 0.2)")
    parser.add_argument("--side", type=int, default=160, help="of a crop, in pixels (default: 160)")
    parser.add_argument("--realism", type=float, nargs="+", default=[0.0, 1.0], help="readings to show (default: 0 1)")
    text = 'codecs to show beside them (default: AVIF "JPEG XL")'
    parser.add_argument("--rivals", nargs="*", choices=EFFORTS, default=["AVIF", JPEG_XL], help=text)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "crops.png", help="of the first rate")
    parser.add_argument("--others", type=Path, metavar="FOLDER", help="for the sheets of further rates")
    args = parser.parse_args(argv)
    if len(args.bpp) > 1 and not args.others:
        parser.error("several rates need --others, a folder for all but the first.")
    if JPEG_XL in args.rivals and not has_jpeg_xl():
        parser.error("JPEG XL needs a package: pip install pillow-jxl-plugin==1.3.8; or leave it out: --rivals AVIF")
    codec, crops = Codec("l8-photo"), [crop for found in args.crops for crop in found]
    rows: dict[float, list[list[Panel]]] = {bpp: [] for bpp in args.bpp}
    outputs = [args.output, *(args.others / f"crops-{bpp:g}.png" for bpp in list(rows)[1:])]
    try:
        for path, left, top in crops:
            rgb = open_picture(path, codec.max_pixels).rgb
            rivals = [Rival(name, rgb) for name in args.rivals]
            for bpp in rows:
                whole = [Panel("original", path.name, rgb), *panels(codec, rgb, rivals, bpp, args.realism)]
                rows[bpp].append([cut(panel, left, top, args.side) for panel in whole])
    except (Latent8Error, OSError, ValueError) as error:
        parser.error(str(error))
    for bpp, output in zip(rows, outputs, strict=True):
        output.parent.mkdir(parents=True, exist_ok=True)
        sheet(rows[bpp], args.side).save(output, optimize=True)
        print(output)


if __name__ == "__main__":
    main()
