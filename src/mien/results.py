"""Result types: faces, perceived expressions, head pose, quality, explanations and video frames.

All are frozen. `to_record` converts to the structs of `mien.schema`, `to_dict` to plain JSON values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from mien.arguments import check_integer
from mien.emotions import VALENCE_AROUSAL
from mien.schema import ExpressionRecord, FaceRecord, GazeRecord, HeadPoseRecord, QualityRecord, VideoFrameRecord


class Recordable(ABC):
    """A result that converts to a struct of `mien.schema` and so to plain JSON values."""

    @abstractmethod
    def to_record(self) -> msgspec.Struct:
        """Return the struct of `mien.schema`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the keys are those of `mien.schema`."""
        return msgspec.to_builtins(self.to_record())


@dataclass(frozen=True, kw_only=True)
class HeadPose(Recordable):
    """Rotation of the head in degrees; all zero for a face that looks into the camera.

    Attributes:
        yaw_deg: positive when the subject turns to their own left.
        pitch_deg: positive when the subject looks up.
        roll_deg: positive when the head tilts to the subject's own left shoulder.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    def to_record(self) -> HeadPoseRecord:
        """Return the angles rounded to 0.1 degrees."""
        return HeadPoseRecord(
            yaw=round(float(self.yaw_deg), 1),
            pitch=round(float(self.pitch_deg), 1),
            roll=round(float(self.roll_deg), 1),
        )


@dataclass(frozen=True, kw_only=True)
class Gaze(Recordable):
    """Direction of the eyes in the head, in degrees; zero when they look straight out of the face.

    Attributes:
        yaw_deg: positive when the eyes turn to the subject's own left.
        pitch_deg: positive when the eyes look up.
    """

    yaw_deg: float
    pitch_deg: float

    def to_record(self) -> GazeRecord:
        """Return the angles rounded to 0.1 degrees."""
        return GazeRecord(yaw=round(float(self.yaw_deg), 1), pitch=round(float(self.pitch_deg), 1))


