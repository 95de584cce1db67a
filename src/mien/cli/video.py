"""`mien video`: the faces of a video, followed, and their expressions over time."""

from __future__ import annotations

import json as json_text
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mien.cli.options import AS_TOLD, FLAG, Reading
from mien.cli.progress import progress_bar
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer
    from mien.recording import Counts, Recording
    from mien.results import VideoFrame
    from mien.video.analysis import VideoAnalysis

STOPPED = 130


def video(
    source: str,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    table: Literal["csv", "jsonl", "parquet"] = "csv",
    annotate: Annotated[bool, Parameter(negative="--no-annotate")] = True,
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    resume: Annotated[bool, FLAG] = False,
    json: Annotated[bool, FLAG] = False,
    detect_every: int | None = None,
    smoothing: float | None = None,
    fps: float | None = None,
    reading: Reading = AS_TOLD,
) -> int:
    """Follow the faces of a video and read what people would perceive in them, moment by moment.

    It tells how a face looks to others, not what the person feels. Ctrl-C ends the analysis and finishes the files.
    Do not use it on people at work or in education: see docs/responsible-use.md.

    Args:
        source: a file, an address (rtsp, http), a camera ("camera:0"), a folder of images, or "frames/%04d.png".
        output: folder for faces.csv (one row a face and frame), annotated.mp4 and report.html; without it a summary
            is printed.
        table: format of the rows (Parquet: pip install 'mien[table]').
        annotate: write the annotated copy, with the video's sound.
        report: write the report.
        resume: go on with what a killed run left in the output folder.
        json: print one JSON object a frame instead of the summary.
        detect_every: detect and classify faces in every Nth frame and track them in between; 3 by default, and for a
            live source as often as the machine keeps up with.
        smoothing: time constant of the filter of the probabilities, in seconds; 0.2 unless told, 0 does not filter.
        fps: of a folder of images (25 unless told), or what is asked of a camera.
        reading: how faces are found and read.
    """
    from mien.video.analysis import VideoAnalysis
    from mien.video.smoothing import TIME_CONSTANT_S

    if resume and output is None:
        raise InputError("--resume goes on with the files of an output folder: give its --output.")
    analyzer = reading.open_analyzer()
    seconds = TIME_CONSTANT_S if smoothing is None else smoothing
    with VideoAnalysis(source, analyzer, detect_every=detect_every, smoothing_s=seconds, fps=fps) as analysis:
        recording = run(
            analysis,
            analyzer,
            output,
            table=table,
            annotate=annotate and output is not None,
            report=report and output is not None,
            resume=resume,
            json=json,
        )
    if not json:
        tell_faces(recording)
    tell_run(recording, output)
    return STOPPED if recording.was_stopped else 0


def run(
    analysis: VideoAnalysis,
    analyzer: Analyzer,
    output: Path | None,
    *,
    table: str,
    annotate: bool,
    report: bool,
    resume: bool,
    json: bool,
) -> Recording:
    """Record with progress on the terminal; without an output folder the rows live for as long as it takes."""
    from mien.recording import record

    is_scrolling = json and sys.stdout.isatty()
    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-")))
        progress = stack.enter_context(progress_bar("frames", is_wanted=not is_scrolling))

        def on_frame(frame: VideoFrame, counts: Counts) -> None:
            if json:
                sys.stdout.write(json_text.dumps(frame.to_dict()) + "\n")
                sys.stdout.flush()
            rate = counts.frames / counts.work_s if counts.work_s > 0 else 0.0
            progress(counts.frames, analysis.info.frames or 0, f"{rate:.0f} frames/s")

        return record(
            analysis,
            analyzer.manifest,
            folder,
            table=table,
            annotate=annotate,
            report=report,
            resume=resume,
            on_frame=on_frame,
        )


def tell_faces(recording: Recording) -> None:
    """Print one line a face: when it was seen, and the share of each expression."""
    from rich.console import Console
    from rich.table import Table

    from mien.theme import class_color

    tracks = recording.timeline.tracks
    if not tracks:
        print("no face found")
        return
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("face", "from", "to", "seen", "perceived expression, share of its time"):
        shown.add_column(name, justify="left" if name.startswith("perceived") else "right")
    for track in tracks:
        shares = sorted(track.shares.items(), key=lambda item: -item[1])
        texts = [f"[{class_color(name)}]{name}[/] {share:.0%}" for name, share in shares if share >= 0.005]
        texts += [f"not sure {track.unsure:.0%}"] if track.unsure >= 0.005 else []
        times = (f"{track.first_s:.1f} s", f"{track.last_s:.1f} s", f"{track.seconds:.1f} s")
        shown.add_row(str(track.track_id), *times, "  ".join(texts))
    Console(highlight=False).print(shown)


def tell_run(recording: Recording, output: Path | None) -> None:
    """Say on standard error what was done, what was left out, and where the files are."""
    counts = recording.counts
    parts = [f"{counts.frames} frames", f"{len(recording.timeline.tracks)} faces"]
    if counts.work_s > 0:
        parts.append(f"{counts.frames / counts.work_s:.0f} frames/s")
    if counts.broken:
        parts.append(f"{counts.broken} broken frames left out")
    if counts.dropped:
        parts.append(f"{counts.dropped} frames dropped to keep up")
    if recording.was_stopped:
        parts.append("stopped early")
    elif recording.is_truncated:
        parts.append("the video breaks off")
    print(f"mien: {', '.join(parts)}", file=sys.stderr)
    if output is not None:
        for path in recording.files:
            print(f"mien: {path}", file=sys.stderr)
