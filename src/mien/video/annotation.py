"""Annotated copy of a video, drawn and encoded in a thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mien.action_units import ACTION_UNIT_NAMES
from mien.drawing.blur import pixelate
from mien.drawing.tracks import draw_tracks
from mien.results import Expression, Face, HeadPose, VideoFrame
from mien.video.analysis import VideoAnalysis
from mien.video.hiding import HiddenFaces
from mien.video.io.reader import VideoReader
from mien.video.io.segments import TIME_BASE, remove_segments
from mien.video.io.writer import VideoWriter
from mien.video.turns import SpeakingTurn

_MAX_PENDING = 4


class AnnotatedVideoWriter:
    """Draws the faces of analyzed frames and writes them as a video with the audio of the source; see `VideoWriter`.

    Args:
        path: the copy.
        analysis: of the video.
        resume_at_s: time from which on frames are to be written, or None.
        hidden: faces to hide, or None; frames are held back until it is ready for them.
    """

    def __init__(
        self, path: Path, analysis: VideoAnalysis, resume_at_s: float | None, *, hidden: HiddenFaces | None = None
    ) -> None:
        self._writer = VideoWriter(
            path,
            size_hw=analysis.info.size_hw,
            audio_from=analysis.file if analysis.info.has_audio else None,
            resume_at_s=resume_at_s,
        )
        self._last_tick = -1 if resume_at_s is None else round(resume_at_s / TIME_BASE) - 1
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mien-draw")
        self._pending: deque[Future[None]] = deque()
        self._hidden = hidden
        self._delayed: deque[tuple[VideoFrame, Collection[int]]] = deque()

    def add(self, frame: VideoFrame, speakers: Collection[int] = ()) -> None:
        """Queue a frame with the numbers of the faces that speak; wait while the queue is full."""
        self._delayed.append((frame, speakers))
        ready_s = math.inf if self._hidden is None else self._hidden.ready_s
        while self._delayed and self._delayed[0][0].timestamp_s < ready_s:
            self._submit(*self._delayed.popleft())

    def checkpoint(self) -> None:
        """Write all frames so far to the disk."""
        self._flush()
        self._writer.finish_segment()

    def close(self, *, keep_segments: bool = False) -> None:
        """Write the queued frames and join the video with its audio; see `VideoWriter.close`."""
        self._flush()
        self._executor.shutdown()
        self._writer.close(keep_segments=keep_segments)

    def suspend(self) -> None:
        """Stop and leave the segments, to resume later; does nothing after `close`."""
        self._executor.shutdown(cancel_futures=True)
        self._writer.suspend()

    def _flush(self) -> None:
        while self._delayed:
            self._submit(*self._delayed.popleft())
        self._wait()

    def _submit(self, frame: VideoFrame, speakers: Collection[int]) -> None:
        self._wait(_MAX_PENDING - 1)
        boxes = None if self._hidden is None else self._hidden.boxes_at(frame.timestamp_s)
        self._pending.append(self._executor.submit(self._write, frame, speakers, boxes))

    def _wait(self, max_pending: int = 0) -> None:
        while len(self._pending) > max_pending:
            self._pending.popleft().result()

    def _write(self, frame: VideoFrame, speakers: Collection[int], hidden_xyxy: np.ndarray | None) -> None:
        tick = round(frame.timestamp_s / TIME_BASE)
        # Of two frames within a tick the first is shown.
        if tick > self._last_tick:
            self._last_tick = tick
            image = frame.image if hidden_xyxy is None else pixelate(frame.image, hidden_xyxy)
            self._writer.add(draw_tracks(image, frame.faces, speakers), frame.timestamp_s)


def annotate_again(
    path: Path,
    analysis: VideoAnalysis,
    rows: Iterable[Mapping[str, Any]],
    labels: tuple[str, ...],
    end_s: float,
    *,
    turns: Sequence[SpeakingTurn] = (),
    hidden: HiddenFaces | None = None,
    check_stop: Callable[[], None] | None = None,
) -> bool:
    """Write an annotated copy in a second pass over an analyzed video: who speaks and who is hidden is known then.

    Args:
        path: the copy.
        analysis: of the video.
        rows: of the analysis, with the columns of `mien.video.table.NOSE`.
        labels: class names in the model's order.
        end_s: time of the last analyzed frame.
        turns: who speaks when.
        hidden: faces to hide, or None.
        check_stop: called after every frame; an exception that it raises ends the pass, and no copy is left.

    Returns:
        True when the second pass reached `end_s`; otherwise the copy ends early.
    """
    remove_segments(path)
    last_s = 0.0
    writer = AnnotatedVideoWriter(path, analysis, None, hidden=hidden)
    try:
        with VideoReader(analysis.source, fps=analysis.fps) as reader:
            for frame in _with_faces(reader, rows, labels):
                last_s = frame.timestamp_s
                if last_s > end_s:
                    break
                speakers = {turn.track_id for turn in turns if _speaks(turn, frame) and turn.track_id is not None}
                writer.add(frame, speakers)
                if check_stop is not None:
                    check_stop()
        writer.close()
    finally:
        writer.suspend()
        # This pass is never resumed, only repeated.
        remove_segments(path)
    return round(last_s, 6) >= round(end_s, 6)


def _speaks(turn: SpeakingTurn, frame: VideoFrame) -> bool:
    return turn.scene == frame.scene and turn.start_s <= frame.timestamp_s < turn.end_s


def _with_faces(
    reader: VideoReader, rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...]
) -> Iterator[VideoFrame]:
    """Yield the frames of a video with the faces of their rows."""
    groups = groupby(rows, key=lambda row: row["frame_index"])
    number, group = next(groups, (-1, iter(())))
    scene = 1
    for index, timestamp_s, image in reader:
        faces: tuple[Face, ...] = ()
        if number == index:
            own = list(group)
            scene = own[0]["scene"]
            faces = tuple(_face_of(row, labels) for row in own)
            number, group = next(groups, (-1, iter(())))
        yield VideoFrame(index=index, timestamp_s=timestamp_s, scene=scene, image=image, faces=faces)


def _face_of(row: Mapping[str, Any], labels: tuple[str, ...]) -> Face:
    """Return a face with what is drawn of it: box, nose, head pose, number, smoothed expression and action units."""
    landmarks_xy = np.zeros((5, 2), dtype=np.float32)
    landmarks_xy[2] = row["nose_x"], row["nose_y"]
    pose = None
    if row.get("yaw_deg") is not None:
        pose = HeadPose(yaw_deg=row["yaw_deg"], pitch_deg=row["pitch_deg"], roll_deg=row["roll_deg"])
    smoothed = None
    if row.get(f"s_{labels[0]}") is not None:
        probabilities = np.array([row[f"s_{name}"] for name in labels])
        smoothed = Expression(
            labels=labels, probabilities=probabilities, label=row["label"], confidence=row["confidence"]
        )
    units = {name: row[name] for name in ACTION_UNIT_NAMES if row.get(name) is not None}
    return Face(
        bbox_xyxy=np.array([row[name] for name in ("x1", "y1", "x2", "y2")], dtype=np.float32),
        landmarks_xy=landmarks_xy,
        confidence=row["face_confidence"],
        head_pose=pose,
        track_id=row["track_id"],
        smoothed=smoothed,
        smoothed_action_units=units or None,
    )
