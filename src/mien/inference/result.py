"""The result of one image: its faces, or why it could not be read; conversions to JSON, tables and images."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from msgspec import UNSET

from mien.errors import InputError, MienError, MienWarning, MissingExtraError
from mien.imaging import MAX_PIXELS, Color, ImageSource, read_image
from mien.results import Face, Recordable
from mien.schema import ErrorRecord, ResultRecord, flatten_result, table_columns, valid_text

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from mien.drawing.blur_mode import BlurMode

_REPR_FACES = 5
_NOTEBOOK_SIDE = 960
PANDAS_TYPES: dict[type, Any] = {int: "Int64", float: "float64", bool: "boolean", str: object}
"""Types of pandas in which missing values stay missing, by the type of a column."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Recordable):
    """The faces of one image. It behaves like a sequence of them: `len`, iteration and indexing.

    Attributes:
        source: path of the image as it was passed, or `image N` for pixels and bytes, counted from 0.
        width: width of the upright image in pixels; 0 when the image could not be read.
        height: height of the upright image in pixels; 0 when the image could not be read.
        faces: largest first; empty without faces or when the image could not be read.
        error: why the image could not be read, or None.
        warnings: what may keep faces from being found, such as a `detector_size` that is too small; mostly empty.
        image: where `plot` finds the pixels: the path, or the image that was passed to `Analyzer.analyze`; None for
            pixels and bytes of `Analyzer.analyze_many`, which are not kept.
        max_faces: limit of the number of faces in the analysis, or None.
        columns: names and types of the columns of a table; empty derives them from the faces.

    Example:
        >>> result = Analyzer().analyze("photo.jpg")  # doctest: +SKIP
        >>> len(result), result[0].expression.label  # doctest: +SKIP
        (1, 'happiness')
    """

    source: str
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    error: MienError | None = None
    warnings: tuple[str, ...] = ()
    image: ImageSource | None = field(default=None, repr=False)
    max_faces: int | None = field(default=None, repr=False)
    columns: Mapping[str, type] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.faces)

    def __bool__(self) -> bool:
        return bool(self.faces)

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Face, ...]: ...
    def __getitem__(self, index: int | slice) -> Face | tuple[Face, ...]:
        return self.faces[index]

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<Result {self.source}: {self.error}>"
        count = "1 face" if len(self) == 1 else f"{len(self)} faces"
        lines = [f"<Result {self.source}: {self.width}x{self.height}, {count}>"]
        lines += [_describe(number, face) for number, face in enumerate(self.faces[:_REPR_FACES], start=1)]
        if len(self) > _REPR_FACES:
            lines.append(f"  ... and {len(self) - _REPR_FACES} more")
        return "\n".join(lines)

    def to_record(self) -> ResultRecord:
        """Return the struct of `mien.schema`."""
        return ResultRecord(
            image=valid_text(self.source),
            width=self.width,
            height=self.height,
            faces=[face.to_record() for face in self.faces],
            warnings=list(self.warnings),
            error=ErrorRecord(code=self.error.code, message=valid_text(str(self.error))) if self.error else None,
        )

    def warn(self, stacklevel: int = 1) -> None:
        """Issue the warnings as `MienWarning`, with the name of the image.

        Args:
            stacklevel: as in `warnings.warn`, counted from the caller.
        """
        for text in self.warnings:
            warnings.warn(f"{self.source}: {text}", MienWarning, stacklevel=stacklevel + 1)

    def to_json(self) -> str:
        """Return a line of JSON, as `mien predict --json` prints it."""
        return json.dumps(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per face and the columns of `mien predict --table`.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        return to_pandas([self])

    def plot(self, image: ImageSource | None = None, *, blur: BlurMode | None = None, color: Color = "rgb") -> Image:
        """Draw the faces, their labels and probabilities on the image.

        Args:
            image: the image to draw on; by default the one that was analyzed. A path is read again.
            blur: faces to hide, see `mien.draw_faces`.
            color: order of the channels if `image` is an array; "bgr" for those of OpenCV.

        Returns:
            A Pillow image.

        Raises:
            ImageReadError: if the image could not be read, or cannot be read again.
            InputError: if the image has changed since, the pixels were not kept and no image is passed, faces are to be
                hidden and the analysis was limited by `max_faces`, or the order of the channels is unknown.
        """
        from PIL import Image as PillowImage

        from mien.drawing.annotate import draw_faces
        from mien.drawing.blur_mode import check_blur

        check_blur(blur, self.max_faces)
        if self.error is not None:
            raise self.error
        if image is None:
            # kept pixels are RGB
            image, color = self.image, "rgb"
        if image is None:
            raise InputError(f"the pixels of {self.source} were not kept; pass them: result.plot(image).")
        pixels = read_image(image, max_pixels=max(MAX_PIXELS, self.width * self.height), color=color)
        if pixels.shape[:2] != (self.height, self.width):
            raise InputError(f"{self.source} was {self.width}x{self.height} when it was analyzed; it has changed.")
        return PillowImage.fromarray(draw_faces(pixels, self.faces, blur=blur))

    def _repr_png_(self) -> bytes | None:
        """Return the annotated image for notebooks, or None when there are no pixels to draw on."""
        try:
            drawn = self.plot()
        except MienError:
            return None
        drawn.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
        buffer = io.BytesIO()
        drawn.save(buffer, format="PNG")
        return buffer.getvalue()


def to_pandas(results: Result | Iterable[Result]) -> pd.DataFrame:
    """Return a table of results, with one row per face and the columns of `mien predict --table`.

    An image without faces has one row; an unreadable one has its `error` and `message`.

    Args:
        results: one result, or several of one model such as those of `Analyzer.analyze_many`.

    Raises:
        MissingExtraError: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("A DataFrame", "pandas") from None
    results = [results] if isinstance(results, Result) else list(results)
    records = [result.to_record() for result in results]
    expressions = (face.expression for record in records for face in record.faces if face.expression)
    labels = next((tuple(expression.probabilities) for expression in expressions), ())
    rows = [row for record in records for row in flatten_result(record)]
    faces = (face for record in records for face in record.faces)
    action_units = next((tuple(face.action_units) for face in faces if face.action_units is not UNSET), ())
    columns: dict[str, type] = {}
    for result in sorted(results, key=lambda result: -len(result.columns)):
        columns |= result.columns
    columns = columns or table_columns(labels, action_units)
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({name: PANDAS_TYPES[kind] for name, kind in columns.items()})


def _describe(number: int, face: Face) -> str:
    left, top, right, bottom = (round(float(value)) for value in face.bbox_xyxy)
    expression = face.expression
    label = "no prediction" if expression is None else f"{expression.label or 'not sure'} {expression.confidence:.2f}"
    return f"  {number}. {label}, box ({left}, {top}, {right}, {bottom})"
