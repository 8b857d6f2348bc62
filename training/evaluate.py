"""What a model reaches on a folder of pictures, or one, through real .l8 files: bytes, quality, what latents are like.

    python -m training.evaluate PICTURES --lpips alexnet.npz vgg16.npz
    python -m training.evaluate PICTURES --model l8-photo --quality 30 --checkpoint runs/photo/checkpoint.pt
    python -m training.evaluate PICTURES --model runs/vae --size 128
    python -m training.evaluate PICTURE.jpg --model runs/vq --out stages.png

The model is one of latent8's, the folder of a training, or a folder that was exported. With --size pictures are cut to
their middle square and shrunk to it. A .l8 counts whole, its header, file name and checksum included; payload_bpp is
that of the latents alone. mae and mse are in units of 1/255, those of `unit` for pictures in [0, 1], those of `signed`
for pictures in [-1, 1]; kl_nats is that of an AutoencoderKL for each latent. Means are means of each picture's own
figure; the perplexity below the table is that of the codes of all pictures.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latent8 import Codec, Latent8Error, PictureError
from latent8.evaluation.metrics import mae, mse, psnr, ssim
from latent8.exchange import convert
from latent8.file_format.blob import Encoded
from latent8.zoo.own_models import own_model
from latent8.zoo.registry import DEFAULT_MODEL, model_named, models
from latent8.zoo.settings import Settings
from training import views
from training.export import TRAINED, checkpoint_in, export_as, model_in
from training.lpips import LPIPS, SMALLEST
from training.photos import photo_files
from training.task import TrainingError
from training.vq import perplexity

Row = dict[str, str | float]

# How many decimals each column is shown with; LPIPS columns are named after their weights, see load_lpips.
DECIMALS = {
    "bytes": 0,
    "png_bytes": 0,
    "bpp": 3,
    "l8_to_png": 3,
    "psnr_db": 2,
    "ssim": 4,
    "ms_ssim": 4,
    "mae": 2,
    "mse": 1,
    "payload_bpp": 3,
    "mae_unit": 4,
    "mse_unit": 5,
    "mae_signed": 4,
    "mse_signed": 5,
    "kl_nats": 3,
    "codes_used": 0,
    "ssimulacra2": 1,
    "dists": 4,
    "encode_s": 3,
    "decode_s": 3,
}
LPIPS_DECIMALS = 4
MOST_ROWS = 60  # rows of a table; for more pictures only the means are shown, and --csv has each


def checkpoint_codec(checkpoint: Path, model: str, device: str | None = None, photos: Path | None = None) -> Codec:
    """A model with the weights of a training checkpoint, exported as they would be for a release.

    For l8-photo, its probability tables are counted from `photos`; without them blobs are larger.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps loaded files open
        export_as(model, checkpoint, Path(folder), photos)
        return Codec(replace(model_named(model), source=str(Path(folder).resolve())), device)


def chosen_codec(args: argparse.Namespace) -> Codec:
    """Codec of a registered model, or of the folder of a training or an export. Raises Latent8Error and so on."""
    if args.checkpoint:
        return checkpoint_codec(args.checkpoint, args.model, args.device, args.photos)
    place = Path(args.model)
    if args.model in {model.name for model in models()} or not place.exists():
        return Codec(args.model, args.device)
    if (place / "config.json").is_file():
        return Codec(own_model(place), args.device)
    checkpoint = checkpoint_in(place)
    trained = model_in(checkpoint) or "l8-tiny"
    if trained in TRAINED:
        return checkpoint_codec(checkpoint, trained, args.device, args.photos)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        export_as(trained, checkpoint, Path(folder))
        return Codec(replace(own_model(folder), name=place.name), args.device)


def load_lpips(weights: Iterable[Path], device: torch.device | str = "cpu") -> dict[str, LPIPS]:
    """Weights files -> column names ("lpips_alexnet" for alexnet.npz) and networks."""
    return {f"lpips_{path.stem}": LPIPS(path).to(device) for path in weights}


