"""Shards: fixed lists of inputs, which make the output independent of the number of workers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from mien.addresses import public_name
from mien.batch.storage import StoredFile, file_address, list_files
from mien.errors import InputError
from mien.media_formats import IMAGE_SUFFIXES, UNREADABLE_SUFFIXES, VIDEO_SUFFIXES

SHARD_SIZE = 256
"""Default number of image files in a shard: the work that the loss of a worker costs."""
ARCHIVE_SUFFIXES = (".tar", ".tgz", ".tar.gz")
"""Lower-case suffixes of tar files of images."""

Kind = Literal["images", "archive", "video"]
KINDS: tuple[Kind, ...] = ("images", "archive", "video")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Inputs that one worker analyzes into one Parquet file.

    Attributes:
        name: path of the Parquet file in the output folder, without its suffix.
        kind: image files, one tar file, or one video.
        source: path or URL of the file system.
        paths: of the files, in the file system of `source`.
        size: sum of their sizes in bytes.
    """

    name: str
    kind: Kind
    source: str
    paths: tuple[str, ...]
    size: int

    def address(self, path: str) -> str:
        """Return the absolute path or the URL of a file, by which tables and messages name it."""
        return file_address(self.source, path)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The shards of a run.

    Attributes:
        shards: in the order of the sources; images before tar files before videos.
        digest: SHA-256 of names, sizes and times of modification of all files, in hexadecimal digits.
    """

    shards: tuple[Shard, ...]
    digest: str


def list_shards(sources: Sequence[str], *, shard_size: int = SHARD_SIZE) -> Listing:
    """List the images, tar files of images and videos of sources and divide them into shards.

    Args:
        sources: files and folders, which are searched recursively; local paths or URLs.
        shard_size: number of image files in a shard; a tar file and a video are a shard each.

    Raises:
        InputError: a source does not exist, cannot be listed, or has no images and no videos.
        MissingExtraError: pyarrow is not installed.
    """
    digest = hashlib.sha256()
    groups = []
    for source in sources:
        files = list_files(source)
        kinds: dict[Kind, list[StoredFile]] = {kind: [file for file in files if _kind(file) == kind] for kind in KINDS}
        if not any(kinds.values()):
            name = public_name(source)
            raise InputError(f"no images or videos found in {name}; expected JPEG, PNG, tar files, MP4 or others.")
        for kind, members in kinds.items():
            for file in members:
                line = f"{source}\0{file.path}\0{file.size}\0{file.mtime_ns}\n"
                digest.update(line.encode(errors="surrogatepass"))
            groups += _divide(source, kind, members, shard_size)
    return Listing(shards=tuple(_name_shards(groups)), digest=digest.hexdigest())


def _kind(file: StoredFile) -> Kind | None:
    name = file.path.lower()
    # a folder that cannot be listed may have images
    if file.is_folder or name.endswith(IMAGE_SUFFIXES + UNREADABLE_SUFFIXES):
        return "images"
    if name.endswith(ARCHIVE_SUFFIXES):
        return "archive"
    return "video" if name.endswith(VIDEO_SUFFIXES) else None


def _divide(
    source: str, kind: Kind, files: Sequence[StoredFile], shard_size: int
) -> Iterator[tuple[str, Kind, Sequence[StoredFile]]]:
    size = shard_size if kind == "images" else 1
    for start in range(0, len(files), size):
        yield source, kind, files[start : start + size]


def _name_shards(groups: Sequence[tuple[str, Kind, Sequence[StoredFile]]]) -> Iterator[Shard]:
    """Number the shards of images and of videos."""
    numbers = {"images": count(), "videos": count()}
    for source, kind, files in groups:
        table = "videos" if kind == "video" else "images"
        yield Shard(
            name=f"{table}/{next(numbers[table]):06}",
            kind=kind,
            source=source,
            paths=tuple(file.path for file in files),
            size=sum(file.size for file in files),
        )
