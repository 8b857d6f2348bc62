"""latent8: pictures as small 8-bit latent blobs, and back.

>>> import latent8
>>> blob = latent8.encode("photo.jpg")      # bytes of a .l8 file
>>> latent8.decode(blob).save("photo.png")  # PIL image
"""

from typing import TYPE_CHECKING

from latent8.codec import Codec
from latent8.errors import BlobError, Latent8Error, LibraryError, ModelError, PictureError
from latent8.evaluation.comparison import compare
from latent8.evaluation.latent_pictures import latent_pictures, latent_sheet
from latent8.exchange import Latents, convert, read_latents, write_latents
from latent8.file_format.reader import decoders_for, inspect
from latent8.functions import decode, decode_file, encode, encode_file
from latent8.zoo.own_models import own_model
from latent8.zoo.registry import models

if TYPE_CHECKING:
    from latent8.library.library import Library

__all__ = [
    "BlobError",
    "Codec",
    "Latent8Error",
    "Latents",
    "Library",
    "LibraryError",
    "ModelError",
    "PictureError",
    "compare",
    "convert",
    "decode",
    "decode_file",
    "decoders_for",
    "encode",
    "encode_file",
    "inspect",
    "latent_pictures",
    "latent_sheet",
    "models",
    "own_model",
    "read_latents",
    "write_latents",
]
__version__ = "1.0.0"


def __getattr__(name: str) -> object:
    """Library is imported when it is first asked for: it brings torch, and the vector engine of the extra `library`."""
    if name == "Library":
        from latent8.library.library import Library

        return Library
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
