"""Metadata by choice: what is kept and what is not, in the library, Pillow, on the command line and in bulk."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import latent8
import latent8.pillow
from latent8 import Codec, PictureError, inspect
from latent8.file_format.blob import Encoded
from latent8.latents import describe
from latent8.machine.disk import write_file
from latent8.metadata import exif, xmp
from latent8.metadata.kept import Metadata, check_keep
from latent8.pictures.intake import Picture, open_picture
from latent8.pictures.output import picture_bytes
from tests.helpers.checks import Run, names_in
from tests.helpers.metadata_files import SECRET, XMP, exif_block, picture_file
from tests.helpers.samples import build_blob, gradient

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")


def kept(data: bytes | Path | Image.Image, choice: str) -> Metadata:
    return open_picture(data, 10**6, keep_metadata=choice).metadata


def directories(block: bytes) -> tuple[dict[int, object], dict[int, object], dict[int, object]]:
    """First, EXIF and GPS directories, as Pillow reads them; texts as bytes of UTF-8 would be read."""
    found = Image.Exif()
    found.load(block)
    return dict(found), dict(found.get_ifd(0x8769)), dict(found.get_ifd(0x8825))


# ---- EXIF


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_values_stay_what_they_are(order: str) -> None:
    first, details, places = directories(exif.cleaned(exif_block(order)))
    was_first, was_details, was_places = directories(exif_block(order))
    assert places == was_places and len(places) == 4
    changed = {0x0112: 1, 0x8769: first[0x8769], 0x8825: first[0x8825]}  # upright, and directories lie elsewhere
    assert first == was_first | changed
    left_out = {0xA002, 0xA005, 0xEA1C}  # width of the file, its colours' name, padding
    assert details == {tag: value for tag, value in was_details.items() if tag not in left_out} | {0xA001: 1}
    assert str(first[0x8298]).encode("latin-1").decode() == "Jürg & Söhne"
    assert b"thumbnail" not in exif.cleaned(exif_block(order))


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_gps_nothing_tells_the_place(order: str) -> None:
    block = exif.cleaned(exif_block(order), without_gps=True)
    first, details, places = directories(block)
    assert exif.has_gps(exif_block(order)) and not exif.has_gps(block) and SECRET not in block and not places
    assert first[0x010F] == "Camera Works" and 0x8825 not in first
    assert set(details) == {0x829A, 0x8827, 0x9000, 0xA001, 0xA434} and details[0x8827] == 400


def test_gps_directory_in_the_wrong_place_goes_too() -> None:
    block = bytearray(exif_block())
    pointer, moved = block.index(b"\x25\x88"), block.index(b"\x05\xa0")  # of GPS, and of interoperability
    entry = bytes(block[pointer : pointer + 12])
    block[pointer : pointer + 2] = b"\x26\x88"  # a tag that nobody knows
    block[moved : moved + 12] = entry
    assert not directories(bytes(block))[2]
    assert directories(exif.cleaned(bytes(block)))[2] and SECRET in exif.cleaned(bytes(block))
    assert SECRET not in exif.cleaned(bytes(block), without_gps=True)


def test_a_block_that_says_nothing_is_not_kept() -> None:
    only_orientation = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    assert exif.cleaned(only_orientation) == b""
    gps_alone = exif_block()[:8] + b"\0\0" + bytes(4)
    assert exif.cleaned(gps_alone) == b""


@pytest.mark.parametrize("cut", [9, 40, 200, 330, 480])
def test_damaged_exif_is_refused_in_one_sentence(cut: int) -> None:
    data = picture_file("JPEG", exif_block()[:cut])
    open_picture(data, 10**6)  # the picture itself is sound
    for choice in ("all", "no-gps"):
        try:
            block = kept(data, choice).exif
        except PictureError as error:
            text = str(error)
            assert text.startswith("The EXIF metadata of the picture cannot be kept (") and text.endswith("without.")
        else:
            assert cut == 480 and choice == "no-gps" and block  # only the positions are cut off


# ---- XMP


def test_xmp_is_of_the_picture_in_the_blob() -> None:
    packet = xmp.cleaned(xmp.wrapped(XMP))
    text = packet.decode()
    for gone in ("Orientation", "ImageWidth", "ColorSpace", "ICCProfile", "xpacket"):
        assert gone not in text
    for stays in (
        "Camera Works",
        "Jürg &amp; Söhne",
        "GPSLatitude",
        "GPSLongitude",
        "Pose",
        "v:maker",
        'City="Zürich"',
    ):
        assert stays in text
    assert xmp.cleaned(packet) == packet and xmp.has_gps(packet)


def test_xmp_without_gps() -> None:
    packet = xmp.cleaned(XMP, without_gps=True)
    text = packet.decode()
    assert SECRET not in packet and not xmp.has_gps(packet)
    for gone in ("GPS", "Longt", "v:maker", "Pose"):
        assert gone not in text
    for stays in ("Camera Works", "Jürg &amp; Söhne", 'City="Zürich"', "LocationCreated"):
        assert stays in text


def test_prefixes_of_what_is_left_out_are_not_left_behind() -> None:
    packet = b'<r xmlns:a="adobe:ns:meta/"><a:y/><v:x xmlns:v="u:v" xmlns:a="u:a"><v:z/></v:x><a:y a:b="1"/></r>'
    assert xmp.cleaned(packet, without_gps=True) == b""  # the root is of no vocabulary
    packet = packet.replace(b"<r ", b"<a:r ").replace(b"</r>", b"</a:r>").replace(b"<a:y/>", b"<a:y>1</a:y>")
    wanted = b'<a:r xmlns:a="adobe:ns:meta/"><a:y>1</a:y><a:y a:b="1"/></a:r>'
    output = io.BytesIO()
    from xml.sax.saxutils import XMLGenerator

    xmp._run(packet, xmp._Filter(XMLGenerator(output, "utf-8", short_empty_elements=True), without_gps=True))
    assert output.getvalue() == wanted


@pytest.mark.parametrize(
    "packet, reason",
    [
        (b"<a><b></a>", "mismatched tag"),
        (b"no XML", "syntax error"),
        (b"<a>" * 300 + b"</a>" * 300, "it is nested more than 200 deep"),
        (b'<!DOCTYPE a [<!ENTITY b "bbb">]><a>&b;</a>', "it has a document type declaration"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "it has a document type declaration"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "unknown encoding"),
        (b"<a>" + b" " * xmp.MOST_BYTES, "it has more than 4,194,304 bytes"),
    ],
)
def test_damaged_xmp_is_refused_in_one_sentence(packet: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        xmp.cleaned(packet)
    if len(packet) < 60_000:
        with pytest.raises(PictureError, match="^The XMP metadata of the picture cannot be kept \\("):
            kept(picture_file("JPEG", xmp=packet), "all")


# ---- formats


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("choice", ["all", "no-gps"])
def test_there_and_back_in_every_format(codec: Codec, tmp_path: Path, name: str, choice: str) -> None:
    source, target = tmp_path / f"photo.{name.lower()}", tmp_path / f"back.{name.lower()}"
    source.write_bytes(picture_file(name, exif_block(orientation=1), XMP))
    blob = codec.encode(source, keep_metadata=choice)
    write_file(target, picture_bytes(codec.decode(blob), target.suffix))
    assert kept(target, choice) == kept(source, choice) and kept(source, choice).exif and kept(source, choice).xmp
    with Image.open(target) as image:
        assert image.getexif()[0x010F] == "Camera Works"
        assert bool(image.getexif().get_ifd(0x8825)) == (choice == "all")
        assert b"Camera Works" in image.info["xmp"]
    assert (SECRET in target.read_bytes()) == (choice == "all")


@pytest.mark.parametrize("name", FORMATS)
def test_the_picture_is_upright_and_says_so(codec: Codec, name: str) -> None:
    data = picture_file(name, exif_block(orientation=6), XMP)
    blob = codec.encode(data, keep_metadata="all")
    assert (inspect(blob).width, inspect(blob).height) == (16, 24)
    image = codec.decode(blob)
    assert image.size == (16, 24) and image.getexif().get(0x0112, 1) == 1
    again = open_picture(image, 10**6)  # turned no second time
    assert (again.width, again.height) == (16, 24)


def test_metadata_of_tiff(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    info = Image.Exif()
    info.load(exif_block())
    Image.fromarray(gradient(24, 16)).save(path, exif=info)
    for source in (path, path.read_bytes(), Image.open(path)):
        first, details, places = directories(kept(source, "all").exif)
        assert (first[0x010F], first[0x0112], places[0x0001]) == ("Camera Works", 1, "N") and details[0x8827] == 400
        assert not {0x0100, 0x0111, 0x0117} & set(first)  # nothing of how the file stores its pixels
        assert not directories(kept(source, "no-gps").exif)[2]


def test_metadata_of_images_and_arrays() -> None:
    with Image.open(io.BytesIO(picture_file("JPEG", exif_block(), XMP))) as image:
        assert kept(image, "all") == kept(picture_file("JPEG", exif_block(), XMP), "all")
    assert not open_picture(gradient(8, 8), 100, keep_metadata="all").metadata
    assert not kept(picture_file("BMP"), "all") and not kept(picture_file("GIF"), "all")


def test_jpeg_on_white_keeps_them_too(codec: Codec, tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.jpg"
    rgba = Image.fromarray(np.dstack([gradient(20, 20), np.full((20, 20), 99, np.uint8)]))
    rgba.save(source, exif=b"Exif\0\0" + exif_block())
    target.write_bytes(picture_bytes(codec.decode(codec.encode(source, keep_metadata="all")), ".jpg"))
    assert kept(target, "all").exif == kept(source, "all").exif


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_what_is_not_ascii_is_written_as_it_is(suffix: str) -> None:
    picture = Picture(gradient(8, 8), metadata=Metadata(exif.cleaned(exif_block())))
    data = picture_bytes(picture.image(), suffix)
    first, details, places = directories(kept(data, "all").exif)
    assert "Jürg & Söhne".encode() in data and len(details) == 8 and len(places) == 4
    assert first.get(0x0112, 1) == 1


def test_metadata_that_jpeg_has_no_room_for_is_told() -> None:
    metadata = Metadata(xmp=XMP.replace(b"Camera Works", b"c" * 70_000))
    picture = Picture(gradient(8, 8), metadata=metadata)
    assert b"c" * 70_000 in picture_bytes(picture.image(), ".png")
    with pytest.raises(PictureError, match=r"cannot be written as .jpg \(XMP data is too long\): use .png"):
        picture_bytes(picture.image(), ".jpg")


# ---- blobs, and the ways in


def test_nothing_is_kept_by_default(codec: Codec) -> None:
    data, plain = picture_file("JPEG", exif_block(), XMP), picture_file("JPEG")
    blob = codec.encode(data)
    assert blob[5] == 0 and not Encoded.parse(blob).chunks and SECRET not in blob
    for nothing in (None, False):
        assert codec.encode(data, keep_metadata=nothing) == blob
    assert Metadata.of_chunks(inspect(codec.encode(plain, keep_metadata="all")).chunks) == Metadata()  # nothing to keep
    assert describe(inspect(blob))["metadata"] == "none"


def test_what_is_kept_counts_in_the_size_that_is_asked_for(photo_codec: Codec) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1))
    image.info["exif"] = exif_block()
    blob = photo_codec.encode(image, target_bytes=3000, keep_metadata="all")
    assert len(blob) <= 3000 and Encoded.parse(blob).chunks
    assert Encoded.parse(blob).quality < Encoded.parse(photo_codec.encode(image, target_bytes=3000)).quality
    with pytest.raises(PictureError, match="cannot be kept in 300 bytes"):
        photo_codec.encode(image, target_bytes=300, keep_metadata="all")


def test_choices(codec: Codec) -> None:
    assert [check_keep(choice) for choice in (None, False, True, "all", "no-gps")] == [
        None,
        None,
        "all",
        "all",
        "no-gps",
    ]
    for call in (codec.encode, lambda image, **options: codec.encode_many([image], **options)):
        with pytest.raises(ValueError, match="keep_metadata must be 'all', 'no-gps' or None, not 'gps'"):
            call(gradient(8, 8), keep_metadata="gps")


def test_library_and_many(codec: Codec, tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(picture_file("JPEG", exif_block(), XMP))
    blob = codec.encode(source, keep_metadata="no-gps")
    assert list(codec.encode_many([source], keep_metadata="no-gps")) == [blob]
    assert latent8.encode(source, "l8-tiny", keep_metadata="no-gps", device="cpu")[:40] == blob[:40]
    latent8.encode_file(source, tmp_path / "photo.l8", "l8-tiny", keep_metadata="all", device="cpu")
    latent8.decode_file(tmp_path / "photo.l8", tmp_path / "back.webp", device="cpu")
    assert kept(tmp_path / "back.webp", "all").exif == kept(source, "all").exif
    for call, target in ((latent8.encode_file, source), (latent8.decode_file, tmp_path / "photo.l8")):
        before = target.read_bytes()
        with pytest.raises(latent8.Latent8Error, match="is the source itself: name another file"):
            call(target, target)
        assert target.read_bytes() == before


def test_pillow(tmp_path: Path) -> None:
    path = tmp_path / "photo.l8"
    with Image.open(io.BytesIO(picture_file("JPEG", exif_block(), XMP))) as image:
        image.save(path, model="l8-tiny", device="cpu")
        assert not Encoded.parse(path.read_bytes()).chunks
        image.save(path, model="l8-tiny", device="cpu", keep_metadata="all")
    with Image.open(path) as found:
        assert found.getexif()[0x010F] == "Camera Works" and b"Camera Works" in found.info["xmp"]
        assert found.getexif().get_ifd(0x8825)
    area = b"exif\x03\0\0\0abc"
    with pytest.raises((UnidentifiedImageError, latent8.BlobError), match="exif is no zlib stream"):
        Image.open(io.BytesIO(build_blob(area=area)))


def test_command_line(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(picture_file("JPEG", exif_block(), XMP))
    blob = photo.with_suffix(".l8")
    tiny = ["--model", "l8-tiny"]
    for arguments in (["--keep-metadata", photo], [photo, "--keep-metadata"], [photo, "--keep-metadata", "all"]):
        assert run("encode", *arguments, *tiny)[0] == 0
        code, out, _ = run("inspect", blob)
        assert code == 0 and any(
            line == "  metadata      EXIF, 448 bytes, with GPS; XMP, 1,118 bytes, with GPS" for line in out
        )
    assert run("encode", photo, "--keep-metadata", "no-gps", *tiny)[0] == 0
    found = json.loads(run("inspect", "--json", blob)[1][0])
    assert found["metadata"] == "EXIF, 268 bytes; XMP, 829 bytes"
    for name in ("back.png", "back.webp", "back.jpg", "back.avif", "back.bmp"):
        assert run("decode", blob, "-o", tmp_path / name)[0] == 0
        if name != "back.bmp":  # which has no place for it
            assert b"Camera Works" in kept(tmp_path / name, "all").exif
    code, _, err = run("encode", photo, "--png", "--keep-metadata", *tiny)
    assert (code, err) == (2, ["latent8: An RGBA PNG of latents has no place for metadata: keep the .l8."])
    code, _, err = run("encode", photo, "--keep-metadata=gps", *tiny)
    assert code == 2 and "argument --keep-metadata: invalid choice: 'gps'" in err[0]


def test_folder_and_bulk(run: Run, tmp_path: Path) -> None:
    from latent8.bulk.ray_job import Encoder, Job, todo

    photos, out, other = tmp_path / "photos", tmp_path / "out", tmp_path / "bulk"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(picture_file("JPEG", exif_block(), XMP))
    assert run("encode", photos, "-o", out, "--keep-metadata", "no-gps", "--model", "l8-tiny")[0] == 0
    assert describe(inspect(out / "a.l8"))["metadata"] == "EXIF, 268 bytes; XMP, 829 bytes"
    job = Job(str(photos), str(other), "l8-tiny", keep_metadata="no-gps", measure=False)
    Encoder(job, 1)(todo(job).to_pydict())
    assert describe(inspect(other / "blobs" / "a.l8"))["metadata"] == "EXIF, 268 bytes; XMP, 829 bytes"
    assert json.loads((other / "job.json").read_text())["keep_metadata"] == "no-gps"
    with pytest.raises(latent8.Latent8Error, match="holds a job with another source or settings"):
        todo(Job(str(photos), str(other), "l8-tiny"))
    todo(Job(str(photos), str(tmp_path / "plain"), "l8-tiny"))
    assert "keep_metadata" not in json.loads((tmp_path / "plain" / "job.json").read_text())
    assert names_in(out) == {"a.l8"} and "torch" in sys.modules
