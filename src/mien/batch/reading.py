"""Image files of a shard: read ahead from storage, or in sequence from a tar file."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeAlias

from mien.batch.shards import Shard
from mien.batch.storage import open_storage, read_file
from mien.errors import ImageReadError, reason
from mien.media_formats import IMAGE_SUFFIXES, RAW_PROBLEM, UNREADABLE_SUFFIXES, VIDEO_SUFFIXES, is_raw
from mien.parallel import map_in_order
from mien.schema import valid_text

READERS = 4
"""Number of image files of a shard that are read at a time, so that a worker does not wait for an object store."""

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
    """Yield the images of a tar file; a name that occurs again gets the number of its occurrence, as in `a.jpg#2`."""
    (path,) = shard.paths
    archive = shard.address(path)
    times: Counter[str] = Counter()
    try:
        system, _ = open_storage(shard.source)
        with (
            system.open_input_stream(path, compression=None) as stream,
            tarfile.open(fileobj=stream, mode="r|*") as members,  # type: ignore[arg-type]
        ):
            for member in members:
                if not _is_media(member):
                    continue
                name = f"{archive}/{valid_text(member.name)}"
                times[name] += 1
                if times[name] > 1:
                    name += f"#{times[name]}"
                yield name, _read_member(members, member, name)
    except (OSError, EOFError, tarfile.TarError) as error:
        yield archive, _read_error(archive, error)


def _is_media(member: tarfile.TarInfo) -> bool:
    name = member.name.rpartition("/")[2].lower()
    is_known = name.endswith(IMAGE_SUFFIXES + UNREADABLE_SUFFIXES + VIDEO_SUFFIXES)
    is_read = member.isfile() or member.islnk() or member.issym()
    return is_read and is_known and not name.startswith(".")


def _read_member(members: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Content:
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
