"""The codec: a picture -> a blob, a blob -> a picture. File functions are thin wrappers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latent8.errors import BlobError, Latent8Error, ModelError, PictureError
from latent8.file_format import blob as l8
from latent8.file_format.blob import Header
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import (
    Blob,
    blob_bytes,
    blob_pixels,
    inspect,
    pack,
    read,
    require_decoder,
    require_encoder,
    require_size,
)
from latent8.file_format.rgba_png import require_four_channels, write_rgba_png
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.machine.disk import write_file
from latent8.machine.memory import free_bytes
from latent8.machine.parallel import large, map_in_order
from latent8.pictures.intake import (
    Picture,
    Source,
    decode_alpha,
    encode_alpha,
    open_picture,
    pad_to_multiple,
    pixel_count,
)
from latent8.pictures.output import picture_bytes
from latent8.zoo.registry import (
    CONSISTENCY,
    DEFAULT_MODEL,
    HYPERPRIOR,
    KL,
    OWN_SPACE,
    Model,
    model_named,
    model_with_id,
)
from latent8.zoo.settings import DEFAULT_QUALITY, DEFAULTS, Settings

if TYPE_CHECKING:
    import torch

    from latent8.networks.base import Progress


class Codec:
    """A model loaded on a device, for many calls.

    model: a name from `models()`, or what `own_model` gives. device: "cpu", "cuda", "mps"; by default the best there
    is. dtype: of the layers; by default the fastest that the device is good at, and float32 for an AutoencoderKL.
    max_pixels: limit for pictures in and out. Raises ModelError when the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Model = DEFAULT_MODEL,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ):
        import torch

        from latent8.networks.base import best_device

        self.model = _model(model)
        try:
            self.network = _network(self.model, torch.device(device) if device else best_device(), dtype)
        except (RuntimeError, AssertionError) as error:  # torch, of a device that it does not know or have
            reason = str(error).splitlines()[0]
            where = f" on the device {device}" if device else ""
            raise ModelError(f"{self.model.name} cannot be loaded{where}: {reason}.") from None
        self.max_pixels = max_pixels
        self._settings = device, dtype
        self._others: dict[Model, Codec] = {}  # loaded for `decode`

    def encode(
        self,
        image: Source,
        *,
        quality: int | None = None,
        target_bytes: int | None = None,
        target_bpp: float | None = None,
        levels: int | None = None,
        longest_side: int | None = None,
        stem: str | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """Picture (path, bytes, open file, PIL image or uint8 array) -> blob.

        For models with a hyperprior: quality 1 to 100, 50 by default; or target_bytes or target_bpp, the size of the
        whole blob in bytes or bits per pixel, which is then the largest blob found that is not above it. For the
        others: levels of the quantiser, 16 to 256, 256 by default; fewer make smaller files and coarser pictures.
        longest_side: shrink larger pictures to it, in pixels. stem: file name kept in the blob, by default that of a
        path. progress: called after each tile of a large picture, with the share that is done, 0 ... 1. The same
        picture, model and machine give the same bytes, but for a rare rounding where so little memory is free that
        tiles get smaller. Raises PictureError, also for a target that cannot be met, or ValueError for options that
        the model does not have.
        """
        settings = Settings(quality, target_bytes, target_bpp, levels)
        settings.check(self.model)
        require_encoder(self.model)
        picture = open_picture(image, self.max_pixels, longest_side)
        return pack(*self.analyse(picture, settings, stem, progress))

    def encode_many(
        self, images: Iterable[Source], *, longest_side: int | None = None, **options
    ) -> Iterator[bytes | Latent8Error]:
        """Pictures -> blobs, in order, several at a time; the same bytes as `encode` gives each on its own.

        options: those of `encode` but for progress, and for stem, which is each path's own. For a picture that cannot
        be encoded, the PictureError comes in place of its blob, and the others go on. `images` is read as results are
        asked for, a few ahead, in the caller's thread; give paths, so that reading overlaps too. Raises ValueError as
        `encode` does, and ModelError for a model that only decodes, at once.
        """
        Settings(**options).check(self.model)
        require_encoder(self.model)
        return map_in_order(
            lambda image: self.encode(image, longest_side=longest_side, **options),
            images,
            lambda image: self.is_large(pixel_count(image, longest_side)),
        )

    def encode_rgba_png(
        self, image: Source, *, levels: int = 256, longest_side: int | None = None, progress: Progress | None = None
    ) -> bytes:
        """Picture -> the ancestors' 8-bit RGBA PNG of its latents; transparency of the picture is not kept."""
        require_encoder(self.model)
        require_four_channels(self.model.name, self.model.channels)
        picture = open_picture(image, self.max_pixels, longest_side)
        header, symbols, _ = self.analyse(picture, Settings(levels=levels), progress=progress)
        return write_rgba_png(header, symbols)

    def decode(
        self,
        blob: Blob,
        decoder: str | Model | None = None,
        *,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Blob or latents as RGBA PNG, as bytes or the path of a file -> PIL image, RGB or RGBA.

        By this codec's model, or by `decoder`, another model, which is loaded on the same device and kept; it has to
        be of the blob's latent space. legacy_range: of PNGs that were encoded from pixels in [0, 1] where the model
        takes [-1, 1], as early Spaces did: gives the contrast that such a picture had. progress: as in `encode`. Raises
        BlobError, and ModelError where a decoder cannot be loaded.
        """
        header, symbols, alpha = read(blob, self.max_pixels)
        codec = self if decoder is None else self._other(_model(decoder), header)
        return codec.synthesise(header, symbols, alpha, legacy_range=legacy_range, progress=progress).image()

    def _other(self, model: Model, header: Header) -> Codec:
        if model == self.model:
            return self
        require_decoder(header, model)
        if model not in self._others:
            self._others[model] = Codec(model, *self._settings, self.max_pixels)
        return self._others[model]

    def decode_many(self, blobs: Iterable[Blob]) -> Iterator[Image.Image | Latent8Error]:
        """Blobs, as bytes or paths -> PIL images, in order, several at a time, as `decode` gives each.

        For a blob that cannot be read or decoded, the BlobError comes in place of its picture, and the others go on.
        `blobs` is read as in `encode_many`.
        """
        return map_in_order(self.decode, blobs, lambda blob: self.is_large(blob_pixels(blob)))

    def is_large(self, n_pixels: int) -> bool:
        """Whether a picture of this size is run alone where many are encoded or decoded."""
        return large(n_pixels, self.network.bytes_per_pixel, free_bytes(self.network.device))

    def analyse(
        self,
        picture: Picture,
        settings: Settings = DEFAULTS,
        stem: str | None = None,
        progress: Progress | None = None,
    ) -> tuple[Header, np.ndarray, bytes]:
        """Picture -> header, symbols and alpha plane (PNG bytes, empty when opaque).

        symbols: uint8 [C, h, w]; of a model with a hyperprior they are the payload instead, uint8 [n].
        """
        settings.check(self.model)
        alpha = encode_alpha(picture.alpha) if picture.alpha is not None else b""
        from_elsewhere = self.model.own and self.model.space != OWN_SPACE  # the id is then of the space's default
        header = Header(
            model_id=self.model.id,
            weights=l8.UNKNOWN_WEIGHTS if from_elsewhere else self.network.weights_hash,
            width=picture.width,
            height=picture.height,
            channels=self.model.channels,
            stride=self.model.stride,
            quantiser=Quantiser(self.model.low, self.model.high, settings.levels or _most_levels(self.model)),
            stem=stem or picture.stem,
        )
        latents = self.network.encode_pixels(pad_to_multiple(picture.rgb, self.model.stride), progress)
        if self.model.kind == KL:
            try:
                header = replace(header, quantiser=header.quantiser.widened(latents))
            except ValueError as error:
                raise ModelError(f"{self.model.name} gives {error}: blobs cannot hold them.") from None
        if self.model.kind != HYPERPRIOR:
            return header, header.quantiser.quantise(latents), alpha
        overhead = len(l8.pack_payload(header, l8.HYPERPRIOR_CODED, b"", alpha))
        payload, quality = self._coded(latents, settings, header, overhead)
        header = replace(header, coding=l8.HYPERPRIOR_CODED, payload_bytes=len(payload), quality=quality)
        return header, np.frombuffer(payload, np.uint8), alpha

    def _coded(self, latents: np.ndarray, settings: Settings, header: Header, overhead: int) -> tuple[bytes, int]:
        """Latents -> payload and its quality, at the quality or under the size that the settings ask for."""
        limit = settings.target_bytes
        if settings.target_bpp is not None:
            limit = int(settings.target_bpp * header.width * header.height / 8)
        if limit is None:
            payload = self.network.pack(latents, settings.quality or DEFAULT_QUALITY)
        else:
            payload = self.network.pack_at_most(latents, limit - overhead)
            if len(payload) + overhead > limit:
                raise PictureError(
                    f"This picture cannot be kept in {limit:,} bytes: it takes {len(payload) + overhead:,} at the "
                    "lowest quality. Shrink it, or allow more."
                )
        return payload, payload[0]

    def synthesise(
        self,
        header: Header,
        symbols: np.ndarray,
        alpha_png: bytes = b"",
        *,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> Picture:
        """What `analyse` gave -> Picture. Raises BlobError when the blob is not for this model or too large."""
        self._check(header)
        alpha = decode_alpha(alpha_png, header.width, header.height) if alpha_png else None
        if header.coding == l8.HYPERPRIOR_CODED:
            if legacy_range:
                raise BlobError(f"The legacy range is for latents as RGBA PNG, not for blobs of {self.model.name}.")
            latents, quality = self.network.unpack(symbols.tobytes(), header.latent_shape)
            rgb = self.network.render(latents, quality, progress)
        else:
            latents = header.quantiser.dequantise(symbols)
            rgb = self.network.decode_latents(latents, legacy_range=legacy_range, progress=progress)
        return Picture(np.ascontiguousarray(rgb[: header.height, : header.width]), alpha, header.stem)

    def _check(self, header: Header) -> None:
        require_decoder(header, self.model)
        # by id, so that it holds for a copy of the model with its weights elsewhere too
        same_model = header.model_id == self.model.id and not (self.model.own and self.model.space != OWN_SPACE)
        known = header.weights not in (b"", l8.UNKNOWN_WEIGHTS)
        if same_model and known and header.weights != self.network.weights_hash:
            if self.model.own:
                raise BlobError(f"The blob was made with another autoencoder than {self.model.name}: give that one.")
            raise BlobError(
                f"The blob was made with other weights of {self.model.name}: decode it with the release it is of."
            )
        require_size(header, self.max_pixels)


def unpacked(header: Header, symbols: np.ndarray, codec_named: Callable[[str], Codec] | None = None) -> np.ndarray:
    """What `read` gave -> latents, float32 [C, h, w].

    Those under a hyperprior need the codec of their model: from codec_named, else loaded on first use and kept.
    """
    if header.coding != l8.HYPERPRIOR_CODED:
        return header.quantiser.dequantise(symbols)
    model = model_with_id(header.model_id)
    network = (codec_named(model.name) if codec_named else _loaded(model, None)).network
    return network.unpack(symbols.tobytes(), header.latent_shape)[0]


def _most_levels(model: Model) -> int:
    return 255 if model.kind == HYPERPRIOR else 256  # -127 ... 127


def _network(model: Model, device: torch.device, dtype: torch.dtype | None):
    if model.kind == HYPERPRIOR:
        from latent8.l8_photo.network import HyperpriorNetwork

        return HyperpriorNetwork(model, device, dtype)
    from latent8.networks.tiny import TinyNetwork
    from latent8.networks.vae import ConsistencyNetwork, KLNetwork

    network = {KL: KLNetwork, CONSISTENCY: ConsistencyNetwork}.get(model.kind, TinyNetwork)
    return network(model, device, dtype)


def _model(model: str | Model) -> Model:
    return model_named(model) if isinstance(model, str) else model


@lru_cache(maxsize=2)
def _loaded(model: Model, device: str | None) -> Codec:
    return Codec(model, device)


def encode(image: Source, model: str | Model = DEFAULT_MODEL, *, device: str | None = None, **options) -> bytes:
    """`Codec.encode` with a codec that is loaded on first use and kept; it has the same options."""
    chosen = _model(model)
    require_encoder(chosen)
    return _loaded(chosen, device).encode(image, **options)


def decode(
    blob: Blob, decoder: str | Model | None = None, *, device: str | None = None, legacy_range: bool = False
) -> Image.Image:
    """`Codec.decode` with the model that the blob names, or another of its latent space, loaded on first use and kept.

    `decoders_for(inspect(blob))` lists them; any other is refused before it is loaded.
    """
    blob = blob_bytes(blob)
    header = inspect(blob)
    model = model_with_id(header.model_id) if decoder is None else _model(decoder)
    require_decoder(header, model)
    return _loaded(model, device).decode(blob, legacy_range=legacy_range)


def encode_file(
    source: str | os.PathLike, target: str | os.PathLike, model: str | Model = DEFAULT_MODEL, **options
) -> None:
    """Picture file -> .l8 file; options as for `encode`."""
    write_file(target, encode(Path(source), model, **options))


def decode_file(source: str | os.PathLike, target: str | os.PathLike, **options) -> None:
    """.l8 file -> picture file, its format by the ending; options as for `decode`."""
    image = decode(source, **options)
    write_file(target, picture_bytes(image, Path(target).suffix))
