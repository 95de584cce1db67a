"""`mien predict`: faces and perceived expressions in images."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.exit_codes import exit_code
from mien.cli.image_run import Counts, ImageRun
from mien.cli.messages import holds_data, print_message, print_written, unreadable_note
from mien.cli.options import (
    DEFAULTS,
    OUTPUT_FOLDER,
    AnalyzerOptions,
    Blur,
    File,
    Json,
    Quiet,
    Workers,
    check_blur_options,
    network_threads,
)
from mien.cli.progress import ProgressBar, progress_bar
from mien.cli.signals import deferred_stop
from mien.drawing.blur_mode import BlurMode
from mien.errors import ImageReadError, InputError, MienError
from mien.number_format import count
from mien.runtime import count_workers

if TYPE_CHECKING:
    from mien.cli.inputs import ImageInput
    from mien.cli.outputs import ImageWriter, ResultPrinter
    from mien.inference.analyzer import Analyzer
    from mien.inference.result import Result


def predict(
    *path: Annotated[str, Parameter(allow_leading_hyphen=True)],
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    table: Annotated[Path | None, File] = None,
    blur: Blur = None,
    resume: bool = False,
    as_json: Json = False,
    quiet: Quiet = False,
    workers: Workers = 0,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Detect the faces in images and predict their perceived expression.

    The prediction describes how a face appears to others, not what the person feels, which no image can show. A face
    gets no label if the model is uncertain. On a narrow terminal quality and head pose are left out, in this order.

    Exit code: 0 if all images could be read (with or without faces), 1 if some could not, 2 if none could. Ctrl-C (130)
    and SIGTERM (143) end the run after the images that are being read; their results are kept.

    Args:
        path: images, folders (searched recursively), quoted patterns ("photos/**/*.jpg"), or - for standard input.
        output: folder for annotated copies.
        table: .csv, .jsonl or .parquet file for one row per face (Parquet: pip install 'mien[table]').
        resume: continue an interrupted run with the same images, options, --table and --output; --json prints the
            remaining images.
        as_json: print one JSON object per image.
    """
    from mien.cli.inputs import check_no_options, find_images

    if not path:
        raise InputError("no image given; expected files, folders, patterns, or - for standard input.")
    check_no_options(path, "predict")
    check_blur_options(blur, output, options)
    if resume and table is None and output is None:
        raise InputError("--resume needs the --table or --output of the interrupted run.")
    if resume and "-" in path:
        raise InputError("--resume needs files; standard input cannot be read again.")
    found = find_images(path, skip=output)
    if not found.images:
        raise InputError(" ".join(str(error) for _, error in found.failures))
    workers = min(count_workers(workers), len(found.images))
    analyzer = replace(options, threads=network_threads(options.threads, workers)).open_analyzer()
    total = len(found.images) + len(found.failures)
    with ExitStack() as stack:
        outputs = _open_outputs(stack, analyzer, found.images, table, output, blur, resume=resume, quiet=quiet)
        is_stopped = stack.enter_context(deferred_stop())
        stack.enter_context(_complete_or_keep(outputs, total, is_stopped))
        # no progress bar between the tables on a terminal
        is_interleaved = not as_json and sys.stdout.isatty()
        bar = progress_bar("images", is_shown=len(found.images) > 1 and not quiet and not is_interleaved)
        results = _analyze(analyzer, outputs.remaining, found.failures, workers, is_stopped)
        _run(results, outputs, _open_printer(as_json=as_json), bar, total)
    if options.action_units and not (as_json or table or output or quiet):
        print_message("action units are not in this table; give --json, --table or --output")
    counts = outputs.counts
    if not quiet:
        summary = f"{count(total, 'image')}, {count(counts.faces, 'face')}{unreadable_note(counts.failures)}"
        notes = [summary] if total > 1 else []
        for note in (*notes, *found.notes):
            print_message(note)
    print_written(*filter(None, (output, table)), quiet=quiet)
    return exit_code(counts.failures, total)


@dataclass
class _Outputs:
    """Files of a run, the images that are left, and the counts of those that are done."""

    remaining: Sequence[ImageInput]
    counts: Counts
    run: ImageRun | None = None
    copies: ImageWriter | None = None


