"""Image, video and audio formats by file name and content: what is read, and what to do with other images."""

from __future__ import annotations

from pathlib import PurePath

IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf"),
    *(".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".tga", ".tif", ".tiff"),
    ".webp",
)
"""Lower-case suffixes of the formats that Pillow reads without plugins; images in folders and zip files."""

RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
"""Lower-case suffixes of raw camera files; Pillow would read the small preview of some."""

UNREADABLE_SUFFIXES = (
    *RAW_SUFFIXES,
    *(".ai", ".bpg", ".dcm", ".emf", ".eps", ".exr", ".hdp", ".hdr", ".heic", ".heics", ".heif", ".hif", ".jxl"),
    *(".jxr", ".kra", ".svg", ".svgz", ".wdp", ".wmf", ".xcf"),
)
"""Lower-case suffixes of images that are not read; in a folder they are reported, not ignored."""

VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".insv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
)
"""Lower-case suffixes of videos."""
AUDIO_SUFFIXES = (
    *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka"),
    *(".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus", ".ra", ".snd", ".spx", ".tta", ".w64", ".wav", ".weba"),
    *(".wma", ".wv"),
)
"""Lower-case suffixes of audio files."""

RAW_PROBLEM = "is a raw camera file; export it as JPEG or TIFF"
"""What a raw camera file is, and what to do, as the end of a sentence."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def is_raw(name: str) -> bool:
    """Return whether a file name is that of a raw camera file."""
    return PurePath(name).suffix.lower() in RAW_SUFFIXES


def describe_unsupported(name: str, data: bytes) -> str:
    """Return what an image that cannot be decoded is, and what to do, as the end of a sentence.

    Args:
        name: name of the file; its suffix counts where the content says nothing.
        data: encoded bytes, or the first kilobytes.
    """
    suffix = PurePath(name).suffix.lower()
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if is_raw(name) or data[8:10] == b"CR" or brand == b"crx ":
        return RAW_PROBLEM
    if brand in _HEIC_BRANDS:
        return "is a HEIC file; convert it to JPEG or pass a Pillow image opened with pillow-heif"
    if brand in _AVIF_BRANDS:
        return "is an AVIF file, which this version of Pillow cannot read; convert it to JPEG"
    if data.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")):
        return "is a JPEG XL file; convert it to JPEG or PNG"
    if b"<svg" in data[:2048] or suffix == ".svgz":
        return "is a vector image (SVG); convert it to PNG or JPEG"
    if brand or data.startswith(b"\x1aE\xdf\xa3") or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return "is a video; give it to mien video (in Python: mien.analyze_video)"
    return "is not an image in a supported format"