@torch.inference_mode()
def distances(original: np.ndarray, decoded: np.ndarray, lpips: dict[str, LPIPS]) -> Row:
    """Two pictures, uint8 [H, W, 3] -> PSNR in dB, SSIM, MAE and MSE in units of 1/255, LPIPS for each network."""
    row: Row = {
        "psnr_db": psnr(original, decoded),
        "ssim": ssim(original, decoded),
        "mae": mae(original, decoded),
        "mse": mse(original, decoded),
    }
    for name, network in lpips.items():
        row[name] = network(unit(original, network), unit(decoded, network)).item()
    return row


def unit(picture: np.ndarray, network: torch.nn.Module) -> torch.Tensor:
    """uint8 [H, W, 3] -> [1, 3, H, W] in [0, 1], where the network is. Raises PictureError for one too small."""
    if isinstance(network, LPIPS) and min(picture.shape[:2]) < SMALLEST:
        height, width = picture.shape[:2]
        raise PictureError(f"It is {width} x {height}, and LPIPS needs at least {SMALLEST} pixels a side.")
    pixels = torch.tensor(picture, device=next(network.buffers()).device)  # a copy: NumPy's may be read-only
    return pixels.permute(2, 0, 1)[None].float() / 255


@dataclass
class Found:
    """Figures of one picture; what they are of; how often each code is used, [256], where there are codes."""

    row: Row
    strip: Callable[[], Image.Image]
    codes: np.ndarray | None


def evaluate_picture(
    codec: Codec, path: Path, settings: Settings, lpips: dict[str, LPIPS], size: int | None = None
) -> Found:
    """One picture to a blob and back. Raises Latent8Error for one that cannot be read or is too large."""
    original = views.fitted(path, size, codec.max_pixels)
    source = path if size is None else original  # a path leaves its name in the blob
    blob = codec.encode(source, quality=settings.quality, levels=settings.levels)
    encoded = Encoded.parse(blob)
    row: Row = {"picture": path.name, "bytes": len(blob), "bpp": bits_per_pixel(len(blob), original)}
    row["payload_bpp"] = bits_per_pixel(len(encoded.payload), original)
    if codec.model.channels == 4 and not codec.model.own:  # others do not fit into a picture, or it cannot name them
        png_bytes = len(convert(blob, "png"))
        row |= {"png_bytes": png_bytes, "l8_to_png": len(blob) / png_bytes}
    decoded = np.asarray(codec.decode(encoded).convert("RGB"))
    row |= distances(original, decoded, lpips)
    absolute, squared = float(row["mae"]) / 255, float(row["mse"]) / 255**2
    row |= {"mae_unit": absolute, "mse_unit": squared, "mae_signed": 2 * absolute, "mse_signed": 4 * squared}
    divergence = views.kl_nats(codec, original)
    if divergence is not None:
        row["kl_nats"] = divergence
    codes = views.code_counts(codec, encoded)
    if codes is not None:
        row["codes_used"] = int((codes > 0).sum())
    return Found(row, lambda: views.strip(codec, original, encoded, decoded), codes)


def evaluate(
    codec: Codec, files: Iterable[Path], settings: Settings, lpips: dict[str, LPIPS], size: int | None = None
) -> list[Found]:
    """Figures of each picture; pictures that cannot be read are named on standard error and left out."""
    rows = []
    for path in files:
        try:
            rows.append(evaluate_picture(codec, path, settings, lpips, size))
        except Latent8Error as error:
            print(f"left out {path.name}: {error}", file=sys.stderr)
    return rows


def bits_per_pixel(n_bytes: int, picture: np.ndarray) -> float:
    """Bits per pixel of a file of `n_bytes` bytes for a picture [H, W, 3]."""
    return 8 * n_bytes / (picture.shape[0] * picture.shape[1])


