"""`mien video`: tracked faces of videos and their expressions over time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mien.addresses import public_name
from mien.cli.exit_codes import SOME_FAILED, exit_code
from mien.cli.messages import holds_data, print_message, print_written, printable, unreadable_note
from mien.cli.options import (
    DEFAULTS,
    OUTPUT_FOLDER,
    AnalyzerOptions,
    Blur,
    DetectEvery,
    File,
    Json,
    Quiet,
    check_blur_options,
)
from mien.cli.progress import ProgressBar, progress_bar
from mien.cli.signals import deferred_stop, stop_code
from mien.cli.video_folders import VideoFolders
from mien.cli.video_sound import open_voices, read_sound
from mien.cli.video_sources import check_source, expand_sources, number_names
from mien.drawing.blur_mode import BlurMode
from mien.errors import InputError, MienError
from mien.number_format import count

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer
    from mien.recording import Counts, OnFrame, Recording
    from mien.results import VideoFrame
    from mien.voice.analyzer import VoiceAnalyzer


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Options of the command that hold for each of its videos."""

    annotate: bool
    report: bool
    blur: BlurMode | None
    resume: bool
    as_json: bool
    quiet: bool
    detect_every: int | None
    smoothing_s: float
    fps: float | None
    baseline: bool


def video(
    *source: str,
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    table: Annotated[Path | None, File] = None,
    annotate: Annotated[bool, Parameter(negative="--no-annotate")] = True,
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    blur: Blur = None,
    resume: bool = False,
    voice: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    detect_every: DetectEvery = None,
    smoothing: Annotated[float | None, Parameter(metavar="SECONDS")] = None,
    baseline: Annotated[bool, Parameter(negative="")] = False,
    fps: Annotated[float | None, Parameter(metavar="RATE")] = None,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Track the faces of videos and predict their perceived expression over time.

    The prediction describes how a face appears to others, not what the person feels. Do not use it on people at work or
    in education: see docs/responsible-use.md. On a narrow terminal "visible" and "to" are left out, in this order.

    Exit code: 0 if all videos could be read, 1 if some could not or a stream failed, 2 if none could. Ctrl-C (130) and
    SIGTERM (143) end the analysis and complete the files; --resume continues it.

    Args:
        source: files, quoted patterns ("clips/*.mp4"), a URL (rtsp, http), camera ("camera:0"), folder of images, or
            image sequence ("frames/%04d.png").
        output: folder for faces.csv, tracks.csv, segments.csv, annotated.mp4 and report.html; with several videos a
            folder for each inside it.
        table: .csv, .jsonl or .parquet file for one row per face and frame [default: faces.csv in the output folder]
            (Parquet: pip install 'mien[table]').
        annotate: write the annotated copy, with the video's sound (default with --output).
        report: write the report (default with --output).
        resume: continue an interrupted run from the files in the output folder; of several videos, leave out those that
            are analyzed already.
        voice: also find who speaks when, and join face and voice of each speaking turn; writes turns.csv into the
            output folder. The classes of a voice are experimental: see docs/voice.md.
        as_json: print one JSON object per frame instead of the summary; with --voice one per speaking turn after them.
        smoothing: time constant of the filter of probabilities and movements in seconds; 0: no filter [default: 0.2].
        baseline: subtract the neutral baseline of each face from its action units, see docs/action-units.md.
        fps: frame rate of an image folder [default: 25], or requested from a camera; other videos are sampled at it.
    """
    from mien.video.smoothing import TIME_CONSTANT_S

    sources = expand_sources(source)
    check_blur_options(blur, output, options)
    if resume and output is None:
        raise InputError("--resume needs the --output folder of the interrupted run.")
    if baseline and not options.action_units:
        raise InputError("--baseline needs --action-units.")
    if len(sources) > 1 and (table is not None or as_json):
        raise InputError("--table and --json take one video; with several, --output has a folder for each.")
    settings = _Settings(
        annotate=annotate,
        report=report,
        blur=blur,
        resume=resume,
        as_json=as_json,
        quiet=quiet,
        detect_every=detect_every,
        smoothing_s=TIME_CONSTANT_S if smoothing is None else smoothing,
        fps=fps,
        baseline=baseline,
    )
    voices = open_voices(options.threads) if voice else None
    with deferred_stop() as is_stopped:
        if len(sources) > 1:
            return _analyze_several(sources, options.open_analyzer(), voices, output, settings, is_stopped)
        recording = _analyze(sources[0], options.open_analyzer(), voices, output, table, settings, is_stopped)
    if recording.was_stopped:
        return stop_code()
    return SOME_FAILED if recording.has_failed else 0


def _analyze(
    source: str,
    analyzer: Analyzer,
    voices: VoiceAnalyzer | None,
    output: Path | None,
    table: Path | None,
    settings: _Settings,
    is_stopped: Callable[[], bool],
) -> Recording:
    """Analyze one video, print its faces and write its files."""
    from mien.cli.console import print_tracks, print_turns
    from mien.cli.outputs import print_json
    from mien.recording import record
    from mien.video.analysis import VideoAnalysis

    def check_stop() -> None:
        if is_stopped():
            raise KeyboardInterrupt

    check_source(source)
    # no progress bar between the JSON lines on a terminal
    is_interleaved = settings.as_json and sys.stdout.isatty()
    with ExitStack() as stack:
        analysis = stack.enter_context(
            VideoAnalysis(
                source,
                analyzer,
                detect_every=settings.detect_every,
                smoothing_s=settings.smoothing_s,
                fps=settings.fps,
                blur=settings.blur,
                check_stop=check_stop,
            )
        )
        sound = read_sound(analysis, voices, is_stopped, quiet=settings.quiet) if voices else None
        places = [] if settings.resume or settings.quiet else [place for place in (table, output) if place]
        overwritten = [place for place in places if holds_data(place)]
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-")))
        progress = stack.enter_context(progress_bar("frames", is_shown=not settings.quiet and not is_interleaved))
        recording = record(
            analysis,
            analyzer.manifest,
            folder,
            sound=sound,
            table=table,
            annotate=settings.annotate and output is not None,
            report=settings.report and output is not None,
            baseline=settings.baseline,
            resume=settings.resume,
            resumable=output is not None,
            on_frame=_frame_callback(
                progress, analysis.info.frames or 0, check_stop, overwritten, as_json=settings.as_json
            ),
        )
    if settings.as_json:
        for turn in recording.turns:
            print_json(turn.to_dict())
    else:
        print_tracks(recording.timeline.tracks)
        print_turns(recording.turns)
    if not settings.quiet or recording.was_stopped or recording.has_failed:
        print_summary(recording, recording.files if output else filter(None, [table]))
    return recording


def _analyze_several(
    sources: Sequence[str],
    analyzer: Analyzer,
    voices: VoiceAnalyzer | None,
    output: Path | None,
    settings: _Settings,
    is_stopped: Callable[[], bool],
) -> int:
    """Analyze several videos, each into a folder of its own; a bad one is reported and the others continue."""
    failures = incomplete = skipped = 0
    with ExitStack() as stack:
        folders = None
        if output is not None:
            same = _journal_settings(analyzer, voices, settings)
            folders = stack.enter_context(VideoFolders(output, sources, same, resume=settings.resume))
        for source, item in zip(sources, number_names(map(public_name, sources)), strict=True):
            if folders is not None and folders.is_done(item, source):
                skipped += 1
                continue
            print(f"{printable(public_name(source))}:", flush=True)
            folder = folders.begin(item, source) if folders is not None else None
            try:
                recording = _analyze(source, analyzer, voices, folder, None, settings, is_stopped)
            except MienError as error:
                print_message(str(error))
                failures += 1
                continue
            if recording.was_stopped:
                return stop_code()
            if recording.has_failed:
                incomplete += 1
            elif folders is not None:
                folders.finish(item)
    code = _conclude(len(sources), skipped, failures, quiet=settings.quiet)
    return max(code, SOME_FAILED) if incomplete else code


def _conclude(total: int, skipped: int, failures: int, *, quiet: bool) -> int:
    """Print the summary of several videos and return the exit code."""
    if not quiet:
        earlier = f", {skipped} analyzed earlier" if skipped else ""
        print_message(f"{count(total, 'video')}{earlier}{unreadable_note(failures)}")
    return exit_code(failures, total)


def _journal_settings(analyzer: Analyzer, voices: VoiceAnalyzer | None, settings: _Settings) -> dict[str, Any]:
    """Return what has to be the same when a run over several videos is resumed."""
    from mien.inference.run_settings import run_settings

    same = asdict(replace(settings, resume=False, quiet=False))
    return {**run_settings(analyzer), "voice": voices.manifest.sha256 if voices else None, **same}


def _frame_callback(
    progress: ProgressBar, total: int, check_stop: Callable[[], None], overwritten: list[Path], *, as_json: bool
) -> OnFrame:
    """Return a function that prints a frame if requested, updates the progress and ends a stopped run.

    The paths in `overwritten` are named at the first frame: before, the run may still be refused.
    """
    from mien.cli.outputs import print_json

    def on_frame(frame: VideoFrame, counts: Counts) -> None:
        while overwritten:
            progress.print(f"mien: overwriting {overwritten.pop(0)}")
        if as_json:
            print_json(frame.to_dict())
        rate = counts.frames / counts.work_s if counts.work_s > 0 else 0.0
        progress(counts.frames, total, f"{rate:.0f} frames/s")
        check_stop()

    return on_frame


def print_summary(recording: Recording, files: Iterable[Path]) -> None:
    """Print the counts of a run, what is missing and the written files to standard error."""
    for problem in recording.problems:
        print_message(problem)
    counts = recording.counts
    parts = [count(counts.frames, "frame"), count(len(recording.timeline.tracks), "face")]
    if counts.work_s > 0:
        parts.append(f"{counts.frames / counts.work_s:.0f} frames/s")
    if counts.broken:
        parts.append(f"{count(counts.broken, 'broken frame')} skipped")
    if counts.dropped:
        parts.append(f"{count(counts.dropped, 'frame')} dropped to keep up")
    if recording.is_copy_stopped:
        parts.append("stopped before annotated.mp4 was complete")
    elif recording.was_stopped:
        parts.append(f"stopped early at {counts.end_s:.1f} s")
    elif recording.is_truncated:
        parts.append("the video is truncated")
    if recording.is_copy_truncated:
        parts.append("annotated.mp4 ends early: the video could not be read to its end a second time")
    hint = "; continue with the same command and --resume" if recording.is_resumable else ""
    print_message(f"{', '.join(parts)}{hint}")
    print_written(*files)
