"""Pictures with metadata in every format, made for the tests: EXIF with GPS wherever it hides, and XMP likewise."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latent8.metadata.xmp import wrapped

SECRET = b"47.36667"  # stands in everything that tells a place
ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
_SIZES = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}
Entries = dict[int, tuple[int, bytes]]

XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:drone="http://www.dji.com/drone-dji/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    tiff:Orientation="6" tiff:Make="Camera Works" tiff:ImageWidth="4000" exif:ColorSpace="65535"
    photoshop:ICCProfile="Adobe RGB (1998)" photoshop:City="Z\xc3\xbcrich"
    exif:GPSLatitude="47.36667" drone:Pose="47.36667">
   <exif:GPSLongitude>47.36667</exif:GPSLongitude>
   <drone:GpsLongtitude>47.36667</drone:GpsLongtitude>
   <dc:creator><rdf:Seq><rdf:li>J\xc3\xbcrg &amp; S\xc3\xb6hne</rdf:li></rdf:Seq></dc:creator>
   <Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li rdf:parseType="Resource">
     <Iptc4xmpExt:City>Z\xc3\xbcrich</Iptc4xmpExt:City><exif:GPSAltitude>47.36667</exif:GPSAltitude>
   </rdf:li></rdf:Bag></Iptc4xmpExt:LocationCreated>
   <v:maker xmlns:v="http://vendor.example/"><rdf:Bag><rdf:li>47.36667</rdf:li></rdf:Bag></v:maker>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""


def text(value: str) -> tuple[int, bytes]:
    return ASCII, value.encode() + b"\0"


def exif_block(order: str = "<", orientation: int = 6, places: bool = True) -> bytes:
    """A block as a camera writes it: upright by `orientation`, Adobe RGB, a maker note, GPS, a thumbnail."""
    first: Entries = {
        0x010E: text("Hütte © 2026"),
        0x010F: text("Camera Works"),
        0x0112: (SHORT, struct.pack(f"{order}H", orientation)),
        0x011A: (RATIONAL, struct.pack(f"{order}II", 300, 1)),
        0x0132: text("2026:01:02 03:04:05"),
        0x8298: text("Jürg & Söhne"),
    }
    details: Entries = {
        0x829A: (RATIONAL, struct.pack(f"{order}II", 1, 250)),
        0x8827: (SHORT, struct.pack(f"{order}H", 400)),
        0x9000: (UNDEFINED, b"0232"),
        0x927C: (UNDEFINED, b"MAKER" + SECRET),
        0x9286: (UNDEFINED, b"ASCII\0\0\0" + SECRET),
        0xA001: (SHORT, struct.pack(f"{order}H", 0xFFFF)),
        0xA002: (LONG, struct.pack(f"{order}I", 4000)),
        0xA434: text("Objektiv für Söhne"),
        0xEA1C: (UNDEFINED, bytes(50) + SECRET),
        0xF123: (UNDEFINED, SECRET),
    }
    places_: Entries = {
        0x0000: (1, b"\x02\x03\0\0"),
        0x0001: text("N"),
        0x0002: (RATIONAL, struct.pack(f"{order}6I", 47, 1, 22, 1, 0, 1)),
        0x001B: (UNDEFINED, b"ASCII\0\0\0" + SECRET),
    }
    interop: Entries = {0x0001: text("R03")}
    thumbnail: Entries = {0x0201: (LONG, bytes(4)), 0x0202: (LONG, bytes(4))}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    pointers = {0x8769: details, **({0x8825: places_} if places else {})}
    return head + _directory(order, first, 8, pointers, {0xA005: interop}, thumbnail)


def _directory(
    order: str, values: Entries, offset: int, pointers: dict[int, Entries], deeper: dict[int, Entries], after: Entries
) -> bytes:
    """Entries, what does not fit into them, the directories that they point to, and the one that follows."""
    entries = dict(values) | {tag: (LONG, bytes(4)) for tag in pointers}
    start = offset + 2 + 12 * len(entries) + 4
    data, rows, places = b"", [], {}
    for tag, (kind, value) in sorted(entries.items()):
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack(f"{order}I", start + len(data))
            data += value + bytes(len(value) % 2)
        places[tag] = len(rows)
        rows.append(struct.pack(f"{order}HHI", tag, kind, len(value) // _SIZES.get(kind, 1)) + field)
    for tag, below in pointers.items():
        row = rows[places[tag]]
        rows[places[tag]] = row[:8] + struct.pack(f"{order}I", start + len(data))
        data += _directory(order, below, start + len(data), deeper if tag == 0x8769 else {}, {}, {})
    following = bytes(4)
    if after:
        following = struct.pack(f"{order}I", start + len(data))
        data += _directory(order, after, start + len(data), {}, {}, {}) + b"\xff\xd8 thumbnail " + SECRET
    return struct.pack(f"{order}H", len(rows)) + b"".join(rows) + following + data


def picture_file(name: str, exif: bytes = b"", xmp: bytes = b"") -> bytes:
    """A picture of 24 x 16 pixels in Pillow's format of that name; XMP without its wrapper."""
    image, buffer = Image.fromarray(np.full((16, 24, 3), 90, np.uint8)), io.BytesIO()
    options = {}
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if xmp and name == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", wrapped(xmp).decode())
    elif xmp:
        options["xmp"] = wrapped(xmp)
    image.save(buffer, name, **options)
    return buffer.getvalue()
