"""Result writers: JSON Lines, tables and annotated images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mien.atomic import open_atomic
from mien.errors import ImageReadError, InputError, MissingExtraError, write_error
from mien.manifest import check_manifest_path
from mien.runtime import check_float_name
from mien.schema import valid_text

if TYPE_CHECKING:
    import numpy as np

    from mien.cli.inputs import ImageInput
    from mien.drawing.blur_mode import BlurMode
    from mien.inference.result import Result

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_MAX_SIDE_PX = {"JPEG": 65_500, "WEBP": 16_383}
"""Maximum side of an image file in pixels."""


def print_json(record: Mapping[str, Any]) -> None:
    """Print one line of JSON to standard output, ASCII only, so that every encoding can hold it."""
    sys.stdout.write(json.dumps(_valid(record)) + "\n")
    sys.stdout.flush()


def _valid(value: Any) -> Any:
    """Return JSON values without the invalid characters of file names, which some parsers reject."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, Mapping):
        return {_valid(key): _valid(item) for key, item in value.items()}
    return [_valid(item) for item in value] if isinstance(value, list | tuple) else value


class ResultPrinter(Protocol):
    """Printer of the results of `mien predict`, in order."""

    def add(self, result: Result) -> None:
        """Print the result of one image to standard output."""
        ...


class JsonPrinter:
    """Prints one JSON object per image."""

    def add(self, result: Result) -> None:
        """Print one line."""
        print_json(result.to_dict())


class ImageWriter:
    """Writes annotated copies to a folder with the layout of the inputs; never overwrites an input or another copy.

    Args:
        folder: created if it is missing.
        images: all inputs.
        copies: copies that an interrupted run has written.
        stale_copies: copies of it that may be replaced.
        blur: faces to hide.

    Raises:
        InputError: the folder cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[ImageInput],
        copies: Iterable[Path] = (),
        stale_copies: Iterable[Path] = (),
        *,
        blur: BlurMode | None = None,
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from None
        self._folder = folder
        self._blur: BlurMode | None = blur
        inputs = [image.source for image in images if isinstance(image.source, Path)]
        self._input_folders = {_path_key(path.parent) for path in inputs}
        self._stale_copies = {_path_key(path) for path in stale_copies}
        self._reserved = {_path_key(path) for path in (*inputs, *copies)}

    def add(self, item: ImageInput | None, result: Result) -> Path | None:
        """Draw and write one image, unless it could not be read; return the path of the copy.

        The image is decoded a second time, so that no pixels are kept in memory.

        Raises:
            ImageReadError: the image was removed or changed in the meantime.
            InputError: the copy cannot be written.
        """
        if item is None or result.error is not None:
            return None
        from mien.drawing.annotate import draw_faces
        from mien.imaging import read_image

        image = read_image(item.source)
        if image.shape[:2] != (result.height, result.width):
            raise ImageReadError(f"{item.name} was changed during the analysis.")
        annotated = draw_faces(image, result.faces, blur=self._blur)
        path = self._free_path(item.relative, max(annotated.shape[:2]))
        save_image(annotated, path)
        return path

    def _free_path(self, relative: Path, side: int) -> Path:
        """Return a path for a copy that no input and no other copy has; in the folder of an input, no file at all."""
        path = self._folder / relative
        format_name = _FORMATS.get(path.suffix.lower())
        if format_name is None or side > _MAX_SIDE_PX.get(format_name, side):
            path = path.with_suffix(".png")
        numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
        keeps_files = _path_key(path.parent) in self._input_folders
        target = next(target for target in chain([path], numbered) if self._is_free(target, keeps_files=keeps_files))
        self._reserved.add(_path_key(target))
        return target

    def _is_free(self, target: Path, *, keeps_files: bool) -> bool:
        key = _path_key(target)
        is_kept = keeps_files and key not in self._stale_copies and os.path.lexists(target)
        return key not in self._reserved and not is_kept


def check_file_path(path: Path) -> None:
    """Raise `InputError` if the path of a file to write is that of a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a directory; expected a file name.")


def check_image_path(path: Path, *, source: Path) -> None:
    """Raise `InputError` unless an image can be written to a path that is not its source."""
    check_file_path(path)
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: an image's name must end in {', '.join(_FORMATS)}.")
    if _path_key(path) == _path_key(source):
        raise InputError(f"{path} is the image itself. Give another --output.")


def check_model_path(path: Path, model: str | Path, *, is_int8: bool = False) -> None:
    """Raise `InputError` unless an .onnx file and its manifest can be written without loss of another file.

    Args:
        path: file to write.
        model: model that it is made from.
        is_int8: the file computes in int8, so that its name may end in .int8.onnx.
    """
    if path.suffix != ".onnx":
        raise InputError(f"{path}: the name of a model file must end in .onnx.")
    if not is_int8:
        check_float_name(path)
    check_no_loss(path, model)


def check_no_loss(path: Path, model: str | Path) -> None:
    """Raise `InputError` if a model or its manifest would replace something else than a model and a manifest.

    Args:
        path: file to write, or folder of Core ML.
        model: model that it is made from.
    """
    if not (path.suffix == ".mlpackage" and (path / "Manifest.json").is_file()):
        check_file_path(path)
    if path.exists() and path.resolve() == Path(model).resolve():
        raise InputError(f"{path} is the model itself; give another --output.")
    check_manifest_path(path)


def save_image(image: np.ndarray, path: Path) -> None:
    """Write pixels (H, W, 3) uint8 RGB atomically in the format of the suffix; creates the folder.

    Raises:
        InputError: the file cannot be written, or the image is too large for its format.
    """
    from PIL import Image

    format_name = _FORMATS[path.suffix.lower()]
    height, width = image.shape[:2]
    limit = _MAX_SIDE_PX.get(format_name)
    if limit is not None and max(height, width) > limit:
        raise InputError(
            f"{path}: cannot be written: the image has {width:,} x {height:,} pixels, and a {path.suffix} file at most "
            f"{limit:,} per side; use a name that ends in .png."
        )
    options = {"quality": 92} if format_name in ("JPEG", "WEBP") else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as file:
            Image.fromarray(image).save(file, format=format_name, **options)
    except OSError as error:
        raise write_error(path, error) from None


def check_report(folder: Path | None) -> None:
    """Check a requested report before work begins.

    Raises:
        MissingExtraError: matplotlib or Jinja2 is not installed.
        InputError: the path is that of a file.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the report.")
    check_report_packages()


def check_report_packages() -> None:
    """Raise `MissingExtraError` if matplotlib or Jinja2 is not installed."""
    if not (find_spec("matplotlib") and find_spec("jinja2")):
        raise MissingExtraError("A report", "report")


def _path_key(path: Path) -> str:
    """Return a key that is equal for paths of the same file, also on file systems that ignore case."""
    return os.path.realpath(path).casefold()
