"""Pictures and blobs as files."""

from __future__ import annotations

import io

from PIL import Image

from latent8.errors import PictureError
from latent8.metadata.kept import save_options
from latent8.pictures.quiet import without_pillows_warnings

FORMATS = {"PNG": ".png", "WebP": ".webp", "JPEG": ".jpg"}
_LOSSY = {"JPEG": {"quality": 95}, "WEBP": {"quality": 95}}


def picture_bytes(image: Image.Image, suffix: str) -> bytes:
    """PIL image -> bytes of a file in the format of that ending. Raises PictureError for an ending without one.

    JPEG has no transparency: the picture is laid on white. EXIF and XMP data in the image's `info` go into PNG, WebP,
    JPEG and AVIF files.
    """
    name = require_format(suffix)
    if name == "JPEG" and image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.info = image.info
        white.paste(image, mask=image.getchannel("A"))
        image = white
    buffer = io.BytesIO()
    try:
        with without_pillows_warnings():  # of EXIF data, which its writers read
            image.save(buffer, name, **_LOSSY.get(name, {}), **save_options(image, name))
    except (OSError, ValueError) as error:
        raise PictureError(f"The picture cannot be written as {suffix} ({error}): use .png.") from None
    return buffer.getvalue()


def require_format(suffix: str) -> str:
    """Ending, ".webp" say -> Pillow's name of the format. Raises PictureError for one that cannot be written."""
    name = Image.registered_extensions().get(suffix.lower())
    if name is None or name not in Image.SAVE:
        raise PictureError(
            f"No picture can be written as {suffix or 'a name without ending'}: use .png, .webp or .jpg."
        )
    return name
