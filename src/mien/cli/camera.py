"""`mien camera`: live view of the faces in front of a camera."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.options import DEFAULTS, OUTPUT, AnalyzerOptions, DetectEvery, Quiet
from mien.number_format import percent

if TYPE_CHECKING:
    from mien.cli.window import Window
    from mien.manifest import Manifest
    from mien.results import VideoFrame
    from mien.video.analysis import VideoAnalysis

PRINT_INTERVAL_S = 0.5
"""Seconds between two lines of text without a window."""


def camera(
    source: str = "camera:0",
    /,
    *,
    output: Annotated[Path | None, OUTPUT] = None,
    window: Annotated[bool, Parameter(negative="--no-window")] = True,
    quiet: Quiet = False,
    detect_every: DetectEvery = None,
    fps: float | None = None,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Show the perceived expression of the faces in front of a camera; Esc, Q or Ctrl-C ends it.

    Inform everyone in view of the camera, and do not use it on people at work or in education: see
    docs/responsible-use.md. Nothing is stored without --output. Without a display the faces are printed.

    Args:
        source: camera ("camera:0", "camera:1"), URL (rtsp, http), or video file.
        output: folder for the annotated video, the table and the report.
        window: open a window if there is a display (default).
        fps: frame rate requested from the camera.
    """
    from mien.cli.window import open_window
    from mien.video.analysis import VideoAnalysis

    analyzer = options.open_analyzer()
    with VideoAnalysis(source, analyzer, detect_every=detect_every, fps=fps) as analysis:
        opened = open_window("mien") if window else None
        view = _TextView() if opened is None else _WindowView(opened)
        try:
            if output is None:
                _watch(analysis, view)
            else:
                _record(analysis, analyzer.manifest, output, view, quiet=quiet)
        finally:
            if opened is not None:
                opened.close()
    return 0


def _watch(analysis: VideoAnalysis, view: _TextView | _WindowView) -> None:
    try:
        for frame in analysis:
            view(frame)
    except KeyboardInterrupt:
        return


def _record(
    analysis: VideoAnalysis, manifest: Manifest, folder: Path, view: _TextView | _WindowView, *, quiet: bool
) -> None:
    from mien.cli.console import print_tracks
    from mien.cli.video import print_summary
    from mien.recording import record

    recording = record(analysis, manifest, folder, on_frame=lambda frame, _: view(frame))
    print_tracks(recording.timeline.tracks)
    if not quiet:
        print_summary(recording, recording.files)


class _TextView:
    """Prints the faces twice a second."""

    def __init__(self) -> None:
        self._printed_s = -PRINT_INTERVAL_S

    def __call__(self, frame: VideoFrame) -> None:
        if frame.timestamp_s - self._printed_s < PRINT_INTERVAL_S:
            return
        self._printed_s = frame.timestamp_s
        texts = [
            f"{face.track_id}: {face.smoothed.label or 'not sure'} {percent(face.smoothed.confidence, 0)}"
            for face in frame.faces
            if face.smoothed is not None
        ]
        print(f"{frame.timestamp_s:8.1f} s  {'   '.join(texts) or 'no face'}")
        sys.stdout.flush()


class _WindowView:
    """Draws every frame into a window; closing the window ends the run like Ctrl-C."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def __call__(self, frame: VideoFrame) -> None:
        from mien.drawing.tracks import draw_tracks

        if not self._window.show(draw_tracks(frame.image, frame.faces)):
            raise KeyboardInterrupt
