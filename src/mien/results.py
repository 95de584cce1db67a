"""What callers get: frozen records of faces and their perceived expressions.

`to_dict` gives plain numbers, strings, lists and dicts, ready for JSON; its keys are the JSON of `mien predict --json`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class HeadPose:
    """Rotation of the head in degrees, zero when the subject looks into the camera.

    `yaw_deg` > 0 when the subject turns to their own left, `pitch_deg` > 0 up, `roll_deg` > 0 when the head tilts to
    the subject's own left shoulder.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    def to_dict(self) -> dict[str, float]:
        """Yaw, pitch and roll in degrees under the keys `yaw`, `pitch`, `roll`."""
        return {
            "yaw": round(self.yaw_deg, 1),
            "pitch": round(self.pitch_deg, 1),
            "roll": round(self.roll_deg, 1),
        }


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well a face can be read.

    Attributes:
        size_px: shorter side of the face's box, in pixels of the original image.
        sharpness: 0 (a blur) .. 1 (crisp), measured on the aligned face at a fixed size.
        frontality: 1 when the face looks into the camera .. 0 in profile; None when the pose is unknown.
        visible: share of the face's box inside the image, 0..1.
    """

    size_px: float
    sharpness: float
    frontality: float | None
    visible: float

    def to_dict(self) -> dict[str, float | None]:
        """The four numbers, rounded for reading."""
        return {key: None if value is None else round(float(value), 3) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression:
    """The perceived expression of one face: calibrated probabilities, and a label unless the tool abstains.

    Attributes:
        labels: class names, in the order of the model's manifest.
        probabilities: (C,) float, sums to 1.
        label: the most probable class, or None when its probability is too low: below the model's `abstain_below`, or
            what `max_error` asks for.
        confidence: the probability of the most probable class.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    label: str | None
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Label, confidence, and the probability of every class by name."""
        named = {name: round(float(p), 6) for name, p in zip(self.labels, self.probabilities, strict=True)}
        return {"label": self.label, "confidence": round(self.confidence, 6), "probabilities": named}


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What a model looked at when it read a face. It tells about the model, not why a person feels anything.

    Attributes:
        expression: what was read.
        maps: (C, h, w) float32 class-activation maps, row and column as in the crop: how strongly each place speaks
            for each class.
        region_weights: how much each part of the face counted, by name, summing to 1; empty when the model has none.
    """

    expression: Expression
    maps: np.ndarray
    region_weights: dict[str, float]

    def heat(self, label: str) -> np.ndarray:
        """Where the crop speaks for a class rather than for the others: (h, w), 0 (nowhere) .. 1 (most).

        A map minus the mean of all maps, because the softmax looks at differences alone; what speaks against the class
        is 0. It says where, not how much: the largest value is always 1, unless nothing speaks for the class.

        Raises:
            ValueError: when the model has no such class.
        """
        index = self.expression.labels.index(label)
        evidence = (self.maps[index] - self.maps.mean(axis=0)).clip(min=0)
        return evidence / evidence.max() if evidence.max() > 0 else evidence

    def to_dict(self) -> dict[str, Any]:
        """The expression, the map of every class by name as rows of numbers, and the regions' weights."""
        named = zip(self.expression.labels, self.maps.tolist(), strict=True)
        return {
            "expression": self.expression.to_dict(),
            "maps": {name: [[round(value, 4) for value in row] for row in rows] for name, rows in named},
            "region_weights": {name: round(weight, 6) for name, weight in self.region_weights.items()},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """One face found in an image. Coordinates are pixels of the upright original image.

    Two are equal when they are one: in a list, a set or a dictionary faces are told apart by what they are.

    Attributes:
        bbox_xyxy: (4,) left, top, right, bottom; right and bottom exclusive.
        landmarks_xy: (5, 2) the subject's right eye, left eye, nose tip, right and left mouth corner; the detector's,
            or the mesh's where the face lies otherwise than those say.
        confidence: the detector's, 0..1.
        mesh_xyz: (478, 3) landmark mesh, or None when it was not asked for.
        head_pose: or None when the mesh does not fit the face.
        track_id: in video, the number of the person in this scene, from 1.
        expression: what this image alone shows; in video None in the frames between two readings.
        smoothed: in video, the expression over the last moments, its label steady; see `mien.video.smoothing`.
    """

    bbox_xyxy: np.ndarray
    landmarks_xy: np.ndarray
    confidence: float
    mesh_xyz: np.ndarray | None = None
    head_pose: HeadPose | None = None
    quality: Quality | None = None
    track_id: int | None = None
    expression: Expression | None = None
    smoothed: Expression | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the mesh, as plain JSON values; `track_id` and `smoothed` in video alone."""
        record: dict[str, Any] = {
            "bbox_xyxy": [round(float(v), 1) for v in self.bbox_xyxy],
            "confidence": round(self.confidence, 6),
            "landmarks_xy": [[round(float(v), 1) for v in point] for point in self.landmarks_xy],
            "head_pose_deg": self.head_pose.to_dict() if self.head_pose else None,
            "quality": self.quality.to_dict() if self.quality else None,
            "expression": self.expression.to_dict() if self.expression else None,
        }
        if self.track_id is None:
            return record
        smoothed = self.smoothed.to_dict() if self.smoothed else None
        return {"track_id": self.track_id, **record, "smoothed": smoothed}


@dataclass(frozen=True, kw_only=True)
class ExplainedFace:
    """One face of an image, and what the model used to read it.

    Attributes:
        face: with its expression.
        image: (S, S, 3) uint8 RGB, the part of the image that the model sees, for people to look at.
        explanation: of the same crop.
        label: the class that is explained.
    """

    face: Face
    image: np.ndarray
    explanation: Explanation
    label: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: where the face is, the explained class, and the explanation."""
        found = self.face.to_dict()
        return {
            "bbox_xyxy": found["bbox_xyxy"],
            "confidence": found["confidence"],
            "explained": self.label,
            **self.explanation.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """One frame of a video and the faces that are followed in it.

    Attributes:
        index: number of the frame in its source, from 0; a frame that was dropped or broken leaves a gap.
        timestamp_s: when it is shown, in seconds since the first frame.
        scene: number of the scene, from 1; after a cut nobody keeps a track.
        image: (H, W, 3) uint8 RGB, upright.
        faces: each with its `track_id`, in the order of their numbers.
    """

    index: int
    timestamp_s: float
    scene: int
    image: np.ndarray
    faces: tuple[Face, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as plain JSON values."""
        return {
            "frame_index": self.index,
            "timestamp_s": round(self.timestamp_s, 6),
            "scene": self.scene,
            "faces": [face.to_dict() for face in self.faces],
        }