@dataclass(frozen=True, kw_only=True)
class Quality(Recordable):
    """How suitable a face is for prediction.

    Attributes:
        size_px: shorter side of the box in pixels of the original image.
        sharpness: 0 (blurred) to 1 (crisp), measured on the aligned face at a fixed size.
        frontality: 1 (frontal) to 0 (profile); None when the head pose is unknown.
        visible: share of the box inside the image, 0 to 1.
    """

    size_px: float
    sharpness: float
    frontality: float | None
    visible: float

    def to_record(self) -> QualityRecord:
        """Return the values rounded to three decimals."""
        return QualityRecord(
            size_px=round(float(self.size_px), 3),
            sharpness=round(float(self.sharpness), 3),
            frontality=None if self.frontality is None else round(float(self.frontality), 3),
            visible=round(float(self.visible), 3),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression(Recordable):
    """The perceived expression of a face: calibrated probabilities, and a label unless the model abstains.

    Attributes:
        labels: class names, in the order of the model's manifest.
        probabilities: (C,) float, sums to 1.
        label: the most probable class, or None when its probability is below the model's `abstain_below` or below the
            threshold of `max_error`, and for a doubtful face.
        confidence: probability of the most probable class.
        trained_affect: valence and arousal -1..1, predicted by a regression head of the model; None without one.
        valence: that of `trained_affect`, or derived from the probabilities, see `valence_arousal`.
        arousal: likewise.

    Example:
        >>> expression = Expression(
        ...     labels=("neutral", "happiness"), probabilities=np.array([0.1, 0.9]), label="happiness", confidence=0.9
        ... )
        >>> expression["happiness"]
        0.9
        >>> expression.top(1)
        [('happiness', 0.9)]
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    label: str | None
    confidence: float
    trained_affect: tuple[float, float] | None = None

    def __getitem__(self, label: str) -> float:
        """Return the probability of a class.

        Raises:
            KeyError: when the model has no such class.
        """
        return float(self.probabilities[self._index(label)])

    def __contains__(self, label: object) -> bool:
        return label in self.labels

    # Python would iterate by numbers because of `__getitem__`, and pandas would take an iterable for a list of values
    __iter__ = None

    def _index(self, label: str) -> int:
        """Return the number of a class; raise `KeyError` when the model has no such class."""
        if label not in self.labels:
            raise KeyError(f"no class {label!r}; the model has {', '.join(self.labels)}")
        return self.labels.index(label)

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable classes with their probabilities, in descending order."""
        order = np.argsort(-self.probabilities, kind="stable")[: check_integer("k", k, 0)]
        return [(self.labels[index], float(self.probabilities[index])) for index in order]

    @property
    def valence(self) -> float | None:
        """Valence -1 (negative) to 1 (positive), derived unless trained; None if a class has no coordinates."""
        affect = self._affect()
        return None if affect is None else affect[0]

    @property
    def arousal(self) -> float | None:
        """Arousal -1 (calm) to 1 (excited), derived unless trained; None if a class has no coordinates."""
        affect = self._affect()
        return None if affect is None else affect[1]

    def _affect(self) -> tuple[float, float] | None:
        if self.trained_affect is not None:
            return self.trained_affect
        return self.valence_arousal() if set(self.labels) <= set(VALENCE_AROUSAL) else None

    def valence_arousal(self, coordinates: Mapping[str, tuple[float, float]] = VALENCE_AROUSAL) -> tuple[float, float]:
        """Return valence and arousal, -1..1: the mean of the coordinates of the classes, weighted by probability.

        They are derived, not predicted: always inside the polygon of the classes, so that a calm face is neutral.

        Args:
            coordinates: valence and arousal of every class.

        Raises:
            KeyError: when a class has no coordinates.
        """
        positions = np.array([coordinates[label] for label in self.labels])
        valence, arousal = (self.probabilities @ positions).tolist()
        return valence, arousal

    def to_record(self) -> ExpressionRecord:
        """Return label, confidence, probabilities, valence and arousal, rounded to six and four decimals."""
        return ExpressionRecord(
            label=self.label,
            confidence=round(float(self.confidence), 6),
            probabilities={name: round(float(p), 6) for name, p in zip(self.labels, self.probabilities, strict=True)},
            valence=None if self.valence is None else round(self.valence, 4),
            arousal=None if self.arousal is None else round(self.arousal, 4),
            **({} if self.trained_affect is None else {"affect": "trained"}),
        )


def choose_label(labels: Sequence[str], probabilities: np.ndarray, abstain_below: float) -> tuple[str | None, float]:
    """Return the most probable class and its probability; the class is None below a threshold.

    Args:
        labels: names of the C classes.
        probabilities: (C,), sum to 1.
        abstain_below: minimum probability of a label, 0..1.

    Example:
        >>> choose_label(("neutral", "happiness"), np.array([0.4, 0.6]), 0.5)
        ('happiness', 0.6)
        >>> choose_label(("neutral", "happiness"), np.array([0.4, 0.6]), 0.7)
        (None, 0.6)
    """
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    return (labels[best] if confidence >= abstain_below else None), confidence


@dataclass(frozen=True, kw_only=True, eq=False)
class Face(Recordable):
    """A detected face. Coordinates are pixels of the upright original image.

    Faces are compared and hashed by identity.

    Attributes:
        bbox_xyxy: (4,) left, top, right, bottom; right and bottom exclusive.
        landmarks_xy: (5, 2) the subject's right eye, left eye, nose tip, right and left mouth corner. From the
            detector, or from the mesh when the mesh contradicts the detector about the rotation of the face.
        confidence: confidence of the detector, 0 to 1.
        is_face_doubtful: true when the detection is uncertain and no mesh fits: perhaps not a face. Such a face gets no
            label. Always false with `pose=False`. See docs/reliability.md.
        mesh_xyz: (478, 3) landmark mesh, or None when it was not fitted. Clear faces get the mesh of the small network,
            unless `action_units=True`; see docs/reliability.md, "Head pose".
        head_pose: None when no mesh fits the face.
        blendshapes: with `action_units=True`, coefficients 0..1 by MediaPipe's names; None when no mesh fits the face.
        action_units: likewise, intensities 0..1 by `mien.action_units.ACTION_UNIT_NAMES`: estimates from the
            mesh, not FACS coding.
        gaze: likewise, direction of the eyes in the head; also None when the eyes are closed.
        quality: None until it was measured.
        track_id: in video, the number of the person in this scene, from 1.
        expression: prediction for this image; None in video frames between two predictions.
        smoothed: in video, the expression smoothed over time; see `mien.video.smoothing`.
        smoothed_action_units: in video with `action_units=True`, the action units smoothed over time and held between
            two predictions; None when no mesh fitted at the last one.
        smoothed_gaze: likewise, the gaze, held during blinks; also None while the eyes are closed.
    """

    bbox_xyxy: np.ndarray
    landmarks_xy: np.ndarray
    confidence: float
    is_face_doubtful: bool = False
    mesh_xyz: np.ndarray | None = None
    head_pose: HeadPose | None = None
    blendshapes: Mapping[str, float] | None = None
    action_units: Mapping[str, float] | None = None
    gaze: Gaze | None = None
    quality: Quality | None = None
    track_id: int | None = None
    expression: Expression | None = None
    smoothed: Expression | None = None
    smoothed_action_units: Mapping[str, float] | None = None
    smoothed_gaze: Gaze | None = None

    def to_record(self) -> FaceRecord:
        """Return everything but the mesh; `track_id` and `smoothed` only in video, movements only where estimated."""
        optional: dict[str, Any] = {}
        if self.track_id is not None:
            smoothed = self.smoothed.to_record() if self.smoothed else None
            optional = {"track_id": int(self.track_id), "smoothed": smoothed}
        if self.action_units is not None:
            optional |= {"action_units": _rounded(self.action_units), "blendshapes": _rounded(self.blendshapes or {})}
            optional["gaze_deg"] = self.gaze.to_record() if self.gaze else None
        if self.smoothed_action_units is not None:
            optional["smoothed_action_units"] = _rounded(self.smoothed_action_units)
            optional["smoothed_gaze_deg"] = self.smoothed_gaze.to_record() if self.smoothed_gaze else None
        return FaceRecord(
            bbox_xyxy=[round(float(v), 1) for v in self.bbox_xyxy],
            confidence=round(float(self.confidence), 6),
            is_face_doubtful=self.is_face_doubtful,
            landmarks_xy=[[round(float(v), 1) for v in point] for point in self.landmarks_xy],
            head_pose_deg=self.head_pose.to_record() if self.head_pose else None,
            quality=self.quality.to_record() if self.quality else None,
            expression=self.expression.to_record() if self.expression else None,
            **optional,
        )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in values.items()}


