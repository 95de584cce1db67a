"""`mien video`: tracked faces of a video and their expressions over time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.options import DEFAULTS, OUTPUT, AnalyzerOptions, DetectEvery, Json, Quiet
from mien.cli.progress import ProgressBar, print_message, progress_bar
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.recording import Counts, OnFrame, Recording
    from mien.results import VideoFrame

STOPPED = 130
"""Exit code after Ctrl-C."""


def video(
    source: str,
    /,
    *,
    output: Annotated[Path | None, OUTPUT] = None,
    table: Path | None = None,
    annotate: Annotated[bool, Parameter(negative="--no-annotate")] = True,
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    resume: bool = False,
    as_json: Json = False,
    quiet: Quiet = False,
    detect_every: DetectEvery = None,
    smoothing: float | None = None,
    fps: float | None = None,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Track the faces of a video and predict their perceived expression over time.

    The prediction describes how a face appears to others, not what the person feels. Ctrl-C ends the analysis and
    completes the files. Do not use it on people at work or in education: see docs/responsible-use.md.

    Args:
        source: file, URL (rtsp, http), camera ("camera:0"), folder of images, or image sequence ("frames/%04d.png").
        output: folder for faces.csv, annotated.mp4 and report.html.
        table: .csv, .jsonl or .parquet file for one row per face and frame [default: faces.csv in the output folder]
            (Parquet: pip install 'mien[table]').
        annotate: write the annotated copy, with the video's sound (default with --output).
        report: write the report (default with --output).
        resume: continue an interrupted run from the files in the output folder.
        as_json: print one JSON object per frame instead of the summary.
        smoothing: time constant of the probability filter in seconds; 0: no filter [default: 0.2].
        fps: frame rate of an image folder [default: 25] or requested from a camera.
    """
    from mien.recording import record
    from mien.video.analysis import VideoAnalysis
    from mien.video.smoothing import TIME_CONSTANT_S

    if resume and output is None:
        raise InputError("--resume needs the --output folder of the interrupted run.")
    analyzer = options.open_analyzer()
    seconds = TIME_CONSTANT_S if smoothing is None else smoothing
    # no progress bar between the JSON lines on a terminal
    is_interleaved = as_json and sys.stdout.isatty()
    with ExitStack() as stack:
        analysis = stack.enter_context(
            VideoAnalysis(source, analyzer, detect_every=detect_every, smoothing_s=seconds, fps=fps)
        )
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-")))
        progress = stack.enter_context(progress_bar("frames", is_shown=not quiet and not is_interleaved))
        recording = record(
            analysis,
            analyzer.manifest,
            folder,
            table=table,
            annotate=annotate and output is not None,
            report=report and output is not None,
            resume=resume,
            on_frame=_frame_callback(progress, analysis.info.frames or 0, as_json=as_json),
        )
    if not as_json:
        from mien.cli.console import print_tracks

        print_tracks(recording.timeline.tracks)
    if not quiet:
        print_summary(recording, recording.files if output else filter(None, [table]))
    return STOPPED if recording.was_stopped else 0


def _frame_callback(progress: ProgressBar, total: int, *, as_json: bool) -> OnFrame:
    """Return a function that prints a frame if requested and updates the progress."""
    from mien.cli.outputs import print_json

    def on_frame(frame: VideoFrame, counts: Counts) -> None:
        if as_json:
            print_json(frame.to_dict())
        rate = counts.frames / counts.work_s if counts.work_s > 0 else 0.0
        progress(counts.frames, total, f"{rate:.0f} frames/s")

    return on_frame


def print_summary(recording: Recording, files: Iterable[Path]) -> None:
    """Print the counts of a run and the written files to standard error."""
    from mien.cli.outputs import print_written

    counts = recording.counts
    parts = [f"{counts.frames} frames", f"{len(recording.timeline.tracks)} faces"]
    if counts.work_s > 0:
        parts.append(f"{counts.frames / counts.work_s:.0f} frames/s")
    if counts.broken:
        parts.append(f"{counts.broken} broken frames skipped")
    if counts.dropped:
        parts.append(f"{counts.dropped} frames dropped to keep up")
    if recording.was_stopped:
        parts.append("stopped early")
    elif recording.is_truncated:
        parts.append("the video is truncated")
    print_message(", ".join(parts))
    print_written(*files)
