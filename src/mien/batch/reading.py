"""Image files of a shard: read ahead from storage, or in sequence from a tar file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from tarfile import (
    EOFHeaderError,  # pyright: ignore[reportAttributeAccessIssue] - not in typeshed
    HeaderError,
    ReadError,
    TarError,
    TarFile,
    TarInfo,
)
from typing import Self, TypeAlias

from mien.batch.shards import Shard
from mien.batch.storage import open_stream, read_file
from mien.errors import ImageReadError, reason
from mien.media_formats import IMAGE_SUFFIXES, RAW_PROBLEM, UNREADABLE_SUFFIXES, VIDEO_SUFFIXES, is_raw
from mien.parallel import map_in_order
from mien.schema import valid_text

READERS = 4
"""Number of image files of a shard that are read at a time, so that a worker does not wait for an object store."""
_READ_SIZE = 4 * 2**20
"""Size in bytes of a read from a tar file: object stores charge a request for each."""
_MAGIC_SIZE = 10
"""Number of bytes that tell how a tar file is compressed."""

Content: TypeAlias = bytes | ImageReadError
"""Encoded image, or why it could not be read."""


def read_images(shard: Shard) -> Iterator[tuple[str, Content]]:
    """Yield name and content of every image of a shard, in order."""
    return _read_archive(shard) if shard.kind == "archive" else _read_files(shard)


def _read_files(shard: Shard) -> Generator[tuple[str, Content]]:
    def read(path: str) -> tuple[str, Content]:
        name = shard.address(path)
        if is_raw(name):
            return name, ImageReadError(f"{name} {RAW_PROBLEM}.")
        try:
            return name, read_file(shard.source, path)
        except OSError as error:
            return name, _read_error(name, error)

    with closing(map_in_order(read, shard.paths, READERS)) as contents:
        yield from contents


def _read_archive(shard: Shard) -> Generator[tuple[str, Content]]:
    """Yield the images of a tar file; a name that occurs again gets the number of its occurrence, as in `a.jpg#2`.

    An archive that is damaged, or has no images, is an error after them.
    """
    (path,) = shard.paths
    archive = shard.address(path)
    times: Counter[str] = Counter()
    try:
        with (
            io.BufferedReader(open_stream(shard.source, path), _READ_SIZE) as stream,  # type: ignore[arg-type]
            _decompress(stream) as content,
            TarFile.open(fileobj=content, mode="r|", tarinfo=_Member) as members,
        ):
            for member in members:
                if not _is_media(member):
                    continue
                name = f"{archive}/{valid_text(member.name)}"
                times[name] += 1
                if times[name] > 1:
                    name += f"#{times[name]}"
                yield name, _read_member(members, member, name)
            _read_padding(members)
    except (OSError, EOFError, TarError, zlib.error, lzma.LZMAError) as error:
        yield archive, _read_error(archive, error)
        return
    if not times:
        yield archive, ImageReadError(f"no images found in {archive}; expected JPEG, PNG or others.")


def _decompress(stream: io.BufferedReader) -> io.BufferedIOBase:
    """Decompress a tar file as a whole; `tarfile` itself reads only the first gzip member, and checks no CRC."""
    start = stream.peek(_MAGIC_SIZE)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream)
    if start.startswith(b"BZh") and start[4:10] == b"1AY&SY":
        return bz2.BZ2File(stream)
    return lzma.LZMAFile(stream) if start.startswith((b"\xfd7zXZ", b"\x5d\x00\x00\x80")) else stream


class _Member(TarInfo):
    """Member of a tar file; a damaged header is an error, not the end of the file as by default."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            raise
        except HeaderError as error:
            place = f"at byte {tarfile.offset:,}"
            raise ReadError(f"expected a header or the end marker {place}: {error}") from None


def _read_padding(members: TarFile) -> None:
    """Read what is behind the end marker; raise `ReadError` if there are data, as in joined tar files."""
    while block := members.fileobj.read(_READ_SIZE):
        if block.strip(b"\0"):
            raise ReadError("it has data after its end marker")


def _is_media(member: TarInfo) -> bool:
    name = member.name.rpartition("/")[2].lower()
    is_known = name.endswith(IMAGE_SUFFIXES + UNREADABLE_SUFFIXES + VIDEO_SUFFIXES)
    is_read = member.isfile() or member.islnk() or member.issym()
    return is_read and is_known and not name.startswith(".")


def _read_member(members: TarFile, member: TarInfo, name: str) -> Content:
    if member.islnk() or member.issym():
        return ImageReadError(f"{name} is a link in a tar file; extract it.")
    if name.lower().endswith(VIDEO_SUFFIXES):
        return ImageReadError(f"{name} is a video in a tar file; extract it.")
    if is_raw(name):
        return ImageReadError(f"{name} {RAW_PROBLEM}.")
    file = members.extractfile(member)
    return file.read() if file is not None else ImageReadError(f"{name} is not a file.")


def _read_error(name: str, error: Exception) -> ImageReadError:
    return ImageReadError(f"{name} cannot be read: {reason(error)}.")
