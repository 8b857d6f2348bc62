"""Pages of text: what flat colours in a blob change, and WebP and AVIF in the same number of bytes.

    python -m benchmarks.pages [PICTURE ...] --quality 10 50 80

Without pictures it draws six pages of black text on white. For each quality it prints means over them: bits per pixel
of the whole file; PSNR, 99 dB for a page that comes back exactly; and the mean absolute error near text, in units of
1/255: within 32 pixels of what is not of the page's most frequent colour, and outside of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from latent8 import Codec, inspect
from latent8.evaluation.baselines import Search, saved
from latent8.evaluation.comparison import MAX_PSNR
from latent8.evaluation.metrics import psnr
from latent8.file_format.extension import FLAT
from latent8.pictures.flat_colours import filling_colours
from latent8.pictures.intake import Picture, open_picture

WORDS = (Path(__file__).resolve().parents[1] / "LICENSE").read_text(encoding="utf-8").split()
SIZES = (12, 16, 22)  # of letters, in pixels
Figures = tuple[float, float, float]  # bits per pixel, PSNR in dB, error near text


def page(number: int, width: int = 768, height: int = 512) -> np.ndarray:
    """Five words of LICENSE a line, in Pillow's own font, with a gap now and then: uint8 [height, width, 3]."""
    rng, image = np.random.default_rng(number), Image.new("RGB", (width, height), "white")
    draw, size, top = ImageDraw.Draw(image), SIZES[number % len(SIZES)], 20
    font, word = ImageFont.load_default(size), int(rng.integers(len(WORDS)))
    while top < height - 22:
        draw.text((30, top), " ".join(WORDS[(word + i) % len(WORDS)] for i in range(5)), "black", font)
        word, top = word + 5, top + int(size * 1.6) + 60 * int(rng.random() < 0.15)
    return np.asarray(image)


def near_text(rgb: np.ndarray) -> np.ndarray:
    """bool [H, W]: where the error is measured. Raises ValueError for a picture without a plain ground."""
    colours = filling_colours(Picture(rgb))
    if not colours:
        raise ValueError("a picture has no colour that fills a twentieth of it: it is no page")
    ink = Image.fromarray(np.uint8(255) * (rgb != np.array(colours[0], np.uint8)).any(axis=2))
    near, text = (np.asarray(ink.filter(ImageFilter.MaxFilter(side))) > 0 for side in (65, 3))
    return near & ~text


def figures(rgb: np.ndarray, back: np.ndarray, n_bytes: int) -> Figures:
    error = np.abs(back.astype(int) - rgb).mean(axis=2)[near_text(rgb)].mean()
    return 8 * n_bytes / (rgb.shape[0] * rgb.shape[1]), min(psnr(rgb, back), MAX_PSNR), float(error)


def rows(codec: Codec, rgb: np.ndarray, quality: int, realism: float | None) -> dict[str, Figures]:
    blob = codec.encode(rgb, quality=quality)
    encoded = inspect(blob)
    plain = replace(encoded, chunks=tuple(chunk for chunk in encoded.chunks if chunk[0] != FLAT)).to_bytes()
    files = {"without flat colours": plain, "with": blob}
    found = {
        f"{codec.model.name} {quality}, {name}": figures(
            rgb, np.asarray(codec.decode(file, realism=realism)), len(file)
        )
        for name, file in files.items()
    }
    for rival in ("AVIF", "WebP"):
        search = Search(rival, rgb, len(blob))
        for _ in search.steps():
            pass
        file = search.file or saved(Image.fromarray(rgb), rival, 0)  # the smallest, where none is small enough
        found[f"{rival} in as many bytes"] = figures(rgb, open_picture(file, rgb.size).rgb, len(file))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--quality", nargs="+", type=int, default=[10, 50, 80])
    parser.add_argument("--realism", type=float, help="of the reading; by default the model's own")
    args = parser.parse_args(argv)
    codec = Codec("l8-photo", "cpu")
    pages = [open_picture(path, codec.max_pixels).rgb for path in args.pictures] or [page(n) for n in range(6)]
    print("| | bits per pixel | PSNR dB | error near text |\n|---|---|---|---|")
    for quality in args.quality:
        each = [rows(codec, rgb, quality, args.realism) for rgb in pages]
        for name in each[0]:
            bpp, decibels, error = np.mean([found[name] for found in each], axis=0)
            print(f"| {name} | {bpp:.3f} | {decibels:.2f} | {error:.2f} |")


if __name__ == "__main__":
    main()
