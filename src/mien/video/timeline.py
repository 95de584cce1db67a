"""Timeline of a video: every face's expressions over time, summarized from the rows of the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.video.blinks import count_blinks
from mien.video.face_rows import ABSENT_S, UNCLASSIFIED, UNSURE, FaceLocation, FaceRows, read_faces
from mien.video.table import EYE_CLOSURE
from mien.video.time_bins import bin_edges, bin_means, bin_sums
from mien.video.transitions import Transition, find_transitions

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

_MIN_BIN_S = 0.005


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
        columns: (T,) means of the other columns given to `summarize_rows`, by name; NaN where unknown.
    """

    start_s: float
    width_s: float
    seconds: np.ndarray
    probabilities: np.ndarray
    states: np.ndarray
    pose_deg: np.ndarray
    quality: np.ndarray
    columns: Mapping[str, np.ndarray]


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
        blinks_per_minute: None where the eyes were not measured, or too rarely.
        curve: values over time; None for all but the faces that are longest in view.
        thumbnails: frontal and sharp views, spread evenly over time; empty without a curve.
    """

    track_id: int
    scene: int
    first_s: float
    last_s: float
    seconds: float
    shares: dict[str, float]
    unsure: float
    unclassified: float
    blinks_per_minute: float | None
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
    columns: Sequence[str] = (),
    *,
    max_bins: int = MAX_BINS,
    max_curves: int = MAX_CURVES,
    max_transitions: int = MAX_TRANSITIONS,
    fps: float | None = None,
) -> Timeline:
    """Summarize the rows of a video.

    Args:
        rows: see `mien.video.table`; in time order.
        labels: class names in the model's order.
        columns: names of other columns with numbers, for curves; blinks are counted in `EYE_CLOSURE`.
        max_bins: maximum number of bins of a curve; the bins of a face that is long in view are wider.
        max_curves: number of faces with curves and thumbnails: those longest in view.
        max_transitions: number of transitions to keep: the clearest ones.
        fps: see `mien.video.face_rows.read_faces`.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    faces = read_faces(rows, labels, columns, fps=fps)
    transitions = [transition for face in faces for transition in find_transitions(face, labels)]
    clearest = sorted(transitions, key=lambda item: (-item.clarity, item.timestamp_s))[:max_transitions]
    longest = sorted(range(len(faces)), key=lambda number: -faces[number].seconds)[:max_curves]
    tracks = tuple(
        summarize_face(face, labels, columns, max_bins=max_bins if number in longest else 0)
        for number, face in enumerate(faces)
    )
    scenes: dict[int, float] = {}
    for track in tracks:
        scenes.setdefault(track.scene, track.first_s)
    return Timeline(
        labels=labels,
        end_s=max((track.last_s for track in tracks), default=0.0),
        scenes=tuple(scenes.items()),
        tracks=tracks,
        transitions=tuple(sorted(clearest, key=lambda item: (item.timestamp_s, item.scene, item.track_id))),
        transition_count=len(transitions),
    )


def count_thumbnails(first_s: float, last_s: float) -> int:
    """Return the number of equal stretches, with at most one thumbnail each, of a face between two times."""
    return max(1, min(MAX_THUMBNAILS, int((last_s - first_s) / ABSENT_S)))


def summarize_face(face: FaceRows, labels: tuple[str, ...], columns: Sequence[str] = (), *, max_bins: int = 0) -> Track:
    """Return the track of a face, without curve and thumbnails where `max_bins` is 0; `columns` are its columns."""
    # The last two of C + 2 are UNCLASSIFIED and UNSURE, as negative indices.
    states = face.states % (len(labels) + 2)
    held_s = np.bincount(states, face.end_s - face.begin_s, minlength=len(labels) + 2)
    shares = (held_s / max(face.seconds, 1e-9)).tolist()
    return Track(
        track_id=face.track_id,
        scene=face.scene,
        first_s=float(face.begin_s[0]),
        last_s=float(face.end_s[-1]),
        seconds=face.seconds,
        shares=dict(zip(labels, shares, strict=False)),
        unsure=shares[UNSURE],
        unclassified=shares[UNCLASSIFIED],
        blinks_per_minute=_blinks_per_minute(face, columns),
        curve=_curve(face, len(labels), columns, max_bins) if max_bins else None,
        thumbnails=_thumbnails(face) if max_bins else (),
    )


def _blinks_per_minute(face: FaceRows, columns: Sequence[str]) -> float | None:
    if EYE_CLOSURE not in columns:
        return None
    closures = face.columns[:, columns.index(EYE_CLOSURE)]
    is_known = ~np.isnan(closures)
    count = count_blinks(face.begin_s[is_known], closures[is_known])
    return count.per_minute if count is not None and count.seconds > 0 else None


def _curve(face: FaceRows, classes: int, columns: Sequence[str], max_bins: int) -> Curve:
    start_s = float(face.begin_s[0])
    begin_s = face.begin_s - start_s
    end_s = face.end_s - start_s
    # The usual row: the first one may be as short or long as no other at a variable frame rate.
    usual_s = float(np.median(end_s - begin_s).round(6))
    edges_s = bin_edges(float(end_s[-1]), max(usual_s, _MIN_BIN_S), max_bins)
    means = bin_means(begin_s, end_s, np.hstack([face.values, face.columns]), edges_s)
    own = face.values.shape[1]
    held_s = bin_sums(begin_s, end_s, np.eye(classes + 2)[face.states], edges_s).round(9)
    seconds = held_s.sum(axis=1)
    longest = held_s.argmax(axis=1)
    states = np.where(longest < classes, longest, longest - classes - 2)
    return Curve(
        start_s=start_s,
        width_s=float(edges_s[1]),
        seconds=seconds,
        probabilities=means[:, :classes],
        states=np.where(seconds > 0, states, ABSENT),
        pose_deg=means[:, classes : classes + 3],
        quality=means[:, classes + 3 : own],
        columns=dict(zip(columns, means[:, own:].T, strict=True)),
    )


def _thumbnails(face: FaceRows) -> tuple[FaceLocation, ...]:
    """Return the best view of each of some equal stretches, preferably near its middle."""
    first_s, last_s = face.begin_s[0], face.end_s[-1]
    count = count_thumbnails(first_s, last_s)
    positions = (face.begin_s - first_s) / max(last_s - first_s, 1e-9) * count
    stretches = np.minimum(positions.astype(int), count - 1)
    scores = face.view_scores * (1 - np.abs(positions - stretches - 0.5))
    members = [np.flatnonzero(stretches == stretch) for stretch in range(count)]
    return tuple(face.location(int(index[scores[index].argmax()])) for index in members if len(index))
