"""XMP packets (ISO 16684-1): read as a stream, and written again without what no longer holds, or may tell a place.

No tree is built, and document type declarations are refused, so a small packet cannot take much memory or time.
"""

from __future__ import annotations

import io
import re
from xml.sax import SAXException, SAXParseException, make_parser
from xml.sax.handler import ContentHandler, feature_namespaces, property_lexical_handler
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesNSImpl

MOST_BYTES, MOST_DEPTH = 4 << 20, 200
_HEAD = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_TAIL = b'<?xpacket end="w"?>'

_RDF, _META, _XML = (
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "adobe:ns:meta/",
    "http://www.w3.org/XML/1998/namespace",
)
_TIFF, _EXIF, _XMP = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/xap/1.0/"
_PHOTOSHOP, _MANAGEMENT = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/xap/1.0/mm/"
# Vocabularies that are published and hold no position but under names that tell
_PUBLISHED = {
    _RDF,
    _META,
    _XML,
    _TIFF,
    _EXIF,
    _XMP,
    _PHOTOSHOP,
    _MANAGEMENT,
    "http://purl.org/dc/elements/1.1/",
    "http://cipa.jp/exif/1.0/",
    "http://ns.adobe.com/exif/1.0/aux/",
    "http://ns.adobe.com/xap/1.0/rights/",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "http://ns.adobe.com/camera-raw-settings/1.0/",
    "http://ns.adobe.com/lightroom/1.0/",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "http://ns.useplus.org/ldf/xmp/1.0/",
    "http://creativecommons.org/ns#",
}
# Other pictures in the same file: gain maps, depth, films, and where they lie
_OF_OTHER_PARTS = re.compile(r"(?i)^http://ns\.(google\.com/photos/|adobe\.com/(hdr-gain-map|xmp/note)|apple\.com/HDR)")
_OF_THE_SOURCE = {
    *((_TIFF, f"Image{side}") for side in ("Width", "Length")),
    *((_TIFF, name) for name in ("Orientation", "BitsPerSample", "Compression", "PhotometricInterpretation")),
    *((_TIFF, name) for name in ("SamplesPerPixel", "PlanarConfiguration", "YCbCrSubSampling", "YCbCrPositioning")),
    *((_TIFF, name) for name in ("TransferFunction", "WhitePoint", "PrimaryChromaticities", "YCbCrCoefficients")),
    *((_EXIF, name) for name in ("ColorSpace", "PixelXDimension", "PixelYDimension", "NativeDigest", "Gamma")),
    (_TIFF, "NativeDigest"),
    (_PHOTOSHOP, "ICCProfile"),
    (_PHOTOSHOP, "ColorMode"),
    (_XMP, "Thumbnails"),
    (_MANAGEMENT, "Pantry"),  # packets of other pictures
}
_PLACE = re.compile(r"(?i)gps|latitude|longt?itude|altitude|geo(tag|hash|loc)")

Name = tuple[str | None, str]  # namespace, local name


def cleaned(packet: bytes, without_gps: bool = False) -> bytes:
    """XMP packet -> the same of an upright picture in sRGB, without wrapper and padding; b"" where nothing is left.

    What is about the file that held the picture is left out. Without GPS, so are positions under any name, and
    vocabularies that are not published ones, where vendors keep theirs. Raises ValueError for a damaged packet.
    """
    output = io.BytesIO()
    handler = _Filter(XMLGenerator(output, "utf-8", short_empty_elements=True), without_gps)
    _run(packet, handler)
    return output.getvalue() if handler.n_properties else b""


def has_gps(packet: bytes) -> bool:
    """Whether it holds a position. Raises ValueError for a damaged packet."""
    handler = _Filter(XMLGenerator(io.BytesIO(), "utf-8"), without_gps=True)
    _run(packet, handler)
    return handler.n_places > 0


def wrapped(packet: bytes) -> bytes:
    """Packet as `cleaned` gives it -> packet as files hold it."""
    return _HEAD + packet + _TAIL


def _run(packet: bytes, handler: _Filter) -> None:
    if len(packet) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    parser = make_parser()
    parser.setFeature(feature_namespaces, True)
    parser.setProperty(property_lexical_handler, handler)
    parser.setContentHandler(handler)
    try:
        parser.parse(io.BytesIO(packet.strip(b"\0 \t\r\n")))
    except SAXParseException as error:
        raise ValueError(error.getMessage()) from None
    except (SAXException, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from None


class _Filter(ContentHandler):
    """Hands on what is kept. n_properties: those that were; n_places: those left out for what they tell of a place."""

    def __init__(self, output: XMLGenerator, without_gps: bool):
        super().__init__()
        self._output, self._without_gps = output, without_gps
        self._skipped_depth = 0
        self._declared: list[tuple[str | None, str]] = []  # for the next element
        self._open: list[list[str | None]] = []  # prefixes that each open element declares
        self._ending: list[str | None] = []
        self.n_properties = self.n_places = 0

    def startDTD(self, *_: object) -> None:
        raise ValueError("it has a document type declaration")

    def endDTD(self) -> None: ...

    def comment(self, _: str) -> None: ...

    def startCDATA(self) -> None: ...

    def endCDATA(self) -> None: ...

    def startPrefixMapping(self, prefix: str | None, uri: str) -> None:
        self._declared.append((prefix, uri))

    def endPrefixMapping(self, prefix: str | None) -> None:
        if prefix in self._ending:
            self._ending.remove(prefix)
            self._output.endPrefixMapping(prefix)

    def startElementNS(self, name: Name, qname: str | None, attributes: AttributesNSImpl) -> None:
        declared, self._declared = self._declared, []
        if self._skipped_depth or not self._keeps(name):
            self._skipped_depth += 1
            return
        if len(self._open) >= MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
        for prefix, uri in declared:
            self._output.startPrefixMapping(prefix, uri)
        self._open.append([prefix for prefix, _ in declared])
        kept = {key: value for key, value in attributes.items() if self._keeps(key)}
        self.n_properties += sum(namespace not in (_RDF, _META, _XML, None) for namespace, _ in (name, *kept))
        self._output.startElementNS(name, qname, AttributesNSImpl(kept, dict.fromkeys(kept, "")))

    def endElementNS(self, name: Name, qname: str | None) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
            return
        self._output.endElementNS(name, qname)
        self._ending = self._open.pop()

    def characters(self, content: str) -> None:
        if not self._skipped_depth:
            self._output.characters(content)

    def _keeps(self, name: Name) -> bool:
        namespace, local = name
        if name in _OF_THE_SOURCE or _OF_OTHER_PARTS.match(namespace or ""):
            return False
        tells = bool(_PLACE.search(local))
        self.n_places += tells
        published = namespace in _PUBLISHED or (namespace is None and local == "about")  # as old writers have it
        return not self._without_gps or (published and not tells)
