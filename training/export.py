"""Checkpoint -> folder that `from_pretrained` loads: config.json, fp16 safetensors.

python -m training.export runs/vae weights/vae
python -m training.export runs/tiny/checkpoint.pt shared/latent8/weights/l8-tiny
python -m training.export runs/photo/checkpoint.pt shared/latent8/weights/l8-photo --model l8-photo

With --model l8-photo --only-synthesis FOLDER, all but the synthesis comes from that folder's weights as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from latent8.l8_photo import layers as hp
from latent8.zoo.registry import model_named
from training.network import LATENT_MAGNITUDE, TINY_CONFIG, TinyAutoencoder
from training.photos import UNREADABLE, open_rgb, photo_files
from training.task import TrainingError

if TYPE_CHECKING:
    from latent8.l8_photo.model import L8Photo

TRAINED = ("l8-tiny", "l8-photo")  # names in the registry
DEFAULT_REALISM = 0.5
AUTOENCODERS = {"vae": "AutoencoderKL", "vq": "VQModel"}  # classes of diffusers, built by what a checkpoint states
PRIOR_WEIGHT = 30.0  # weight of the assumed distribution, in symbols, beside those that were counted
FROM_FOLDER: dict[str, Any] = {  # for from_pretrained
    "use_safetensors": True,
    "local_files_only": True,
    "low_cpu_mem_usage": False,
    "torch_dtype": torch.float32,
}
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def export(checkpoint: Path, folder: Path) -> None:
    """Write the EMA weights of an l8-tiny checkpoint. Raises RuntimeError when they do not fit the architecture."""
    model = TinyAutoencoder()
    model.load_state_dict(ema_weights(checkpoint))
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "_class_name": "AutoencoderTiny",
        "in_channels": 3,
        "out_channels": 3,
        "act_fn": "relu",
        "upsample_fn": "nearest",
        "upsampling_scaling_factor": 2,
        "latent_magnitude": int(LATENT_MAGNITUDE),
        "latent_shift": 0.5,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
        **TINY_CONFIG,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def export_synthesis(checkpoint: Path, folder: Path, bits: Path, realism: float = DEFAULT_REALISM) -> None:
    """Write the EMA synthesis of an l8-photo checkpoint beside all else, unchanged, of the weights in `bits`.

    Blobs do not change by it, and all that were made with `bits` decode. Raises TrainingError where `bits` has none.
    """
    from latent8.l8_photo.model import L8Photo

    model = L8Photo(default_realism=realism)
    model.load_state_dict(photo_model(bits).state_dict(), strict=False)
    new = {name: tensor for name, tensor in ema_weights(checkpoint).items() if name.startswith("synthesis.")}
    _, unexpected = model.load_state_dict(new, strict=False)
    assert not unexpected and set(new) == {name for name in model.state_dict() if name.startswith("synthesis.")}
    model.half().save_pretrained(folder)


def export_photo(
    checkpoint: Path, folder: Path, photos: Path | None = None, limit: int = 120, realism: float = DEFAULT_REALISM
) -> None:
    """Write the EMA weights of an l8-photo checkpoint, with all that decides on probabilities frozen as integers.

    realism: that of a reading where the caller asks for none. With a folder of photos, the probability tables are
    counted from the symbols of up to `limit` photos: the distributions that training assumes are smooth, those of whole
    symbols are not. `folder` is written at the end alone. Raises TrainingError where no photo can be read.
    """
    from latent8.l8_photo.model import ACTIVATION_BITS, MAX_QUALITY, N_BANDS, WEIGHT_BITS, L8Photo, level_of

    files = photo_files(photos) if photos else []
    layers = hp.Hyperprior()
    layers.load_state_dict(ema_weights(checkpoint))
    model = L8Photo(default_realism=realism)
    shared = {name: tensor for name, tensor in layers.state_dict().items() if name in dict(model.named_parameters())}
    missing, _ = model.load_state_dict(shared, strict=False)
    assert set(missing) == set(dict(model.named_buffers())), missing

    levels = torch.tensor([level_of(quality) for quality in range(1, MAX_QUALITY + 1)])
    with torch.no_grad():
        for name, layer, condition in scale_layers(layers):
            model.get_buffer(name).copy_(fixed_point(layer.weight, WEIGHT_BITS, torch.int16))
            bias = layer.bias + condition(levels).flatten(1) if condition else layer.bias
            model.get_buffer(f"{name}_bias").copy_(fixed_point(bias, WEIGHT_BITS + ACTIVATION_BITS, torch.int32))
        assumed = logistic(torch.arange(hp.N_SCALES)).expand(N_BANDS, -1, -1)
        hyper_assumed = logistic(layers.hyper_scale(torch.arange(N_BANDS).float()).flatten(1))
        model.tables.copy_(symmetric_table_counts(assumed))
        model.hyper_tables.copy_(table_counts(hyper_assumed))
    model.half()
    if files:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as uncounted:  # Windows keeps loaded files open
            model.save_pretrained(uncounted)
            found, hyper_found = symbol_statistics(Path(uncounted), files[:: math.ceil(len(files) / limit)])
        model.tables.copy_(symmetric_table_counts(found + PRIOR_WEIGHT * assumed))
        model.hyper_tables.copy_(table_counts(hyper_found + PRIOR_WEIGHT * hyper_assumed))
    model.save_pretrained(folder)


def photo_model(folder: Path) -> L8Photo:
    """A folder of exported weights of l8-photo -> its model. Raises TrainingError for another folder."""
    from latent8.l8_photo.model import L8Photo

    try:
        stated = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        stated = None
    if not isinstance(stated, dict) or stated.get("_class_name") != L8Photo.__name__:
        raise TrainingError(f"{folder} holds no weights of l8-photo: give a folder that they were exported to.")
    return L8Photo.from_pretrained(folder, **FROM_FOLDER)


def scale_layers(layers: hp.Hyperprior) -> list[tuple[str, nn.Conv2d | hp.MaskedConvolution, hp.LevelTable | None]]:
    """Layers that predict scale indices: name in `L8Photo`, layer, and the level table that its bias depends on."""
    scale = layers.scale
    found: list[tuple[str, nn.Conv2d | hp.MaskedConvolution, hp.LevelTable | None]] = [
        ("scale_first", scale.first, scale.condition),
        ("scale_second", scale.second, None),
        ("scale_third", scale.third, None),
    ]
    for number, context in enumerate(layers.scale_contexts):
        assert isinstance(context, hp.Context)
        found += [
            (f"scale_context_{number}_first", context.first, context.condition),
            (f"scale_context_{number}_second", context.second, None),
        ]
    return found


def symbol_statistics(folder: Path, files: list[Path]) -> tuple[Tensor, Tensor]:
    """Counts of each symbol under each table, over the qualities of each band, in the order of `L8Photo`'s tables.

    Files that cannot be read are named on standard error and left out. Raises TrainingError when nothing is left.
    """
    from latent8 import Codec
    from latent8.l8_photo.model import MAX_QUALITY, N_BANDS, band_of

    codec = Codec(replace(model_named("l8-photo"), source=str(folder.resolve())))
    n_symbols = 2 * hp.MAX_SYMBOL + 1
    counts = np.zeros((N_BANDS * (hp.N_HYPER + hp.N_SCALES), n_symbols))
    qualities: list[list[int]] = [[] for _ in range(N_BANDS)]
    for quality in range(1, MAX_QUALITY + 1):
        qualities[band_of(quality)].append(quality)
    number = 0
    for path in files:
        try:
            photo = open_rgb(path)
        except UNREADABLE as error:
            print(f"left out {path.name}: {error}", file=sys.stderr)
            continue
        photo = photo.resize((max(64, photo.width * 2 // 3), max(64, photo.height * 2 // 3)), Image.Resampling.LANCZOS)
        photo = photo.crop((0, 0, min(photo.width, 1024) // 16 * 16, min(photo.height, 1024) // 16 * 16))
        y = codec.network.encode_pixels(np.asarray(photo))
        for band in qualities:
            for symbols, tables in codec.network.entropy_model.symbols_and_tables(y, band[number % len(band)]):
                places = tables.astype(np.int64) * n_symbols + symbols + hp.MAX_SYMBOL
                counts += np.bincount(places.ravel(), minlength=counts.size).reshape(counts.shape)
        number += 1
    if not number:
        raise TrainingError("None of the photos can be read that the tables should be counted from.")
    hyper, own = np.split(counts, [N_BANDS * hp.N_HYPER])
    shape = (N_BANDS, -1, n_symbols)
    return torch.from_numpy(own).reshape(shape), torch.from_numpy(hyper).reshape(shape)


def export_autoencoder(checkpoint: Path, folder: Path) -> None:
    """Write the EMA weights of a `vae` or `vq`. Raises TrainingError for a checkpoint of neither, or a damaged one."""
    import diffusers

    state = load_checkpoint(checkpoint)
    architecture = state.get("architecture", {})
    if architecture.get("model") not in AUTOENCODERS:
        raise TrainingError(f"{checkpoint} is of no {' or '.join(AUTOENCODERS)}.")
    part = "autoencoder."
    weights = {name[len(part) :]: tensor for name, tensor in state["ema"].items() if name.startswith(part)}
    try:
        autoencoder = getattr(diffusers, AUTOENCODERS[architecture["model"]]).from_config(architecture["config"])
        autoencoder.load_state_dict(weights)
        deviation = state["ema"]["latent_deviation"].item()
    except (RuntimeError, TypeError, ValueError, KeyError):
        raise TrainingError(f"The weights of {checkpoint} do not fit the architecture that it states.") from None
    if not (math.isfinite(deviation) and deviation > 0):
        raise TrainingError(f"The latents of {checkpoint} have a deviation of {deviation}: train it again.")
    autoencoder.register_to_config(scaling_factor=float(f"{1 / deviation:.5g}"))
    autoencoder.half().save_pretrained(folder)


def checkpoint_in(place: Path) -> Path:
    """A run's folder, or its checkpoint.pt -> the latter. Raises TrainingError where there is none."""
    path = place / "checkpoint.pt" if place.is_dir() else place
    require_file(path)
    return path


