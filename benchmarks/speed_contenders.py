"""Contenders of benchmarks/speed.py: latent8's codecs, plain calls of diffusers, and Pillow's encoders."""

from __future__ import annotations

import bisect
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from benchmarks.contenders import EFFORTS
from benchmarks.timing import Contender
from latent8 import Codec
from latent8.file_format.codings import coding_with_id
from latent8.zoo.registry import Model, model_named

REFERENCE = "diffusers, taesd's shape"  # what all others are compared with


class PlainDiffusers:
    """The calls that diffusers documents, in float32, with the least that turns PIL images into tensors and back."""

    def __init__(self, location: str, device: str = "cpu"):
        autoencoder = AutoencoderTiny.from_pretrained(location, torch_dtype=torch.float32, low_cpu_mem_usage=False)
        self.autoencoder = autoencoder.to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def encode(self, image: Image.Image) -> torch.Tensor:
        """-> latents [1, 4, H/8, W/8], in main memory."""
        pixels = torch.from_numpy(np.array(image)).to(self.autoencoder.device).permute(2, 0, 1)[None].float()
        return self.autoencoder.encode(pixels / 127.5 - 1).latents.cpu()

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> Image.Image:
        sample = self.autoencoder.decode(latents.to(self.autoencoder.device)).sample[0]
        pixels = ((sample + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
        return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


def random_taesd(folder: Path) -> Model:
    """A model of taesd's shape (diffusers' default AutoencoderTiny) with random weights, written to the folder."""
    torch.manual_seed(0)
    autoencoder: Any = AutoencoderTiny()
    autoencoder.save_pretrained(folder, safe_serialization=True)
    return replace(model_named("taesd"), source=str(folder.resolve()), bundled=True)


def plain_contenders(taesd: Model, device: str = "cpu") -> dict[str, Contender]:
    locations = {REFERENCE: taesd.location, "diffusers, l8-tiny": model_named("l8-tiny").location}
    plain = {name: PlainDiffusers(location, device) for name, location in locations.items()}
    return {name: Contender(p.encode, p.decode) for name, p in plain.items()}


def codecs(taesd: Model, device: str, dtype: torch.dtype | None = None) -> dict[str, Codec]:
    """latent8's, by the name that tables show."""
    found = {"latent8, taesd's shape": Codec(taesd, device, dtype)}
    return found | {f"latent8, {name}": Codec(name, device, dtype) for name in ("l8-tiny", "l8-photo")}


def latent8_contenders(all_codecs: Mapping[str, Codec], quality: int) -> dict[str, Contender]:
    """From a PIL image to a blob and back, with the network and the entropy coding timed as stages."""
    return {name: _contender(codec, quality) for name, codec in all_codecs.items()}


def _contender(codec: Codec, quality: int) -> Contender:
    network, kind = codec.network, codec.model.kind
    options: dict[str, Any] = {"quality": quality} if kind.option == "quality" else {}
    coding = coding_with_id(kind.codings[0])
    return Contender(
        lambda image: codec.encode(image, **options),
        codec.decode,
        {"network": (network, "encode_pixels"), "entropy coding": (coding, "encode")},
        {"network": (network, "decode_latents"), "entropy coding": (coding, "decode")},
    )


def pillow_contenders(image: Image.Image, n_bytes: int) -> dict[str, Contender]:
    """JPEG, WebP and AVIF, each at the highest quality that keeps this picture in so many bytes."""
    found = {}
    for name in ("JPEG", "WebP", "AVIF"):
        quality = best_quality(image, name, n_bytes)
        settings = ", ".join(f"{option} {int(value)}" for option, value in EFFORTS[name].items())
        found[f"{name}, quality {quality}, {settings}"] = pillow_contender(name, quality)
    return found


def pillow_contender(name: str, quality: int) -> Contender:
    return Contender(
        lambda image: pillow_file(image, name, quality), lambda data: Image.open(io.BytesIO(data)).convert("RGB")
    )


def best_quality(image: Image.Image, name: str, n_bytes: int) -> int:
    """The highest of 1 ... 95 whose file is not larger; 1 where all are."""
    qualities = range(1, 96)
    fitting = bisect.bisect_right(qualities, n_bytes, key=lambda q: len(pillow_file(image, name, q)))
    return qualities[max(0, fitting - 1)]


def pillow_file(image: Image.Image, name: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, quality=quality, **EFFORTS[name])
    return buffer.getvalue()


def picture_of(megapixels: float, photo: Image.Image) -> Image.Image:
    """Square, with a side that is a multiple of 16, the photo and its mirror images side by side: never enlarged, so
    that all sizes have the same detail."""
    side = 16 * max(1, round((megapixels * 1e6) ** 0.5 / 16))
    rgb = np.asarray(photo.convert("RGB"))[:side, :side]
    margins = [(0, side - length) for length in rgb.shape[:2]]
    return Image.fromarray(np.pad(rgb, (*margins, (0, 0)), mode="symmetric"))


def flop_calls(codec: Codec, side: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The analysis and the synthesis of a picture of side x side pixels, to count their operations."""
    stride = codec.model.stride
    latents = torch.zeros(1, codec.model.channels, side // stride, side // stride)
    conditions = [torch.zeros(1), torch.zeros(1)] if codec.model.kind.option == "quality" else []  # level and realism
    return (
        lambda: codec.network.analysis(torch.zeros(1, 3, side, side)),
        lambda: codec.network.synthesis(latents, *conditions),
    )
