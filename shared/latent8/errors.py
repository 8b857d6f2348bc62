"""Errors about what a user brings, in one family; each message is one clear sentence."""


class Latent8Error(ValueError):
    """Base of the errors below: bad input, with a message that can be shown to a user as it is."""


class BlobError(Latent8Error):
    """Bytes that are not a blob this version can decode."""


class PictureError(Latent8Error):
    """A picture that cannot be read, or that is over the pixel limit."""


class TooFewBytesError(PictureError):
    """A picture that takes more bytes than are allowed. limit, least: those allowed, and what it takes."""

    def __init__(self, limit: int, least: int):
        super().__init__(
            f"This picture cannot be kept in {limit:,} bytes: it takes {least:,} at the lowest quality. Shrink it, or "
            "allow more."
        )
        self.limit, self.least = limit, least

    def __reduce__(self) -> tuple:  # for other processes
        return type(self), (self.limit, self.least)


class ModelError(Latent8Error):
    """A model that is unknown, cannot be loaded here, or does not fit the request."""


class LibraryError(Latent8Error):
    """A library of latents that cannot be opened, read or written as asked."""
