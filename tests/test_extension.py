"""The extension area of a blob: chunks by hand, what is skipped, what is refused, and what is never allocated."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest

from latent8 import BlobError, decode, inspect
from latent8.file_format import extension
from latent8.file_format.blob import Encoded
from latent8.latents import describe
from latent8.metadata import exif, xmp
from latent8.metadata.kept import Metadata
from tests.helpers.blobs_by_hand import GOLDEN_FULL, GOLDEN_PLAIN, refusal
from tests.helpers.checks import allocating_at_most
from tests.helpers.metadata_files import XMP as METADATA_XMP
from tests.helpers.metadata_files import exif_block
from tests.helpers.samples import build_blob

# As GOLDEN_PLAIN, with two chunks. From the field table, by hand.
GOLDEN_CHUNKS = (
    b"\x89L8\n\x01"
    b"\x04"  # flags: extension area
    b"\x02\x01\xca\xfe\xba\xbe\x09\x00\x00\x00\x05\x00\x00\x00\x04\x08\xc7\x00\x00\xc2\x00\x3e\x08\x00\x00\x00"
    b"\x17\x00\x00\x00"  # extension area of 23 bytes
    b"aBCD\x03\x00\x00\x00xyz"  # an ancillary chunk that nobody knows
    b"exif\x04\x00\x00\x00any!"  # known by its tag; its content is not this layer's
    b"\x00\x01\x02\x03\x04\x05\x06\x07"
)
GOLDEN_CHUNKS += zlib.crc32(GOLDEN_CHUNKS).to_bytes(4, "little")
CHUNKS = ((b"aBCD", b"xyz"), (b"exif", b"any!"))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="t"/>'


def chunk(tag: bytes, content: bytes = b"", n_bytes: int | None = None) -> bytes:
    return tag + struct.pack("<I", len(content) if n_bytes is None else n_bytes) + content


def tiff(*entries: bytes) -> bytes:
    """A TIFF header and a directory of these entries."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


MAKE = struct.pack("<HHI4s", 0x010F, 2, 4, b"Cam\0")
THUMBNAIL = struct.pack("<HHII", 0x0201, 4, 1, 8)
GPS_POINTER = struct.pack("<HHI4s", 0x8825, 4, 1, b"\x08\0\0\0")


def test_golden_literal_both_ways() -> None:
    plain, found = Encoded.parse(GOLDEN_PLAIN), Encoded.parse(GOLDEN_CHUNKS)
    assert found == replace(plain, chunks=CHUNKS) and plain.chunks == ()
    assert found.to_bytes() == replace(plain, chunks=CHUNKS).to_bytes() == GOLDEN_CHUNKS
    assert found.n_bytes == len(GOLDEN_CHUNKS) == plain.n_bytes + 4 + 23


def test_an_area_goes_with_stem_and_alpha_plane() -> None:
    full = replace(Encoded.parse(GOLDEN_FULL), chunks=CHUNKS)
    assert Encoded.parse(full.to_bytes()) == full and full.to_bytes()[5] == 7
    assert full.n_bytes == len(full.to_bytes())


def test_what_is_ancillary_and_unknown_is_skipped_and_kept() -> None:
    blob = build_blob(area=chunk(b"zZZZ", b"from the future") + chunk(b"zZZZ"), weights=bytes(4))
    encoded = inspect(blob)
    assert encoded.to_bytes() == blob and describe(encoded)["metadata"] == "none"
    assert decode(blob, device="cpu").info == {}


def test_what_is_critical_and_unknown_is_refused_by_name() -> None:
    wanted = "The blob cannot be decoded without its chunk Zzzz, which this latent8 does not know: update latent8."
    assert refusal(build_blob(area=chunk(b"exif", b"x") + chunk(b"Zzzz"))) == wanted


@pytest.mark.parametrize(
    "area, wanted",
    [
        (b"", "it states an extension area of 0 bytes."),
        (b"exif", "its extension area does not end with a chunk."),
        (chunk(b"exif") + b"\0", "its extension area does not end with a chunk."),
        (chunk(b"exif", b"abc", 4), "its chunk exif is longer than the extension area."),
        (chunk(b"exif", b"abc", 0xFFFFFFFF), "its chunk exif is longer than the extension area."),
        (chunk(b"ex f"), "the tag of a chunk is not four letters."),
        (chunk(b"exi\xe9"), "the tag of a chunk is not four letters."),
        (chunk(b"\0\0\0\0"), "the tag of a chunk is not four letters."),
        (chunk(b"exif") + chunk(b"xmpp") + chunk(b"exif"), "it has more than one chunk exif."),
        (chunk(b"aaaa") * 65, "its extension area does not end with a chunk."),
        (chunk(b"aaaa", bytes((1 << 24) - 7)), f"it states an extension area of {(1 << 24) + 1} bytes."),
    ],
)
def test_areas_that_are_not_valid(area: bytes, wanted: str) -> None:
    assert refusal(build_blob(area=area)) == f"The blob is not valid: {wanted}"


