"""`mien export --bundle`: write a folder for phone apps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.messages import print_message
from mien.errors import MissingExtraError
from mien.export.format_spec import FORMATS

if TYPE_CHECKING:
    from mien.export.format_spec import Format


def write_bundle(model: Path, folder: Path, canvas: int, format: Format, *, pose: bool, quiet: bool) -> int:
    """Write a phone bundle and print its files; return the exit code.

    Args:
        model: name or file of an expression model.
        folder: folder to write.
        canvas: maximum side of an image in pixels.
        format: format of the graphs.
        pose: include the face mesh.
        quiet: do not report that a bundle was replaced.

    Raises:
        InputError: if the format cannot be bundled, the canvas is out of range, or the folder contains something else.
        MissingExtraError: torch or the packages of the format are not installed.
    """
    try:
        from mien.export.bundle import write
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", FORMATS[format].extra) from None
    is_replaced = (folder / write.CONTRACT).is_file()
    contract = write.write_bundle(str(model), folder, canvas=canvas, mesh=pose, format=format)
    if is_replaced and not quiet:
        print_message(f"replaced the bundle that was in {folder}")
    sizes = [f"{graph['file']} {graph['bytes'] / 1e6:.1f} MB" for graph in contract["graphs"].values()]
    print(f"{folder}  {', '.join(sizes)}  golden tests passed")
    return 0
