"""A loaded autoencoder: pictures in [0, 1] -> latents -> pictures, on one device, as fast as it goes there."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import os
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from latent8 import folding
from latent8.errors import ModelError
from latent8.models import DEFAULT_MODEL, Model

logger = logging.getLogger("latent8")


class Network:
    """The two halves of an AutoencoderTiny.

    analysis: RGB [B, 3, H, W] in [0, 1], H and W multiples of the stride -> latents [B, C, H/8, W/8], float32.
    synthesis: latents [B, C, h, w] -> RGB [B, 3, 8 h, 8 w] in [0, 1], float32.

    On a CPU or GPU with fast half precision the layers run in it; where that gives anything but finite numbers,
    the call is repeated in float32, and raises ModelError if that does not help.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype | None = None):
        self.model, self.device = model, device
        self.dtype = dtype or fast_dtype(device)
        autoencoder = load_autoencoder(model)
        self.weights_hash = weights_hash(autoencoder)
        self._exact = (fold_encoder(autoencoder.encoder.layers), fold_decoder(autoencoder.decoder.layers))
        self._analysis, self._synthesis = (self._prepared(half, self.dtype) for half in self._exact)

    def _prepared(self, half: nn.Module, dtype: torch.dtype) -> nn.Module:
        prepared = copy.deepcopy(half).eval().requires_grad_(False)
        return prepared.to(self.device, dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def analysis(self, rgb: Tensor) -> Tensor:
        return self._run(self._analysis, 0, rgb)

    @torch.inference_mode()
    def synthesis(self, latents: Tensor) -> Tensor:
        return self._run(self._synthesis, 1, latents).clamp_(0, 1)

    def _run(self, half: nn.Module, index: int, x: Tensor) -> Tensor:
        x = x.to(self.device)
        y = half(x.to(self.dtype, memory_format=torch.channels_last)).float()
        if torch.isfinite(y).all():
            return y
        if self.dtype != torch.float32:
            exact = self._prepared(self._exact[index], torch.float32)
            y = exact(x.float())
            if torch.isfinite(y).all():
                return y
        raise ModelError(f"{self.model.name} gave numbers that are not finite: its weights do not fit this input.")


class LatentClamp(nn.Module):
    """A soft limit: latents -> 3 tanh(latents / 3), as taesd's decoder begins."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


def fold_encoder(layers: nn.Sequential) -> nn.Sequential:
    """diffusers' EncoderTiny.layers, folded where it has no block at full size. Takes pictures in [0, 1].

    EncoderTiny itself takes [-1, 1] and begins by undoing that.
    """
    first, strided, *rest = layers
    if not isinstance(strided, nn.Conv2d):
        return nn.Sequential(*layers)
    kernel = folding.fold_strided_pair(first.weight, strided.weight)
    bias = folding.fold_bias(first.bias, strided.weight)
    return nn.Sequential(nn.PixelUnshuffle(2), _convolution(kernel, bias), *rest)


def fold_decoder(layers: nn.Sequential) -> nn.Sequential:
    """diffusers' DecoderTiny.layers, folded where it has no block at full size. Gives pictures in about [0, 1].

    DecoderTiny itself begins with the soft limit, and ends by mapping [0, 1] to [-1, 1].
    """
    *rest, _upsample, inner, last = layers
    if not isinstance(inner, nn.Conv2d):
        return nn.Sequential(LatentClamp(), *layers)
    kernel = folding.fold_upsampled_pair(inner.weight, last.weight)
    bias = folding.fold_upsampled_bias(last.bias)
    return nn.Sequential(LatentClamp(), *rest, _convolution(kernel, bias), nn.PixelShuffle(2))


def _convolution(kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    outputs, inputs = kernel.shape[:2]
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    convolution.weight = nn.Parameter(kernel.detach())
    convolution.bias = nn.Parameter(bias.detach())
    return convolution


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Half precision where the device multiplies faster in it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        if torch.cpu.get_capabilities().get("amx_bf16"):  # AVX-512's bf16 is slower than float32
            return torch.bfloat16
    return torch.float32


def weights_hash(module: nn.Module) -> bytes:
    """Four bytes that tell weights apart, whatever file or precision they were kept in: [4]."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy(), "<f4").tobytes())
    return digest.digest()[:4]


def load_autoencoder(model: Model):
    """diffusers.AutoencoderTiny in float32, from the bundled folder, the Hub's local cache, or the Hub.

    Raises ModelError with one sentence where it cannot be had.
    """
    if model.bundled:
        if not os.path.isdir(model.location):  # else diffusers would look for a Hub repository of that name
            raise ModelError(f"The bundled weights of {model.name} are missing: install latent8 again.")
        try:
            return _from_pretrained(model, local_files_only=True)
        except OSError as error:
            logger.debug("loading failed", exc_info=error)
            raise ModelError(f"The bundled weights of {model.name} are damaged: install latent8 again.") from None
    try:
        return _from_pretrained(model, local_files_only=True)
    except OSError:
        pass  # nothing, or not everything, in the cache
    try:
        _require_hub(model)
    except OSError as error:
        logger.debug("no answer from the Hub", exc_info=error)
        raise ModelError(
            f"{model.source} is not on this machine and could not be downloaded from the Hugging Face Hub: "
            f"check the network, or use the bundled model {DEFAULT_MODEL}."
        ) from None
    logger.warning("Downloading %s (%.0f MB) from the Hugging Face Hub, once.", model.source, model.size_mb)
    try:
        return _from_pretrained(model, local_files_only=False)
    except OSError as error:
        logger.debug("download failed", exc_info=error)
        raise ModelError(
            f"The download of {model.source} failed, or it holds no readable config.json and safetensors weights: "
            f"try again, or use the bundled model {DEFAULT_MODEL}."
        ) from None


def _require_hub(model: Model) -> None:
    """Fail in seconds when there is no network; diffusers would retry for half a minute first."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        HfApi().model_info(model.source, timeout=10)
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise OSError(str(error)) from error
    except Exception as error:  # the HTTP client's own errors: no name resolution, refused, timed out
        raise OSError(f"{type(error).__name__}: {error}") from error


def _from_pretrained(model: Model, local_files_only: bool):
    """Raises OSError where files are missing or unreadable, ModelError where they are of another network."""
    from diffusers import AutoencoderTiny

    try:
        with _quiet_diffusers():
            autoencoder, info = AutoencoderTiny.from_pretrained(
                model.location,
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
        if config.latent_channels != model.channels:
            problems.append(f"{config.latent_channels} latent channels")
        if any(
            2 ** (len(blocks) - 1) != model.stride for blocks in (config.num_encoder_blocks, config.num_decoder_blocks)
        ):
            problems.append(f"a stride other than {model.stride}")
    if problems:
        wanted = f"an AutoencoderTiny of {model.channels} channels at 1/{model.stride}"
        raise ModelError(f"The weights of {model.source} do not fit {wanted}: {', '.join(problems)}.")
    return autoencoder


@contextlib.contextmanager
def _quiet_diffusers() -> Iterator[None]:
    """Silence what diffusers and the Hub's client print beside their errors; all that matters is raised."""
    from diffusers.utils import logging as diffusers_logging

    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
