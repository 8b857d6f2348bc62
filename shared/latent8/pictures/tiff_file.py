"""TIFF files before they are decoded: which of their pages is the picture, whether it is camera raw, what bounds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from latent8.errors import PictureError
from latent8.pictures import tiff_samples
from latent8.pictures.exif import xmp_orientation
from latent8.pictures.facts import MAX_METADATA_BYTES, Facts, Prepared, too_much
from latent8.pictures.splice import Piece, read_at, size_of_file, spliced
from latent8.pictures.tiff_directory import Directory, TiffError, TiffHeader, read_directory, read_header

MAX_PAGES = 64  # that are looked at for one of full size
MAX_STRIPS = 100_000  # or tiles of a page; rows of their own in the largest scans
MAX_PROFILE_BYTES = 32_000_000
_NEW_SUBFILE, _SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 259, 262
_SUBDIRECTORIES, _XMP, _EXIF_POINTER, _ICC, _DNG_VERSION = 330, 700, 34665, 34675, 50706
_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892  # PhotometricInterpretation of sensors' data
_RAW_COMPRESSIONS = {32767, 32769, 32770, 34713, 65000, 65535}  # Sony, Epson, Samsung, Nikon, Kodak, Pentax
_FOR_PIXELS = (  # tags that a decoder needs; orientation and profile are seen to here, and metadata are not needed
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
    *(332, 333, 334, 338, 339, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532),
)
CAMERA_RAW = "This is a camera raw file{}, whose colours are not developed yet: develop it, and save JPEG, PNG or TIFF."


def prepared(file: BinaryIO) -> Prepared | None:
    """The page that is the picture, without its metadata; its layout where Pillow does not read it rightly.

    Raises PictureError for camera raw, and for a directory that asks for too much. None for what is not a TIFF.
    """
    try:
        header = read_header(file)
        first = read_directory(file, header, header.first)
    except TiffError:
        return None
    _refuse_camera_raw(file, header, first)
    page = _full_size(file, header, first)
    most = max(page.count(tag) for tag in _FOR_PIXELS)
    if most > MAX_STRIPS:
        raise too_much(f"{most:,} strips or tiles")
    size = size_of_file(file)
    directory = size + size % 2
    pieces: list[Piece] = [
        header.pointing_to(directory),
        (header.n_bytes, size),
        bytes(size % 2) + page.only(_FOR_PIXELS),
    ]
    return Prepared(spliced(file, pieces), _facts(page), tiff_samples.layout_of(file, header, page))


def _facts(page: Directory) -> Facts:
    icc = page.data(_ICC, MAX_PROFILE_BYTES)
    orientation: int | None = page.integer(274, 0)
    xmp = page.data(_XMP, MAX_METADATA_BYTES)
    orientation = orientation if orientation in range(1, 9) else xmp_orientation(xmp)
    return Facts(icc=icc or None, orientation=orientation, xmp=xmp)


def _pages(file: BinaryIO, header: TiffHeader, first: Directory) -> Iterator[Directory]:
    """Pages in order, each followed by its subdirectories; at most MAX_PAGES, none twice."""
    waiting, page = [header.first], first
    seen: set[int] = set()
    while waiting and len(seen) < MAX_PAGES:
        offset = waiting.pop(0)
        if offset in seen or not offset:
            continue
        seen.add(offset)
        try:
            page = read_directory(file, header, offset)
        except TiffError:
            continue
        yield page
        waiting = [*page.integers(_SUBDIRECTORIES, MAX_PAGES), *waiting, page.next]


def _refuse_camera_raw(file: BinaryIO, header: TiffHeader, first: Directory) -> None:
    if _DNG_VERSION in first:
        raise PictureError(CAMERA_RAW.format(" (DNG)"))
    start = read_at(file, 0, 12)
    if start[8:10] == b"CR":
        raise PictureError(CAMERA_RAW.format(" (CR2)"))
    for page in _pages(file, header, first):
        sensor = page.integer(_PHOTOMETRIC, 0) in (_FILTER_ARRAY, _LINEAR_RAW)
        if sensor or page.integer(_COMPRESSION, 1) in _RAW_COMPRESSIONS:
            raise PictureError(CAMERA_RAW.format(""))


def _full_size(file: BinaryIO, header: TiffHeader, first: Directory) -> Directory:
    """The first page, unless it is marked as reduced: then the largest of those that are not, if there is one."""
    if not _is_reduced(first):
        return first
    found = [page for page in _pages(file, header, first) if not _is_reduced(page) and _pixels(page)]
    return max(found, key=_pixels, default=first)


def _is_reduced(page: Directory) -> bool:
    return bool(page.integer(_NEW_SUBFILE, 0) & 1) or page.integer(_SUBFILE, 1) == 2


def _pixels(page: Directory) -> int:
    is_mask = page.integer(_NEW_SUBFILE, 0) & 4
    return 0 if is_mask else page.integer(_WIDTH, 0) * page.integer(_HEIGHT, 0)
