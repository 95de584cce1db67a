"""Timeline of a video: every face's expressions over time, summarized from the rows of the table.

All rows are held in memory as numbers: about 20 MB for one face in an hour of 30 frames a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.video.time_bins import bin_edges, bin_means, bin_sums
from mien.video.transitions import FaceLocation, Transition, face_location, find_transitions

UNSURE = -1
"""State of a classified face without a steady label."""
UNCLASSIFIED = -2
"""State of a face before its first prediction."""
ABSENT = -3
"""State of a time bin without the face."""
MAX_BINS = 360
"""Maximum number of time bins of a curve."""
MAX_CURVES = 30
"""Maximum number of faces with curves and thumbnails."""
MAX_TRANSITIONS = 24
"""Maximum number of transitions in a timeline."""
MAX_THUMBNAILS = 10
"""Maximum number of thumbnails of a face."""
ABSENT_S = 0.5
"""A face without rows for longer is absent, unless frames are further apart than that."""

_DEFAULT_STEP_S = 0.04
_MIN_BIN_S = 0.005
_STEP_WINDOW = 15
_POSE = ("yaw_deg", "pitch_deg", "roll_deg")
_QUALITY = ("sharpness", "frontality", "size_px")
_ROW = ("timestamp_s", "scene", "track_id", "x1", "y1", "x2", "y2", "confidence", "visible")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One face over time, in T bins of equal width; the last bin may end after the face's last frame.

    Attributes:
        start_s: left edge of the first bin.
        width_s: width of a bin.
        seconds: (T,) seconds of each bin with the face.
        probabilities: (T, C) mean smoothed probabilities, NaN where the face is absent or unclassified.
        states: (T,) int, index of the steady label that was held longest, or `UNSURE`, `UNCLASSIFIED`, `ABSENT`.
        pose_deg: (T, 3) mean yaw, pitch and roll, NaN where unknown.
        quality: (T, 3) mean sharpness, frontality and size in pixels, NaN where unknown.
    """

    start_s: float
    width_s: float
    seconds: np.ndarray
    probabilities: np.ndarray
    states: np.ndarray
    pose_deg: np.ndarray
    quality: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Track:
    """One tracked face.

    Attributes:
        track_id: number of the face.
        scene: number of the scene.
        first_s: time of the first frame.
        last_s: end of the last frame.
        seconds: seconds with the face in view.
        shares: share of these seconds by steady label, for every label in order.
        unsure: share without a steady label.
        unclassified: share before the first prediction. All shares sum to 1.
        curve: values over time; None for all but the faces that are longest in view.
        thumbnails: frontal and sharp views, spread evenly over time; empty where there is no curve.
    """

    track_id: int
    scene: int
    first_s: float
    last_s: float
    seconds: float
    shares: dict[str, float]
    unsure: float
    unclassified: float
    curve: Curve | None
    thumbnails: tuple[FaceLocation, ...]

    @property
    def main_label(self) -> str | None:
        """The label that was held longest; None without labels, or when the unsure share is larger."""
        name = max(self.shares, key=self.shares.__getitem__, default=None)
        if name is None or self.shares[name] <= 0 or self.shares[name] < self.unsure:
            return None
        return name


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Summary of a video for its report.

    Attributes:
        labels: class names in the model's order.
        end_s: end of the last frame with a face.
        scenes: number of each scene with faces, and the time of its first face.
        tracks: all faces, in the order of appearance.
        transitions: the clearest transitions, in time order.
        transition_count: number of all transitions.
    """

    labels: tuple[str, ...]
    end_s: float
    scenes: tuple[tuple[int, float], ...]
    tracks: tuple[Track, ...]
    transitions: tuple[Transition, ...]
    transition_count: int


def summarize_rows(
    rows: Iterable[Mapping[str, Any]],
    labels: tuple[str, ...],
    *,
    max_bins: int = MAX_BINS,
    max_curves: int = MAX_CURVES,
    max_transitions: int = MAX_TRANSITIONS,
) -> Timeline:
    """Summarize the rows of a video.

    Args:
        rows: see `mien.video.table`; in time order.
        labels: class names in the model's order.
        max_bins: maximum number of bins of a curve; the bins of a face that is long in view are wider.
        max_curves: number of faces with curves and thumbnails: those longest in view.
        max_transitions: number of transitions to keep: the clearest ones.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    columns = _read_columns(rows, labels)
    faces = [_Face(columns.select(index)) for index in _group_by_face(columns)]
    transitions = [transition for face in faces for transition in face.transitions(labels)]
    clearest = sorted(transitions, key=lambda item: (-item.clarity, item.timestamp_s))[:max_transitions]
    longest = sorted(range(len(faces)), key=lambda number: -faces[number].seconds)[:max_curves]
    scenes: dict[int, float] = {}
    for face in faces:
        scenes.setdefault(face.scene, face.first_s)
    return Timeline(
        labels=labels,
        end_s=max((face.last_s for face in faces), default=0.0),
        scenes=tuple(scenes.items()),
        tracks=tuple(
            face.track(labels, max_bins if number in longest else 0) for number, face in enumerate(faces)
        ),
        transitions=tuple(sorted(clearest, key=lambda item: (item.timestamp_s, item.scene, item.track_id))),
        transition_count=len(transitions),
    )


