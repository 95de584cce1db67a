"""File systems of local paths and object-store URLs, through pyarrow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mien.addresses import public_name
from mien.errors import InputError, MissingExtraError, reason

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


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


def list_files(source: str) -> list[FileInfo]:
    """Return a file, or the files below a folder sorted by path.

    Hidden files and folders are left out, and links to local folders are not followed. A link to a file that does not
    exist is included, so that its reading reports it.

    Raises:
        InputError: there is no such file or folder, or it cannot be listed.
    """
    fs = load_file_systems()
    system, path = open_storage(source)
    try:
        root = system.get_file_info(path)
        if root.type == fs.FileType.File:
            return [root]
        if root.type == fs.FileType.NotFound:
            raise InputError(f"{public_name(source)}: no such file or folder.")
        is_local = isinstance(system, fs.LocalFileSystem)
        files = system.get_file_info(list(_walk(path)) if is_local else fs.FileSelector(path, recursive=True))
        kinds = (fs.FileType.File, fs.FileType.NotFound)
        visible = [file for file in files if file.type in kinds and not _is_hidden(file.path, path)]
        return sorted(visible, key=lambda file: file.path)
    except UnicodeError:
        raise InputError(f"{public_name(source)} has file names that are not UTF-8; rename them.") from None
    except OSError as error:
        raise InputError(f"{public_name(source)} cannot be listed: {_describe(error, source)}.") from None


def _walk(folder: str) -> Iterator[str]:
    """Yield the paths of the files below a local folder, without those in hidden folders."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in files)  # noqa: PTH118 - millions of names


def read_file(source: str, path: str) -> bytes:
    """Return the content of a file in the file system of a source.

    Raises:
        OSError: the file cannot be read.
    """
    system, _ = open_storage(source)
    with system.open_input_stream(path) as file:
        return file.read()


def _is_hidden(path: str, root: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(root).split("/"))


def _describe(error: Exception, source: str) -> str:
    """Return an error in one line, without the password of a source."""
    return reason(error).replace(source, public_name(source))
