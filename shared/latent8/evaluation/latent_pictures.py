"""Pictures of what a blob holds: its latents channel by channel, how often each value occurs, where the bits go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latent8.file_format.blob import Encoded, Header
from latent8.file_format.coding import Symbols
from latent8.file_format.reader import Blob, model_of, read
from latent8.latents import Latents
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.pictures import drawing
from latent8.pictures.drawing import View
from latent8.pool import CodecPool, symbols_of

if TYPE_CHECKING:
    from PIL import Image

FEW_CHANNELS = 16  # most channels of which each gets a heat map; more are shown in a mosaic


def latent_pictures(
    blob: Blob | Encoded | Latents,
    *,
    device: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    pool: CodecPool | None = None,
) -> list[View]:
    """Blob, or latents as RGBA PNG -> pictures with captions.

    blob: bytes, the path of a file, or what `Encoded.parse` or `read_latents` gives. The pictures are a thumbnail, a
    heat map of each channel with its range (for l8-photo of five channels, and a mosaic of all 240), a histogram of the
    8-bit values with the bits per value, and for l8-photo the bits at each position. Latents are averaged down to
    drawing.MAX_SIDE pixels. A model is loaded only for blobs of l8-photo, on `device` or from `pool`. Raises BlobError
    for a blob that cannot be decoded, ModelError for a model that cannot be loaded.
    """
    if isinstance(blob, Latents):
        header = blob.header
        if header.quantiser.counts:
            return code_pictures(header.quantiser.quantise(blob.values)[0], None)
        symbols = Symbols(header.quantiser.quantise(blob.values), blob.values)
        return [*_channels(header, symbols, ()), _histogram(header, symbols, None)]
    encoded = blob if isinstance(blob, Encoded) else read(blob, max_pixels)
    symbols = symbols_of(encoded, pool or (CodecPool(device) if device else None))
    if encoded.header.quantiser.counts:
        return code_pictures(symbols.values[0], len(encoded.payload))
    found = _channels(encoded.header, symbols, model_of(encoded).kind.channel_names)
    if symbols.bits is not None:
        found.append(_bit_map(encoded.header, symbols.bits))
    found.append(_histogram(encoded.header, symbols, len(encoded.payload)))
    if len(symbols.latents) > FEW_CHANNELS:
        found.append(_all_channels(symbols.latents))
    return found


def latent_sheet(
    blob: Blob | Encoded | Latents,
    title: str = "",
    *,
    device: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    pool: CodecPool | None = None,
) -> Image.Image:
    """All that `latent_pictures` gives as one RGB picture, 1600 pixels wide; options and errors as there.

    title: a line of text on top of it.
    """
    return drawing.sheet(title, latent_pictures(blob, device=device, max_pixels=max_pixels, pool=pool))


def code_pictures(numbers: np.ndarray, n_coded: int | None) -> list[View]:
    """Numbers of codes, uint8 [h, w] -> maps of the numbers, in grey and in colours, and a histogram of their use.

    n_coded: bytes of the payload, None for codes that are not coded.
    """
    counts = np.bincount(numbers.ravel(), minlength=256)
    share = counts[counts > 0] / numbers.size
    entropy = abs(float((share * np.log2(share)).sum()))
    used = f"{len(share)} codes in use, perplexity {2**entropy:.1f}"
    each = f"{entropy:.3g} bits by how often each occurs"
    if n_coded is not None:
        each = f"{8 * n_coded / numbers.size:.3g} bits per code as coded, {each}"
    return [
        View("numbers of codes", drawing.heat_map(numbers.astype(np.float32), 0.0, 255.0, drawing.RISING)),
        View("codes, each a colour", drawing.categories(numbers)),
        View(used, drawing.histogram(counts, 0, each)),
    ]


def _channels(header: Header, symbols: Symbols, names: tuple[tuple[str, int], ...]) -> list[View]:
    """A thumbnail, and a heat map of each channel that has a name, or of all channels where they are few."""
    latents = symbols.latents
    if names:
        found = [View("means as RGB", drawing.thumbnail(np.stack([latents[channel] for _, channel in names[:3]])))]
        return found + [_heat_map(name, latents[channel]) for name, channel in names]
    found = [View("1-3 as RGB", drawing.thumbnail(latents))]
    if len(latents) == 4:
        values = np.rint(symbols.values * (255 / (header.quantiser.levels - 1))).astype(np.uint8)
        found.append(View("1-4 as RGBA", drawing.rgba_thumbnail(values)))
    if len(latents) <= FEW_CHANNELS:
        found += [_heat_map(str(index + 1), channel) for index, channel in enumerate(latents)]
    return found


def _heat_map(name: str, channel: np.ndarray) -> View:
    return View(f"{name}: {channel.min():z.1f} to {channel.max():z.1f}", drawing.heat_map(channel))


def _all_channels(latents: np.ndarray) -> View:
    return View(f"all {len(latents)} channels", drawing.mosaic(latents), wide=True)


def _bit_map(header: Header, bits: np.ndarray) -> View:
    """Bits per pixel, from black at 0 to white at the costliest position."""
    per_pixel = bits / header.stride**2
    caption = f"bits per pixel: {per_pixel.min():.2f} to {per_pixel.max():.2f}"
    return View(caption, drawing.heat_map(bits, 0.0, float(bits.max()), drawing.RISING))


def _histogram(header: Header, symbols: Symbols, n_coded: int | None) -> View:
    """Histogram of the 8-bit values, titled with the bits per value as coded and the entropy of the histogram.

    n_coded: bytes of the payload, None for latents that are not coded.
    """
    levels, first, values = header.quantiser.levels, symbols.first, symbols.values
    counts = np.zeros(levels, np.int64)
    for channel in values:
        counts += np.bincount(channel.ravel().astype(np.int16) - first, minlength=levels)
    share = counts[counts > 0] / values.size
    title = f"{abs(float((share * np.log2(share)).sum())):.3g} by how often each occurs"
    caption = "8-bit values"
    if n_coded is not None:
        coded = 8 * n_coded / values.size
        title, caption = f"{coded:.3g} bits per value as coded, {title}", f"{caption}: {coded:.3g} bits each"
    unused = int(min((counts > 0).argmax(), (counts[::-1] > 0).argmax())) if first else 0  # both ends alike
    return View(caption, drawing.histogram(counts[unused : levels - unused], first + unused, title))
