"""`mien voice`: speech segments of audio files and how they sound to listeners."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.addresses import public_name
from mien.cli.exit_codes import exit_code
from mien.cli.messages import NOTHING_WRITTEN, print_message, print_overwriting, print_written, unreadable_note
from mien.cli.options import ANALYSIS, OUTPUT_FILE, File, Json, Quiet, Threads
from mien.cli.progress import ProgressBar, progress_bar
from mien.cli.signals import deferred_stop, finish_before_stop, stop_code
from mien.cli.voice_sources import Source, expand_sounds
from mien.errors import InputError, MienError, write_error
from mien.number_format import count
from mien.theme import LIGHT

if TYPE_CHECKING:
    from mien.voice.analyzer import OnProgress, VoiceAnalyzer
    from mien.voice.result import VoiceResult


def voice(
    *file: str,
    output: Annotated[Path | None, OUTPUT_FILE] = None,
    table: Annotated[Path | None, File] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    model: Annotated[
        str,
        Parameter(
            group=ANALYSIS, metavar="NAME", help="name of a shipped model or path of an .onnx file with its manifest."
        ),
    ] = "voice",
    threads: Threads = 0,
) -> int:
    """Find the speech in audio files, videos and folders of them and predict how it sounds to listeners.

    The prediction describes how a voice sounds to others, not what the speaker feels. Arousal (calm to excited) is the
    main result; the classes are experimental, because the model was trained on ten German actors: see
    docs/models/voice.md. Do not use it on people at work or in education. On a narrow terminal "pitch" and "to" are
    left out, in this order.

    Exit code: 0 if all files could be read (with or without speech), 1 if some could not, 2 if none could.

    Args:
        file: audio files or videos with sound, folders that are searched with their subfolders, or patterns.
        output: .png file with waveform, arousal and class probabilities over time, for one file
            (pip install 'mien[report]').
        table: .csv, .jsonl or .parquet file for one row per segment (Parquet: pip install 'mien[table]').
        as_json: print one JSON object per file.
    """
    if not file:
        raise InputError("no file given; expected audio files, or videos with sound.")
    sources = expand_sounds(file)
    _check_outputs(sources, output, table)
    analyzer = _open_analyzer(model, threads)
    done = failures = 0
    with ExitStack() as stack:
        is_stopped = stack.enter_context(deferred_stop())
        write_rows = _open_table(stack, analyzer, table, quiet=quiet)
        results = _analyze(analyzer, sources, is_stopped, quiet=quiet)
        for result in results:
            done += 1
            failures += result.error is not None
            _print(result, as_json=as_json, quiet=quiet)
            write_rows(result)
            if output is not None and result.error is None:
                _write_plot(result, output, quiet=quiet)
        if is_stopped():
            state = f"stopped after {done} of {count(len(sources), 'file')}"
            if done == failures:
                print_message(f"{state}; {NOTHING_WRITTEN}")
                # an existing table stays as it is
                raise KeyboardInterrupt
            print_message(f"{state}; {table} has their segments" if table else state)
            return stop_code()
    if not quiet and table is not None:
        print_message(f"wrote {table}")
    if not quiet and len(sources) > 1:
        print_message(f"{count(len(sources), 'file')}{unreadable_note(failures)}")
    return exit_code(failures, len(sources))


def _check_outputs(sources: list[Source], output: Path | None, table: Path | None) -> None:
    """Raise `InputError` for outputs that cannot be written, before the analysis."""
    from mien.cli.outputs import check_report_packages
    from mien.table_files import check_table_path

    if output is not None:
        if output.suffix.lower() != ".png":
            raise InputError(f"{output}: the name of the image must end in .png.")
        if len(sources) > 1:
            raise InputError("--output takes one file; give --table or --json for several.")
        check_report_packages()
        _check_plot_path(output)
    if table is not None:
        check_table_path(table)


def _check_plot_path(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if S_ISDIR(output.stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(output.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise write_error(output, error) from None


def _open_analyzer(model: str, threads: int) -> VoiceAnalyzer:
    with finish_before_stop():
        from mien.voice.analyzer import VoiceAnalyzer

        return VoiceAnalyzer(model, threads=threads)


def _open_table(
    stack: ExitStack, analyzer: VoiceAnalyzer, table: Path | None, *, quiet: bool
) -> Callable[[VoiceResult], None]:
    """Return a function that writes the rows of a result."""
    from mien.schema import flatten_voice, voice_columns
    from mien.table_files import TableFile

    if table is None:
        return lambda result: None
    print_overwriting(table, quiet=quiet)
    file = stack.enter_context(TableFile(table, voice_columns(analyzer.manifest.labels)))
    return lambda result: file.write(flatten_voice(result.to_record()))


def _analyze(
    analyzer: VoiceAnalyzer, sources: list[Source], is_stopped: Callable[[], bool], *, quiet: bool
) -> Iterator[VoiceResult]:
    """Yield the result of every file until a stop signal; an unreadable file has an error."""
    from mien.voice.result import VoiceResult

    for name, problem in sources:
        try:
            if problem is not None:
                raise problem
            with progress_bar("seconds", is_shown=not quiet) as progress:
                yield analyzer.analyze(name, on_progress=_progress_callback(progress, is_stopped))
        except MienError as error:
            yield VoiceResult(source=public_name(name), error=error)
        except _StoppedError:
            return


class _StoppedError(Exception):
    """A stop signal came during the analysis of a file."""


def _progress_callback(progress: ProgressBar, is_stopped: Callable[[], bool]) -> OnProgress:
    """Return a function that updates the progress bar and ends a stopped run."""

    def on_progress(done_s: float, total_s: float | None) -> None:
        progress(round(done_s), round(total_s or 0))
        if is_stopped():
            raise _StoppedError

    return on_progress


def _print(result: VoiceResult, *, as_json: bool, quiet: bool) -> None:
    """Print a result to standard output, and its errors and warnings to standard error."""
    from mien.cli.outputs import print_json

    if result.error is not None:
        print_message(str(result.error))
    if as_json:
        print_json(result.to_dict())
    elif result.error is None:
        from mien.cli.console import print_voice

        print_voice(result)
    sys.stdout.flush()
    for warning in () if quiet else result.warnings:
        print_message(f"{result.source}: {warning}")


def _write_plot(result: VoiceResult, output: Path, *, quiet: bool) -> None:
    from mien.atomic import write_atomic
    from mien.reports.voice_chart import plot_voice
    from mien.voice.result import ENVELOPE_S

    print_overwriting(output, quiet=quiet)
    image = plot_voice(result, LIGHT, envelope_s=ENVELOPE_S)
    try:
        write_atomic(output, image)
    except OSError as error:
        raise write_error(output, error) from None
    print_written(output, quiet=quiet)
