"""`mien camera`: the faces before a camera, live."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.options import AS_TOLD, Reading

if TYPE_CHECKING:
    from mien.cli.window import Window
    from mien.manifest import Manifest
    from mien.results import VideoFrame
    from mien.video.analysis import VideoAnalysis

_PRINT_S = 0.5


def camera(
    source: str = "camera:0",
    *,
    record: Path | None = None,
    window: Annotated[bool, Parameter(negative="--no-window")] = True,
    detect_every: int | None = None,
    fps: float | None = None,
    reading: Reading = AS_TOLD,
) -> int:
    """Show what people would perceive in the faces before a camera, live; Esc, Q or Ctrl-C ends it.

    Tell everyone in sight that it runs, and do not use it on people at work or in education: see
    docs/responsible-use.md. Nothing is kept unless --record is given. Without a display it prints.

    Args:
        source: a camera ("camera:0", "camera:1"), an address (rtsp, http), or a file, which is then shown.
        record: folder for the annotated video, the table and the report.
        window: open a window where there is a display.
        detect_every: search and read faces in one frame of so many; as often as the machine keeps up with unless told.
        fps: what is asked of the camera.
        reading: how faces are found and read.
    """
    from mien.cli.window import open_window
    from mien.video.analysis import VideoAnalysis

    analyzer = reading.open_analyzer()
    with VideoAnalysis(source, analyzer, detect_every=detect_every, fps=fps) as analysis:
        shown = open_window("mien") if window else None
        show = _Printer() if shown is None else _Shower(shown)
        try:
            if record is None:
                _watch(analysis, show)
                return 0
            return _keep(analysis, analyzer.manifest, record, show)
        finally:
            if shown is not None:
                shown.close()


def _watch(frames: Iterable[VideoFrame], show: _Printer | _Shower) -> None:
    try:
        for frame in frames:
            show(frame)
    except KeyboardInterrupt:
        return


def _keep(analysis: VideoAnalysis, manifest: Manifest, folder: Path, show: _Printer | _Shower) -> int:
    from mien.cli.video import tell_faces, tell_run
    from mien.recording import record

    recording = record(analysis, manifest, folder, on_frame=lambda frame, _: show(frame))
    tell_faces(recording)
    tell_run(recording, folder)
    return 0


class _Printer:
    """Tells the faces twice a second."""

    def __init__(self) -> None:
        self._told_s = -_PRINT_S

    def __call__(self, frame: VideoFrame) -> None:
        if frame.timestamp_s - self._told_s < _PRINT_S:
            return
        self._told_s = frame.timestamp_s
        texts = [
            f"{face.track_id}: {face.smoothed.label or 'not sure'} {face.smoothed.confidence:.0%}"
            for face in frame.faces
            if face.smoothed is not None
        ]
        print(f"{frame.timestamp_s:8.1f} s  {'   '.join(texts) or 'no face'}")
        sys.stdout.flush()


class _Shower:
    """Draws every frame into a window; its closing ends the run as Ctrl-C does."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def __call__(self, frame: VideoFrame) -> None:
        from mien.drawing.tracks import draw_tracks

        if not self._window.show(draw_tracks(frame.image, frame.faces)):
            raise KeyboardInterrupt
