"""Pictures of latents, for people: the RGBA thumbnail and a heat map of each channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Dark blue, blue, near white, orange, dark red: low to high.
_COLOURS = np.array([[16, 42, 92], [74, 144, 217], [244, 243, 238], [237, 137, 54], [120, 24, 24]], np.float64)


def thumbnail(latents: np.ndarray) -> Image.Image:
    """[C, h, w] -> RGB image w x h: the first three channels, each stretched over what it uses.

    The alpha channel of the RGBA file is left out of the view: it would hide the others.
    """
    channels = [_stretched(channel) for channel in latents[:3]]
    while len(channels) < 3:
        channels.append(channels[-1])
    return Image.fromarray(np.stack(channels, axis=-1))


def heat_map(channel: np.ndarray) -> Image.Image:
    """[h, w] -> RGB image, from dark blue at the channel's lowest value to dark red at its highest."""
    low, high = float(channel.min()), float(channel.max())
    values = (channel.astype(np.float64) - low) / (high - low or 1) * (len(_COLOURS) - 1)
    pixels = np.stack([np.interp(values, range(len(_COLOURS)), column) for column in _COLOURS.T], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def enlarged(image: Image.Image, longest_side: int = 512) -> Image.Image:
    """Whole-number enlargement with sharp pixels, to about the given side."""
    factor = max(1, longest_side // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _stretched(channel: np.ndarray) -> np.ndarray:
    low, high = np.percentile(channel, (0.5, 99.5))
    scaled = (channel.astype(np.float64) - low) / (high - low or 1)
    return np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
