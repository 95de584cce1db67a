"""From frames to followed faces: detect every few frames, follow in between, read, and steady what was read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.faces.tracking import FaceTracker, appearance_descriptor
from mien.inference.analyzer import Analyzer
from mien.results import Face, HeadPose, Quality, VideoFrame
from mien.video.io.sources import DecodedFrame
from mien.video.scene_cuts import CutDetector
from mien.video.smoothing import TIME_CONSTANT_S, Smoother, reading_weight

DETECT_EVERY = 3
"""Faces are searched and read in one frame of so many; in between they are followed."""
MEMORY_S = 1.0
"""How long a face may be out of sight and keep its number."""


LEVEL_DEG = 12.0
"""A face that stands this much off level has its mesh fitted again; 6 in images. Angles change by up to 2 degrees."""
POSE_S = 1.0
"""A head's pose is fitted anew after so many seconds at the latest, ..."""
POSE_SHIFT = 0.08
"""... at once when a landmark has moved this much against the others, in root mean square distances of all, ..."""
POSE_TURN_DEG = 2.0
"""... and when they have turned this much in the image: they turn less than a tilting head does."""


@dataclass(frozen=True)
class _Held:
    """What a face's last reading told of its head, and still counts in the frames after it.

    Attributes:
        shape: the landmarks when the pose was fitted; see `_shape`.
        fitted_s: when that was.
    """

    head_pose: HeadPose | None = None
    quality: Quality | None = None
    shape: tuple[float, ...] = ()
    fitted_s: float = 0.0


