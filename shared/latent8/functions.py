"""The functions at the top of the package, with codecs that are loaded on first use and kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from latent8.codec import as_model
from latent8.errors import BlobError, Latent8Error, PictureError
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import Blob, require_encoder
from latent8.latents import Latents
from latent8.machine.disk import identity, write_file
from latent8.metadata.kept import Keep
from latent8.pictures.intake import Source
from latent8.pictures.output import picture_bytes, require_format
from latent8.pool import POOL
from latent8.zoo.registry import DEFAULT_MODEL, Model

if TYPE_CHECKING:
    from latent8.networks.base import Progress


def encode(
    image: Source,
    model: str | Model = DEFAULT_MODEL,
    *,
    quality: int | None = None,
    target_bytes: int | None = None,
    target_bpp: float | None = None,
    levels: int | None = None,
    longest_side: int | None = None,
    stem: str | None = None,
    keep_metadata: Keep = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> bytes:
    """Picture (path, bytes, open file, PIL image or uint8 array) -> blob, the bytes of a .l8 file.

    model: a name from `models()`, or what `own_model` gives; loaded on first use and kept. device: "cpu", "cuda" or
    "mps", by default the best there is. The other options, and errors:

      quality        of l8-photo: 1 to 100, 50 by default
      target_bytes   of l8-photo, in place of quality: the largest blob found of at most so many bytes
      target_bpp     likewise, in bits per pixel, above 0
      levels         of the other models: levels of the quantiser, 16 to 256, 256 by default
      longest_side   shrink larger pictures to it, in pixels
      stem           file name without ending to keep in the blob; by default that of a path
      keep_metadata  None, "all", or "no-gps": EXIF and XMP data to keep in the blob
      progress       called with the share that is done, 0 to 1, after each tile of a large picture

    Raises PictureError for a picture that cannot be read or kept in such a size, ModelError for a model that is not
    there or only decodes, ValueError for options that are out of range or not for this model.
    """
    chosen = as_model(model)
    require_encoder(chosen)
    return POOL.codec(chosen, device).encode(
        image,
        quality=quality,
        target_bytes=target_bytes,
        target_bpp=target_bpp,
        levels=levels,
        longest_side=longest_side,
        stem=stem,
        keep_metadata=keep_metadata,
        progress=progress,
    )


def decode(
    blob: Blob | Encoded | Latents,
    decoder: str | Model | None = None,
    *,
    device: str | None = None,
    realism: float | None = None,
    legacy_range: bool = False,
    progress: Progress | None = None,
) -> Image.Image:
    """Blob, as bytes or the path of a file, or what `Encoded.parse` or `read_latents` gives -> PIL image, RGB or RGBA.

    decoder: a model of the blob's latent space, by default the one that it names; `decoders_for(inspect(blob))` lists
    them, and any other is refused before it is loaded. device: "cpu", "cuda" or "mps", by default the best there is.
    realism: from 0, faithful, to 1, vivid, for models that have more than one reading of a blob. legacy_range: of PNGs
    that early Spaces encoded from [0, 1]. progress: called with the share that is done, 0 to 1, after each tile of a
    large picture. Metadata that the blob keeps are in the image's `info`, as "exif" and "xmp". Raises BlobError, and
    ModelError where a decoder cannot be loaded or has one reading only.
    """
    options: dict[str, Any] = {"realism": realism, "legacy_range": legacy_range, "progress": progress}
    return POOL.decode(blob, decoder, device=device, **options)


def encode_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: str | Model = DEFAULT_MODEL,
    *,
    quality: int | None = None,
    target_bytes: int | None = None,
    target_bpp: float | None = None,
    levels: int | None = None,
    longest_side: int | None = None,
    stem: str | None = None,
    keep_metadata: Keep = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> None:
    """Picture file -> .l8 file, which is overwritten; options and errors as for `encode`.

    Raises OSError where it cannot be written, and PictureError where the target is the source itself.
    """
    _require_other(source, target, PictureError)
    blob = encode(
        Path(source),
        model,
        quality=quality,
        target_bytes=target_bytes,
        target_bpp=target_bpp,
        levels=levels,
        longest_side=longest_side,
        stem=stem,
        keep_metadata=keep_metadata,
        progress=progress,
        device=device,
    )
    write_file(target, blob)


def decode_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    decoder: str | Model | None = None,
    *,
    device: str | None = None,
    realism: float | None = None,
    legacy_range: bool = False,
    progress: Progress | None = None,
) -> None:
    """.l8 file -> picture file, its format by the ending, which is overwritten; options and errors as for `decode`.

    Raises PictureError for an ending without a format, OSError where the file cannot be written, and BlobError where
    the target is the source itself.
    """
    _require_other(source, target, BlobError)
    suffix = Path(target).suffix
    require_format(suffix)
    options = {"realism": realism, "legacy_range": legacy_range, "progress": progress}
    write_file(target, picture_bytes(POOL.decode(source, decoder, device=device, **options), suffix))


def _require_other(source: str | os.PathLike, target: str | os.PathLike, error: type[Latent8Error]) -> None:
    if identity(source) and identity(source) == identity(target):
        raise error(f"{os.fspath(target)} is the source itself: name another file.")
