"""Detection of the labeled face in an image, shared by training and evaluation."""

from __future__ import annotations

import numpy as np

from mien.datasets.index import Sample
from mien.faces.detection import FaceDetector
from mien.results import Face

MIN_EYE_DISTANCE_PX = 2.0
"""Minimum distance between the eyes of annotated landmarks; others count as missing."""


def detect_labeled_face(image: np.ndarray, sample: Sample, detector: FaceDetector) -> Face | None:
    """Return the largest detected face around the center of the annotated landmarks, or None.

    Without annotated landmarks it is the largest face of the image.
    """
    faces = detector.detect(image)
    landmarks = _annotated_landmarks(image, sample)
    if landmarks is not None:
        center = landmarks.mean(axis=0)
        faces = [face for face in faces if (face.bbox_xyxy[:2] <= center).all() and (center < face.bbox_xyxy[2:]).all()]
    return faces[0] if faces else None


def find_labeled_landmarks(image: np.ndarray, sample: Sample, detector: FaceDetector) -> np.ndarray | None:
    """Return the landmarks (5, 2) of the labeled face, the annotated ones if it is not detected, or None."""
    face = detect_labeled_face(image, sample, detector)
    return _annotated_landmarks(image, sample) if face is None else face.landmarks_xy


def _annotated_landmarks(image: np.ndarray, sample: Sample) -> np.ndarray | None:
    """Return the annotated landmarks (5, 2) if they are plausible for a face in this image."""
    if sample.landmarks_xy is None:
        return None
    points = np.array(sample.landmarks_xy, dtype=np.float64)
    height, width = image.shape[:2]
    center = points.mean(axis=0)
    extent = np.ptp(points, axis=0)
    eye_distance = np.linalg.norm(points[1] - points[0])
    is_inside = (center >= 0).all() and (center < (width, height)).all()
    is_face_sized = eye_distance >= MIN_EYE_DISTANCE_PX and (extent <= (2 * width, 2 * height)).all()
    return points if is_inside and is_face_sized else None