def with_expression(face: Face, expression: Expression) -> Face:
    """Return a face with its prediction; a doubtful face gets no label."""
    return replace(face, expression=replace(expression, label=None) if face.is_face_doubtful else expression)


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Class-activation maps of one prediction, and the predictions with parts of the face hidden.

    They describe the model's evidence, not why a person feels anything.

    Attributes:
        expression: the prediction that is explained.
        maps: (C, h, w) float32 class-activation maps, rows and columns as in the crop.
        hidden: (C,) probabilities of the classes when a region of the face is hidden, by the name of the region.
    """

    expression: Expression
    maps: np.ndarray
    hidden: dict[str, np.ndarray]

    def heat(self, label: str) -> np.ndarray:
        """Return the evidence map (h, w) of a class, scaled to 0..1.

        The mean of all maps is subtracted, because the softmax depends only on differences between classes; evidence
        against the class is clipped to 0. All classes of a face have the same scale: 1 is the strongest evidence for
        any of them, and the map of a class with little evidence is dark.

        Raises:
            KeyError: when the model has no such class.
        """
        index = self.expression._index(label)
        evidence = (self.maps - self.maps.mean(axis=0)).clip(min=0)
        return evidence[index] / evidence.max() if evidence.max() > 0 else evidence[index]

    def region_drops(self, label: str) -> dict[str, float]:
        """Return by how much the probability of a class drops when a region is hidden, -1..1, by region.

        Negative where the probability rises.

        Raises:
            KeyError: when the model has no such class.
        """
        index = self.expression._index(label)
        probability = self.expression.probabilities[index]
        return {name: float(probability - probabilities[index]) for name, probabilities in self.hidden.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the expression and the map of every class by name as nested lists."""
        named = zip(self.expression.labels, self.maps.tolist(), strict=True)
        return {
            "expression": self.expression.to_dict(),
            "maps": {name: [[round(value, 4) for value in row] for row in rows] for name, rows in named},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedFace:
    """A face with the explanation of its prediction.

    Attributes:
        face: with its expression.
        image: (S, S, 3) uint8 RGB, the model's crop at a size for display.
        explanation: of the same crop.
        label: the class that is explained.
    """

    face: Face
    image: np.ndarray
    explanation: Explanation
    label: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: box, confidence, doubt, explained class, region drops and explanation."""
        face = self.face.to_dict()
        return {
            "bbox_xyxy": face["bbox_xyxy"],
            "confidence": face["confidence"],
            "is_face_doubtful": face["is_face_doubtful"],
            "explained": self.label,
            "region_drops": {name: round(drop, 6) for name, drop in self.explanation.region_drops(self.label).items()},
            **self.explanation.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame(Recordable):
    """A video frame and the faces tracked in it.

    Attributes:
        index: number of the frame in its source, from 0; dropped and broken frames leave gaps.
        timestamp_s: presentation time in seconds since the first frame.
        scene: number of the scene, from 1; track ids do not survive a cut.
        image: (H, W, 3) uint8 RGB, upright; (0, 0, 3) where pixels are not kept.
        faces: each with its `track_id`, in ascending order.
    """

    index: int
    timestamp_s: float
    scene: int
    image: np.ndarray
    faces: tuple[Face, ...]

    def to_record(self) -> VideoFrameRecord:
        """Return everything but the pixels."""
        return VideoFrameRecord(
            frame_index=int(self.index),
            timestamp_s=round(float(self.timestamp_s), 6),
            scene=self.scene,
            faces=[face.to_record() for face in self.faces],
        )
