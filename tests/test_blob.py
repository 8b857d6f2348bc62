"""The blob format: round trips, golden blobs assembled by hand, and file names that are safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latent8.file_format.blob import MAX_STEM_BYTES, Encoded, Header, clean_stem, is_blob
from latent8.file_format.codings import NEIGHBOURS, RAW
from latent8.file_format.quantiser import Quantiser
from tests.helpers.blobs_by_hand import GOLDEN_FULL, GOLDEN_PLAIN, header_of, packed, unpacked
from tests.helpers.samples import build_blob, smooth_symbols


@pytest.mark.parametrize("golden, stem, alpha", [(GOLDEN_PLAIN, None, b""), (GOLDEN_FULL, "Züg", b"PNG")])
def test_golden_literal_both_ways(golden: bytes, stem: str | None, alpha: bytes) -> None:
    symbols = np.arange(8, dtype=np.uint8).reshape(4, 1, 2)
    header = Header(
        model_id=258,
        weights=b"\xca\xfe\xba\xbe",
        width=9,
        height=5,
        channels=4,
        stride=8,
        quantiser=Quantiser(-3.0, 1.5, 200),
        stem=stem,
    )
    assert packed(header, symbols, alpha) == golden
    found, found_symbols = unpacked(golden)
    assert found == Encoded(header, RAW, bytes(range(8)), alpha)
    assert found.to_bytes() == golden and found.n_bytes == len(golden)
    np.testing.assert_array_equal(found_symbols, symbols)


def test_the_packer_of_hostile_blobs_packs_good_ones() -> None:
    symbols = np.arange(8, dtype=np.uint8).reshape(4, 1, 2)
    by_hand = build_blob(stem=b"name", alpha=b"PNG")
    assert by_hand == packed(header_of(16, 8, stem="name"), symbols, b"PNG")


CODED = {  # name: (header, alpha plane)
    "opaque.l8": (header_of(1021, 733, stem="opaque"), b""),
    "alpha.l8": (header_of(640, 479, levels=64, stem="ünïcode 图"), b"any bytes will do here"),
    "coarse.l8": (header_of(401, 1203, levels=16), b""),
    "wide.l8": (header_of(517, 301, levels=100, channels=16), b""),
}


@pytest.mark.parametrize("name", CODED)
def test_golden_coded_blobs_stay_decodable(golden, name: str) -> None:
    header, alpha = CODED[name]
    channels, height, width = header.latent_shape
    k, y, x = np.mgrid[:channels, :height, :width]  # integers only: the same on every machine
    slope = (y * 3 + x * 2) // (k + 3) + (x * y) // 97 + ((x * 40503 + y * 30011 + k * 977) >> 7) % 5
    symbols = (slope % header.quantiser.levels).astype(np.uint8)

    blob = golden(name, lambda: packed(header, symbols, alpha))
    found, found_symbols = unpacked(blob)

    np.testing.assert_array_equal(found_symbols, symbols)
    assert (found.header, found.coding, found.alpha_png) == (header, NEIGHBOURS, alpha)
    assert found.to_bytes() == packed(header, symbols, alpha) == blob


hostile_stems = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.text(st.characters(categories=("Cc", "Cs", "Zs", "Lo")), max_size=40),
    st.text('./\\:*?"<>| \x00\n\x7f\x9bab', max_size=20),
    st.integers(180, 400).map(lambda n: "ü图a"[n % 3] * n),
)


@settings(deadline=None, max_examples=80)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 70),
    levels=st.integers(16, 256),
    stem=hostile_stems,
    alpha=st.binary(max_size=300),
    noise=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(width=1, height=1, levels=16, stem="\ud800", alpha=b"", noise=True, seed=0)
@example(width=90, height=70, levels=256, stem="../../etc/passwd", alpha=b"x", noise=False, seed=0)
def test_round_trip(
    width: int, height: int, levels: int, stem: str | None, alpha: bytes, noise: bool, seed: int
) -> None:
    header = header_of(width, height, levels, stem)
    if noise:
        symbols = np.random.default_rng(seed).integers(0, levels, header.latent_shape, np.uint8)
    else:
        symbols = smooth_symbols(*header.latent_shape, levels, seed)

    blob = packed(header, symbols, alpha)
    encoded, found_symbols = unpacked(blob)
    found = encoded.header

    assert is_blob(blob)
    np.testing.assert_array_equal(found_symbols, symbols)
    assert found_symbols.dtype == np.uint8
    assert encoded.alpha_png == alpha
    assert (found.width, found.height, found.quantiser) == (width, height, Quantiser(levels=levels))
    assert (found.model_id, found.weights, found.channels, found.stride) == (1, b"\xde\xad\xbe\xef", 4, 8)
    assert found.stem == (clean_stem(stem) if stem else None)
    assert encoded.n_bytes == len(blob)
    assert encoded.bpp == 8 * len(blob) / (width * height)
    assert encoded.to_bytes() == packed(found, found_symbols, alpha) == blob


@settings(deadline=None, max_examples=300)
@given(
    st.text(st.one_of(st.characters(), st.characters(categories=("Cc", "Cs")), st.sampled_from("/\\:. ")), max_size=80)
)
@example("\ud83d")
@example(" .. ")
@example("nul")
@example("COM1.backup")
@example("é" * 150)
def test_clean_stem_is_safe_to_write_anywhere(name: str) -> None:
    stem = clean_stem(name)
    assert 1 <= len(stem.encode()) <= MAX_STEM_BYTES  # also: no lone surrogates
    assert not set(stem) & set('/\\:*?"<>|\x7f') and min(stem) >= " " and not set(stem) & set(map(chr, range(128, 160)))
    assert stem == stem.strip(" .")
    assert stem.split(".")[0].lower() not in {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{d}{i}" for d in ("com", "lpt") for i in range(10)),
    }
    assert clean_stem(stem) == stem


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("holiday", "holiday"),
        ("Zürich 2024.final", "Zürich 2024.final"),
        ("../../etc/passwd", "etcpasswd"),
        ("C:\\temp\\x", "Ctempx"),
        ("a\x00b\nc\x1b[31m\x9b", "abc[31m"),
        ("...", "picture"),
        ("", "picture"),
        ("\udcff\udcfe", "picture"),
        ("ü" * 101, "ü" * 100),
        ("a" + "ü" * 100, "a" + "ü" * 99),  # 201 bytes: half a letter does not stay
        ("aux", "_aux"),
        ("auxiliary", "auxiliary"),
    ],
)
def test_clean_stem(name: str, wanted: str) -> None:
    assert clean_stem(name) == wanted


def test_a_hostile_stem_in_a_blob_names_no_path() -> None:
    assert Encoded.parse(build_blob(stem=b"../../.ssh/keys\x00")).stem == "sshkeys"


def test_pack_takes_the_shorter_coding() -> None:
    header = header_of(320, 240)
    noise = np.random.default_rng(0).integers(0, 256, header.latent_shape, np.uint8)
    assert Encoded.parse(packed(header, noise)).coding == RAW
    assert Encoded.parse(packed(header, np.full(header.latent_shape, 128, np.uint8))).coding == NEIGHBOURS
