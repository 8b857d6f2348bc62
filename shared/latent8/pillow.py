"""Importing this registers .l8 with Pillow: `Image.open("photo.l8")`, `image.save("photo.l8", quality=30)`.

Opening reads and checks the file, and gives size and mode; the picture is decoded when its pixels are first asked for.
Saving takes the options of `latent8.encode`: model, device, quality, target_bytes and so on. As with Pillow's own
formats, options that belong to other formats are ignored.
"""

from __future__ import annotations

import inspect as signatures
import os
from typing import IO, Any

from PIL import Image, ImageFile

from latent8 import functions
from latent8.errors import BlobError, Latent8Error
from latent8.file_format import reader
from latent8.file_format.blob import Encoded, is_blob
from latent8.latents import describe
from latent8.metadata.kept import Metadata

FORMAT = "L8"
_OPTIONS = {*signatures.signature(functions.encode).parameters} - {"image"}


class UnreadableBlobError(BlobError, OSError):
    """A blob that cannot be opened or decoded, as an OSError too: Pillow's users expect that of a broken picture."""


class L8ImageFile(ImageFile.ImageFile):
    """A blob as a Pillow image; `info` holds its model, its quality or levels, and EXIF and XMP data that it keeps."""

    format = FORMAT
    format_description = "latent8 blob"
    _encoded: Encoded | None = None  # until it is decoded

    def _open(self) -> None:
        assert self.fp is not None  # Pillow has just opened it
        try:
            encoded = reader.inspect(self.fp.read())
            facts = describe(encoded)
        except Latent8Error as error:
            raise UnreadableBlobError(str(error)) from None
        self._encoded = encoded
        self._size = encoded.width, encoded.height
        self._mode = "RGBA" if encoded.alpha_png else "RGB"
        self.info = {name: facts[name] for name in ("model", "quality", "levels") if name in facts}
        self.info.update(Metadata.of_chunks(encoded.chunks).info())

    def load(self) -> Image.core.PixelAccess | None:
        """Decode, the first time. Raises UnreadableBlobError."""
        if self._encoded:
            try:
                decoded = functions.decode(self._encoded)
            except Latent8Error as error:
                raise UnreadableBlobError(str(error)) from error
            self.im, self.readonly, self._encoded = decoded.im, 0, None
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _save(image: Image.Image, file: IO[bytes], _: str | bytes | os.PathLike) -> None:
    options: dict[str, Any] = {name: value for name, value in image.encoderinfo.items() if name in _OPTIONS}
    file.write(functions.encode(image, **options))


Image.register_open(FORMAT, L8ImageFile, is_blob)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".l8")
