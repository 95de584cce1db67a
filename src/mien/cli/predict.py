"""`mien predict`: the faces of pictures and their perceived expressions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.options import AS_TOLD, FLAG, Reading
from mien.cli.progress import progress_bar
from mien.errors import ImageReadError, InputError, MienError

if TYPE_CHECKING:
    from mien.cli.inputs import Picture
    from mien.cli.outputs import Report
    from mien.inference.analyzer import Analysis, Analyzer

SOME_FAILED, ALL_FAILED = 1, 2


def predict(
    *path: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Path | None = None,
    json: Annotated[bool, FLAG] = False,
    table: Path | None = None,
    reading: Reading = AS_TOLD,
) -> int:
    """Find the faces in pictures and read the expression that people would perceive in them.

    It tells how a face looks to others, not what the person feels: nobody can read that off a picture. Where
    it is not sure enough it says so, and gives no label.

    Exit code: 0 when every picture could be read (faces or not), 1 when some could not, 2 when none could.

    Args:
        path: pictures, folders (subfolders too), quoted patterns ("photos/**/*.jpg"), - for standard input.
        output: write an annotated copy of every picture into this folder.
        json: print one JSON object a picture and line.
        table: write one row a face to this .csv or .parquet file (Parquet: pip install 'mien[table]').
        reading: how faces are found and read.
    """
    from mien.cli.inputs import find_pictures

    _check_words(path)
    pictures, empty = find_pictures(path, skip=output)
    if not pictures:
        raise InputError(" ".join(str(error) for _, error in empty))
    analyzer = reading.open_analyzer()
    with ExitStack() as stack:
        reports = _open_reports(stack, analyzer, pictures, json=json, table=table, output=output)
        return _run(analyzer, pictures, empty, reports, is_printing=not json)


def _check_words(words: tuple[str, ...]) -> None:
    """Words with a hyphen come through for the sake of `-`, standard input; others are misspelt options."""
    if not words:
        raise InputError("no picture given. Name files, folders or patterns, or - for standard input.")
    for word in words:
        if word.startswith("-") and word != "-":
            raise InputError(f"unknown option {word}. Try: mien predict --help")


def _open_reports(
    stack: ExitStack,
    analyzer: Analyzer,
    pictures: list[Picture],
    *,
    json: bool,
    table: Path | None,
    output: Path | None,
) -> list[Report]:
    """All that want to hear of each picture; what cannot be written is refused here, before the work."""
    from mien.cli import outputs

    reports: list[Report] = []
    if table is not None:
        reports.append(stack.enter_context(outputs.TableWriter(table, analyzer.manifest.labels)))
    if output is not None:
        reports.append(outputs.CopyWriter(output, pictures))
    if json:
        reports.append(outputs.JsonLines())
    else:
        from mien.cli.console import Screen

        reports.append(Screen())
    return reports


def _run(
    analyzer: Analyzer,
    pictures: list[Picture],
    empty: list[tuple[str, MienError]],
    reports: list[Report],
    *,
    is_printing: bool,
) -> int:
    """Analyze the pictures and tell every report; returns the exit code."""
    faces = failures = 0
    total = len(pictures) + len(empty)
    is_scrolling = is_printing and sys.stdout.isatty()  # the results go by on the same terminal
    with progress_bar("reading", is_wanted=len(pictures) > 1 and not is_scrolling) as progress:
        for done, (picture, analysis) in enumerate(_analyses(analyzer, pictures, empty), start=1):
            faces += len(analysis.faces)
            problems = [analysis.error] if analysis.error is not None else []
            problems += _tell(reports, picture, analysis)
            for problem in problems:
                progress.tell(f"mien: {problem}")
            failures += bool(problems)
            progress(done, total)
    if total > 1:
        unread = f", {failures} could not be read" if failures else ""
        print(f"mien: {_count(total, 'picture')}, {_count(faces, 'face')}{unread}", file=sys.stderr)
    return 0 if failures == 0 else ALL_FAILED if failures == total else SOME_FAILED


def _tell(reports: list[Report], picture: Picture | None, analysis: Analysis) -> list[ImageReadError]:
    """Every report hears of a picture; what went wrong with this one picture is given back."""
    problems: list[ImageReadError] = []
    for report in reports:
        try:
            report.add(picture, analysis)
        except ImageReadError as error:
            problems.append(error)
    return problems


def _analyses(
    analyzer: Analyzer, pictures: list[Picture], empty: list[tuple[str, MienError]]
) -> Iterator[tuple[Picture | None, Analysis]]:
    """What was found, under the names that the user knows; words that mean no picture come first."""
    from mien.inference.analyzer import Analysis

    for word, error in empty:
        yield None, Analysis(source=word, error=error)
    analyses = analyzer.analyze_many(picture.source for picture in pictures)
    for picture, analysis in zip(pictures, analyses, strict=True):
        yield picture, replace(analysis, source=picture.name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
