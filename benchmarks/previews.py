"""Previews of about a kilobyte: a vector-quantised model beside l8-photo, WebP and AVIF at the same bytes.

    python -m benchmarks.previews PICTURES --model runs/previews --vgg16 vgg16.npz --dists dists.npz

Each picture is cut to its middle square at --size. The blob of the model sets how many bytes the others may have. They
may also be of a smaller picture that is enlarged again, by 2, 4 or 8: of these each judge takes the one that it likes
best, at the highest quality that fits. Prints the means of LPIPS (VGG16), DISTS and bytes, and how often the model is
the best of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.contenders import PHOTO, Contender, latent8_contender, pillow_contender
from benchmarks.judges import Judges, Original
from latent8 import Codec
from training import evaluate as ev
from training import views
from training.dists import DISTS
from training.ms_ssim import MIN_SIDE
from training.photos import photo_files

SHRINK = (1, 2, 4, 8)
QUALITIES = range(1, 101)


def largest_that_fits(contender: Contender, rgb: np.ndarray, n_bytes: int) -> bytes | None:
    """The file of the highest quality in so many bytes, by bisection; None where the lowest takes more."""
    best, low, high = None, 0, len(contender.values)
    while low < high:
        middle = (low + high) // 2
        file = contender.encode(rgb, "", contender.values[middle])
        if len(file) <= n_bytes:
            best, low = file, middle + 1
        else:
            high = middle
    return best


def previews(contender: Contender, rgb: np.ndarray, n_bytes: int) -> Iterator[tuple[np.ndarray, int]]:
    """What a codec makes of a picture, uint8 [S, S, 3], in so many bytes, for each size that can be: picture, bytes."""
    side = len(rgb)
    for factor in SHRINK:
        small = Image.fromarray(rgb).resize((side // factor, side // factor), Image.Resampling.LANCZOS)
        file = largest_that_fits(contender, np.asarray(small), n_bytes)
        if file is not None:
            decoded = Image.fromarray(contender.decode(file)).resize((side, side), Image.Resampling.BICUBIC)
            yield np.asarray(decoded), len(file)


def measure(model: Codec, rivals: list[Contender], rgb: np.ndarray, judges: Judges, names: list[str]) -> dict:
    """Rows of one picture, by codec: the best figure of each judge, and the bytes of the largest file."""
    original = Original(rgb, judges)
    blob = model.encode(rgb)
    rows = {model.model.name: {"bytes": len(blob), **original.distances(np.asarray(model.decode(blob)))}}
    for rival in rivals:
        found = [(original.distances(picture), size) for picture, size in previews(rival, rgb, len(blob))]
        if found:
            best = {name: min(figures[name] for figures, _ in found) for name in names}
            rows[rival.name] = {"bytes": max(size for _, size in found), **best}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", required=True, help="a run's folder, or an exported folder, of a vq")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--vgg16", type=Path, required=True, help="weights from training.lpips_weights")
    parser.add_argument("--dists", type=Path, required=True, help="weights from training.dists")
    parser.set_defaults(checkpoint=None, device="cpu", photos=None)
    args = parser.parse_args()
    if args.size < MIN_SIDE:
        parser.error(f"--size must be at least {MIN_SIDE}, not {args.size}")
    judges = Judges(ev.load_lpips([args.vgg16], "cpu"), DISTS(args.vgg16, args.dists))
    names = [*judges.lpips, "dists"]
    model = ev.chosen_codec(args)
    rivals = [latent8_contender(Codec(PHOTO, "cpu"), QUALITIES)]
    rivals += [pillow_contender(name, QUALITIES) for name in ("WebP", "AVIF")]
    table: dict[str, list[ev.Row]] = {}
    wins = dict.fromkeys(names, 0)
    files = photo_files(args.pictures)
    for path in files:
        rows = measure(model, rivals, views.fitted(path, args.size, model.max_pixels), judges, names)
        for name, row in rows.items():
            table.setdefault(name, []).append(row)
        for name in names:
            wins[name] += min(rows, key=lambda codec: rows[codec][name]) == model.model.name
    means = [
        {"codec": codec, "pictures": str(len(rows)), **{n: ev.means(rows)[n] for n in ("bytes", *names)}}
        for codec, rows in table.items()
    ]
    print(ev.markdown(means))
    print(", ".join(f"{model.model.name} is best of {wins[name]} of {len(files)} by {name}" for name in names))


if __name__ == "__main__":
    main()
