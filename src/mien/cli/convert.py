"""`mien convert`: tables of mien as files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mien.cli.messages import holds_data, print_message
from mien.cli.options import OUTPUT_FILE, File, Quiet

FormatName = Literal["srt", "vtt", "elan", "boris", "label-studio", "fiftyone"]


def convert(
    table: Path,
    *,
    output: Annotated[Path, OUTPUT_FILE],
    format: Annotated[FormatName | None, Parameter(show_choices=False, metavar="NAME")] = None,
    media: Annotated[Path | None, File] = None,
    prefix: Annotated[str, Parameter(metavar="TEXT")] = "",
    quiet: Quiet = False,
) -> int:
    """Convert a table into subtitles, annotations or labels for other tools.

    Tables of mien video become subtitles (.srt, .vtt), an ELAN document (.eaf) or a BORIS project (.boris). Tables of
    mien predict become pre-annotations for Label Studio or detections for FiftyOne (.json).

    Args:
        table: .csv, .jsonl or .parquet file that mien predict or mien video has written.
        output: file to write.
        format: srt, vtt, elan, boris, label-studio or fiftyone [default: by the suffix of --output].
        media: the video, for ELAN and BORIS; BORIS gets its length and frame rate.
        prefix: text before the path of each image, for Label Studio, such as "/data/local-files/?d=".
    """
    from mien.interchange.convert import convert_table

    is_overwritten = holds_data(output)
    convert_table(table, output, format=format, media=media, prefix=prefix)
    if not quiet:
        print_message(f"{'overwrote' if is_overwritten else 'wrote'} {output}")
    return 0