def test_an_area_that_is_cut_short() -> None:
    blob = build_blob(area=chunk(b"exif", b"1234"))
    assert refusal(blob[:34]).startswith("The blob is cut short")
    with allocating_at_most(1 << 20):
        huge = blob[:32] + b"\xff\xff\xff\xff" + blob[36:]
        assert refusal(huge).startswith("The blob is cut short: at least 42949")


def test_what_would_not_be_read_is_not_written() -> None:
    plain = Encoded.parse(GOLDEN_PLAIN)
    for chunks in (((b"aaaa", b""),) * 65, ((b"aaaa", bytes(1 << 24)),)):
        with pytest.raises(ValueError, match="an extension area has at most 64 chunks and 16,777,216 bytes"):
            replace(plain, chunks=chunks).to_bytes()


def test_chunks_of_metadata() -> None:
    metadata = Metadata(tiff(MAKE), XMP)
    assert [tag for tag, _ in metadata.chunks()] == [b"exif", b"xmpp"]
    assert zlib.decompress(metadata.chunks()[0][1]) == tiff(MAKE)
    assert Metadata.of_chunks([(b"aaaa", b"other"), *metadata.chunks()]) == metadata
    dirty = Metadata(tiff(MAKE, THUMBNAIL), XMP.replace(b"/>", b">  <!-- why --></x:xmpmeta>"))
    assert Metadata.of_chunks(dirty.chunks()).exif == tiff(MAKE)  # whatever a blob brings is cleaned
    assert b"why" not in Metadata.of_chunks(dirty.chunks()).xmp
    assert metadata.describe() == f"EXIF, 26 bytes; XMP, {len(XMP)} bytes"
    assert Metadata(tiff(MAKE, GPS_POINTER)).describe() == "EXIF, 38 bytes, with GPS"
    assert Metadata().chunks() == () and not Metadata() and metadata


@pytest.mark.parametrize(
    "tag, content, wanted",
    [
        (extension.EXIF, b"not zlib", "its chunk exif is no zlib stream."),
        (extension.XMP, zlib.compress(XMP)[:-5], "its chunk xmpp is not one whole zlib stream."),
        (extension.XMP, zlib.compress(XMP) + b"x", "its chunk xmpp is not one whole zlib stream."),
        (extension.XMP, zlib.compress(b""), "its chunk xmpp is not one whole zlib stream."),
        (extension.XMP, zlib.compress(bytes(xmp.MOST_BYTES + 1)), "its chunk xmpp has more than 4,194,304 bytes."),
        (extension.EXIF, zlib.compress(bytes(300 << 20)), "its chunk exif has more than 4,194,304 bytes."),
        (
            extension.EXIF,
            zlib.compress(b"no TIFF at all"),
            "its EXIF metadata cannot be read (it does not begin as TIFF files do).",
        ),
        (extension.XMP, zlib.compress(b"<a>"), "its XMP metadata cannot be read (no element found)."),
        (
            extension.XMP,
            zlib.compress(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
            "its XMP metadata cannot be read (it has a document type declaration).",
        ),
    ],
)
def test_hostile_metadata(tag: bytes, content: bytes, wanted: str) -> None:
    blob = build_blob(area=chunk(tag, content), weights=bytes(4))
    with allocating_at_most(24 << 20):
        for call in (lambda: describe(inspect(blob)), lambda: Metadata.of_chunks(inspect(blob).chunks)):
            with pytest.raises(BlobError) as found:
                call()
            assert str(found.value) == f"The blob is not valid: {wanted}"
    with pytest.raises(BlobError):
        decode(blob, device="cpu")


def test_damaged_blocks_raise_one_kind_of_error() -> None:
    block, rng = exif_block(), np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(block)
        for place in rng.integers(0, len(block), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        for without_gps in (False, True):
            try:
                again = exif.cleaned(
                    bytes(damaged[: rng.integers(0, len(block) + 1)] if rng.random() < 0.2 else damaged)
                )
            except ValueError:
                continue
            assert not again or exif.cleaned(again, without_gps) is not None
    for _ in range(1000):
        damaged = bytearray(METADATA_XMP)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        try:
            again = xmp.cleaned(bytes(damaged))
        except ValueError:
            continue
        assert not again or xmp.cleaned(again) == again


def test_values_of_an_exif_block_that_overlap_are_bounded() -> None:
    block = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 26) + bytes(4)
    entries = [struct.pack("<HHII", tag, 7, 60_000, 8) for tag in range(0x9000, 0x9F00)]  # 230 MB, if each were copied
    block += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(60_000)
    with allocating_at_most(24 << 20), pytest.raises(ValueError, match="more than 4,194,304 bytes"):
        exif.cleaned(block)
