"""Autoencoders that a user brings, by explicit choice: never because a blob asks for one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from latent8.errors import ModelError
from latent8.limits import MAX_CHANNELS, MAX_STRIDE
from latent8.zoo.kinds import kind_named, kinds
from latent8.zoo.latent_spaces import space_named
from latent8.zoo.registry import OWN, Model, model_named, models, offer

MAX_CODES = 256  # in a codebook, so that the number of a code is one byte


def own_model(location: str | os.PathLike, space: str | None = None) -> Model:
    """An AutoencoderTiny, AutoencoderKL or VQModel in a folder, or in a repository "owner/name" of the Hub.

    space: its latent space, where it has one of `latent_spaces.SPACES`. Any decoder of that space then decodes its
    blobs, and it theirs; without, only it decodes its own. Reads config.json alone, which is downloaded where needed.
    Raises ModelError.
    """
    folder = Path(location)
    config = _read(folder / "config.json", location) if folder.is_dir() else _download(str(location))
    class_name = config.get("_class_name")
    usable = [kind.name for kind in kinds() if kind.default_stages]
    if class_name not in usable:
        raise ModelError(f"{location} holds {class_name or 'no autoencoder'}: {', '.join(usable)} can be used.")
    kind = kind_named(class_name)
    # entries that config.json leaves out have the defaults of diffusers' classes
    channels = 1 if kind.codebook else config.get("latent_channels", 4)
    stages = config.get(kind.stages[0], (0,) * (kind.default_stages or 1))
    if not (isinstance(channels, int) and isinstance(stages, (list, tuple))):
        raise ModelError(f"The config.json of {location} makes no sense: its latent_channels or stages are no numbers.")
    stride = 2 ** (len(stages) - 1) if 1 <= len(stages) < 16 else 0
    if not (1 <= channels <= MAX_CHANNELS and 1 <= stride <= MAX_STRIDE):
        raise ModelError(f"{location} has {channels} latent channels in {len(stages)} stages, which no blob can hold.")
    if any(config.get(name, 3) not in kind.colours for name in ("in_channels", "out_channels")):
        wanted = " or ".join(map(str, kind.colours))
        raise ModelError(f"{location} is not for pictures of {wanted} channels, which are all that can be used.")
    if kind.codebook and not (isinstance(n := config.get(kind.codebook, MAX_CODES), int) and 1 <= n <= MAX_CODES):
        raise ModelError(f"{location} has a codebook of {n} codes: blobs hold numbers of up to {MAX_CODES}.")
    name, source = str(location), str(folder.resolve()) if folder.is_dir() else str(location)
    low, high = (0.0, MAX_CODES - 1.0) if kind.codebook else (OWN.low, OWN.high)
    model = replace(OWN, name=name, kind=kind, source=source, channels=channels, stride=stride, low=low, high=high)
    if space is None:
        return model
    known = space_named(space)
    if (channels, stride) != (known.channels, known.stride):
        raise ModelError(
            f"{location} has {channels} latent channels at 1/{stride}, and latents in {space} have {known.channels} "
            f"at 1/{known.stride}."
        )
    return replace(model, space=space, id=model_named(known.default_model).id)


def offer_models(folders: str) -> list[Model]:
    """Add autoencoders in folders, separated by commas, to the registry under the folders' names -> the models.

    For a program that others use, such as the apps: its users choose among the models that it offers at its start.
    Loads the weights, for their hash. Raises ModelError, and then offers none.
    """
    from latent8.zoo.weights import load_autoencoder, weights_hash

    found: list[Model] = []
    for folder in filter(None, map(str.strip, folders.split(","))):
        if not os.path.isdir(folder):
            raise ModelError(f"There is no folder {folder}.")
        model = own_model(folder)
        hashed = weights_hash(load_autoencoder(model))
        size_mb = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
        model = replace(model, name=Path(folder).resolve().name, weights_hash=hashed, size_mb=round(size_mb, 1))
        if model.name in {other.name for other in (*models(), *found)}:
            raise ModelError(f"There is a model named {model.name} already: rename the folder {folder}.")
        found.append(model)
    for model in found:
        offer(model)
    return found


def chosen_model(text: str, space: str | None = None) -> Model:
    """The model that a name in the registry, or else the location of a user's own, stands for. Raises ModelError."""
    registered = text in {model.name for model in models()}
    if not registered and (os.path.isdir(text) or text.count("/") == 1):
        return own_model(text, space)
    model = model_named(text)
    if space is not None and space != model.space:
        raise ModelError(f"{text} is of the latent space {model.space}, not of {space}.")
    return model


def _download(repository: str) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = hf_hub_download(repository, "config.json")
    except HFValidationError:
        raise ModelError(f"There is no folder {repository}, and the Hugging Face Hub has no such names.") from None
    except Exception as error:  # also the HTTP client's own errors: no name resolution, refused, timed out
        reason = type(error).__name__
        raise ModelError(
            f"There is no folder {repository}, and no config.json could be had from a repository of that name on the "
            f"Hugging Face Hub ({reason})."
        ) from None
    return _read(Path(path), repository)


def _read(path: Path, location: str | os.PathLike) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ModelError(f"{location} holds no readable config.json.") from None
    if not isinstance(config, dict):
        raise ModelError(f"The config.json of {location} makes no sense: it is no object.")
    return config
