"""Conversion of a table of mien into a file of another tool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError, write_error
from mien.interchange.boris import to_boris
from mien.interchange.checks import IMAGE_COLUMNS, VIDEO_COLUMNS, check_columns, check_image_rows, check_video_rows
from mien.interchange.elan import to_eaf
from mien.interchange.image_labels import to_fiftyone, to_label_studio
from mien.interchange.subtitles import to_srt, to_vtt
from mien.table_files import read_table
from mien.video.io.reader import VideoReader
from mien.video.label_segments import label_segments
from mien.video.table import RowSchema

VIDEO_FORMATS = {"srt": ".srt", "vtt": ".vtt", "elan": ".eaf", "boris": ".boris"}
"""Formats for tables of `mien video`, and the suffix of each."""
IMAGE_FORMATS = ("label-studio", "fiftyone")
"""Formats for tables of `mien predict`; both are .json, so that they have to be named."""

_NOT_NUMBERS = {
    "image": str,
    "error": str,
    "message": str,
    **{name: kind for name, kind in RowSchema(labels=()).columns.items() if kind in (str, bool)},
}


def convert_table(
    table: Path, output: Path, *, format: str | None = None, media: Path | None = None, prefix: str = ""
) -> None:
    """Convert a table into a file of another tool.

    Args:
        table: .csv, .jsonl or .parquet table of `mien video` or `mien predict`.
        output: file to write.
        format: a key of `VIDEO_FORMATS` or one of `IMAGE_FORMATS`; by default that of the suffix of `output`.
        media: the video of the table; BORIS needs it, and its length and frame rate are read; ELAN opens it.
        prefix: text before the path of each image in Label Studio.

    Raises:
        InputError: when the format is unknown or does not fit the table, a column or cell of the table is missing or
            invalid, the output is the table or the media, or a file cannot be read or written.
        MissingExtraError: for Parquet without pyarrow, and for BORIS without PyAV.
    """
    format = format or _format_of(output)
    if format not in (*VIDEO_FORMATS, *IMAGE_FORMATS):
        raise InputError(f"unknown format {format!r}; expected one of {', '.join((*VIDEO_FORMATS, *IMAGE_FORMATS))}.")
    if format == "boris" and media is None:
        raise InputError("a BORIS project names its video; give it with --media.")
    _check_output(output, table, media)
    columns, rows = read_table(table, _NOT_NUMBERS)
    text = _to_text(format, table, columns, rows, media, prefix)
    try:
        write_atomic(output, text)
    except OSError as error:
        raise write_error(output, error) from None


def _check_output(output: Path, table: Path, media: Path | None) -> None:
    """Raise `InputError` if the output is an input."""
    for name, path in (("table", table), ("video", media)):
        # a file that does not exist is not an input
        with suppress(OSError):
            if path is not None and output.samefile(path):
                raise InputError(f"{output} is the {name} itself; give another --output.")


def _format_of(output: Path) -> str:
    suffixes = {suffix: name for name, suffix in VIDEO_FORMATS.items()}
    if output.suffix.lower() not in suffixes:
        raise InputError(
            f"{output}: the format does not follow from the name; end it in {', '.join(suffixes)}, or give --format "
            f"{' or '.join(IMAGE_FORMATS)}."
        )
    return suffixes[output.suffix.lower()]


def _to_text(
    format: str, table: Path, columns: tuple[str, ...], rows: Iterator[dict[str, Any]], media: Path | None, prefix: str
) -> str:
    labels = _check_table(table, columns, format)
    if format in IMAGE_FORMATS:
        faces = check_image_rows(table, rows, labels)
        return to_label_studio(faces, prefix) if format == "label-studio" else to_fiftyone(faces, labels)
    segments = label_segments(check_video_rows(table, rows, labels), labels)
    if format == "boris":
        assert media is not None
        with VideoReader(media) as reader:
            return to_boris(segments, labels, media, reader.info)
    if format == "elan":
        return to_eaf(segments, media)
    return to_srt(segments) if format == "srt" else to_vtt(segments)


def _check_table(table: Path, columns: tuple[str, ...], format: str) -> tuple[str, ...]:
    """Check the columns of a table and return its class names."""
    labels = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    if not columns:
        # a JSON Lines file without rows, as of a video without faces
        return labels
    is_video = format in VIDEO_FORMATS
    kind, command = ("timestamp_s", "mien video") if is_video else ("image", "mien predict")
    if kind not in columns:
        raise InputError(f"{table} is not a table of {command}: it has no column {kind}, which {format} needs.")
    check_columns(table, columns, VIDEO_COLUMNS if is_video else IMAGE_COLUMNS, format)
    if not labels and format != "label-studio":
        raise InputError(f"{table} has no columns p_..., the probabilities of the classes, which {format} needs.")
    if is_video:
        check_columns(table, columns, (f"s_{label}" for label in labels), format)
    return labels
