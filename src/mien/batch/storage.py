"""File systems of local paths and object-store URLs, through pyarrow."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mien.errors import InputError, MissingExtraError

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
            raise InputError(f"{source}: {_one_line(error)}.") from None
    try:
        return fs.FileSystem.from_uri(f"fsspec+{source}")
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"{source}: {_one_line(error)}.") from None


def list_files(source: str) -> list[FileInfo]:
    """Return a file, or the files below a folder sorted by path, without hidden files and folders.

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
            raise InputError(f"{source}: no such file or folder.")
        files = system.get_file_info(fs.FileSelector(path, recursive=True))
    except UnicodeDecodeError:
        raise InputError(f"{source} has file names that are not UTF-8; rename them.") from None
    except OSError as error:
        raise InputError(f"{source} cannot be listed: {_one_line(error)}.") from None
    visible = [file for file in files if file.type == fs.FileType.File and not _is_hidden(file.path, root.path)]
    return sorted(visible, key=lambda file: file.path)


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
