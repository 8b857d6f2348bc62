"""Pixels in any colours that a file states -> sRGB.

What states them, first to last: code points (cICP of PNG, which its standard puts first; nclx of AVIF only without a
profile), an ICC profile, sRGB, gamma and primaries, and EXIF data's Adobe RGB. A statement that cannot be understood,
or is for other kinds of pixels than the picture has, gives way to the next; without any, they are taken as sRGB.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from latent8.pictures import hdr
from latent8.pictures.facts import Cicp, Facts
from latent8.pictures.icc import Curve, grey_profile, rgb_profile, rgb_to_xyz, with_short_curves

MAX_PROFILE_BYTES = 32_000_000
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_PRIMARIES = {  # of ITU-T H.273, table 2: x, y of white, red, green, blue
    1: _SRGB,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_IDENTITY_WITHIN = 1  # levels; a profile that moves no colour further is that of sRGB, whatever its name
_LIKE_SRGB = 0.05  # of a gamma's deviation from 1 / 2.2; libpng's PNG_GAMMA_THRESHOLD


def to_srgb(image: Image.Image, facts: Facts) -> Image.Image:
    """Image of mode L, RGB, CMYK, LAB or like, without alpha -> RGB in sRGB."""
    if image.mode == "LAB":
        return (_transformed(image, ImageCms.createProfile("LAB")) or image).convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    if facts.cicp is not None and not facts.cicp.full_range and image.mode != "CMYK":
        image = image.point([min(255, max(0, round((v - 16) * 255 / 219))) for v in range(256)] * len(image.getbands()))
    if facts.cicp is not None and facts.cicp.transfer in (hdr.PQ, hdr.HLG) and image.mode in ("RGB", "L"):
        return _tone_mapped(image.convert("RGB"), facts.cicp)
    for profile in _profiles(facts, image.mode):
        found = _from_profile(image, profile)
        if found is not None:
            return found.convert("RGB")
    return image.convert("RGB")


def _profiles(facts: Facts, mode: str) -> Iterator[bytes]:
    """What states the colours, as profiles for pixels of that mode; b"" for sRGB."""
    grey = mode == "L"
    if mode != "CMYK" and facts.cicp is not None and facts.cicp.transfer in _TRANSFERS:
        yield _by_code_points(facts.cicp.primaries, facts.cicp.transfer, grey)
    if facts.icc:
        yield facts.icc
    if mode == "CMYK":
        return
    if facts.srgb:
        yield b""
    gamma = facts.gamma if facts.gamma and 0.05 <= facts.gamma <= 20 else None
    if gamma or facts.chromaticities:
        curve = _srgb_curve if gamma is None or abs(gamma * 2.2 - 1) < _LIKE_SRGB else _power(1 / gamma)
        with contextlib.suppress(ValueError):  # of primaries that are none
            yield grey_profile(curve) if grey else rgb_profile(facts.chromaticities or _SRGB, curve)
    if facts.adobe_rgb and not grey:
        yield rgb_profile(_ADOBE_RGB, _power(563 / 256))


def _from_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """None where the profile cannot be read, or is for other kinds of pixels."""
    if not profile:
        return image
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(with_short_curves(profile)))
    except (OSError, ImageCms.PyCMSError):
        return None
    colours = _probe(image.mode)
    converted = _transformed(colours, source)
    if converted is None:
        return None
    if image.mode != "CMYK":
        moved = np.asarray(converted).astype(int) - np.asarray(colours.convert("RGB"))
        if np.abs(moved).max() <= _IDENTITY_WITHIN:
            return image
    return _transformed(image, source)


def _transformed(image: Image.Image, source) -> Image.Image | None:
    """Relative colorimetric, with black point compensation; None where the profile is for other kinds of pixels."""
    try:
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, intent, outputMode="RGB", flags=flags)
    except (ValueError, ImageCms.PyCMSError):
        return None


@cache
def _probe(mode: str) -> Image.Image:
    """All greys, and for colours a grid of nine values of each."""
    if mode != "RGB":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
    steps = np.rint(np.linspace(0, 255, 9)).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    greys = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    return Image.fromarray(np.concatenate([grid, greys], axis=1))


def _tone_mapped(image: Image.Image, cicp: Cicp) -> Image.Image:
    primaries = _PRIMARIES.get(cicp.primaries, _PRIMARIES[9])
    to_srgb = np.linalg.inv(rgb_to_xyz(_SRGB)) @ rgb_to_xyz(primaries)
    return Image.fromarray(hdr.tone_mapped(np.asarray(image), cicp.transfer, to_srgb))


@cache
def _by_code_points(primaries: int, transfer: int, grey: bool) -> bytes:
    """b"" where they are those of sRGB."""
    curve = _TRANSFERS[transfer]
    known = _PRIMARIES.get(primaries, _SRGB)  # 2: not specified
    if curve is _srgb_curve and (grey or known == _SRGB):
        return b""
    return grey_profile(curve) if grey else rgb_profile(known, curve)


def _srgb_curve(value: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _linear(value: np.ndarray) -> np.ndarray:
    return value


def _power(exponent: float) -> Curve:
    return lambda value: value**exponent


_TRANSFERS: dict[int, Curve] = {
    # TransferCharacteristics of ITU-T H.273, table 3. Those of BT.709 and its kin are a camera's: their pictures are
    # made on displays, and meant for ones much like sRGB's, so they are shown as they are.
    **dict.fromkeys((1, 2, 6, 7, 11, 12, 13, 14, 15), _srgb_curve),
    4: _power(2.2),
    5: _power(2.8),
    8: _linear,
    9: lambda value: np.where(value > 0, 10 ** (2 * (value - 1)), 0),
    10: lambda value: np.where(value > 0, 10 ** (2.5 * (value - 1)), 0),
    17: lambda value: 52.37 / 48 * value**2.6,
}
