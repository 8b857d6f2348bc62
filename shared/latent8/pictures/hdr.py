"""PQ and HLG pictures (ITU-R BT.2100) -> light for a display of standard range, tone-mapped.

The operator is the EETF of ITU-R BT.2390-11, section 5.4.1: in PQ values, what is bright is compressed by a Hermite
spline above a knee. It is applied to the greatest of red, green and blue, which are scaled alike, so that hues stay.
It maps from the brightest of the picture to 203 cd/m2, the reference white of ITU-R BT.2408, which becomes white. HLG
is displayed first, by its OOTF at 1000 cd/m2.
"""

from __future__ import annotations

import numpy as np

PQ, HLG = 16, 18  # TransferCharacteristics of ITU-T H.273
WHITE_NITS, HLG_PEAK_NITS, OUTLIERS = 203.0, 1000.0, 0.001
_ROWS = 256
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_WEIGHTS = np.array([0.2627, 0.6780, 0.0593])  # of luminance in BT.2020


def tone_mapped(rgb: np.ndarray, transfer: int, to_srgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] in PQ or HLG -> uint8 [H, W, 3] in sRGB. to_srgb: [3, 3], light in the file's primaries to
    light in those of sRGB; what sRGB lacks is clipped."""
    nits_of = _nits_of(transfer)
    peak = _peak(rgb, nits_of, transfer)
    result = np.empty_like(rgb)
    for top in range(0, len(rgb), _ROWS):
        light = _displayed(nits_of[rgb[top : top + _ROWS]], transfer)
        greatest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
        mapped = light * (_eetf(greatest, peak) / greatest) / WHITE_NITS
        result[top : top + _ROWS] = np.rint(255 * encoded_srgb(mapped @ to_srgb.T))
    return result


def pq_to_nits(value: np.ndarray) -> np.ndarray:
    """The EOTF of SMPTE ST 2084: [0, 1] -> cd/m2."""
    power = np.asarray(value, np.float64) ** (1 / _M2)
    return 10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_to_nits`."""
    power = (np.asarray(nits, np.float64).clip(0, 10000) / 10000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_to_scene(value: np.ndarray) -> np.ndarray:
    """The inverse OETF of HLG: [0, 1] -> light of the scene, [0, 1]."""
    value = np.asarray(value, np.float64)
    return np.where(value <= 0.5, value**2 / 3, (np.exp((value - _C) / _A) + _B) / 12)


def encoded_srgb(light: np.ndarray) -> np.ndarray:
    """Light in [0, 1] -> sRGB values in [0, 1] (IEC 61966-2-1); what lies outside is clipped."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _nits_of(transfer: int) -> np.ndarray:
    """[256]: nits for PQ, light of the scene for HLG."""
    values = np.arange(256) / 255
    return pq_to_nits(values) if transfer == PQ else hlg_to_scene(values)


def _displayed(light: np.ndarray, transfer: int) -> np.ndarray:
    """HLG's OOTF (BT.2100, table 5, gamma 1.2); PQ is of the display already."""
    if transfer == PQ:
        return light
    luminance = np.maximum(light @ _WEIGHTS, 1e-9)[..., None]
    return HLG_PEAK_NITS * luminance**0.2 * light


def _peak(rgb: np.ndarray, nits_of: np.ndarray, transfer: int) -> float:
    """Nits that one pixel in a thousand exceeds, never below white."""
    step = max(1, int((rgb.shape[0] * rgb.shape[1] / 1e6) ** 0.5))
    light = _displayed(nits_of[rgb[::step, ::step]], transfer).max(axis=-1)
    return max(WHITE_NITS, float(np.quantile(light, 1 - OUTLIERS)))


def _eetf(nits: np.ndarray, peak: float) -> np.ndarray:
    """Nits up to `peak` -> nits up to white. What exceeds the peak is white."""
    top = float(nits_to_pq(np.array(peak)))
    value = (nits_to_pq(nits) / top).clip(0, 1)
    most = float(nits_to_pq(np.array(WHITE_NITS))) / top
    knee = 1.5 * most - 0.5
    if knee >= 1:
        return nits.clip(0, WHITE_NITS)
    t = (value - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_to_nits(np.where(value < knee, value, spline) * top)
