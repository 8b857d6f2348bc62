"""What evaluation looks at beside distances: pictures of one size, KL, the use of codes, a picture of all stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from latent8 import Codec
from latent8.file_format.blob import Encoded
from latent8.networks.colours import as_seen
from latent8.networks.vae import KLNetwork
from latent8.pictures import drawing
from latent8.pictures.intake import open_picture, pad_to_multiple
from training.vae import kl

GAP = 8  # pixels between pictures of a strip


def fitted(path: Path, size: int | None, max_pixels: int) -> np.ndarray:
    """A picture as it is, or its middle square at `size` pixels: uint8 [H, W, 3]. Raises PictureError."""
    picture = open_picture(path, max_pixels).rgb
    if size is None:
        return picture
    return np.asarray(ImageOps.fit(Image.fromarray(picture), (size, size), Image.Resampling.LANCZOS))


@torch.inference_mode()
def kl_nats(codec: Codec, picture: np.ndarray) -> float | None:
    """Mean divergence from N(0, 1) of the distributions that an AutoencoderKL gives latents; None for other models."""
    if not isinstance(codec.network, KLNetwork):
        return None
    padded = torch.tensor(pad_to_multiple(picture, codec.model.stride)).permute(2, 0, 1)[None].float() / 255

    def moments(layers, rgb):
        return layers.quant_conv(layers.encoder(as_seen(rgb, layers.n_colours)))

    (found,) = codec.network.analysis.run(moments, padded)
    mean, log_variance = found.chunk(2, dim=1)
    return kl(mean, log_variance.clamp(-30, 20)).mean().item()


def code_counts(codec: Codec, encoded: Encoded) -> np.ndarray | None:
    """How often each code is used, [256]; None where latents are no codes."""
    if not encoded.header.quantiser.counts:
        return None
    return np.bincount(codec.latents(encoded).astype(np.int64).ravel(), minlength=256)


def strip(codec: Codec, picture: np.ndarray, encoded: Encoded, decoded: np.ndarray) -> Image.Image:
    """Original | latents | reconstruction, side by side."""
    latents = codec.latents(encoded)
    if encoded.header.quantiser.counts:
        shown = drawing.categories(latents[0].astype(np.uint8))
    else:
        names = codec.model.kind.channel_names[:3]
        shown = drawing.thumbnail(latents[[channel for _, channel in names]] if names else latents)
    height, width = picture.shape[:2]
    parts = [
        Image.fromarray(picture),
        shown.resize((width, height), Image.Resampling.NEAREST),
        Image.fromarray(decoded),
    ]
    image = Image.new("RGB", (3 * width + 2 * GAP, height), "white")
    for number, part in enumerate(parts):
        image.paste(part, (number * (width + GAP), 0))
    return image
