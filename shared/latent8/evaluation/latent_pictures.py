"""What a blob holds, in pictures: its latents channel by channel, how often each value occurs, where the bits go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latent8 import codec
from latent8.file_format import reader
from latent8.file_format.blob import HYPERPRIOR_CODED, Header
from latent8.l8_photo import bit_cost
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures import drawing
from latent8.pictures.drawing import View
from latent8.zoo.registry import HYPERPRIOR, model_with_id

if TYPE_CHECKING:
    from PIL import Image

FEW_CHANNELS = 16  # of more, only a mosaic shows all


def latent_pictures(
    blob: reader.Blob, *, device: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> list[View]:
    """Blob, or latents as RGBA PNG, as bytes or the path of a file -> pictures with captions.

    A thumbnail, a heat map of each channel with its range (of the 240 of l8-photo: five, and a mosaic of all), a
    histogram of the 8-bit values with the bits each takes; for l8-photo also the bits at each position. Latents are
    averaged down to drawing.MAX_SIDE pixels. Only for blobs of l8-photo is a model loaded. Raises BlobError.
    """
    header, symbols, _ = reader.read(blob, max_pixels)
    model = model_with_id(header.model_id)
    return pictures_of(header, symbols, codec._loaded(model, device) if model.kind == HYPERPRIOR else None)


def latent_sheet(blob: reader.Blob, title: str = "", **options) -> Image.Image:
    """All that `latent_pictures` gives as one RGB picture, 1600 pixels wide; it has the same options."""
    return drawing.sheet(title, latent_pictures(blob, **options))


def pictures_of(header: Header, symbols: np.ndarray, loaded: codec.Codec | None) -> list[View]:
    """As `latent_pictures`, of what `reader.read` gives; `loaded` is needed where the model has a hyperprior."""
    if header.coding == HYPERPRIOR_CODED:
        assert loaded is not None  # see above
        return _of_hyperprior(header, symbols.tobytes(), loaded)
    return _of_plain(header, symbols)


def _of_plain(header: Header, symbols: np.ndarray) -> list[View]:
    latents = header.quantiser.dequantise(symbols)
    found = [View("1-3 as RGB", drawing.thumbnail(latents))]
    if len(latents) == 4:
        top = header.quantiser.levels - 1
        values = np.rint(symbols * (255 / top)).astype(np.uint8)
        found.append(View("1-4 as RGBA", drawing.rgba_thumbnail(values)))
    if len(latents) > FEW_CHANNELS:
        found.append(_all_channels(latents))
    else:
        found += [_heat_map(str(index + 1), channel) for index, channel in enumerate(latents)]
    return [*found, _histogram(header, symbols, 0)]


def _of_hyperprior(header: Header, payload: bytes, loaded: codec.Codec) -> list[View]:
    symbols, latents, bits = bit_cost.decoded(loaded.network, payload, header.latent_shape)
    from latent8.l8_photo.layers import (  # brings torch, which a model that is loaded has brought already
        N_CHROMA,
        N_LUMA,
    )

    first, second = N_LUMA, N_LUMA + N_CHROMA  # the means of both chromas; that of luma is 0, frequencies follow
    channels = {"luma": 0, "red - blue": first, "red + blue - green": second, "across": 1, "down": 2}
    named = {name: latents[channel] for name, channel in channels.items()}
    found = [View("means as RGB", drawing.thumbnail(np.stack(list(named.values())[:3])))]
    found += [_heat_map(name, channel) for name, channel in named.items()]
    return [*found, _bit_map(header, bits), _histogram(header, symbols, -bit_cost.MAX_SYMBOL), _all_channels(latents)]


def _heat_map(name: str, channel: np.ndarray) -> View:
    return View(f"{name}: {channel.min():z.1f} to {channel.max():z.1f}", drawing.heat_map(channel))


def _all_channels(latents: np.ndarray) -> View:
    return View(f"all {len(latents)} channels", drawing.mosaic(latents), wide=True)


def _bit_map(header: Header, bits: np.ndarray) -> View:
    """From black at 0 to white at the costliest position."""
    per_pixel = bits / header.stride**2
    caption = f"bits per pixel: {per_pixel.min():.2f} to {per_pixel.max():.2f}"
    return View(caption, drawing.heat_map(bits, 0.0, float(bits.max()), drawing.RISING))


def _histogram(header: Header, symbols: np.ndarray, first: int) -> View:
    """Of the 8-bit values, from `first`; with the bits that one takes as coded, and would by their frequency alone."""
    levels = header.quantiser.levels
    counts = np.zeros(levels, np.int64)
    for channel in symbols:
        counts += np.bincount(channel.ravel().astype(np.int16) - first, minlength=levels)
    share = counts[counts > 0] / symbols.size
    entropy = abs(float((share * np.log2(share)).sum()))
    coded = 8 * (header.payload_bytes or header.n_bytes) / symbols.size  # of a PNG all bytes are its latents'
    title = f"{coded:.3g} bits per value as coded, {entropy:.3g} by how often each occurs"
    unused = int(min((counts > 0).argmax(), (counts[::-1] > 0).argmax())) if first else 0  # both ends alike
    bars = drawing.histogram(counts[unused : levels - unused], first + unused, title)
    return View(f"8-bit values: {coded:.3g} bits each", bars)