class FaceFollower:
    """Takes the frames of one video in turn and tells who is where and what their faces show.

    It holds nothing of a frame once it has answered; `state` and `restore` let another process go on exactly.

    Args:
        analyzer: finds and reads faces.
        detect_every: search and read in one frame of so many; 1 in all.
        smoothing_s: time constant of the filter of the probabilities, in seconds; 0 does not filter.

    Raises:
        InputError: when an argument is out of its range.
    """

    def __init__(
        self, analyzer: Analyzer, *, detect_every: int = DETECT_EVERY, smoothing_s: float = TIME_CONSTANT_S
    ) -> None:
        if detect_every < 1:
            raise InputError(f"detect_every is {detect_every}; expected 1 (all frames) or more.")
        manifest = analyzer.manifest
        self.detect_every, self.analyzer = detect_every, analyzer
        self.smoother = Smoother(manifest.labels, manifest.abstain_below, time_constant_s=smoothing_s)
        self._tracker, self._cuts = FaceTracker(memory_s=MEMORY_S), CutDetector()
        self._held: dict[int, _Held] = {}
        self._scene, self._followed = 1, 0

    def step(self, frame: DecodedFrame) -> VideoFrame:
        """What is to be seen in the next frame.

        Raises:
            ModelError: when a network fails.
        """
        if self._cuts.is_cut(frame.image):
            self._begin_scene()
        if self._followed == 0 or self._followed >= self.detect_every:
            faces = self._read(frame)
            self._followed = 1
        else:
            faces = [self._carry(face) for face in self._tracker.advance(frame.timestamp_s)]
            self._followed += 1
        return VideoFrame(
            index=frame.index,
            timestamp_s=frame.timestamp_s,
            scene=self._scene,
            image=frame.image,
            faces=tuple(faces),
        )

    @property
    def has_read(self) -> bool:
        """Whether faces were searched and read in the last frame."""
        return self._followed == 1

    def state(self) -> dict[str, Any]:
        """All that is remembered between frames, as plain JSON values, exact."""
        return {
            "scene": self._scene,
            "followed": self._followed,
            "tracker": self._tracker.state(),
            "smoother": self.smoother.state(),
            "cuts": self._cuts.state(),
            "held": {str(number): asdict(held) for number, held in self._held.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, exactly as if nothing had been in between."""
        self._scene, self._followed = state["scene"], state["followed"]
        self._tracker.restore(state["tracker"])
        self.smoother.restore(state["smoother"])
        self._cuts.restore(state["cuts"])
        self._held = {
            int(number): _Held(
                head_pose=HeadPose(**held["head_pose"]) if held["head_pose"] else None,
                quality=Quality(**held["quality"]) if held["quality"] else None,
                shape=tuple(held["shape"]),
                fitted_s=held["fitted_s"],
            )
            for number, held in state["held"].items()
        }

    def _begin_scene(self) -> None:
        self._tracker.cut()
        self.smoother.forget()
        self._held, self._followed = {}, 0
        self._scene += 1

    def _read(self, frame: DecodedFrame) -> list[Face]:
        """Search, follow and read the faces of a frame."""
        now, image = frame.timestamp_s, frame.image
        seen = [
            (face, look)
            for face in self.analyzer.detect(image, rotated=False)
            if (look := _look(image, face)) is not None
        ]
        looks = np.stack([look for _, look in seen]) if seen else np.empty((0, 1))
        followed = self._tracker.update(now, [face for face, _ in seen], looks)
        held = [self._hold_pose(face, now) for face in followed]
        posed = [replace(face, head_pose=last.head_pose) for face, last in zip(followed, held, strict=True)]
        faces = [
            self._steady(face, now)
            for face in self.analyzer.predict_faces(image, posed, max_tilt_deg=LEVEL_DEG, rotated=False)
        ]
        self.smoother.forget(before_s=now - MEMORY_S)
        self._held = {
            _number(face): replace(last, head_pose=face.head_pose, quality=face.quality)
            for face, last in zip(faces, held, strict=True)
        }
        return faces

    def _hold_pose(self, face: Face, now: float) -> _Held:
        """What is held of a face; without its pose when that has to be fitted again."""
        shape, last = _shape(face), self._held.get(_number(face), _Held())
        if last.head_pose is not None and now - last.fitted_s < POSE_S:
            shift, turn_deg = _change(last.shape, shape)
            if shift <= POSE_SHIFT and abs(turn_deg) <= POSE_TURN_DEG:
                return last
        return _Held(shape=shape, fitted_s=now)

    def _steady(self, face: Face, now: float) -> Face:
        if face.expression is None:
            return face
        weight = reading_weight(face.quality)
        return replace(face, smoothed=self.smoother.add(_number(face), now, face.expression, weight))

    def _carry(self, face: Face) -> Face:
        """A face between two readings: its head and its steady expression are still those of the last one."""
        held = self._held.get(_number(face), _Held())
        return replace(
            face,
            head_pose=held.head_pose,
            quality=held.quality,
            smoothed=self.smoother.last(_number(face)),
        )


def _look(image: np.ndarray, face: Face) -> np.ndarray | None:
    """How a face looks; None where its landmarks lie so that no face can be cut out."""
    if not np.isfinite(face.landmarks_xy).all():
        return None
    try:
        return appearance_descriptor(image, face)
    except InputError:
        return None


def _number(face: Face) -> int:
    assert face.track_id is not None  # the tracker gives every face one
    return face.track_id


def _shape(face: Face) -> tuple[float, ...]:
    """A face's landmarks without place and size, as ten numbers: they change when the head turns or tilts."""
    points = face.landmarks_xy.astype(np.float64)
    centered = points - points.mean(axis=0)
    spread = math.sqrt(float((centered**2).sum()) / len(points))
    return tuple((centered / max(spread, 1e-6)).ravel().tolist())


def _change(before: tuple[float, ...], shape: tuple[float, ...]) -> tuple[float, float]:
    """How far a landmark has moved at most from one shape to another, and their turn in the image, clockwise degrees.

    The turn is the one that lays the first shape on the second best, and is taken out of the moves.
    """
    old, new = (np.array(points).reshape(-1, 2) @ [1, 1j] for points in (before, shape))
    turn = complex((old.conj() * new).sum())
    turn /= max(abs(turn), 1e-9)
    return float(np.abs(new - turn * old).max()), math.degrees(math.atan2(turn.imag, turn.real))
