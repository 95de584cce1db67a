"""`mien predict`: faces and perceived expressions in images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.options import DEFAULTS, OUTPUT, AnalyzerOptions, Json, Quiet
from mien.cli.progress import ProgressBar, print_message, progress_bar
from mien.errors import ImageReadError, InputError, MienError

if TYPE_CHECKING:
    from mien.cli.inputs import ImageInput
    from mien.cli.outputs import ResultWriter
    from mien.inference.analyzer import Analyzer
    from mien.inference.result import Result

SOME_FAILED = 1
ALL_FAILED = 2


def predict(
    *path: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Annotated[Path | None, OUTPUT] = None,
    table: Path | None = None,
    as_json: Json = False,
    quiet: Quiet = False,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Detect the faces in images and predict their perceived expression.

    The prediction describes how a face appears to others, not what the person feels, which no image can show. A face
    gets no label if the model is uncertain.

    Exit code: 0 if all images could be read (with or without faces), 1 if some could not, 2 if none could.

    Args:
        path: images, folders (searched recursively), quoted patterns ("photos/**/*.jpg"), or - for standard input.
        output: folder for annotated copies.
        table: .csv, .jsonl or .parquet file for one row per face (Parquet: pip install 'mien[table]').
        as_json: print one JSON object per image.
    """
    from mien.cli.inputs import find_images
    from mien.cli.outputs import print_written

    if not path:
        raise InputError("no image given; expected files, folders, patterns, or - for standard input.")
    # "-" is standard input
    if misspelled := [argument for argument in path if argument.startswith("-") and argument != "-"]:
        raise InputError(f"unknown option {misspelled[0]}. Try: mien predict --help")
    images, failures = find_images(path, skip=output)
    if not images:
        raise InputError(" ".join(str(error) for _, error in failures))
    analyzer = options.open_analyzer()
    with ExitStack() as stack:
        writers = _open_writers(stack, analyzer, images, as_json=as_json, table=table, output=output)
        # no progress bar between the tables on a terminal
        is_interleaved = not as_json and sys.stdout.isatty()
        bar = progress_bar("images", is_shown=len(images) > 1 and not quiet and not is_interleaved)
        code = _run(_analyze(analyzer, images, failures), writers, bar, len(images) + len(failures), quiet=quiet)
    print_written(*filter(None, (output, table)), quiet=quiet)
    return code


def _open_writers(
    stack: ExitStack,
    analyzer: Analyzer,
    images: list[ImageInput],
    *,
    as_json: bool,
    table: Path | None,
    output: Path | None,
) -> list[ResultWriter]:
    """Open all outputs, so that a path that cannot be written fails before the analysis."""
    from mien.cli import outputs

    writers: list[ResultWriter] = []
    if table is not None:
        writers.append(stack.enter_context(outputs.TableWriter(table, analyzer.manifest.labels)))
    if output is not None:
        writers.append(outputs.ImageWriter(output, images))
    if as_json:
        writers.append(outputs.JsonWriter())
    else:
        from mien.cli.console import ConsoleWriter

        writers.append(ConsoleWriter())
    return writers


def _analyze(
    analyzer: Analyzer, images: list[ImageInput], failures: list[tuple[str, MienError]]
) -> Iterator[tuple[ImageInput | None, Result]]:
    """Yield the results under the names on the command line, arguments without images first."""
    from mien.inference.result import Result

    for argument, error in failures:
        yield None, Result(source=argument, error=error)
    results = analyzer.analyze_many(image.source for image in images)
    for image, result in zip(images, results, strict=True):
        yield image, replace(result, source=image.name)


def _run(
    results: Iterable[tuple[ImageInput | None, Result]],
    writers: Sequence[ResultWriter],
    bar: AbstractContextManager[ProgressBar],
    total: int,
    *,
    quiet: bool,
) -> int:
    """Pass the results to the writers, print errors and the summary, and return the exit code."""
    faces = failures = 0
    with bar as progress:
        for done, (item, result) in enumerate(results, start=1):
            faces += len(result.faces)
            errors = [result.error] if result.error is not None else []
            for writer in writers:
                try:
                    writer.add(item, result)
                except ImageReadError as error:
                    errors.append(error)
            for error in errors:
                progress.print(f"mien: {error}")
            failures += bool(errors)
            progress(done, total)
    if total > 1 and not quiet:
        problem = f", {failures} could not be read" if failures else ""
        print_message(f"{_count(total, 'image')}, {_count(faces, 'face')}{problem}")
    if failures == 0:
        return 0
    return ALL_FAILED if failures == total else SOME_FAILED


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
