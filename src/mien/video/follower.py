"""Face follower: detects and classifies faces in some frames of a video and tracks them in between."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from mien.errors import InputError
from mien.faces.attributes import DOUBTFUL_CONFIDENCE
from mien.faces.landmarks import VIDEO_FRAME
from mien.faces.tracking import FaceTracker, appearance_descriptor
from mien.inference.analyzer import Analyzer
from mien.records import convert
from mien.results import Expression, Face, HeadPose, Quality, VideoFrame
from mien.video.io.sources import DecodedFrame
from mien.video.movement_smoothing import SmoothedMovements, smooth_movements
from mien.video.scanning import FaceScanner
from mien.video.scene_cuts import CutDetector
from mien.video.schedule import DetectionSchedule
from mien.video.smoothing import TIME_CONSTANT_S, Smoother, prediction_weight

MEMORY_S = 1.0
"""Seconds out of view for which a face keeps its number at least; see `FaceTracker`."""
POSE_S = 1.0
"""Maximum age of a head pose, in seconds."""
FIRST_SEARCHES = 3
"""Number of the first predictions of a track in which rotated meshes are searched for; a single search may fail."""
SEARCH_S = 3.0
"""Seconds from there to the next search; one of a face without a confident mesh takes up to seven more fits."""
POSE_SHIFT = 0.08
"""Maximum shift of a landmark for which the pose is kept, in root mean square distances from the landmarks' mean."""
POSE_ROLL_DEG = 2.0
"""Maximum roll of the landmarks for which the pose is kept; they roll less than the head does."""


@dataclass(frozen=True)
class _Head:
    """Attributes of a face from its last prediction, with time and `landmark_shape` of the fit of its pose.

    `is_face` is true once a mesh has fitted, or nearly in a rotated crop: a later doubtful detection does not count.
    `searches` counts searches for a rotated mesh, the last one at `searched_s`; `rotated_s` is the time of the last one
    that found one.
    """

    head_pose: HeadPose | None = None
    quality: Quality | None = None
    movements: SmoothedMovements | None = None
    shape: tuple[float, ...] = ()
    fitted_s: float = 0.0
    is_doubtful: bool = False
    is_face: bool = False
    searches: int = 0
    searched_s: float = 0.0
    rotated_s: float | None = None

    def was_rotated(self, now: float) -> bool:
        """Return True when the head was rotated less than a second ago."""
        return self.rotated_s is not None and now - self.rotated_s < POSE_S

    def may_be_rotated(self, now: float) -> bool:
        """Return True when a rotated mesh has to be searched for: at first, every `SEARCH_S`, always after one."""
        is_rotated = self.rotated_s is not None and self.rotated_s == self.searched_s
        is_due = self.searches < FIRST_SEARCHES or now - self.searched_s >= SEARCH_S
        return is_due or is_rotated or self.was_rotated(now)

    def is_missed(self, now: float) -> bool:
        """Return True when the mesh of a rotated head was fitted upright this time: all of its attributes are wrong."""
        return self.rotated_s != now and self.was_rotated(now)


