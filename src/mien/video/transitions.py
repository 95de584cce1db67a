"""Transitions: changes of a face's steady label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mien.video.face_rows import FaceLocation, FaceRows

IMAGE_S = 1.5
"""The images of a transition are chosen within this many seconds before and after it."""
MAX_UNLABELED_S = 3.0
"""Longest stretch without a label inside a transition, in seconds; a longer one separates two labels."""
_FULL_HOLD_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change of a face's steady label.

    Attributes:
        timestamp_s: time of the first frame with the new label; smoothing delays it.
        scene: number of the scene.
        track_id: number of the face.
        before: the old label.
        after: the new label.
        location_before: the face with the highest confidence for the old label, shortly before.
        location_after: the face with the highest confidence for the new label, shortly after.
        confidence: of the new label in that frame, 0..1.
        held_s: seconds for which the shorter of the two labels was held.
    """

    timestamp_s: float
    scene: int
    track_id: int
    before: str
    after: str
    location_before: FaceLocation
    location_after: FaceLocation
    confidence: float
    held_s: float

    @property
    def clarity(self) -> float:
        """Rank of a transition: confident labels that are held for up to two seconds rank highest."""
        return self.confidence * (0.25 + min(self.held_s, _FULL_HOLD_S))


def find_transitions(face: FaceRows, labels: tuple[str, ...]) -> list[Transition]:
    """Return the transitions of one face, in time order."""
    times_s, confidences = face.begin_s, face.confidences
    labeled = np.flatnonzero(face.states >= 0)
    appearances = np.cumsum(face.is_last) - face.is_last
    is_break = np.diff(appearances[labeled]) > 0
    is_break |= times_s[labeled[1:]] - face.end_s[labeled[:-1]] > MAX_UNLABELED_S
    starts = np.flatnonzero(is_break | (np.diff(face.states[labeled]) != 0)) + 1
    transitions = []
    for start, (old, new) in zip(starts, pairwise(np.split(labeled, starts)), strict=True):
        if is_break[start - 1]:
            continue
        latest = _predicted(face, old[times_s[old] >= times_s[old[-1]] - IMAGE_S][::-1])
        earliest = _predicted(face, new[times_s[new] <= times_s[new[0]] + IMAGE_S])
        before = int(latest[confidences[latest].argmax()])
        after = int(earliest[confidences[earliest].argmax()])
        transitions.append(
            Transition(
                timestamp_s=float(times_s[new[0]]),
                scene=face.scene,
                track_id=face.track_id,
                before=labels[face.states[before]],
                after=labels[face.states[after]],
                location_before=face.location(before),
                location_after=face.location(after),
                confidence=float(confidences[after]),
                held_s=float(min(face.end_s[rows[-1]] - times_s[rows[0]] for rows in (old, new))),
            )
        )
    return transitions


def _predicted(face: FaceRows, rows: np.ndarray) -> np.ndarray:
    """Return the rows that were classified themselves, or all without any.

    Rows in between hold the label of the last prediction, and their face may already have changed.
    """
    return rows[face.is_predicted[rows]] if face.is_predicted[rows].any() else rows
