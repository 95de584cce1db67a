"""Removal of metadata from image files, because large or invalid metadata makes decoders refuse intact pixels."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"tRNS", b"eXIf")
"""Ancillary chunks that affect the decoded image: transparency and orientation."""
_PNG_TEXT = re.compile(rb"(?:Raw profile type exif|XML:com\.adobe\.xmp)\0")
"""Start of a text chunk that may contain the orientation."""
_PNG_MAX_TEXTS = 8
"""Maximum number of these chunks that are kept, because checking one decompresses it."""
_PNG_MAX_TEXT_BYTES = 2**20
"""Maximum length of a decompressed text; Pillow refuses longer ones."""
_EXIF, _XMP, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/xap/", b"Adobe"
_JPEG_START_OF_SCAN = 0xDA
_JPEG_COMMENT = 0xFE
_JPEG_MIN_JFIF, _JPEG_MIN_ADOBE = 14, 12
"""Lengths in bytes of complete JFIF and Adobe segments; both state the color space."""
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF")


def without_metadata(data: bytes) -> bytes:
    """Return a PNG, JPEG or WebP file without what does not affect its pixels and orientation; others unchanged."""
    if data.startswith(_PNG_SIGNATURE):
        return _PNG_SIGNATURE + b"".join(_png_chunks(data))
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(_jpeg_segments(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        chunks = b"".join(_webp_chunks(data))
        return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WEBP" + chunks
    return data


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks to keep, ancillary ones with a valid checksum; incomplete data at the end is kept."""
    position = len(_PNG_SIGNATURE)
    n_texts = 0
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind, content = data[position + 4 : position + 8], data[position + 8 : end - 4]
        is_critical = kind[:1].isupper() or end > len(data)
        text = _PNG_TEXT.match(content)
        n_texts += text is not None
        if is_critical:
            yield data[position:end]
        elif kind in _PNG_KEPT or (text and n_texts <= _PNG_MAX_TEXTS and _is_readable(kind, content[text.end() :])):
            yield data[position : end - 4] + zlib.crc32(kind + content).to_bytes(4, "big")
        position = end


def _is_readable(kind: bytes, text: bytes) -> bool:
    """Return whether Pillow can read what follows the keyword of a text chunk."""
    if kind == b"tEXt" or (kind == b"iTXt" and text[:1] == b"\0"):
        return True
    if kind == b"iTXt":
        # between the method of compression and the text are the language and the translated keyword
        text = text[1:2] + text[2:].split(b"\0", 2)[-1]
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(text[1:], _PNG_MAX_TEXT_BYTES)
    except zlib.error:
        return False
    return text[:1] == b"\0" and not decompressor.unconsumed_tail


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """Yield the segments to keep up to the first scan, and all that follows."""
    position = 2
    while match := _JPEG_MARKER.match(data, position):
        marker = match[1][0]
        end = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
        if marker == _JPEG_START_OF_SCAN or end < match.end() + 2:
            break
        if _is_kept_by_jpeg(marker, data[match.end() + 2 : end]):
            yield data[position:end]
        position = end
    yield data[position:]


def _is_kept_by_jpeg(marker: int, content: bytes) -> bool:
    if marker == 0xE0:
        return len(content) >= _JPEG_MIN_JFIF
    if marker == 0xE1:
        return content.startswith((_EXIF, _XMP))
    if marker == 0xEE:
        return content.startswith(_ADOBE) and len(content) >= _JPEG_MIN_ADOBE
    return not (0xE0 <= marker <= 0xEF or marker == _JPEG_COMMENT)


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the complete chunks to keep, padded to even lengths."""
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size
        if end <= len(data) and data[position : position + 4] in _WEBP_KEPT:
            yield data[position:end] + b"\0" * (size % 2)
        position = end + size % 2
