"""Annotated copy of a video, drawn and encoded in a thread."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mien.drawing.tracks import draw_tracks
from mien.results import VideoFrame
from mien.video.analysis import VideoAnalysis
from mien.video.io.segments import TIME_BASE
from mien.video.io.writer import VideoWriter

_MAX_PENDING = 4


class AnnotatedVideoWriter:
    """Draws the faces of analyzed frames and writes them as a video with the audio of the source; see `VideoWriter`."""

    def __init__(self, path: Path, analysis: VideoAnalysis, resume_at_s: float | None) -> None:
        self._writer = VideoWriter(
            path,
            size_hw=analysis.info.size_hw,
            audio_from=analysis.file if analysis.info.has_audio else None,
            resume_at_s=resume_at_s,
        )
        self._last_tick = -1 if resume_at_s is None else round(resume_at_s / TIME_BASE) - 1
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mien-draw")
        self._pending: deque[Future[None]] = deque()

    def add(self, frame: VideoFrame) -> None:
        """Queue a frame; wait while the queue is full."""
        self._wait(_MAX_PENDING - 1)
        self._pending.append(self._executor.submit(self._write, frame))

    def checkpoint(self) -> None:
        """Write all frames so far to the disk."""
        self._wait()
        self._writer.finish_segment()

    def close(self, *, keep_segments: bool = False) -> None:
        """Write the queued frames and join the video with its audio; see `VideoWriter.close`."""
        self._wait()
        self._executor.shutdown()
        self._writer.close(keep_segments=keep_segments)

    def suspend(self) -> None:
        """Stop and leave the segments, to resume later; does nothing after `close`."""
        self._executor.shutdown(cancel_futures=True)
        self._writer.suspend()

    def _wait(self, max_pending: int = 0) -> None:
        while len(self._pending) > max_pending:
            self._pending.popleft().result()

    def _write(self, frame: VideoFrame) -> None:
        tick = round(frame.timestamp_s / TIME_BASE)
        # Of two frames within a tick the first is shown.
        if tick > self._last_tick:
            self._last_tick = tick
            self._writer.add(draw_tracks(frame.image, frame.faces), frame.timestamp_s)
