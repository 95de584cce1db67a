"""File systems of local paths and object-store URLs, through pyarrow."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mien.addresses import public_name
from mien.errors import InputError, MissingExtraError, reason
from mien.schema import valid_text

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


class StoredFile(NamedTuple):
    """A file of a source.

    Attributes:
        path: path in the file system of the source.
        size: size in bytes; 0 if it is unknown.
        mtime_ns: time of the last modification in nanoseconds; 0 if it is unknown.
        is_folder: true for a folder that cannot be listed.
    """

    path: str
    size: int
    mtime_ns: int
    is_folder: bool = False


def load_file_systems() -> Any:
    """Import pyarrow.fs.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow.fs
    except ImportError:
        raise MissingExtraError("mien batch", "table") from None
    return pyarrow.fs


def is_url(source: str) -> bool:
    """Return whether a source is a URL, not a local path."""
    return "://" in source


@lru_cache
def open_storage(source: str) -> tuple[FileSystem, str]:
    """Return the file system of a source and the path of the source in it.

    Args:
        source: local path, or a URL that pyarrow or fsspec knows (`s3://bucket/prefix?region=eu-west-1`).

    Raises:
        InputError: the URL is invalid, or the package of its scheme is not installed.
        MissingExtraError: pyarrow is not installed.
    """
    fs = load_file_systems()
    if not is_url(source):
        return fs.LocalFileSystem(), os.path.abspath(source)  # noqa: PTH100 - "." and ".." have to go
    try:
        return fs.FileSystem.from_uri(source)
    except (OSError, ValueError) as error:
        if "Unrecognized" not in str(error):
            raise InputError(f"{public_name(source)}: {_describe(error, source)}.") from None
    try:
        return fs.FileSystem.from_uri(f"fsspec+{source}")
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"{public_name(source)}: {_describe(error, source)}.") from None


def list_files(source: str) -> list[StoredFile]:
    """Return a file, or the files below a folder sorted by path.

    Hidden files and folders are left out, and links to local folders are not followed. Broken links, files without
    permission and folders that cannot be listed are included, so that their reading reports them.

    Raises:
        InputError: there is no such file or folder, or it cannot be listed.
    """
    fs = load_file_systems()
    system, path = open_storage(source)
    try:
        return sorted(_list_local(path) if isinstance(system, fs.LocalFileSystem) else _list_remote(system, path))
    except FileNotFoundError:
        raise InputError(f"{public_name(source)}: no such file or folder.") from None
    except OSError as error:
        raise InputError(f"{public_name(source)} cannot be listed: {_describe(error, source)}.") from None


def _list_local(root: str) -> Iterator[StoredFile]:
    info = os.stat(root)  # noqa: PTH116 - file names that are not UTF-8, and millions of them
    if stat.S_ISREG(info.st_mode):
        yield StoredFile(root, info.st_size, info.st_mtime_ns)
        return
    unlisted_folders: list[str] = []

    def on_error(error: OSError) -> None:
        if error.filename == root:
            raise error
        unlisted_folders.append(error.filename)

    for parent, folders, names in os.walk(root, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118
            if not name.startswith(".") and (file := _find_local(path)):
                yield file
    yield from (StoredFile(path, 0, 0, is_folder=True) for path in unlisted_folders)


def _find_local(path: str) -> StoredFile | None:
    """Return a local file; None if it is neither a file nor a link to one."""
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError:
        return StoredFile(path, 0, 0)
    return StoredFile(path, info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None


def _list_remote(system: FileSystem, root: str) -> Iterator[StoredFile]:
    fs = load_file_systems()
    info = system.get_file_info(root)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError
    is_file = info.type == fs.FileType.File
    for file in [info] if is_file else system.get_file_info(fs.FileSelector(root, recursive=True)):
        if file.type == fs.FileType.File and (is_file or not _is_hidden(file.path, root)):
            yield StoredFile(file.path, file.size or 0, file.mtime_ns or 0)


def file_address(source: str, path: str) -> str:
    """Return the absolute path or the URL of a file, by which tables and messages name it."""
    path = valid_text(path)
    if not is_url(source):
        return path
    scheme, _, place = public_name(source).partition("://")
    if scheme == "file":
        return f"file:///{quote(path.lstrip('/'), safe='/:')}"
    if not path.startswith("/"):
        # its first part is the bucket
        return f"{scheme}://{path}"
    # the host, if there is one, is only in the URL
    root = open_storage(source)[1].rstrip("/")
    place = re.split(r"[?#]", place)[0].rstrip("/")
    return f"{scheme}://{place}{path.removeprefix(root)}"


def open_stream(source: str, path: str) -> Any:
    """Open a file for reading in sequence, without decompressing it.

    Raises:
        OSError: the file cannot be opened.
    """
    system, _ = open_storage(source)
    # bytes, because pyarrow encodes strictly
    return system.open_input_stream(os.fsencode(path), compression=None)


def read_file(source: str, path: str) -> bytes:
    """Return the content of a file in the file system of a source.

    Raises:
        OSError: the file cannot be read.
    """
    with open_stream(source, path) as file:
        return file.read()


def _is_hidden(path: str, root: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(root).split("/"))


def _describe(error: Exception, source: str) -> str:
    """Return an error in one line, without the password of a source."""
    return reason(error).replace(source, public_name(source))
