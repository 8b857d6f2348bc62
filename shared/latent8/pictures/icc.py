"""ICC profiles made from numbers: primaries, white and a curve, for colours that a file states without a profile."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]  # values in [0, 1] -> light in [0, 1]
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CURVE_POINTS, _MAX_TAGS = 4096, 200


def rgb_profile(chromaticities: tuple[float, ...], curve: Curve) -> bytes:
    """x, y of white, red, green and blue, and the curve of all three -> profile of a display (ICC.1:2001-04, 6.3.1).

    Raises ValueError for chromaticities that span no colours.
    """
    to_xyz = _bradford(chromaticities[0], chromaticities[1]) @ rgb_to_xyz(chromaticities)
    transfer = _curve(curve)
    colorants = {name: _xyz(to_xyz[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", {**colorants, b"rTRC": transfer, b"gTRC": transfer, b"bTRC": transfer})


def grey_profile(curve: Curve) -> bytes:
    """Profile of grey with that curve."""
    return _profile(b"GRAY", {b"kTRC": _curve(curve)})


def rgb_to_xyz(chromaticities: tuple[float, ...]) -> np.ndarray:
    """x, y of white, red, green and blue -> [3, 3], light in red, green, blue to XYZ, the white's Y being 1
    (SMPTE RP 177). Raises ValueError where there is no such matrix."""
    white, *primaries = (_xyz_of(x, y) for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True))
    columns = np.stack(primaries, axis=1)
    if not np.isfinite(columns).all() or abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("primaries that span no colours")
    scale = np.linalg.solve(columns, white)
    if not (np.isfinite(scale).all() and (scale > 0).all() and (scale < 100).all()):
        raise ValueError("a white outside of the primaries")
    return columns * scale


def with_short_curves(profile: bytes) -> bytes:
    """The same profile with curves of at most 4,096 points: Little CMS takes none of over 65,530."""
    tags = _tags(profile)
    if sum(map(len, tags.values())) > 2 * len(profile):  # many that are stored once
        return profile
    long = [data for data in tags.values() if data[:4] == b"curv" and len(data) > 12 + 2 * _CURVE_POINTS]
    if not long:
        return profile
    return _put_together(profile[:128], {tag: _shortened(data) if data in long else data for tag, data in tags.items()})


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Data by signature; none where the table is damaged."""
    count = int.from_bytes(profile[128:132], "big")
    if count > _MAX_TAGS or len(profile) < 132 + 12 * count:
        return {}
    table = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])
    return {signature: profile[offset : offset + length] for signature, offset, length in table}


def _shortened(data: bytes) -> bytes:
    count = min(int.from_bytes(data[8:12], "big"), (len(data) - 12) // 2)
    values = np.frombuffer(data, ">u2", count, offset=12)
    places = np.linspace(0, count - 1, _CURVE_POINTS)
    points = np.rint(np.interp(places, np.arange(count), values)).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", _CURVE_POINTS) + points.tobytes()


def _xyz_of(x: float, y: float) -> np.ndarray:
    if not 0 < y <= 1:  # of blue primaries it is small, and 0 for none but imaginary ones
        y = 1e-4 if y == 0 else float("nan")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _bradford(x: float, y: float) -> np.ndarray:
    """Adaptation of XYZ under that white to D50 (ICC.1:2010, annex E)."""
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ _xyz_of(x, y))
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"stated by the file\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78), b"wtpt": _xyz(_D50), **tags}
    head = struct.pack(">I4sI4s4s4s", 0, bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return _put_together(head.ljust(128, b"\0"), tags)


def _put_together(head: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header of 128 bytes and tags -> profile; equal data are stored once."""
    places: dict[bytes, int] = {}
    start, table, body = 128 + 4 + 12 * len(tags), b"", bytearray()
    for signature, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += signature + struct.pack(">II", places[data], len(data))
    size = struct.pack(">I", start + len(body))
    return size + head[4:] + struct.pack(">I", len(tags)) + table + body


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(curve: Curve) -> bytes:
    light = curve(np.linspace(0, 1, _CURVE_POINTS)).clip(0, 1)
    points = np.rint(light * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", _CURVE_POINTS) + points.tobytes()
