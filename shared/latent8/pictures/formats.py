"""Which formats are read, what a file of another is called, and which are bounded in another way."""

from __future__ import annotations

import importlib.util
from functools import cache

from PIL import Image

HEIC = "a HEIC picture"
HEIC_IS_READ = importlib.util.find_spec("pi_heif") is not None  # an extra; it decodes only
ACCEPTED = "JPEG, PNG, WebP, AVIF, TIFF, BMP" + (", GIF and HEIC" if HEIC_IS_READ else " and GIF")
BLOB = "a .l8 file"
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"}
SUFFIXES |= {".heic", ".heif"} if HEIC_IS_READ else set()

# Those that Pillow gives to programs (Ghostscript runs whatever is in a file, for ever), and those it cannot load.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}

# Beginnings of files that are something else: place, bytes, name. The first that fits counts.
_NAMES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    *((8, brand, HEIC) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
    (8, b"crx ", "a camera raw file (CR3)"),
    *((8, brand, "a video") for brand in (b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1", b"3gp")),
    (4, b"ftyp", "a video, or a picture of a kind like HEIC"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file (RAF)"),
    (0, b"IIRO", "a camera raw file (ORF)"),
    (0, b"IIRS", "a camera raw file (ORF)"),
    (0, b"MMOR", "a camera raw file (ORF)"),
    (0, b"IIU\0", "a camera raw file (RW2)"),
    (0, b"FOVb", "a camera raw file (X3F)"),
    (0, b"\0MRM", "a camera raw file (MRW)"),
    (0, b"II\xbc", "a JPEG XR picture"),
    (0, b"%!PS", "a PostScript program"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript program"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"#?RGBE", "a Radiance HDR picture"),
    (0, b"8BPB", "a large Photoshop document (PSB)"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (40, b" EMF", "a Windows metafile"),
    (0, b"GRIB", "a GRIB data file"),
    (0, b"BUFR", "a BUFR data file"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 data file"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"\x00\x00\x01\xb3", "a video"),
    (0, b"\x00\x00\x01\xba", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"Rar!", "an archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive"),
    (0, b"\x1f\x8b", "a compressed file"),
    (0, b"BPG\xfb", "a BPG picture"),
    (0, b"FLIF", "a FLIF picture"),
    (0, b"\xabKTX ", "a KTX texture"),
    (0, b"\x89L8\n", BLOB),
)


def readable() -> list[str]:
    """All that Pillow reads without other programs, in the order in which it tries them. Plugins that were registered
    a moment ago are among them."""
    Image.init()
    _register_heic()
    return [name for name in Image.ID if name not in _NOT_READ]


@cache
def _register_heic() -> None:
    if HEIC_IS_READ:
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False)


def name_of(start: bytes) -> str | None:
    """What a file is that begins so, with its article; None where that is not known."""
    for place, mark, name in _NAMES:
        if start[place : place + len(mark)] == mark and (place != 8 or mark == b"AVI " or start[4:8] == b"ftyp"):
            return name
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return "an SVG drawing"
    return None
