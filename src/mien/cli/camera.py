"""`mien camera`: live view of the faces in front of a camera."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.exit_codes import SOME_FAILED
from mien.cli.messages import print_message, print_overwriting
from mien.cli.options import DEFAULTS, OUTPUT_FOLDER, AnalyzerOptions, Blur, DetectEvery, Quiet
from mien.cli.signals import stop_code, was_signaled
from mien.drawing.blur_mode import check_blur
from mien.number_format import whole_percent

if TYPE_CHECKING:
    from mien.recording import Counts
    from mien.results import VideoFrame
    from mien.video.analysis import VideoAnalysis

PRINT_INTERVAL_S = 0.5
"""Seconds between two lines of text without a window."""


def camera(
    source: str = "camera:0",
    /,
    *,
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    blur: Blur = None,
    window: Annotated[bool, Parameter(negative="--no-window")] = True,
    quiet: Quiet = False,
    detect_every: DetectEvery = None,
    fps: Annotated[float | None, Parameter(metavar="RATE")] = None,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Show the perceived expression of the faces in front of a camera; Esc, Q or Ctrl-C ends it.

    Inform everyone in view of the camera, and do not use it on people at work or in education: see
    docs/responsible-use.md. Nothing is stored without --output. Without a display the faces are printed.

    Exit code: 0 at the end of the source and when the window is closed, 1 if the camera or stream fails, 2 if the
    source cannot be read. Ctrl-C (130) and SIGTERM (143) end the run too, and the files are complete up to there.

    Args:
        source: camera ("camera:0", "camera:1"), URL (rtsp, http), or video file.
        output: folder for the annotated video, the table and the report.
        window: open a window if there is a display (default).
        fps: frame rate requested from the camera.
    """
    from mien.cli.window import open_window
    from mien.drawing.blur import blur_faces
    from mien.drawing.tracks import draw_tracks
    from mien.video.analysis import VideoAnalysis

    check_blur(blur, options.max_faces)
    analyzer = options.open_analyzer()
    with (
        VideoAnalysis(source, analyzer, detect_every=detect_every, fps=fps, blur=blur) as analysis,
        ExitStack() as stack,
    ):
        opened = open_window("mien") if window else None
        if opened is not None:
            stack.callback(opened.close)
        text = _TextView()

        def show(frame: VideoFrame, _: Counts | None = None) -> None:
            if opened is None:
                text.show(frame)
            # closing the window ends the run like Ctrl-C
            elif not opened.show(draw_tracks(blur_faces(frame.image, frame.faces, blur), frame.faces)):
                raise _WindowClosed

        if output is None:
            return _show_frames(analysis, show)
        from mien.recording import record

        print_overwriting(output, quiet=quiet)

        def show_or_stop(frame: VideoFrame, counts: Counts) -> None:
            try:
                show(frame, counts)
            except BrokenPipeError:
                # complete the files like Ctrl-C; printing the tracks raises it again
                raise KeyboardInterrupt from None

        recording = record(analysis, analyzer.manifest, output, resumable=False, on_frame=show_or_stop)
    from mien.cli.console import print_tracks
    from mien.cli.video import print_summary

    try:
        print_tracks(recording.timeline.tracks)
    finally:
        if not quiet or recording.has_failed:
            print_summary(recording, recording.files)
    code = SOME_FAILED if recording.has_failed else 0
    return stop_code() if recording.was_stopped and was_signaled() else code


def _show_frames(analysis: VideoAnalysis, show: Callable[[VideoFrame], None]) -> int:
    """Show the frames until the source or the user ends it; return the exit code."""
    with suppress(_WindowClosed):
        for frame in analysis:
            show(frame)
    for problem in analysis.reader.problems:
        print_message(problem)
    return SOME_FAILED if analysis.reader.has_failed else 0


class _WindowClosed(KeyboardInterrupt):
    """The user closed the window: the normal end of a run."""


class _TextView:
    """Prints the faces twice a second."""

    def __init__(self) -> None:
        self._printed_s = -PRINT_INTERVAL_S

    def show(self, frame: VideoFrame) -> None:
        if frame.timestamp_s - self._printed_s < PRINT_INTERVAL_S:
            return
        self._printed_s = frame.timestamp_s
        texts = [
            f"{face.track_id}: {face.smoothed.label or 'not sure'} {whole_percent(face.smoothed.confidence)}"
            for face in frame.faces
            if face.smoothed is not None
        ]
        print(f"{frame.timestamp_s:8.1f} s  {'   '.join(texts) or 'no face'}")
        sys.stdout.flush()
