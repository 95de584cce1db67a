"""`mien export --bundle`: write a folder for phone apps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.export_format import FORMAT_EXTRAS
from mien.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from mien.export.formats import Format


def write_bundle(model: Path, folder: Path | None, canvas: int, format: Format, *, pose: bool, is_only: bool) -> int:
    """Write a phone bundle and print its files; return the exit code.

    Args:
        model: name or file of an expression model.
        folder: folder to write.
        canvas: maximum side of an image in pixels.
        format: format of the graphs.
        pose: include the face mesh.
        is_only: whether no option of a model file was given.

    Raises:
        InputError: if the folder is missing, the format cannot be bundled, or options of a model file are given too.
        MissingExtraError: torch or the packages of the format are not installed.
    """
    if folder is None:
        raise InputError("expected --output FILE, or --bundle FOLDER for phone apps.")
    if not is_only:
        raise InputError(
            "--bundle takes a finished .onnx model and no options of --output; export first, then bundle that file."
        )
    try:
        from mien.export.bundle import write
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", FORMAT_EXTRAS[format]) from None
    contract = write.write_bundle(str(model), folder, canvas=canvas, mesh=pose, format=format)
    sizes = [f"{graph['file']} {graph['bytes'] / 1e6:.1f} MB" for graph in contract["graphs"].values()]
    print(f"{folder}  {', '.join(sizes)}  golden tests passed")
    return 0
