"""Transitions: changes of a face's steady label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

IMAGE_S = 1.5
"""The images of a transition are chosen within this many seconds before and after it."""
MAX_UNLABELED_S = 3.0
"""Longest stretch without a label inside a transition, in seconds; after a longer one there is no transition."""
_FULL_HOLD_S = 2.0


@dataclass(frozen=True, kw_only=True)
class FaceLocation:
    """A face in one frame, to be cropped from it.

    Attributes:
        timestamp_s: time of the frame.
        bbox_xyxy: left, top, right, bottom in pixels of the frame.
    """

    timestamp_s: float
    bbox_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change of a face's steady label.

    Attributes:
        timestamp_s: time of the first frame with the new label.
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


def find_transitions(
    scene: int,
    track_id: int,
    labels: tuple[str, ...],
    *,
    times_s: np.ndarray,
    states: np.ndarray,
    confidences: np.ndarray,
    boxes_xyxy: np.ndarray,
    is_last: np.ndarray,
) -> list[Transition]:
    """Return the transitions of one face, in time order.

    Args:
        scene: number of the scene.
        track_id: number of the face.
        labels: class names in the model's order.
        times_s: (N,) times of the face's frames, ascending.
        states: (N,) int, index of the steady label, negative where there is none.
        confidences: (N,) confidence of the label, 0..1.
        boxes_xyxy: (N, 4) boxes in pixels.
        is_last: (N,) bool, true in the last frame before the face is absent.
    """
    labeled = np.flatnonzero(states >= 0)
    appearances = np.cumsum(is_last) - is_last
    is_break = np.diff(appearances[labeled]) > 0
    is_break |= np.diff(times_s[labeled]) > MAX_UNLABELED_S
    starts = np.flatnonzero(is_break | (np.diff(states[labeled]) != 0)) + 1
    transitions = []
    for start, (old, new) in zip(starts, pairwise(np.split(labeled, starts)), strict=True):
        if is_break[start - 1]:
            continue
        latest = old[times_s[old] >= times_s[old[-1]] - IMAGE_S][::-1]
        earliest = new[times_s[new] <= times_s[new[0]] + IMAGE_S]
        before = int(latest[confidences[latest].argmax()])
        after = int(earliest[confidences[earliest].argmax()])
        transitions.append(
            Transition(
                timestamp_s=float(times_s[new[0]]),
                scene=scene,
                track_id=track_id,
                before=labels[states[before]],
                after=labels[states[after]],
                location_before=face_location(times_s, boxes_xyxy, before),
                location_after=face_location(times_s, boxes_xyxy, after),
                confidence=float(confidences[after]),
                held_s=float(min(np.ptp(times_s[old]), np.ptp(times_s[new]))),
            )
        )
    return transitions


def face_location(times_s: np.ndarray, boxes_xyxy: np.ndarray, index: int) -> FaceLocation:
    """Return the face location of one row."""
    x1, y1, x2, y2 = boxes_xyxy[index].tolist()
    return FaceLocation(timestamp_s=float(times_s[index]), bbox_xyxy=(x1, y1, x2, y2))
