"""`mien predict`: the faces of images and their perceived expressions."""

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
    from mien.cli.inputs import ImageInput
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
    """Find the faces in images and read the expression that people would perceive in them.

    It tells how a face looks to others, not what the person feels: nobody can read that off an image. Where
    it is not sure enough it says so, and gives no label.

    Exit code: 0 when every image could be read (faces or not), 1 when some could not, 2 when none could.

    Args:
        path: images, folders (subfolders too), quoted patterns ("photos/**/*.jpg"), - for standard input.
        output: write an annotated copy of every image into this folder.
        json: print one JSON object an image and line.
        table: write one row a face to this .csv or .parquet file (Parquet: pip install 'mien[table]').
        reading: how faces are found and read.
    """
    from mien.cli.inputs import find_images

    _check_words(path)
    images, empty = find_images(path, skip=output)
    if not images:
        raise InputError(" ".join(str(error) for _, error in empty))
    analyzer = reading.open_analyzer()
    with ExitStack() as stack:
        reports = _open_reports(stack, analyzer, images, json=json, table=table, output=output)
        return _run(analyzer, images, empty, reports, is_printing=not json)


def _check_words(words: tuple[str, ...]) -> None:
    """Words with a hyphen come through for the sake of `-`, standard input; others are misspelled options."""
    if not words:
        raise InputError("no image given. Name files, folders or patterns, or - for standard input.")
    for word in words:
        if word.startswith("-") and word != "-":
            raise InputError(f"unknown option {word}. Try: mien predict --help")


def _open_reports(
    stack: ExitStack,
    analyzer: Analyzer,
    images: list[ImageInput],
    *,
    json: bool,
    table: Path | None,
    output: Path | None,
) -> list[Report]:
    """All that want to hear of each image; what cannot be written is refused here, before the work."""
    from mien.cli import outputs

    reports: list[Report] = []
    if table is not None:
        reports.append(stack.enter_context(outputs.TableWriter(table, analyzer.manifest.labels)))
    if output is not None:
        reports.append(outputs.CopyWriter(output, images))
    if json:
        reports.append(outputs.JsonLines())
    else:
        from mien.cli.console import Screen

        reports.append(Screen())
    return reports


def _run(
    analyzer: Analyzer,
    images: list[ImageInput],
    empty: list[tuple[str, MienError]],
    reports: list[Report],
    *,
    is_printing: bool,
) -> int:
    """Analyze the images and tell every report; returns the exit code."""
    faces = failures = 0
    total = len(images) + len(empty)
    is_scrolling = is_printing and sys.stdout.isatty()  # the results go by on the same terminal
    with progress_bar("reading", is_wanted=len(images) > 1 and not is_scrolling) as progress:
        for done, (image, analysis) in enumerate(_analyses(analyzer, images, empty), start=1):
            faces += len(analysis.faces)
            problems = [analysis.error] if analysis.error is not None else []
            problems += _tell(reports, image, analysis)
            for problem in problems:
                progress.tell(f"mien: {problem}")
            failures += bool(problems)
            progress(done, total)
    if total > 1:
        unread = f", {failures} could not be read" if failures else ""
        print(f"mien: {_count(total, 'image')}, {_count(faces, 'face')}{unread}", file=sys.stderr)
    return 0 if failures == 0 else ALL_FAILED if failures == total else SOME_FAILED


def _tell(reports: list[Report], image: ImageInput | None, analysis: Analysis) -> list[ImageReadError]:
    """Every report hears of an image; what went wrong with this one image is given back."""
    problems: list[ImageReadError] = []
    for report in reports:
        try:
            report.add(image, analysis)
        except ImageReadError as error:
            problems.append(error)
    return problems


def _analyses(
    analyzer: Analyzer, images: list[ImageInput], empty: list[tuple[str, MienError]]
) -> Iterator[tuple[ImageInput | None, Analysis]]:
    """What was found, under the names that the user knows; words that mean no image come first."""
    from mien.inference.analyzer import Analysis

    for word, error in empty:
        yield None, Analysis(source=word, error=error)
    analyses = analyzer.analyze_many(image.source for image in images)
    for image, analysis in zip(images, analyses, strict=True):
        yield image, replace(analysis, source=image.name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