def means(rows: Sequence[Row]) -> Row:
    """Mean of each column of numbers; columns of text are left out."""
    numbers = [name for name, value in rows[0].items() if not isinstance(value, str)]
    return {name: float(np.mean([row[name] for row in rows])) for name in numbers}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Numbers with six significant digits; a row may lack columns that another has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns(rows))
        writer.writeheader()
        for row in rows:
            writer.writerow({name: value if isinstance(value, str) else f"{value:.6g}" for name, value in row.items()})


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table: text to the left, numbers to the right."""
    names = columns(rows)
    is_text = {name: any(isinstance(row.get(name), str) for row in rows) for name in names}
    rule = ["---" if is_text[name] else "---:" for name in names]
    body = [[shown(name, row.get(name, "")) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, rule, *body))


def shown(column: str, value: str | float) -> str:
    """A value in the form that tables show."""
    decimals = LPIPS_DECIMALS if column.startswith("lpips") else DECIMALS.get(column, 2)
    return value if isinstance(value, str) else f"{value:.{decimals}f}"


def columns(rows: Sequence[Row]) -> list[str]:
    """Names of all columns, in the order in which rows have them."""
    return list(dict.fromkeys(name for row in rows for name in row))


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    text = "with --checkpoint of l8-photo: count the entropy tables from this folder's symbols, as for a release"
    parser.add_argument("--photos", type=Path, help=text)
    parser.add_argument("--lpips", type=Path, nargs="+", default=[], help="weights from training.lpips_weights")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of pictures, searched with its subfolders; or one picture")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a name, a run's folder, or an exported folder")
    parser.add_argument("--size", type=int, help="pixels: take the middle square of each picture, shrunk to this")
    parser.add_argument("--out", type=Path, help="of one picture: original, latents and reconstruction as a picture")
    parser.add_argument("--checkpoint", type=Path, help="of training the --model: measure it in place of the release")
    parser.add_argument("--quality", type=int, help="1 to 100, for l8-photo (default: 50)")
    parser.add_argument("--levels", type=int, help="of the quantiser, 16 to 256, for the others (default: 256)")
    parser.add_argument("--csv", type=Path, help="write the figures of each picture here")
    add_shared_arguments(parser)
    args = parser.parse_args(argv)
    if args.checkpoint and args.model not in TRAINED:
        parser.error(f"--checkpoint is for {' or '.join(TRAINED)}, not {args.model}")
    settings = Settings(quality=args.quality, levels=args.levels)
    if args.size is not None and not 1 <= args.size <= 4096:
        parser.error(f"--size must be from 1 to 4096, not {args.size}")
    if args.lpips and args.size is not None and args.size < SMALLEST:
        parser.error(f"--lpips needs a --size of at least {SMALLEST}, not {args.size}")
    if args.out and not args.pictures.is_file():
        parser.error(f"--out is for one picture, and {args.pictures} is none: give its file")
    known = {model.name: model for model in models()}
    try:
        if args.model in known:  # before anything is loaded
            settings.check(known[args.model])
        files = [args.pictures] if args.pictures.is_file() else photo_files(args.pictures)
        codec = chosen_codec(args)
        settings.check(codec.model)
        found = evaluate(codec, files, settings, load_lpips(args.lpips, codec.network.device), args.size)
        if found and args.out:
            found[0].strip().save(args.out)
    except (OSError, Latent8Error, TrainingError) as error:
        parser.error(str(error))
    except ValueError as error:
        parser.error(f"--{error}")  # of the settings, which begins with the name of the option
    if not found:
        parser.error("none of the pictures could be read")
    rows = [one.row for one in found]
    if args.csv:
        write_csv(args.csv, rows)
    shown = rows if len(rows) <= MOST_ROWS else []
    print(markdown([*shown, {"picture": f"mean of {len(rows)}", **means(rows)}]))
    counts = [one.codes for one in found if one.codes is not None]
    if counts:
        print(f"perplexity of the codes of all: {perplexity(torch.from_numpy(np.sum(counts, axis=0))):.1f}")


if __name__ == "__main__":
    main()
