"""Files with intact pixels and large or invalid metadata are read, upright."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mien.errors import ImageReadError
from mien.image_metadata import without_metadata
from mien.imaging import read_image
from support.images import encoded, portrait, stored_rotated

SMALL = np.ascontiguousarray(portrait("astronaut")[60:100, 200:248])
LARGE = b"x" * 2_000_000


def png_chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_with(*chunks: bytes, at_end: bool = False, orientation: int = 1) -> bytes:
    data = stored_rotated(SMALL, orientation, "PNG")
    position = len(data) - 12 if at_end else 33
    return data[:position] + b"".join(chunks) + data[position:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    data = encoded(SMALL, "JPEG", quality=95, subsampling=0)
    packed = (bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content for marker, content in segments)
    return data[:2] + b"".join(packed) + data[2:]


PNG_CHUNKS = {
    "large zTXt": [png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE))],
    "large iTXt": [png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE))],
    "large XMP": [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE))],
    "many texts": [png_chunk(b"tEXt", b"Comment%d\0" % index + LARGE) for index in range(40)],
    "many compressed XMP": [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE[: 2**20]))] * 70,
    "large profile": [png_chunk(b"iCCP", b"p\0\0" + zlib.compress(LARGE))],
    "profile of another method": [png_chunk(b"iCCP", b"p\0\5" + zlib.compress(b"p"))],
    "empty profile": [png_chunk(b"iCCP", b"")],
    "text of another method": [png_chunk(b"zTXt", b"Comment\0\5abc")],
    "text with wrong checksum": [png_chunk(b"tEXt", b"Comment\0hello", checksum=1)],
    "short sRGB": [png_chunk(b"sRGB", b"")],
    "short gAMA": [png_chunk(b"gAMA", b"\0")],
    "short pHYs": [png_chunk(b"pHYs", b"\0")],
    "short cHRM": [png_chunk(b"cHRM", b"\0\0\0")],
    "short acTL": [png_chunk(b"acTL", b"\0\0")],
    "invalid EXIF": [png_chunk(b"eXIf", b"rubbish")],
    "invalid EXIF as text": [png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9\nzz"))],
}
JPEG_SEGMENTS = {
    "short JFIF": [(0xE0, b"JFIF\0")],
    "short Adobe": [(0xEE, b"Adobe\0")],
    "short profile": [(0xE2, b"ICC_PROFILE\0")],
    "profile of 5 MB": [(0xE2, b"ICC_PROFILE\0" + bytes([index, 80]) + bytes(65_000)) for index in range(1, 81)],
    "XMP of 4 MB": [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(65_000))] * 64,
    "300 segments": [(0xED, bytes(60_000))] * 300,
    "invalid multi-picture index": [(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")],
}


@pytest.mark.parametrize("name", PNG_CHUNKS)
@pytest.mark.parametrize("at_end", [False, True], ids=["before pixels", "behind pixels"])
def test_reads_png_whatever_its_metadata(name: str, at_end: bool):
    np.testing.assert_array_equal(read_image(png_with(*PNG_CHUNKS[name], at_end=at_end)), SMALL)


@pytest.mark.parametrize("name", ["large zTXt", "large profile", "short acTL"])
def test_keeps_orientation_and_transparency_of_png_without_metadata(name: str):
    np.testing.assert_array_equal(read_image(png_with(*PNG_CHUNKS[name], orientation=6)), SMALL)
    palette = Image.new("P", (3, 2), 0)
    palette.putpalette([10, 20, 30])
    data = encoded(palette, "PNG", transparency=0)
    assert read_image(data[:33] + PNG_CHUNKS[name][0] + data[33:]).min() == 255


ROTATED = Image.Exif()
ROTATED[0x0112] = 6
EXIF_TEXT = (
    b"Raw profile type exif\0",
    b"\nexif\n%8d\n%s\n" % (len(ROTATED.tobytes()), ROTATED.tobytes().hex().encode()),
)
XMP_TEXT = b"XML:com.adobe.xmp\0", b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
PNG_ORIENTATIONS = {
    "EXIF as text": png_chunk(b"tEXt", b"".join(EXIF_TEXT)),
    "EXIF as compressed text": png_chunk(b"zTXt", EXIF_TEXT[0] + b"\0" + zlib.compress(EXIF_TEXT[1])),
    "XMP": png_chunk(b"iTXt", XMP_TEXT[0] + bytes(4) + XMP_TEXT[1]),
    "compressed XMP": png_chunk(b"iTXt", XMP_TEXT[0] + b"\1\0en\0\0" + zlib.compress(XMP_TEXT[1])),
}


@pytest.mark.parametrize("name", PNG_ORIENTATIONS)
@pytest.mark.parametrize("other", ["large zTXt", "large XMP", "text of another method"])
def test_keeps_orientation_in_a_text_of_png_without_metadata(name: str, other: str):
    data = encoded(np.ascontiguousarray(np.rot90(SMALL)), "PNG")
    for chunks in ([PNG_ORIENTATIONS[name]], [*PNG_CHUNKS[other], PNG_ORIENTATIONS[name]]):
        np.testing.assert_array_equal(read_image(data[:33] + b"".join(chunks) + data[33:]), SMALL)


@pytest.mark.parametrize("name", JPEG_SEGMENTS)
def test_reads_jpeg_whatever_its_metadata(name: str):
    expected = read_image(encoded(SMALL, "JPEG", quality=95, subsampling=0))
    np.testing.assert_array_equal(read_image(jpeg_with(*JPEG_SEGMENTS[name])), expected)


@pytest.mark.parametrize("name", ["short JFIF", "short profile"])
def test_keeps_orientation_of_jpeg_without_metadata(name: str):
    marker, content = JPEG_SEGMENTS[name][0]
    data = stored_rotated(SMALL, 8)
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    np.testing.assert_array_equal(read_image(data[:2] + segment + data[2:]), read_image(data))


def test_reads_webp_and_tiff_with_large_metadata():
    options = {"exif": Image.Exif().tobytes(), "icc_profile": bytes(5_000_000)}
    webp = encoded(SMALL, "WEBP", lossless=True, xmp=LARGE, **options)
    for data in (webp, webp[:-1000], encoded(SMALL, "TIFF", tiffinfo={270: "d" * 2_000_000}, **options)):
        np.testing.assert_array_equal(read_image(data), SMALL)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((3, struct.pack("<H", 6)), (4, struct.pack("<I", 6)), (1, b"\6"), (6, b"\6"), (7, b"\6")),
        *((8, struct.pack("<h", 6)), (9, struct.pack("<i", 6)), (11, struct.pack("<f", 6)), (2, b"6\0")),
    ],
    ids=["SHORT", "LONG", "BYTE", "SBYTE", "UNDEFINED", "SSHORT", "SLONG", "FLOAT", "ASCII"],
)
def test_applies_orientation_of_every_number_type(kind: int, value: bytes):
    count = 2 if kind == 2 else 1
    block = (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0") + bytes(4)
    )
    stored = np.ascontiguousarray(np.rot90(SMALL))
    data = encoded(stored, "JPEG", quality=95, subsampling=0)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert read_image(data[:2] + segment + data[2:]).shape == SMALL.shape


def test_damaged_pixels_are_still_an_error():
    for data in (png_with(*PNG_CHUNKS["large zTXt"])[:-500], jpeg_with(*JPEG_SEGMENTS["short JFIF"])[:-500]):
        with pytest.raises(ImageReadError):
            read_image(data)


def test_other_formats_are_unchanged():
    for format_name in ("GIF", "BMP", "TIFF"):
        data = encoded(Image.fromarray(SMALL), format_name)
        assert without_metadata(data) is data
