"""Conversion of a table of mien into a file of another tool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.interchange.boris import to_boris
from mien.interchange.elan import to_eaf
from mien.interchange.image_labels import to_fiftyone, to_label_studio
from mien.interchange.subtitles import to_srt, to_vtt
from mien.table_files import read_table, write_error
from mien.video.label_segments import label_segments
from mien.video.table import row_columns

VIDEO_FORMATS = {"srt": ".srt", "vtt": ".vtt", "elan": ".eaf", "boris": ".boris"}
"""Formats for tables of `mien video`, and the suffix of each."""
IMAGE_FORMATS = ("label-studio", "fiftyone")
"""Formats for tables of `mien predict`; both are .json, so that they have to be named."""

_NOT_NUMBERS = {
    "image": str,
    "error": str,
    "message": str,
    **{name: kind for name, kind in row_columns(()).items() if kind in (str, bool)},
}


def convert_table(
    table: Path, output: Path, *, format: str | None = None, media: Path | None = None, prefix: str = ""
) -> None:
    """Convert a table into a file of another tool.

    Args:
        table: .csv, .jsonl or .parquet table of `mien video` or `mien predict`.
        output: file to write.
        format: a key of `VIDEO_FORMATS` or one of `IMAGE_FORMATS`; by default that of the suffix of `output`.
        media: the video of the table; BORIS needs it, ELAN opens it.
        prefix: text before the path of each image in Label Studio.

    Raises:
        InputError: when the format is unknown or does not fit the table, or a file cannot be read or written.
        MissingExtraError: for Parquet without pyarrow.
    """
    format = format or _format_of(output)
    if format not in (*VIDEO_FORMATS, *IMAGE_FORMATS):
        raise InputError(f"unknown format {format!r}; expected one of {', '.join((*VIDEO_FORMATS, *IMAGE_FORMATS))}.")
    if format == "boris" and media is None:
        raise InputError("a BORIS project names its video; give it with --media.")
    columns, rows = read_table(table, _NOT_NUMBERS)
    kind = "timestamp_s" if format in VIDEO_FORMATS else "image"
    if kind not in columns:
        command = "mien video" if format in VIDEO_FORMATS else "mien predict"
        raise InputError(f"{table} is not a table of {command}: it has no column {kind}, which {format} needs.")
    try:
        write_atomic(output, _to_text(format, columns, rows, media, prefix))
    except OSError as error:
        raise write_error(output, error) from None


def _format_of(output: Path) -> str:
    suffixes = {suffix: name for name, suffix in VIDEO_FORMATS.items()}
    if output.suffix.lower() not in suffixes:
        raise InputError(
            f"{output}: the format does not follow from the name; end it in {', '.join(suffixes)}, or give --format "
            f"{' or '.join(IMAGE_FORMATS)}."
        )
    return suffixes[output.suffix.lower()]


def _to_text(
    format: str, columns: tuple[str, ...], rows: Iterator[dict[str, Any]], media: Path | None, prefix: str
) -> str:
    labels = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    if format == "label-studio":
        return to_label_studio(rows, prefix)
    if format == "fiftyone":
        return to_fiftyone(rows, labels)
    segments = label_segments(rows, labels)
    if format == "boris":
        assert media is not None
        return to_boris(segments, labels, media)
    if format == "elan":
        return to_eaf(segments, media)
    return to_srt(segments) if format == "srt" else to_vtt(segments)