class FaceFollower:
    """Follows the faces of one video, frame by frame.

    Frames are not kept. `state` and `restore` continue in another process with exactly the same results.

    Args:
        analyzer: detects and classifies faces.
        detect_every: detect and classify faces in every Nth frame and track them in between; 1 for all frames. By
            default by time, see `DetectionSchedule`. When a face changes its appearance in between, faces are detected
            at once.
        smoothing_s: time constant of the filter of probabilities and movements, in seconds; 0 for no filter.

    Attributes:
        scanner: finds the faces of a frame.
        has_detected: true when faces were detected and classified in the last frame.

    Raises:
        InputError: when an argument is out of range.
    """

    def __init__(
        self, analyzer: Analyzer, *, detect_every: int | None = None, smoothing_s: float = TIME_CONSTANT_S
    ) -> None:
        manifest = analyzer.manifest
        self.analyzer = analyzer
        self.schedule = DetectionSchedule(detect_every)
        self.smoother = Smoother(manifest.labels, manifest.abstain_below, smoothing_s=smoothing_s)
        self._tracker = FaceTracker(memory_s=MEMORY_S)
        self._cuts = CutDetector()
        self.scanner = FaceScanner(analyzer)
        self._heads: dict[int, _Head] = {}
        self._scene = 1
        self.has_detected = False

    def step(self, frame: DecodedFrame) -> VideoFrame:
        """Return the next frame with its faces.

        Raises:
            ModelError: when a network fails.
        """
        if self._cuts.is_cut(frame.image):
            self._begin_scene()
        faces = None if self.schedule.is_due(frame.timestamp_s) else self._advance(frame)
        self.has_detected = faces is None
        if faces is None:
            faces = self._detect(frame)
        self.schedule.add(frame.timestamp_s, has_detected=self.has_detected)
        return VideoFrame(
            index=frame.index, timestamp_s=frame.timestamp_s, scene=self._scene, image=frame.image, faces=tuple(faces)
        )

    def state(self) -> dict[str, Any]:
        """Return everything that later frames depend on, as JSON values, exact."""
        return {
            "scene": self._scene,
            "schedule": self.schedule.state(),
            "tracker": self._tracker.state(),
            "smoother": self.smoother.state(),
            "cuts": self._cuts.state(),
            "scanner": self.scanner.state(),
            "heads": msgspec.to_builtins(self._heads, str_keys=True),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._scene = state["scene"]
        self.schedule.restore(state["schedule"])
        self._tracker.restore(state["tracker"])
        self.smoother.restore(state["smoother"])
        self._cuts.restore(state["cuts"])
        self.scanner.restore(state["scanner"])
        self._heads = convert(state["heads"], dict[int, _Head], str_keys=True)

    def _begin_scene(self) -> None:
        self._tracker.cut()
        self.smoother.retain()
        self._heads = {}
        self.scanner.restart()
        self.schedule.restart()
        self._scene += 1

    def _advance(self, frame: DecodedFrame) -> list[Face] | None:
        """Return the tracked faces without detection; None when one of them no longer has its appearance."""
        faces = self._tracker.advance(frame.timestamp_s)
        descriptors = [_descriptor(frame.image, face) for face in faces]
        if any(descriptor is None for descriptor in descriptors):
            return None
        if faces and self._tracker.has_changed(faces, np.array(descriptors)):
            return None
        return [self._keep_attributes(face) for face in faces]

    def _detect(self, frame: DecodedFrame) -> list[Face]:
        """Detect, track and classify the faces of a frame."""
        image, now = frame.image, frame.timestamp_s
        described = [(face, _descriptor(image, face)) for face in self.scanner.detect(image, now)]
        detections = [face for face, descriptor in described if descriptor is not None]
        descriptors = [descriptor for _, descriptor in described if descriptor is not None]
        stacked = np.stack(descriptors) if descriptors else np.empty((0, 1))
        tracked = self._tracker.update(now, detections, stacked, (image.shape[0], image.shape[1]))
        heads = [self._valid_head(face, now) for face in tracked]
        posed = [replace(face, head_pose=head.head_pose) for face, head in zip(tracked, heads, strict=True)]
        may_be_rotated = any(head.head_pose is None and head.may_be_rotated(now) for head in heads)
        predicted = self.analyzer.predict_faces(image, posed, replace(VIDEO_FRAME, try_rotations=may_be_rotated))
        if may_be_rotated:
            heads = [
                _after_search(head, before, after, now)
                for head, before, after in zip(heads, posed, predicted, strict=True)
            ]
        heads = [self._update(head, face, now) for face, head in zip(predicted, heads, strict=True)]
        faces = [self._smooth(face, head, now) for face, head in zip(predicted, heads, strict=True)]
        self.smoother.retain(self._tracker.track_ids)
        kept = {track_id: head for track_id, head in self._heads.items() if track_id in self._tracker.track_ids}
        self._heads = kept | {_track_id(face): head for face, head in zip(faces, heads, strict=True)}
        return faces

    def _valid_head(self, face: Face, now: float) -> _Head:
        """Return the last head of a face, or one without a pose when the mesh has to be fitted again."""
        shape = landmark_shape(face)
        head = self._heads.get(_track_id(face), _Head())
        is_kept = (
            not self.analyzer.options.action_units and not head.may_be_rotated(now) and now - head.fitted_s < POSE_S
        )
        if head.head_pose is not None and is_kept:
            shift, roll_deg = compare_shapes(head.shape, shape)
            if shift <= POSE_SHIFT and abs(roll_deg) <= POSE_ROLL_DEG:
                return head
        return replace(head, head_pose=None, quality=None, shape=shape, fitted_s=now, is_doubtful=False)

    def _update(self, head: _Head, face: Face, now: float) -> _Head:
        """Return the attributes of a head after a prediction; the last ones if it missed the rotation."""
        if head.is_missed(now):
            last = self._heads[_track_id(face)]
            return replace(last, searches=head.searches, searched_s=head.searched_s)
        return replace(
            head,
            head_pose=face.head_pose,
            quality=face.quality,
            movements=smooth_movements(head.movements, face, now, self.smoother.time_constant_s),
            is_doubtful=face.is_face_doubtful,
            is_face=head.is_face or face.head_pose is not None,
        )

    def _smooth(self, face: Face, head: _Head, now: float) -> Face:
        face = _with_movements(face, head)
        if face.expression is None:
            return face
        if head.is_missed(now) and (last := self.smoother.last(_track_id(face))):
            return replace(face, smoothed=_labeled(last, head))
        smoothed = self.smoother.add(_track_id(face), now, face.expression, prediction_weight(face.quality))
        return replace(face, smoothed=_labeled(smoothed, head))

    def _keep_attributes(self, face: Face) -> Face:
        """Add the attributes of its last prediction to a tracked face."""
        head = self._heads.get(_track_id(face), _Head())
        smoothed = self.smoother.last(_track_id(face))
        return replace(
            _with_movements(face, head),
            head_pose=head.head_pose,
            quality=head.quality,
            is_face_doubtful=head.is_doubtful,
            smoothed=None if smoothed is None else _labeled(smoothed, head),
        )


def _descriptor(image: np.ndarray, face: Face) -> np.ndarray | None:
    """Return the appearance descriptor of a face; None when its landmarks are degenerate."""
    if not np.isfinite(face.landmarks_xy).all():
        return None
    try:
        return appearance_descriptor(image, face)
    except InputError:
        return None


def _after_search(head: _Head, before: Face, after: Face, now: float) -> _Head:
    """Return a head after a search for a rotated mesh, which replaces the landmarks where it finds one."""
    if head.head_pose is not None:
        return head
    rotated_s = head.rotated_s if after.landmarks_xy is before.landmarks_xy else now
    is_face = head.is_face or (after.confidence < DOUBTFUL_CONFIDENCE and not after.is_face_doubtful)
    return replace(head, searches=head.searches + 1, searched_s=now, rotated_s=rotated_s, is_face=is_face)


def _with_movements(face: Face, head: _Head) -> Face:
    """Return a face with the smoothed movements of its head."""
    if head.movements is None:
        return face
    return replace(face, smoothed_action_units=head.movements.action_units, smoothed_gaze=head.movements.gaze)


def _labeled(smoothed: Expression, head: _Head) -> Expression:
    """Return a smoothed expression, without its label as long as the track may not be a face."""
    return replace(smoothed, label=None) if head.is_doubtful and not head.is_face else smoothed


def _track_id(face: Face) -> int:
    assert face.track_id is not None  # set by the tracker
    return face.track_id


def landmark_shape(face: Face) -> tuple[float, ...]:
    """Return the landmarks without position and size, as ten numbers that change when the head turns or tilts."""
    points = face.landmarks_xy.astype(np.float64)
    centered = points - points.mean(axis=0)
    spread = math.sqrt(float((centered**2).sum()) / len(points))
    return tuple((centered / max(spread, 1e-6)).ravel().tolist())


def compare_shapes(before: tuple[float, ...], after: tuple[float, ...]) -> tuple[float, float]:
    """Compare two landmark shapes after the rotation that aligns them best.

    Returns:
        The largest shift of a landmark, and the rotation from the first shape to the second, in degrees clockwise.
    """
    old, new = (np.array(points).reshape(-1, 2) @ [1, 1j] for points in (before, after))
    rotation = complex((old.conj() * new).sum())
    rotation /= max(abs(rotation), 1e-9)
    shift = float(np.abs(new - rotation * old).max())
    return shift, math.degrees(math.atan2(rotation.imag, rotation.real))