def count_thumbnails(first_s: float, last_s: float) -> int:
    """Return the number of equal stretches, with at most one thumbnail each, of a face between two times."""
    return max(1, min(MAX_THUMBNAILS, int((last_s - first_s) / ABSENT_S)))


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Rows as arrays, all of length N.

    Attributes:
        times_s: (N,) times of the frames.
        steps_s: (N,) usual time between two frames around each row.
        keys: (N, 2) int, scene and track_id.
        boxes_xyxy: (N, 4) pixels.
        states: (N,) int, index of the steady label, `UNSURE` or `UNCLASSIFIED`.
        confidences: (N,) of the label, 0..1.
        view_scores: (N,) fitness as a thumbnail: frontal, sharp and unoccluded views score highest.
        values: (N, C + 6) smoothed probabilities, pose and quality; NaN is unknown.
    """

    times_s: np.ndarray
    steps_s: np.ndarray
    keys: np.ndarray
    boxes_xyxy: np.ndarray
    states: np.ndarray
    confidences: np.ndarray
    view_scores: np.ndarray
    values: np.ndarray

    def select(self, index: np.ndarray) -> _Columns:
        """Return some of the rows."""
        return _Columns(**{name: column[index] for name, column in vars(self).items()})


def _read_columns(rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...]) -> _Columns:
    indices: dict[str | None, float] = {None: np.nan, **{name: index for index, name in enumerate(labels)}}
    names = (*_ROW, *(f"s_{name}" for name in labels), *_POSE, *_QUALITY)

    def numbers(row: Mapping[str, Any]) -> list[float | None]:
        label = row.get("label")
        if label not in indices:
            raise InputError(f"a row has the label {label!r}; expected one of {', '.join(labels)}.")
        return [*(row.get(name) for name in names), indices[label]]

    table = np.fromiter(map(numbers, rows), dtype=np.dtype((float, len(names) + 1)))
    values, label = table[:, len(_ROW) : -1], table[:, -1]
    is_classified = ~np.isnan(values[:, : len(labels)]).any(axis=1)
    states = np.where(np.isnan(label), np.where(is_classified, UNSURE, UNCLASSIFIED), np.nan_to_num(label))
    sharpness, frontality = np.nan_to_num(values[:, -3:-1].T, nan=0.5)
    return _Columns(
        times_s=table[:, 0],
        steps_s=_usual_steps(table[:, 0]),
        keys=table[:, 1:3].astype(int),
        boxes_xyxy=table[:, 3:7],
        states=states.astype(int),
        confidences=np.nan_to_num(table[:, 7]),
        view_scores=(0.1 + frontality) * (0.1 + sharpness) * np.nan_to_num(table[:, 8], nan=1.0),
        values=values,
    )


def _usual_steps(times_s: np.ndarray) -> np.ndarray:
    """Return the running median of the time between two frames, for every row."""
    frames_s, frame_of_row = np.unique(times_s, return_inverse=True)
    if len(frames_s) < 2:
        return np.full(len(times_s), _DEFAULT_STEP_S)
    half = _STEP_WINDOW // 2
    steps_s = np.pad(np.diff(frames_s), (half, half + 1), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(steps_s, _STEP_WINDOW)
    return np.median(windows, axis=1)[frame_of_row]


def _group_by_face(columns: _Columns) -> list[np.ndarray]:
    """Return the row numbers of each face, faces in the order of appearance."""
    _, first, face, counts = np.unique(
        columns.keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    groups = np.split(np.argsort(face.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    return [groups[number] for number in np.argsort(first)]


class _Face:
    """The rows of one face, each of which holds until the next one, or for a usual step before an absence."""

    def __init__(self, rows: _Columns) -> None:
        self._rows = rows
        times_s = rows.times_s
        gaps_s = np.append(np.diff(times_s), np.inf)
        if (gaps_s <= 0).any():
            late = int((gaps_s <= 0).argmax())
            raise InputError(
                f"the rows are not in time order: {times_s[late + 1]:.3f} s follows {times_s[late]:.3f} s."
            )
        self._is_last = gaps_s > np.maximum(ABSENT_S, 2.5 * rows.steps_s)
        self._ends_s = np.where(self._is_last, times_s + rows.steps_s, np.append(times_s[1:], 0))
        self.scene, self.track_id = rows.keys[0].tolist()
        self.first_s = float(times_s[0])
        self.last_s = float(self._ends_s[-1])
        self.seconds = float((self._ends_s - times_s).sum())

    def transitions(self, labels: tuple[str, ...]) -> list[Transition]:
        """Return the changes of the steady label."""
        rows = self._rows
        return find_transitions(
            self.scene,
            self.track_id,
            labels,
            times_s=rows.times_s,
            states=rows.states,
            confidences=rows.confidences,
            boxes_xyxy=rows.boxes_xyxy,
            is_last=self._is_last,
        )

    def track(self, labels: tuple[str, ...], max_bins: int) -> Track:
        """Return the summary, without curve and thumbnails where `max_bins` is 0."""
        durations_s = self._ends_s - self._rows.times_s
        # The last two of C + 2 are UNCLASSIFIED and UNSURE, as negative indices.
        held_s = np.bincount(self._rows.states % (len(labels) + 2), durations_s, minlength=len(labels) + 2)
        shares = (held_s / max(self.seconds, 1e-9)).tolist()
        return Track(
            track_id=self.track_id,
            scene=self.scene,
            first_s=self.first_s,
            last_s=self.last_s,
            seconds=self.seconds,
            shares=dict(zip(labels, shares, strict=False)),
            unsure=shares[UNSURE],
            unclassified=shares[UNCLASSIFIED],
            curve=self._curve(len(labels), max_bins) if max_bins else None,
            thumbnails=self._thumbnails() if max_bins else (),
        )

    def _curve(self, classes: int, max_bins: int) -> Curve:
        rows = self._rows
        begin_s = rows.times_s - self.first_s
        end_s = self._ends_s - self.first_s
        edges_s = bin_edges(float(end_s[-1]), max(float(end_s[0]), _MIN_BIN_S), max_bins)
        means = bin_means(begin_s, end_s, rows.values, edges_s)
        held_s = bin_sums(begin_s, end_s, np.eye(classes + 2)[rows.states], edges_s).round(9)
        seconds = held_s.sum(axis=1)
        longest = held_s.argmax(axis=1)
        states = np.where(longest < classes, longest, longest - classes - 2)
        return Curve(
            start_s=self.first_s,
            width_s=float(edges_s[1]),
            seconds=seconds,
            probabilities=means[:, :classes],
            states=np.where(seconds > 0, states, ABSENT),
            pose_deg=means[:, classes : classes + 3],
            quality=means[:, classes + 3 :],
        )

    def _thumbnails(self) -> tuple[FaceLocation, ...]:
        """Return the best view of each of some equal stretches, preferably near its middle."""
        rows, count = self._rows, count_thumbnails(self.first_s, self.last_s)
        positions = (rows.times_s - self.first_s) / max(self.last_s - self.first_s, 1e-9) * count
        stretches = np.minimum(positions.astype(int), count - 1)
        scores = rows.view_scores * (1 - np.abs(positions - stretches - 0.5))
        members = [np.flatnonzero(stretches == stretch) for stretch in range(count)]
        best = [int(index[scores[index].argmax()]) for index in members if len(index)]
        return tuple(face_location(rows.times_s, rows.boxes_xyxy, index) for index in best)
