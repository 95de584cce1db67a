"""Rows of a video's table as arrays, by face: about 20 MB for one face in an hour of 30 frames per second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mien.errors import InputError

UNSURE = -1
"""State of a classified face without a steady label."""
UNCLASSIFIED = -2
"""State of a face before its first prediction."""
ABSENT_S = 0.5
"""A face without rows for longer is absent, unless frames are further apart than that."""

_DEFAULT_STEP_S = 0.04
_STEP_WINDOW = 15
_ROW = ("timestamp_s", "scene", "track_id", "x1", "y1", "x2", "y2", "confidence", "visible", "frame_index")
_POSE = ("yaw_deg", "pitch_deg", "roll_deg")
_QUALITY = ("sharpness", "frontality", "size_px")


@dataclass(frozen=True, kw_only=True)
class FaceLocation:
    """A face in one frame, to be cropped from it: time, and left, top, right, bottom in pixels of the frame."""

    timestamp_s: float
    bbox_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class FaceRows:
    """The N rows of one face; each holds until the next one, or before an absence until the next frame.

    Attributes:
        scene: number of the scene.
        track_id: number of the face.
        begin_s: (N,) times of the frames, ascending.
        end_s: (N,) ends of the frames.
        is_last: (N,) bool, true before an absence.
        is_predicted: (N,) bool, true where the frame itself was classified and its label is not held from another.
        boxes_xyxy: (N, 4) pixels.
        states: (N,) int, index of the steady label, `UNSURE` or `UNCLASSIFIED`.
        confidences: (N,) of the label, 0..1.
        view_scores: (N,) fitness as a thumbnail: frontal, sharp and unoccluded views score highest.
        values: (N, C + 6) smoothed probabilities, yaw, pitch, roll, sharpness, frontality and size; NaN is unknown.
        columns: (N, K) other columns of the table, those given to `read_faces`; NaN is unknown.
    """

    scene: int
    track_id: int
    begin_s: np.ndarray
    end_s: np.ndarray
    is_last: np.ndarray
    is_predicted: np.ndarray
    boxes_xyxy: np.ndarray
    states: np.ndarray
    confidences: np.ndarray
    view_scores: np.ndarray
    values: np.ndarray
    columns: np.ndarray

    @property
    def seconds(self) -> float:
        """Seconds with the face in view."""
        return float((self.end_s - self.begin_s).sum())

    def location(self, index: int) -> FaceLocation:
        """Return the face location of a row."""
        x1, y1, x2, y2 = self.boxes_xyxy[index].tolist()
        return FaceLocation(timestamp_s=float(self.begin_s[index]), bbox_xyxy=(x1, y1, x2, y2))

    def select(self, rows: np.ndarray) -> FaceRows:
        """Return some of the rows, by their indices."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: array[rows] for name, array in arrays.items() if isinstance(array, np.ndarray)})


