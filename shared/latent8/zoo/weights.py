"""Loading of models: from the bundled folder, the local cache of the Hugging Face Hub, or the Hub itself."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from latent8.errors import ModelError
from latent8.zoo.registry import DEFAULT_MODEL, Model
from latent8.zoo.revisions import revision_of

logger = logging.getLogger("latent8")


def weights_hash(module: nn.Module) -> bytes:
    """First four bytes of a SHA-256 over all weights, whose file format and precision do not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy(), "<f4").tobytes())
    return digest.digest()[:4]


def load_autoencoder(model: Model):
    """Load the model's autoencoder, of the class that its kind names, in float32.

    It comes from the bundled folder, the Hub's local cache or the Hub, or from a folder of the user's own. Raises
    ModelError where it cannot be loaded.
    """
    if model.bundled:
        return _bundled(model)
    try:
        return _from_pretrained(model, local_files_only=True)
    except OSError as error:  # nothing, or not everything, in the cache
        if os.path.isabs(model.source):
            logger.debug("loading failed", exc_info=error)
            raise ModelError(
                f"The folder {model.source} holds no readable config.json and safetensors weights."
            ) from None
    try:
        _require_hub(model)
    except OSError as error:
        logger.debug("no answer from the Hub", exc_info=error)
        raise ModelError(
            f"{model.source} is not on this machine and could not be downloaded from the Hugging Face Hub: "
            f"check the network, or use the bundled model {DEFAULT_MODEL}."
        ) from None
    size = f" ({model.size_mb:.0f} MB)" if model.size_mb else ""
    logger.warning("Downloading %s%s from the Hugging Face Hub, once.", model.source, size)
    try:
        return _from_pretrained(model, local_files_only=False)
    except OSError as error:
        logger.debug("download failed", exc_info=error)
        raise ModelError(
            f"The download of {model.source} failed, or it holds no readable config.json and safetensors weights: "
            f"try again, or use the bundled model {DEFAULT_MODEL}."
        ) from None


def require_factors(model: Model, config: Mapping[str, Any], scale: float, shift: float) -> None:
    """Raise ModelError where the model's config.json states other factors of the latents than these.

    Factors that config.json leaves out are not compared: diffusers fills them with defaults that mean nothing.
    """
    if config.get("latents_mean") is not None:
        raise ModelError(f"{model.source} normalises its latents channel by channel, which latent8 does not know.")
    for name, wanted in (("scaling_factor", scale), ("shift_factor", shift)):
        if name in config.get("_use_default_values", ()):
            continue
        stated = stated_factor(model, config, name, wanted)
        if not math.isclose(stated, wanted, abs_tol=1e-6):
            raise ModelError(
                f"The config.json of {model.source} states {name} {stated:g}, and latents in {model.space} have "
                f"{wanted:g}: it is of another latent space."
            )


def stated_factor(model: Model, config: Mapping[str, Any], name: str, otherwise: float) -> float:
    """A factor of the latents in config.json, or `otherwise`. Raises ModelError where it is no usable number."""
    stated = config.get(name)
    if stated is None:
        return otherwise
    usable = isinstance(stated, (int, float)) and math.isfinite(stated) and (stated or name != "scaling_factor")
    if not usable:
        raise ModelError(f"The config.json of {model.source} states a {name} of {stated!r}, which is no usable number.")
    return float(stated)


def _bundled(model: Model):
    if not os.path.isdir(model.location):  # else diffusers would look for a Hub repository of that name
        raise ModelError(f"The bundled weights of {model.name} are missing: install latent8 again.")
    try:
        return _from_pretrained(model, local_files_only=True)
    except OSError as error:
        logger.debug("loading failed", exc_info=error)
        raise ModelError(f"The bundled weights of {model.name} are damaged: install latent8 again.") from None


def _require_hub(model: Model) -> None:
    """Raise OSError within seconds where the Hub cannot be reached; diffusers would retry for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        HfApi().model_info(model.source, revision=revision_of(model.source), timeout=10)
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise OSError(str(error)) from error
    except Exception as error:  # the HTTP client's own errors: no name resolution, refused, timed out
        raise OSError(f"{type(error).__name__}: {error}") from error


def _from_pretrained(model: Model, local_files_only: bool):
    """Load weights. Raises OSError for files that cannot be read, ModelError for those of another network."""
    network = model.kind.load_autoencoder()
    try:
        with _quiet_diffusers():
            autoencoder, info = network.from_pretrained(
                model.location,
                revision=revision_of(model.source),
                use_safetensors=True,  # else diffusers falls back to pickle files
                local_files_only=local_files_only,
                low_cpu_mem_usage=False,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
    except (RuntimeError, TypeError, ValueError) as error:  # sizes that differ, a config that makes no sense
        logger.debug("loading failed", exc_info=error)
        problems = ["shapes or config"]
    else:
        problems = [name for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs") if info[name]]
        config = autoencoder.config
        if not model.kind.codebook and config.latent_channels != model.channels:
            problems.append(f"{config.latent_channels} latent channels")
        if any(2 ** (len(config[name]) - 1) != model.stride for name in model.kind.stages):
            problems.append(f"a stride other than {model.stride}")
    if problems:
        wanted = f"{network.__name__} of {model.channels} channels at 1/{model.stride}"
        raise ModelError(f"The weights of {model.source} do not fit {wanted}: {', '.join(problems)}.")
    return autoencoder


@contextlib.contextmanager
def _quiet_diffusers() -> Iterator[None]:
    """Silence what diffusers and the Hub's client print; what matters is raised as an error."""
    from diffusers.utils import logging as diffusers_logging

    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
