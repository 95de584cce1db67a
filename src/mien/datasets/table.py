"""Table adapter: a CSV or Parquet file with the columns `image,label[,split][,group...]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mien.datasets.files import dataset_path, read_csv_rows
from mien.datasets.index import ANY_SPLIT, SPLIT_NAMES, Index, Sample, check_listed_once, own_title, unique_labels
from mien.emotions import EXPRESSIONS, canonical_name
from mien.errors import AnnotationError, DatasetError, LayoutError, MissingExtraError, reason
from mien.manifest import UNSTATED_LICENSE

PARQUET_SUFFIXES = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
"""Characters that may separate the cells of a CSV file."""
HEADER_BYTES = 65_536
"""Maximum length of the first line of a CSV file."""
LAYOUT = "a .csv or .parquet file with the columns image,label[,split][,group...]"


def read_table(path: str | Path, *, is_cropped: bool = False) -> Index:
    """Read a table of images; image paths are relative to the folder of the table.

    Labels may be spelled in any way that `mien.emotions.canonical_name` knows. Without a column `split`, every image
    belongs to every split. Any further column with a name is a group (gender, age ...).

    Args:
        path: the .csv (UTF-8; separated by commas, semicolons or tabs) or .parquet file.
        is_cropped: whether each image is a face crop; otherwise a photograph.

    Raises:
        LayoutError: the file does not exist or has no rows.
        AnnotationError: a column is missing or a row is malformed. Lines of Parquet are rows, counted from 1.
        MissingExtraError: the file is Parquet and the extra `table` is not installed.
    """
    path = dataset_path(path)
    if not path.is_file():
        problem = "this is a folder" if path.is_dir() else "the path does not exist"
        raise LayoutError(path, f"{LAYOUT}; {problem}")
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES
    header, lines = _read_parquet(path) if is_parquet else _read_csv(path)
    columns = _check_header(path, header)
    rows = [_parse_row(path, columns, line, cells) for line, cells in lines]
    if not rows:
        raise LayoutError(path, f"{LAYOUT}; the file has no rows")
    check_listed_once(path, (sample for sample, _ in rows))
    labels = unique_labels(expression for _, expression in rows)
    return Index(
        name="table",
        root=path.parent,
        labels=labels,
        samples=tuple(sample.with_label(expression, labels) for sample, expression in rows),
        license=UNSTATED_LICENSE,
        title=own_title("table", path),
        is_cropped=is_cropped,
    )


_Lines = Iterable[tuple[int, list[str]]]


def _read_csv(path: Path) -> tuple[list[str], _Lines]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {reason(error)}.") from error
    rows = read_csv_rows(data, path, _find_delimiter(data))
    _, header = next(rows, (1, []))
    return header, rows


def _find_delimiter(data: bytes) -> str:
    """Return the most frequent delimiter of the first line; spreadsheets of many countries write semicolons."""
    lines = data[:HEADER_BYTES].decode("utf-8", errors="replace").splitlines()
    header = next((line for line in lines if line.strip()), "")
    return max(DELIMITERS, key=header.count)


def _read_parquet(path: Path) -> tuple[list[str], _Lines]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: cannot be read as Parquet: {reason(error)}.") from error
    columns = [["" if value is None else str(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(cells) for cells in zip(*columns, strict=True)]
    return table.column_names, enumerate(rows, start=1)


def _check_header(path: Path, header: list[str]) -> list[str]:
    """Return the names of the columns, the reserved ones in lower case."""
    names = [name.strip() for name in header]
    columns = [name.lower() if name.lower() in ("image", "label", "split") else name for name in names]
    if not columns:
        raise LayoutError(path, f"{LAYOUT}; the file is empty")
    for required in ("image", "label"):
        if required not in columns:
            raise AnnotationError(path, 1, f"the column {required!r} is missing in {', '.join(names)}.")
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise AnnotationError(path, 1, f"the column {repeated[0]!r} is repeated.")
    return columns


def _parse_row(path: Path, columns: list[str], line: int, cells: list[str]) -> tuple[Sample, str]:
    """Return a sample without its label, and its expression."""
    if len(cells) != len(columns):
        raise AnnotationError(path, line, f"has {len(cells)} columns, the header {len(columns)}.")
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    # a table written on Windows
    image = values.pop("image").replace("\\", "/")
    label = values.pop("label")
    split = values.pop("split", None)
    # the index of a table that pandas has saved
    values.pop("", None)
    if not image or "\0" in image:
        raise AnnotationError(path, line, "the column 'image' has no valid path.")
    expression = canonical_name(label)
    if expression is None:
        hint = " Numbers mean other classes in every data set: write names." if label.isdecimal() else ""
        raise AnnotationError(path, line, f"the label {label!r} is not one of {', '.join(EXPRESSIONS)}.{hint}")
    if split is not None and split.lower() not in SPLIT_NAMES:
        raise AnnotationError(path, line, f"the split {split!r} is not one of {', '.join(SPLIT_NAMES)}.")
    split = ANY_SPLIT if split is None else SPLIT_NAMES[split.lower()]
    return Sample(id=image, split=split, groups=values, line=line), expression