def read_faces(
    rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...], columns: Sequence[str] = (), *, fps: float | None = None
) -> list[FaceRows]:
    """Read the rows of a video, faces in the order of appearance.

    Args:
        rows: see `mien.video.table`; in time order.
        labels: class names in the model's order.
        columns: names of other columns with numbers to read.
        fps: analyzed frames per second, for a video in which no face has two rows; by default derived from the
            numbers of the frames.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    indices: dict[str | None, float] = {None: np.nan, **{name: index for index, name in enumerate(labels)}}
    names = (*_ROW, *(f"s_{name}" for name in labels), *_POSE, *_QUALITY, *(f"p_{name}" for name in labels[:1]))

    def numbers(row: Mapping[str, Any]) -> list[float | None]:
        label = row.get("label")
        if label not in indices:
            raise InputError(f"a row has the label {label!r}; expected one of {', '.join(labels)}.")
        return [*(row.get(name) for name in names), indices[label], *(row.get(name) for name in columns)]

    table = np.fromiter(map(numbers, rows), dtype=np.dtype((float, len(names) + 1 + len(columns))))
    _, first, face, counts = np.unique(
        table[:, 1:3], axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    groups = np.split(np.argsort(face.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    width = len(names) + 1
    parts = [groups[number] for number in np.argsort(first)]
    times_s = table[:, 0]
    steps_s = _frame_steps(times_s, table[:, _ROW.index("frame_index")], parts, fps)
    frames_s, frame_of_row = np.unique(times_s, return_inverse=True)
    next_s = np.append(frames_s[1:], np.inf)[frame_of_row]
    return [
        _face_rows(table[part, :width], table[part, width:], steps_s[part], next_s[part], len(labels)) for part in parts
    ]


def _frame_steps(
    times_s: np.ndarray, frame_indices: np.ndarray, faces: Sequence[np.ndarray], fps: float | None
) -> np.ndarray:
    """Return for every row the usual time between two analyzed frames.

    It is the running median of the time between two rows of the same face. Where no face has two rows, it follows from
    `fps`, or from times and numbers of the frames.
    """
    gaps_s = np.concatenate([np.diff(times_s[face]) for face in faces] or [np.empty(0)])
    if not len(gaps_s):
        return np.full(len(times_s), 1 / fps if fps else _step_by_index(times_s, frame_indices))
    starts_s = np.concatenate([times_s[face[:-1]] for face in faces])
    order = np.lexsort((gaps_s, starts_s))
    # where faces differ, one of them is absent for some frames
    starts_s, shortest = np.unique(starts_s[order], return_index=True)
    half = _STEP_WINDOW // 2
    padded_s = np.pad(gaps_s[order][shortest], half, mode="symmetric")
    medians_s = np.median(np.lib.stride_tricks.sliding_window_view(padded_s, _STEP_WINDOW), axis=1)
    return medians_s[np.maximum(np.searchsorted(starts_s, times_s, side="right") - 1, 0)]


def _step_by_index(times_s: np.ndarray, frame_indices: np.ndarray) -> float:
    """Return the mean time between two frames of the source; the first one is at 0 s."""
    last = int(times_s.argmax()) if len(times_s) else None
    if last is None or not frame_indices[last] > 0 or not times_s[last] > 0:
        return _DEFAULT_STEP_S
    return float(times_s[last] / frame_indices[last])


def _face_rows(
    table: np.ndarray, columns: np.ndarray, steps_s: np.ndarray, next_s: np.ndarray, classes: int
) -> FaceRows:
    begin_s, confidences, visible = table[:, 0], table[:, 7], table[:, 8]
    values, labels = table[:, len(_ROW) : len(_ROW) + classes + len(_POSE) + len(_QUALITY)], table[:, -1]
    is_predicted = ~np.isnan(table[:, -2]) if classes else np.zeros(len(table), dtype=bool)
    gaps_s = np.append(np.diff(begin_s), np.inf)
    if (gaps_s <= 0).any():
        row = int((gaps_s <= 0).argmax())
        raise InputError(f"the rows are not in time order: {begin_s[row + 1]:.3f} s follows {begin_s[row]:.3f} s.")
    is_last = gaps_s > np.maximum(ABSENT_S, 2.5 * steps_s)
    unlabeled = np.where(np.isnan(values[:, :classes]).any(axis=1), UNCLASSIFIED, UNSURE)
    sharpness, frontality = np.nan_to_num(values[:, -3:-1].T, nan=0.5)
    return FaceRows(
        scene=int(table[0, 1]),
        track_id=int(table[0, 2]),
        begin_s=begin_s,
        end_s=np.where(is_last, np.minimum(begin_s + steps_s, next_s), np.append(begin_s[1:], 0)),
        is_last=is_last,
        is_predicted=is_predicted,
        boxes_xyxy=table[:, 3:7],
        states=np.where(np.isnan(labels), unlabeled, np.nan_to_num(labels)).astype(int),
        confidences=np.nan_to_num(confidences),
        view_scores=(0.1 + frontality) * (0.1 + sharpness) * np.nan_to_num(visible, nan=1.0),
        values=values,
        columns=columns,
    )
