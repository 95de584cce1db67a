"""Faces to hide in the frames of a video, also in frames in which a face was missed."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mien.drawing.blur import box_areas
from mien.drawing.blur_mode import BlurMode, check_blur
from mien.results import VideoFrame
from mien.video.schedule import DetectionSchedule

HOLD_S = 0.5
"""Minimum time before and after a face's rows, in seconds, in which its place is hidden: it may be missed."""
_COLUMNS = 6


class HiddenFaces:
    """The boxes to hide at any time of a video.

    Mode "others" hides, in each scene, everyone but the face with the largest box, summed over its frames. This is
    known at the end of a video: before, it hides everyone but the face with the largest box of each frame.

    Args:
        mode: faces to hide.
        max_gap_s: longest time between two detections; a face is hidden from one before its first row on.

    Attributes:
        ready_s: time before which the faces of later frames that are to be hidden there are known.

    Raises:
        InputError: when the mode is unknown.
    """

    def __init__(self, mode: BlurMode, max_gap_s: float = 0.0) -> None:
        check_blur(mode, None)
        self.ready_s = -math.inf
        self._hold_s = max(HOLD_S, max_gap_s)
        self._mode = mode
        self._times_s = array("d")
        self._values = array("d")
        self._main_faces: dict[float, float] | None = None

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]], mode: BlurMode, max_gap_s: float = 0.0) -> Self:
        """Return the boxes of a whole video from its rows, see `mien.video.table`."""
        hidden = cls(mode, max_gap_s)
        hidden.ready_s = math.inf
        areas: dict[float, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for row in rows:
            box = [row[name] for name in ("x1", "y1", "x2", "y2")]
            hidden._add(row["timestamp_s"], row["scene"], row["track_id"], box)
            areas[row["scene"]][row["track_id"]] += (box[2] - box[0]) * (box[3] - box[1])
        hidden._main_faces = {scene: max(faces, key=faces.__getitem__) for scene, faces in areas.items()}
        return hidden

    def add(self, frame: VideoFrame, schedule: DetectionSchedule) -> None:
        """Add the faces of the next frame; `schedule` has the times of the detections up to it."""
        assert schedule.detected_s is not None  # faces are detected in the first frame of a scene
        self._hold_s = max(HOLD_S, schedule.max_gap_s)
        self.ready_s = min(frame.timestamp_s - HOLD_S, schedule.detected_s)
        for face in frame.faces:
            assert face.track_id is not None  # set by the tracker
            self._add(frame.timestamp_s, frame.scene, face.track_id, face.bbox_xyxy.tolist())

    def _add(self, timestamp_s: float, scene: int, track_id: int, box: Sequence[float]) -> None:
        self._times_s.append(round(timestamp_s, 6))
        self._values.extend((scene, track_id, *box))

    def boxes_at(self, timestamp_s: float) -> np.ndarray:
        """Return the boxes to hide (N, 4) in the frame at a time.

        A face without a row at that time is hidden where it was before and will be after it, and between the two.
        """
        now = round(timestamp_s, 6)
        start = bisect_left(self._times_s, round(now - self._hold_s, 6))
        stop = bisect_right(self._times_s, round(now + self._hold_s, 6))
        times_s = np.array(self._times_s[start:stop])
        rows = np.array(self._values[_COLUMNS * start : _COLUMNS * stop]).reshape(-1, _COLUMNS)
        current = rows[times_s == now]
        if len(current):
            is_same_scene = rows[:, 0] == current[0, 0]
            times_s, rows = times_s[is_same_scene], rows[is_same_scene]
        main_faces = self._find_main_faces(current)
        faces = [face for face in np.unique(rows[:, :2], axis=0).tolist() if main_faces.get(face[0]) != face[1]]
        boxes = [_box_at(now, times_s, rows, face) for face in faces]
        return np.array(boxes).reshape(-1, 4)

    def _find_main_faces(self, current: np.ndarray) -> Mapping[float, float]:
        """Return the face that stays visible by scene."""
        if self._mode == "all":
            return {}
        if self._main_faces is not None:
            return self._main_faces
        if not len(current):
            return {}
        scene, track_id = current[box_areas(current[:, 2:]).argmax(), :2].tolist()
        return {scene: track_id}


def _box_at(now: float, times_s: np.ndarray, rows: np.ndarray, face: list[float]) -> np.ndarray:
    """Return the box of a face, or the box around its last one before and its first one after a time."""
    is_face = (rows[:, :2] == face).all(axis=1)
    times_s, boxes = times_s[is_face], rows[is_face, 2:]
    before = boxes[times_s <= now][-1:]
    after = boxes[times_s >= now][:1]
    around = np.concatenate([before, after])
    return np.concatenate([around[:, :2].min(axis=0), around[:, 2:].max(axis=0)])