def require_file(path: Path) -> None:
    """Raise TrainingError where there is no checkpoint."""
    if not path.is_file():
        raise TrainingError(f"There is no checkpoint {path}: give the folder of a training, or its checkpoint.pt.")


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load a checkpoint; runs no code from it. Raises TrainingError for a file that is no checkpoint of ours."""
    require_file(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError):
        raise TrainingError(f"{path} is damaged, or no checkpoint of training.train.") from None
    if not (isinstance(state, dict) and isinstance(state.get("ema"), dict)):
        raise TrainingError(f"{path} is no checkpoint of training.train.")
    return state


def model_in(checkpoint: Path) -> str | None:
    """Value of --model that a checkpoint is of; None for one that does not state it."""
    return load_checkpoint(checkpoint).get("architecture", {}).get("model")


def ema_weights(checkpoint: Path) -> dict[str, Tensor]:
    return load_checkpoint(checkpoint)["ema"]


def fixed_point(x: Tensor | None, fractional_bits: int, dtype: torch.dtype) -> Tensor:
    assert x is not None  # a bias is optional to torch, and always there in these layers
    limit = torch.iinfo(dtype).max
    return (x.double() * 2**fractional_bits).round().clamp(-limit, limit).to(dtype)


def logistic(scales: Tensor) -> Tensor:
    """Scale indices of any shape -> probabilities [..., 255] of the symbols, as training assumes them, in float64."""
    deviation = hp.standard_deviation(scales.double().clamp(0, hp.N_SCALES - 1))[..., None]
    edges = torch.arange(-hp.MAX_SYMBOL, hp.MAX_SYMBOL, dtype=torch.float64) + 0.5
    cdf = torch.sigmoid(edges * math.pi / math.sqrt(3) / deviation)
    ends = torch.zeros_like(deviation)
    return torch.cat([ends, cdf, ends + 1], dim=-1).diff(dim=-1)  # what lies beyond goes to the last symbols


def table_counts(weights: Tensor) -> Tensor:
    """Weights [..., 255], any sum -> int32 counts in proportion, with the sum 2^20 and every one at least 1."""
    from latent8.l8_photo.model import TABLE_BITS

    n_symbols = weights.shape[-1]
    probabilities = weights.double() / weights.double().sum(dim=-1, keepdim=True)
    counts = (probabilities * (2**TABLE_BITS - n_symbols)).floor().to(torch.int32) + 1
    likeliest = counts.argmax(dim=-1, keepdim=True)
    return counts.scatter_add(-1, likeliest, (2**TABLE_BITS - counts.sum(dim=-1, keepdim=True)).to(torch.int32))


def symmetric_table_counts(weights: Tensor) -> Tensor:
    """Weights [..., 255] -> int32 counts [..., 128] of 0 ... 127; -n has those of n; else as `table_counts`."""
    from latent8.l8_photo.model import TABLE_BITS

    weights = weights.double() + weights.double().flip(-1)
    n_symbols = weights.shape[-1]
    probabilities = weights[..., hp.MAX_SYMBOL :] / weights.sum(dim=-1, keepdim=True)
    counts = (probabilities * (2**TABLE_BITS - n_symbols)).floor().to(torch.int32) + 1
    counts[..., 0] = 2**TABLE_BITS - 2 * counts[..., 1:].sum(dim=-1)
    return counts


def export_as(
    model: str, checkpoint: Path, folder: Path, photos: Path | None = None, realism: float = DEFAULT_REALISM
) -> None:
    """Export a model, one of TRAINED or AUTOENCODERS. photos, realism: for l8-photo alone.

    Raises TrainingError for weights of another architecture.
    """
    try:
        if model in AUTOENCODERS:
            export_autoencoder(checkpoint, folder)
        elif model == "l8-photo":
            export_photo(checkpoint, folder, photos, realism=realism)
        else:
            export(checkpoint, folder)
    except RuntimeError:
        raise TrainingError(
            f"The weights of {checkpoint} do not fit {model}: name the model that they are of."
        ) from None


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt, or the folder of the training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=TRAINED, help="of checkpoints that do not state it (default: l8-tiny)")
    parser.add_argument("--photos", type=Path, help="of l8-photo: count the entropy tables from this folder's symbols")
    parser.add_argument(
        "--only-synthesis",
        type=Path,
        metavar="FOLDER",
        help="of l8-photo: all but the synthesis from this folder's weights",
    )
    parser.add_argument("--default-realism", type=float, default=DEFAULT_REALISM, help="of l8-photo, 0 to 1")
    args = parser.parse_args(argv)
    if not 0 <= args.default_realism <= 1:
        parser.error(f"--default-realism must be from 0 to 1, not {args.default_realism:g}")
    try:
        checkpoint = checkpoint_in(args.checkpoint)
        model = model_in(checkpoint) or args.model or "l8-tiny"
        if args.only_synthesis and model != "l8-photo":
            parser.error("--only-synthesis is for l8-photo")
        if args.only_synthesis:
            export_synthesis(checkpoint, args.folder, args.only_synthesis, args.default_realism)
        else:
            export_as(model, checkpoint, args.folder, args.photos, args.default_realism)
    except (TrainingError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
