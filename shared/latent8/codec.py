"""The codec: a picture -> a blob, a blob -> a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latent8.errors import BlobError, Latent8Error, ModelError, TooFewBytesError
from latent8.file_format import codings
from latent8.file_format.blob import UNKNOWN_WEIGHTS, Encoded, Header
from latent8.file_format.coding import Coding
from latent8.file_format.extension import Chunk
from latent8.file_format.flat import FlatColours
from latent8.file_format.quantiser import Quantiser
from latent8.file_format.reader import (
    Blob,
    blob_pixels,
    read,
    require_decoder,
    require_encoder,
    require_size,
)
from latent8.file_format.rgba_png import RgbaPngCoding, require_four_channels
from latent8.latents import Latents
from latent8.limits import DEFAULT_MAX_PIXELS
from latent8.machine.forks import survive_forks
from latent8.machine.memory import free_bytes
from latent8.machine.parallel import large, map_in_order
from latent8.metadata.kept import NONE, Keep, Metadata, check_keep
from latent8.pictures import flat_colours
from latent8.pictures.intake import (
    Picture,
    Source,
    decode_alpha,
    encode_alpha,
    open_picture,
    pad_to_multiple,
    pixel_count,
)
from latent8.zoo.registry import DEFAULT_MODEL, Model, model_named
from latent8.zoo.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    import torch

    from latent8.networks.base import Progress


class Codec:
    """A model loaded on a device, for many calls.

    model: a name from `models()`, or what `own_model` gives. device: "cpu", "cuda" or "mps"; by default the best that
    there is. dtype: of the layers; by default the type in which the device is fastest, and float32 for an
    AutoencoderKL. max_pixels: limit for pictures in and out. Raises ModelError where the model cannot be loaded.
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

        survive_forks()
        self.model = as_model(model)
        try:
            network = self.model.kind.load_network()
            self.network = network(self.model, torch.device(device) if device else best_device(), dtype)
        except (RuntimeError, AssertionError) as error:  # from torch, for a device that it does not know or have
            reason = str(error).splitlines()[0]
            where = f" on the device {device}" if device else ""
            raise ModelError(f"{self.model.name} cannot be loaded{where}: {reason}.") from None
        self.max_pixels = max_pixels
        self._options = device, dtype, max_pixels
        self._others: dict[Model, Codec] = {}  # other decoders

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
        keep_metadata: Keep = None,
        progress: Progress | None = None,
    ) -> bytes:
        """Picture (path, bytes, open file, PIL image, or uint8 array [H, W], [H, W, 3], [H, W, 4]) -> blob.

        quality: 1 to 100, by default 50, for models with a hyperprior. target_bytes, target_bpp: in place of quality,
        the size that the whole blob may have, in bytes or bits per pixel; the largest blob found within it is taken.
        levels: quantiser levels, 16 to 256, by default 256, for other models; fewer make smaller files and coarser
        pictures. longest_side: in pixels; larger pictures are shrunk to it. stem: file name to keep in the blob, by
        default that of a path. keep_metadata: "all" keeps EXIF and XMP data in the blob, "no-gps" keeps them without
        positions (see latent8/metadata/kept.py); by default nothing is kept. progress: called after each tile of a
        large picture, with the share that is done, 0 ... 1.

        The same picture, model and machine give the same bytes, but for a rare rounding where so little memory is free
        that tiles get smaller. Raises PictureError for a picture that cannot be read or a size that cannot be met, and
        ValueError for options that the model does not have.
        """
        settings = self._checked(Settings(quality, target_bytes, target_bpp, levels))
        picture = open_picture(image, self.max_pixels, longest_side, keep_metadata)
        return self.analyse(picture, settings, stem, progress).to_bytes()

    def encode_many(
        self,
        images: Iterable[Source],
        *,
        quality: int | None = None,
        target_bytes: int | None = None,
        target_bpp: float | None = None,
        levels: int | None = None,
        longest_side: int | None = None,
        keep_metadata: Keep = None,
    ) -> Iterator[bytes | Latent8Error]:
        """Pictures -> blobs, in order, several at a time; each has the same bytes as from `encode`.

        The options are those of `encode`; each path's own name is kept. A picture that cannot be encoded gives a
        PictureError in place of its blob, and the others go on. `images` is read in the caller's thread, a few ahead of
        the results that are asked for; paths are best, since reading then overlaps too. Raises ValueError as `encode`
        does, and ModelError for a model that only decodes, at once.
        """
        settings = self._checked(Settings(quality, target_bytes, target_bpp, levels))
        check_keep(keep_metadata)

        def encode_one(image: Source) -> bytes:
            picture = open_picture(image, self.max_pixels, longest_side, keep_metadata)
            return self.analyse(picture, settings).to_bytes()

        return map_in_order(encode_one, images, lambda image: self.is_large(pixel_count(image, longest_side)))

    def encode_rgba_png(
        self, image: Source, *, levels: int = 256, longest_side: int | None = None, progress: Progress | None = None
    ) -> bytes:
        """Picture -> its latents as an 8-bit RGBA PNG, as taesd's example writes them; its transparency is not kept.

        The options are those of `encode`. Raises as `encode`, and ModelError for a model without 4 latent channels.
        """
        settings = self._checked(Settings(levels=levels))
        require_four_channels(self.model.name, self.model.channels)
        picture = open_picture(image, self.max_pixels, longest_side)
        return self.analyse(picture, settings, progress=progress, coding=RgbaPngCoding).to_bytes()

    def decode(
        self,
        blob: Blob | Encoded | Latents,
        decoder: str | Model | None = None,
        *,
        realism: float | None = None,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Blob, or latents as RGBA PNG -> PIL image, RGB or RGBA.

        blob: bytes, the path of a file, or what `Encoded.parse` or `read_latents` gives. decoder: another model than
        this codec's, of the blob's latent space; it is loaded on the same device and kept. realism: from 0, faithful,
        to 1, vivid, for models with more than one reading of a blob; by default the model's own. legacy_range: for PNGs
        that early Spaces encoded from pixels in [0, 1] where the model takes [-1, 1]; it restores their contrast.
        progress: as in `encode`. Raises BlobError for a blob that cannot be decoded, ModelError for a decoder that
        cannot be loaded or has only one reading, and ValueError for a realism out of range.
        """
        source = blob if isinstance(blob, (Encoded, Latents)) else read(blob, self.max_pixels)
        codec = self
        if decoder is not None and (model := as_model(decoder)) != self.model:
            require_decoder(source.header, model)  # before it is loaded
            codec = self._others.get(model) or self._others.setdefault(model, Codec(model, *self._options))
        return codec.synthesise(source, realism=realism, legacy_range=legacy_range, progress=progress).image()

    def decode_many(self, blobs: Iterable[Blob]) -> Iterator[Image.Image | Latent8Error]:
        """Blobs, as bytes or paths -> PIL images, in order, several at a time; each is the same as from `decode`.

        A blob that cannot be decoded gives a BlobError in place of its picture, and the others go on. `blobs` is read
        as in `encode_many`.
        """
        return map_in_order(self.decode, blobs, lambda blob: self.is_large(blob_pixels(blob)))

    def is_large(self, n_pixels: int) -> bool:
        """Whether a picture of `n_pixels` pixels is run alone where many are encoded or decoded."""
        return large(n_pixels, self.network.bytes_per_pixel, free_bytes(self.network.device))

    def analyse(
        self,
        picture: Picture,
        settings: Settings = DEFAULTS,
        stem: str | None = None,
        progress: Progress | None = None,
        coding: type[Coding] | None = None,
    ) -> Encoded:
        """Picture -> encoded picture. One with plain areas is decoded once, to choose its flat colours.

        settings: must pass `Settings.check` for this model. stem: file name to keep, by default the picture's. coding:
        payload coding, by default that of the model's kind. Raises PictureError for a size that cannot be met, and
        ModelError for latents beyond any range.
        """
        chosen = coding or codings.coding_with_id(self.model.kind.codings[0])
        colours = flat_colours.filling_colours(picture) if chosen.in_blobs else []
        first, second = (_half(progress, 0), _half(progress, 1)) if colours else (progress, None)
        latents = self.network.encode_pixels(pad_to_multiple(picture.rgb, self.model.stride), first)
        header = self._header(picture, latents, settings, stem)
        alpha_png = encode_alpha(picture.alpha) if picture.alpha is not None else b""

        def encoded(chunks: tuple[Chunk, ...]) -> Encoded:
            return chosen(self.network).encode(latents, settings, header, alpha_png, chunks)

        plain = encoded(picture.metadata.chunks())
        if not colours:
            return plain
        back = self.synthesise(replace(plain, alpha_png=b"", chunks=()), progress=second)
        flat = flat_colours.chosen(picture, back.rgb, colours, plain.n_bytes)
        return plain if flat is None else _with_chunk(plain, flat.chunk(), settings, encoded)

    def synthesise(
        self,
        source: Encoded | Latents,
        *,
        realism: float | None = None,
        legacy_range: bool = False,
        progress: Progress | None = None,
    ) -> Picture:
        """Encoded picture, or latents -> picture.

        realism, legacy_range: as in `decode`. Raises BlobError where the source is not for this model, damaged or too
        large; otherwise as `decode`.
        """
        header = source.header
        self._check(header)
        self._check_reading(realism)
        if legacy_range and source.quality is not None:
            raise BlobError(f"The legacy range is for latents as RGBA PNG, not for blobs of {self.model.name}.")
        if isinstance(source, Latents):
            alpha_png, latents, metadata, flat = b"", source.values, NONE, None
        else:
            metadata = Metadata.of_chunks(source.chunks)
            flat = FlatColours.of_chunks(source.chunks, header.width, header.height)
            alpha_png, latents = source.alpha_png, self.latents(source)
        alpha = decode_alpha(alpha_png, header.width, header.height) if alpha_png else None
        options = {"legacy_range": legacy_range, "progress": progress}
        rgb = self.network.decode_latents(latents, source.quality, realism, **options)
        rgb = np.ascontiguousarray(rgb[: header.height, : header.width])
        if flat is not None:
            flat_colours.restore(rgb, flat)
        return Picture(rgb, alpha, header.stem, metadata)

    def latents(self, encoded: Encoded) -> np.ndarray:
        """Encoded picture -> latents, float32 [C, h, w]. Raises BlobError."""
        return codings.coding_with_id(encoded.coding)(self.network).decode(encoded)

    def _header(self, picture: Picture, latents: np.ndarray, settings: Settings, stem: str | None) -> Header:
        model, kind = self.model, self.model.kind
        quantiser = Quantiser(model.low, model.high, settings.levels or kind.levels)
        if not kind.bounded:
            try:
                quantiser = quantiser.widened(latents)
            except ValueError as error:
                raise ModelError(f"{model.name} gives {error}: blobs cannot hold them.") from None
        return Header(
            model_id=model.id,
            weights=UNKNOWN_WEIGHTS if model.from_elsewhere else self.network.weights_hash,
            width=picture.width,
            height=picture.height,
            channels=model.channels,
            stride=model.stride,
            quantiser=quantiser,
            stem=stem or picture.stem,
        )

    def _checked(self, settings: Settings) -> Settings:
        settings.check(self.model)
        require_encoder(self.model)
        return settings

    def _check_reading(self, realism: float | None) -> None:
        if realism is None:
            return
        if self.network.default_realism is None:
            raise ModelError(f"{self.model.name} has one reading of a blob: leave realism out.")
        if not 0 <= realism <= 1:
            raise ValueError(f"realism must be from 0 to 1, not {realism}")

    def _check(self, header: Header) -> None:
        require_decoder(header, self.model)
        # by id, so that it holds for a copy of the model with its weights elsewhere too
        same_model = header.model_id == self.model.id and not self.model.from_elsewhere
        known = header.weights not in (b"", UNKNOWN_WEIGHTS)
        if same_model and known and header.weights != self.network.weights_hash:
            if self.model.own:
                raise BlobError(f"The blob was made with another autoencoder than {self.model.name}: give that one.")
            raise BlobError(
                f"The blob was made with other weights of {self.model.name}: decode it with the release it is of."
            )
        require_size(header, self.max_pixels)


def as_model(model: str | Model) -> Model:
    return model_named(model) if isinstance(model, str) else model


def _half(progress: Progress | None, number: int) -> Progress | None:
    """`progress` for the first half of the work, 0, or the second, 1."""
    return None if progress is None else lambda share: progress((number + share) / 2)


def _with_chunk(
    plain: Encoded, chunk: Chunk, settings: Settings, encoded: Callable[[tuple[Chunk, ...]], Encoded]
) -> Encoded:
    """An encoded picture with one chunk more, within the size that is asked for.

    encoded: encodes the same picture with other chunks. Where there is no room for the chunk beside the latents as they
    are, they are encoded in as much less; where not even the smallest leave it room, it is left out.
    """
    whole = replace(plain, chunks=(*plain.chunks, chunk))
    limit = settings.most_bytes(plain.width * plain.height)
    if limit is None or whole.n_bytes <= limit:
        return whole
    try:
        return encoded(whole.chunks)
    except TooFewBytesError:
        return plain
