"""ICC profiles made from numbers."""

from __future__ import annotations

import struct

import numpy as np


def icc_profile(space: bytes, tags: dict[bytes, bytes], name: bytes = b"test") -> bytes:
    """A version 2 display profile, written out field by field from ICC.1:2001-04."""
    description = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, data in tags.items():
        data += bytes(-len(data) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def curve(*values: int) -> bytes:
    """One value: a gamma in 1/256. More: a table from 0 to 65535."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)


def rgb_profile(red: bytes, green: bytes, blue: bytes, transfer: bytes) -> bytes:
    colorants = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    return icc_profile(b"RGB ", {**colorants, b"rTRC": transfer, b"gTRC": transfer, b"bTRC": transfer})


def linear(value: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] -> light (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def displayed(light: np.ndarray) -> np.ndarray:
    """The inverse of `linear`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


# Primaries adapted to D50, as the profiles of the two spaces have them.
DISPLAY_P3 = rgb_profile(
    xyz(0.51512, 0.24120, -0.00105),
    xyz(0.29198, 0.69225, 0.04189),
    xyz(0.15710, 0.06657, 0.78407),
    curve(*np.rint(linear(np.linspace(0, 1, 1024)) * 65535).astype(int)),
)
ADOBE_RGB = rgb_profile(
    xyz(0.60974, 0.31111, 0.01947),
    xyz(0.20528, 0.62567, 0.06087),
    xyz(0.14919, 0.06322, 0.74457),
    curve(0x0233),  # 2.19921875
)
# Light to light at D65, from CSS Color Module Level 4 (rows multiply columns of red, green, blue).
P3_TO_SRGB = np.array([[1.2249401, -0.2249404, 0], [-0.0420569, 1.0420571, 0], [-0.0196376, -0.0786361, 1.0982735]])
ADOBE_TO_SRGB = np.array([[1.3983557, -0.3983557, 0], [0, 1, 0], [0, -0.0429289, 1.0429289]])