def _open_outputs(
    stack: ExitStack,
    analyzer: Analyzer,
    images: list[ImageInput],
    table: Annotated[Path | None, File],
    output: Path | None,
    blur: BlurMode | None,
    *,
    resume: bool,
    quiet: bool,
) -> _Outputs:
    """Open all outputs, so that a path that cannot be written fails before the analysis."""
    from mien.cli.image_run import journal_path
    from mien.cli.outputs import ImageWriter

    if table is None and output is None:
        return _Outputs(images, Counts())
    journal = journal_path(table, output)
    has_journal = journal.is_file()
    is_resumed = resume and has_journal
    overwritten = [place for place in (table, output) if place is not None and holds_data(place)]
    if output in overwritten and not output.is_dir():
        raise InputError(f"{output} is a file; expected a folder.")
    run = stack.enter_context(ImageRun(images, analyzer, table=table, output=output, blur=blur, resume=resume))
    if not is_resumed and not quiet:
        for place in overwritten:
            print_message(f"overwriting {place}")
        if has_journal:
            print_message("starting over; --resume would have continued it")
    try:
        copies = ImageWriter(output, images, run.copies, run.stale_copies, blur=blur) if output is not None else None
    except MienError:
        run.stop(is_error=True)
        raise
    outputs = _Outputs(run.remaining, run.counts(), run, copies)
    if is_resumed and not quiet:
        changed = f"; {count(run.changed, 'image')} changed and will be read again" if run.changed else ""
        print_message(f"resuming after {outputs.counts.images} of {count(len(images), 'image')}{changed}")
    return outputs


@contextmanager
def _complete_or_keep(outputs: _Outputs, total: int, is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Complete the files at the end of the block, or keep what was read when it ends early, and say where that is."""
    try:
        yield
        if is_stopped() and outputs.counts.images < total:
            raise KeyboardInterrupt
    except BaseException as error:
        state = f"stopped after {outputs.counts.images} of {count(total, 'image')}"
        if outputs.run is not None:
            is_error = not isinstance(error, KeyboardInterrupt)
            print_message(f"{state}; {outputs.run.stop(is_error=is_error)}")
        elif total > 1 and isinstance(error, KeyboardInterrupt):
            print_message(f"{state}; with --table or --output an interrupted run can be continued")
        raise
    if outputs.run is not None:
        outputs.run.finish()


def _open_printer(*, as_json: bool) -> ResultPrinter:
    if as_json:
        from mien.cli.outputs import JsonPrinter

        return JsonPrinter()
    from mien.cli.console import ConsolePrinter

    return ConsolePrinter()


def _analyze(
    analyzer: Analyzer,
    images: Sequence[ImageInput],
    failures: Sequence[tuple[str, MienError]],
    workers: int,
    is_stopped: Callable[[], bool],
) -> Iterator[tuple[ImageInput | None, Result]]:
    """Yield the results under the names on the command line, arguments without images first.

    After a stop signal no more images are read, and those that are in memory are finished.
    """
    from mien.inference.result import Result

    for argument, error in failures:
        yield None, Result(source=argument, error=error)
    pending: deque[ImageInput] = deque()

    def sources() -> Iterator[Path | bytes]:
        for image in images:
            if is_stopped():
                return
            pending.append(image)
            yield image.source

    for result in analyzer.analyze_many(sources(), workers=workers):
        image = pending.popleft()
        yield image, replace(result, source=image.name)


def _run(
    results: Iterable[tuple[ImageInput | None, Result]],
    outputs: _Outputs,
    printer: ResultPrinter,
    bar: AbstractContextManager[ProgressBar],
    total: int,
) -> None:
    """Write and print the results and the errors."""
    with bar as progress:
        for item, result in results:
            errors: list[MienError] = [result.error] if result.error is not None else []
            copy = None
            try:
                copy = outputs.copies.add(item, result) if outputs.copies is not None else None
            except ImageReadError as error:
                errors.append(error)
            printer.add(result)
            if outputs.run is not None:
                outputs.run.add(item, result, copy=copy, is_failed=bool(errors))
            outputs.counts.add(len(result.faces), is_failed=bool(errors))
            for text in result.warnings:
                progress.print(f"mien: {result.source}: {text}")
            for error in errors:
                progress.print(f"mien: {error}")
            progress(outputs.counts.images, total)
