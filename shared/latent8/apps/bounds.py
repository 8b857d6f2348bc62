"""Bounds of the apps, for anyone who can reach them. Each can be changed by an environment variable of its name."""

from __future__ import annotations

import ipaddress
import os
from contextvars import ContextVar

MB = 1_000_000


def _number(name: str, default: int) -> int:
    """Of the environment; raises SystemExit where it is not a whole number above 0."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise SystemExit(f"{name} must be a whole number above 0, not {text!r}.")
    return int(text)


ON_SPACE = bool(os.environ.get("SPACE_ID"))  # set by Hugging Face, whose proxy is then in front

FILE_MB = _number("LATENT8_FILE_MB", 64)  # one uploaded file
UPLOAD_MB = _number("LATENT8_UPLOAD_MB", 512)  # all files of one upload
DISK_MB = _number("LATENT8_DISK_MB", 4_000)  # uploads and results together
REQUEST_FILES = _number("LATENT8_REQUEST_FILES", 200)
REQUEST_SECONDS = _number("LATENT8_REQUEST_SECONDS", 600)  # of work, without waiting
REQUEST_MEGAPIXELS = _number("LATENT8_REQUEST_MEGAPIXELS", 1_000)
PICTURE_MEGAPIXELS = _number("LATENT8_PICTURE_MEGAPIXELS", 100)
HOSTS = frozenset((os.environ.get("LATENT8_HOSTS") or "").lower().replace(",", " ").split())  # further ones, or *

FILE_BYTES = FILE_MB << 20  # as Gradio counts megabytes
BODY_BYTES = MB  # of a POST that is no upload
UPLOAD_BYTES = (UPLOAD_MB << 20) + BODY_BYTES  # with what stands between the files
FIELD_BYTES = 1 << 16  # of an upload that is no file
LISTED_FILES = 1_000  # in one request, however few of them are done

CLIENT: ContextVar[str] = ContextVar("client", default="unknown")  # whose event is prepared
MODEL, LOOKING = "model", "looking"  # ids of concurrency: of events that run a model, of those that look at results
TAKING_TURNS = {MODEL, LOOKING}  # at the model, or at the processor
# of the queue
EVENTS, EVENTS_OF_CLIENT, EVENTS_OF_SESSION = 64, 24, 8
MODEL_SLOTS, SLOTS_OF_CLIENT = 6, 2
CONNECTIONS, CONNECTIONS_OF_CLIENT = 600, 120  # requests that are being answered, those that wait for results too
LARGE_PIXELS = 16_000_000  # of such requests one is worked on at a time

FETCH_SECONDS = 20  # of a file that is given as a URL
STALLED_SECONDS = 30  # of a body that no byte is added to


def client_of(peer: str | None, forwarded: str | None) -> str:
    """Whose request it is: an IP address, of IPv6 the network that one customer has.

    peer: address of the other side of the connection. forwarded: the header X-Forwarded-For. On a Space the proxy is
    the peer, and the last public address in the header is the one that it saw: those before it anyone may make up.
    """
    found = peer or "unknown"
    if ON_SPACE and forwarded:
        public = [text for text in map(str.strip, forwarded.split(",")) if _is_public(text)]
        found = public[-1] if public else found
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return found
    if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False
