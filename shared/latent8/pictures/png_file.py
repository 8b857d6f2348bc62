"""PNG files (W3C, third edition) before they are decoded: the chunks that a decoder needs, and what the others say."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from latent8.pictures.alpha import is_colour
from latent8.pictures.exif import exif_facts, xmp_orientation
from latent8.pictures.facts import MAX_METADATA_BYTES, Cicp, Facts, Prepared, too_much
from latent8.pictures.splice import Piece, read_at, size_of_file, spliced

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 100_000
MAX_PROFILE_BYTES = 32_000_000  # of an ICC profile; those of printers have up to about ten million
_END = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
_XMP_KEY, _OLD_EXIF_KEYS = b"XML:com.adobe.xmp", (b"Raw profile type exif", b"Raw profile type APP1")
_READ = {b"IHDR", b"PLTE", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"}
_TEXT = {b"iTXt", b"zTXt", b"tEXt"}


def prepared(file: BinaryIO, keep_key: bool = False) -> Prepared | None:
    """Header, palette, transparency and data of the first picture; None for what is not a PNG after all.

    All else is left out of what is decoded: texts of any size, frames of an animation, and what stands behind the
    data. A missing end is put there. keep_key: leave a transparent colour to Pillow, in place of `Facts.key`.
    """
    if read_at(file, 0, 8) != SIGNATURE:
        return None
    pieces, said = _walk(file, size_of_file(file))
    header = said.get(b"IHDR", b"")
    if len(header) < 13 or not pieces:
        return None
    facts = _facts(said)
    grey_or_rgb = header[9] in (0, 2)
    said_first = [_chunk(b"PLTE", said[b"PLTE"])] if b"PLTE" in said else []
    if b"tRNS" in said and (keep_key or not grey_or_rgb):  # else it is a colour, which is looked for at full depth
        said_first.append(_chunk(b"tRNS", said[b"tRNS"]))
    return Prepared(spliced(file, [SIGNATURE, pieces[0], *said_first, *pieces[1:], _END]), facts)


def key_alpha(image: Image.Image, stream: BinaryIO, key: tuple[int, ...]) -> np.ndarray:
    """A PNG of 16-bit colour -> uint8 [H, W], 0 where it has the key's colour and 255 elsewhere.

    image: what Pillow made of it, of the upper byte of each sample. The data are decoded once more for the lower one.
    """
    stream.seek(0)
    lower = PngImagePlugin.PngImageFile(stream)
    lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]
    hidden = is_colour(np.asarray(image), [sample >> 8 for sample in key])
    hidden &= is_colour(np.asarray(lower), [sample & 255 for sample in key])
    return np.where(hidden, np.uint8(0), np.uint8(255))


def _walk(file: BinaryIO, size: int) -> tuple[list[Piece], dict[bytes, bytes]]:
    """Pieces of the header and the data, and the bodies of chunks that say something, by kind, the first of each."""
    pieces: list[Piece] = []
    said: dict[bytes, bytes] = {}
    at, data_ended = len(SIGNATURE), False
    for _ in range(MAX_CHUNKS):
        start = read_at(file, at, 8)
        if len(start) < 8 or start[4:] == b"IEND":
            return pieces, said
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        end = at + 12 + length
        if kind == b"IDAT" and not data_ended:
            if end <= size:
                pieces.append((at, end))
            else:
                pieces.append(_chunk(b"IDAT", read_at(file, at + 8, length)))  # cut off: its data may be whole
        elif kind == b"IHDR" and not pieces:
            pieces.append((at, end))
            said[kind] = read_at(file, at + 8, min(length, 64))
        elif kind in _READ and kind not in said:
            said[kind] = read_at(file, at + 8, min(length, MAX_PROFILE_BYTES))
        elif kind in _TEXT:
            _keep_text(said, kind, file, at + 8, length)
        data_ended = data_ended or (kind != b"IDAT" and len(pieces) > 1)
        at = end
    raise too_much(f"over {MAX_CHUNKS:,} chunks")


def text_of(file: BinaryIO, key: bytes) -> str | None:
    """The text with that key, wherever in the file it stands; None where there is none.

    Raises ValueError for one that is damaged, or of over MAX_METADATA_BYTES.
    """
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        start = read_at(file, at, 8 + 81)
        if len(start) < 8:
            return None
        length, kind = int.from_bytes(start[:4], "big"), start[4:8]
        if kind in _TEXT and start[8:].startswith(key + b"\0"):
            body = read_at(file, at + 4, min(length, MAX_METADATA_BYTES) + 8)
            if len(body) != length + 8 or zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "big"):
                raise ValueError("a damaged text")
            return _text(kind, body[4 + len(key) + 1 : -4]).decode("utf-8" if kind == b"iTXt" else "latin-1")
        at += 12 + length
    return None


def _text(kind: bytes, body: bytes) -> bytes:
    """Content behind the key; b"" where it cannot be unpacked."""
    if kind == b"iTXt":
        packed, body = body[:1] == b"\1", body[2:].split(b"\0", 2)[-1]
    else:
        packed, body = kind == b"zTXt", body[1:] if kind == b"zTXt" else body
    return _unpacked(body, MAX_METADATA_BYTES) if packed else body


def _keep_text(said: dict[bytes, bytes], kind: bytes, file: BinaryIO, at: int, length: int) -> None:
    """XMP data, and the EXIF data that ImageMagick used to write as text in hexadecimal."""
    start = read_at(file, at, min(length, 80))
    key = start.partition(b"\0")[0]
    if key not in (_XMP_KEY, *_OLD_EXIF_KEYS) or length > MAX_METADATA_BYTES or key in said:
        return
    said[key] = _text(kind, read_at(file, at, length)[len(key) + 1 :])


def _facts(said: dict[bytes, bytes]) -> Facts:
    exif = (said.get(b"eXIf", b"") or _from_hexadecimal(said)).removeprefix(b"Exif\0\0")
    exif, xmp = exif if len(exif) <= MAX_METADATA_BYTES else b"", said.get(_XMP_KEY, b"")
    exif_says = exif_facts(exif)
    depth, colour_type = said[b"IHDR"][8:10]
    cicp = said.get(b"cICP", b"")
    gamma, chromaticities = said.get(b"gAMA", b""), said.get(b"cHRM", b"")
    profile = said.get(b"iCCP", b"").partition(b"\0")[2][1:]
    channels, transparent = {0: 1, 2: 3}.get(colour_type, 0), said.get(b"tRNS", b"")
    return Facts(
        cicp=Cicp(cicp[0], cicp[1], cicp[3] != 0) if len(cicp) == 4 and cicp[2] == 0 else None,
        icc=_unpacked(profile, MAX_PROFILE_BYTES) or None,
        srgb=b"sRGB" in said,
        gamma=int.from_bytes(gamma, "big") / 1e5 if len(gamma) == 4 else None,
        chromaticities=tuple(v / 1e5 for v in struct.unpack(">8I", chromaticities))
        if len(chromaticities) == 32
        else None,
        adobe_rgb=exif_says.adobe_rgb,
        orientation=exif_says.orientation or xmp_orientation(xmp),
        key=_key(transparent, channels, depth),
        depth=depth,
        exif=exif,
        xmp=xmp,
    )


def _key(transparent: bytes, channels: int, depth: int) -> tuple[int, ...] | None:
    """Only the low bits of each of its 16-bit numbers count."""
    if not channels or len(transparent) < 2 * channels:
        return None
    return tuple(sample & ((1 << depth) - 1) for sample in struct.unpack(f">{channels}H", transparent[: 2 * channels]))


def _from_hexadecimal(said: dict[bytes, bytes]) -> bytes:
    for key in _OLD_EXIF_KEYS:
        try:
            return bytes.fromhex("".join(said[key].decode("ascii").split("\n")[3:]))
        except (KeyError, ValueError):
            continue
    return b""


def _unpacked(data: bytes, most: int) -> bytes:
    """Deflated bytes -> bytes; none where they are damaged, or more than so many."""
    decoder = zlib.decompressobj()
    try:
        found = decoder.decompress(data, most)
    except zlib.error:
        return b""
    return found if decoder.eof else b""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
