"""Label segments: stretches of a video in which a face keeps its steady label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.video.face_rows import FaceRows, read_faces


@dataclass(frozen=True, kw_only=True)
class LabelSegment:
    """A stretch in which one face keeps one label without leaving the view.

    Attributes:
        scene: number of the scene.
        track_id: number of the face in its scene.
        label: the steady (smoothed) label.
        start_s: time of the first frame with the label.
        end_s: end of the last frame with it.
        confidence: mean smoothed probability of the label, weighted by time, 0..1.
    """

    scene: int
    track_id: int
    label: str
    start_s: float
    end_s: float
    confidence: float


def label_segments(
    rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...], *, fps: float | None = None
) -> list[LabelSegment]:
    """Return the label segments of all faces, by start time; stretches without a label are left out.

    Args:
        rows: see `mien.video.table`; in time order.
        labels: class names in the model's order.
        fps: analyzed frames per second, if known, for faces in a single row; a table does not state it.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    segments = [segment for face in read_faces(rows, labels, fps=fps) for segment in _face_segments(face, labels)]
    return sorted(segments, key=lambda segment: (segment.start_s, segment.scene, segment.track_id))


def steady_stretches(face: FaceRows) -> list[np.ndarray]:
    """Return the indices of the rows of each stretch in which a face keeps its label without leaving the view."""
    starts = np.flatnonzero((np.diff(face.states) != 0) | face.is_last[:-1]) + 1
    return [rows for rows in np.split(np.arange(len(face.states)), starts) if face.states[rows[0]] >= 0]


def _face_segments(face: FaceRows, labels: tuple[str, ...]) -> list[LabelSegment]:
    segments = []
    for rows in steady_stretches(face):
        state = int(face.states[rows[0]])
        seconds = face.end_s[rows] - face.begin_s[rows]
        segments.append(
            LabelSegment(
                scene=face.scene,
                track_id=face.track_id,
                label=labels[state],
                start_s=float(face.begin_s[rows[0]]),
                end_s=float(face.end_s[rows[-1]]),
                confidence=float(np.average(face.values[rows, state], weights=np.maximum(seconds, 1e-9))),
            )
        )
    return segments
