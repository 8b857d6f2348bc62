"""JPEG files (ITU-T T.81) before they are decoded: what counts of their segments, and how many scans they have."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from PIL import Image

from latent8.errors import PictureError
from latent8.pictures.exif import exif_facts, xmp_orientation
from latent8.pictures.facts import Facts, Prepared, too_much
from latent8.pictures.splice import Piece, read_at, spliced

MAX_SEGMENTS = 4096  # before the first scan
MAX_SCANS = 100  # encoders make about ten; a decoder goes over the whole picture for each
MAX_SCAN_PIXELS = 1_500_000_000  # scans times pixels: what takes a few seconds
MAX_FILE_BYTES = 1 << 30
_EOI, _SOS, _SOI = 0xD9, 0xDA, 0xD8
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # those that libjpeg decodes
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
_EXIF, _XMP, _ICC, _JFIF, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"JFIF\0", b"Adobe"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in entropy-coded data: no stuffed byte, no restart


@dataclass
class _Header:
    """Head of a JPEG, all before its first scan. pieces: the segments that a decoder needs."""

    pieces: list[Piece] = field(default_factory=lambda: [b"\xff\xd8"])
    first_scan: int = 0
    exif: bytes = b""
    xmp: bytes = b""
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_count: int = 0
    frame: bytes = b""
    frame_marker: int = 0

    @property
    def pixels(self) -> int:
        return int.from_bytes(self.frame[1:3], "big") * int.from_bytes(self.frame[3:5], "big")


def prepared(file: BinaryIO) -> Prepared | None:
    """A JPEG's scans and what they need; metadata that does not change the picture is left out, sound or not.

    None for what is not a JPEG after all. Raises PictureError for a kind that cannot be decoded.
    """
    header = _read_header(file)
    if header is None:
        return None
    facts = exif_facts(header.exif)
    complete = header.icc_count == len(header.icc) > 0
    icc = b"".join(header.icc[number] for number in sorted(header.icc)) if complete else None
    orientation = facts.orientation or xmp_orientation(header.xmp)
    end = file.seek(0, io.SEEK_END)
    stream = spliced(file, [*header.pieces, (header.first_scan, end)])
    exif = header.exif.removeprefix(_EXIF)
    return Prepared(
        stream, Facts(icc=icc, adobe_rgb=facts.adobe_rgb, orientation=orientation, exif=exif, xmp=header.xmp)
    )


def check_work(file: BinaryIO) -> None:
    """Raise PictureError where scans would take too long to decode. Reads the whole file, and decodes nothing."""
    header = _read_header(file)
    if header is None:
        return
    allowed = min(MAX_SCANS, max(12, MAX_SCAN_PIXELS // max(header.pixels, 1)))
    if _Scans.of(_bytes_from(file, header.first_scan), allowed).count > allowed:
        raise too_much(f"over {allowed} scans")


def completed(file: BinaryIO) -> BinaryIO | None:
    """The file with the end marker that it lacks; None where picture data are missing too, or where it has one.

    That nothing else is missing shows by decoding it twice, with other bytes behind the data: where the data are all
    there, what follows them makes no difference.
    """
    header = _read_header(file)
    if header is None:
        return None
    data = _bytes_from(file, header.first_scan)
    scans = _Scans.of(data, MAX_SCANS)
    if scans.ended or not scans.all_coefficients(header):
        return None
    if data.endswith(bytes(16)):  # room that a camera or a download kept
        data = data.rstrip(b"\0")
        data += b"\0" if data.endswith(b"\xff") else b""  # which stands for 255 in the data
    else:
        data = data.removesuffix(b"\xff")
    decoded = []
    for behind in (b"", b"\x55\xaa" * 64, b"\xf0\x0f" * 64):
        stream = spliced(file, [*header.pieces, data + behind + b"\xff\xd9"])
        try:
            decoded.append(np.asarray(Image.open(stream, formats=["JPEG"])))
        except (OSError, SyntaxError, ValueError):
            return None
        if not np.array_equal(decoded[0], decoded[-1]):
            return None
    return spliced(file, [*header.pieces, data + b"\xff\xd9"])


def _read_header(file: BinaryIO) -> _Header | None:
    """Segments up to the first scan; None where there are no such."""
    if read_at(file, 0, 2) != b"\xff\xd8":
        return None
    header, at = _Header(), 2
    for _ in range(MAX_SEGMENTS):
        found = _next_marker(file, at)
        if found is None:
            return None
        marker, at = found
        if marker == _SOS:
            header.first_scan = at - 2
            return header if header.frame else None
        if marker == _EOI:
            return None
        if marker == _SOI or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        length = int.from_bytes(read_at(file, at, 2), "big")
        if length < 2:
            return None
        _take_segment(header, file, marker, at, length)
        at += length
    raise too_much("thousands of segments")


def _take_segment(header: _Header, file: BinaryIO, marker: int, at: int, length: int) -> None:
    body = read_at(file, at + 2, length - 2)
    wanted = marker in _TABLES or marker in _FRAMES
    if marker in _FRAMES or marker in _OTHER_FRAMES:
        _check_frame(marker, body)
        header.frame, header.frame_marker = body, marker
    elif marker == 0xE1 and body.startswith(_EXIF):
        header.exif = header.exif or body
    elif marker == 0xE1 and body.startswith(_XMP):
        header.xmp = header.xmp or body[len(_XMP) :]
    elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
        header.icc.setdefault(body[12], body[14:])
        header.icc_count = body[13]
    else:
        jfif = marker == 0xE0 and body.startswith(_JFIF) and len(body) >= 14
        wanted = wanted or jfif or (marker == 0xEE and body.startswith(_ADOBE) and len(body) >= 12)
    if wanted:
        header.pieces.append((at - 2, at + length))


def _check_frame(marker: int, body: bytes) -> None:
    kind = "lossless JPEG" if marker in (0xC3, 0xC7, 0xCB, 0xCF) else "hierarchical JPEG"
    if marker not in _OTHER_FRAMES and len(body) >= 6:
        if body[0] == 8 and body[5] in (1, 3, 4):
            return
        kind = f"JPEG with {body[0]} bits a sample" if body[0] != 8 else f"JPEG with {body[5]} channels"
    raise PictureError(f"This is a {kind}, which cannot be read: save it as PNG or ordinary JPEG.")


def _next_marker(file: BinaryIO, at: int) -> tuple[int, int] | None:
    """Marker and where its segment begins, past any filling."""
    for _ in range(16):  # filling of over a megabyte is none
        block = read_at(file, at, 1 << 16)
        if len(block) < 2:
            return None
        found = re.search(rb"\xff([^\x00\xff])", block)
        if found:
            return found[1][0], at + found.end()
        at += len(block) - 1
    return None


def _bytes_from(file: BinaryIO, start: int) -> bytes:
    size = file.seek(0, io.SEEK_END)
    if size > MAX_FILE_BYTES:
        raise too_much(f"{size / 1e9:.1f} GB")
    return read_at(file, start, size - start)


class _Scans:
    """Scans of a JPEG: their number, whether an end marker follows them, and what each brings."""

    def __init__(self) -> None:
        self.count, self.ended = 0, False
        self._brought: list[tuple[bytes, int, int, int]] = []  # components, first and last coefficient, low bit

    @classmethod
    def of(cls, data: bytes, most: int) -> _Scans:
        """From the first scan on; counting ends past `most`."""
        scans, at, others = cls(), 0, 0
        while (found := _MARKER.search(data, at)) and scans.count <= most:
            marker, at = found[0][1], found.end()
            if marker == _EOI:
                scans.ended = True
                break
            others += marker != _SOS
            if others > MAX_SEGMENTS:
                raise too_much("thousands of segments")
            if marker in (0x01, _SOI) or not (marker in _TABLES or marker == _SOS or marker == 0xDC or marker >= 0xE0):
                continue  # libjpeg takes these for damage
            length = int.from_bytes(data[at : at + 2], "big")
            if marker == _SOS:
                scans._take(data[at + 2 : at + length])
            at += length
        return scans

    def _take(self, body: bytes) -> None:
        self.count += 1
        if body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] :][:3]
            self._brought.append((body[1 : 1 + 2 * body[0] : 2], first, last, bits & 15))

    def all_coefficients(self, header: _Header) -> bool:
        """Whether every coefficient of every component came down to its last bit."""
        components = header.frame[6::3]
        finest = {component: [16] * 64 for component in components}
        progressive = header.frame_marker in (0xC2, 0xCA)
        for names, first, last, bit in self._brought:
            for name in names:
                if name in finest:
                    for index in range(first, min(last, 63) + 1) if progressive else range(64):
                        finest[name][index] = min(finest[name][index], bit if progressive else 0)
        return all(bit == 0 for bits in finest.values() for bit in bits)
