"""Face quality: size, sharpness, frontality, and share inside the image."""

from __future__ import annotations

import math

import numpy as np

from mien.faces.alignment import Framing, align_face
from mien.results import Face, HeadPose, Quality

SHARPNESS_CROP = Framing(size=64)
"""Aligned face on which sharpness is measured, whatever the face's own size."""
HALF_SHARPNESS_ENERGY = 0.05
"""Energy of the Laplacian, as a share of the face's variance, at which sharpness is 1/2."""

GRAY_WEIGHTS = np.array([299, 587, 114], dtype=np.float32)
"""Weights of red, green and blue in a gray value from 0 to 255,000."""
MIN_VARIANCE = 1e6
"""Variance of such gray values from which on a crop is not uniform; one step of 8 bits."""


def face_quality(image: np.ndarray, face: Face, *, crop: np.ndarray | None = None) -> Quality:
    """Return the quality of a face; frontality needs the face's `head_pose`.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: a face of that image.
        crop: its `SHARPNESS_CROP` where there is one already, (64, 64, 3) uint8 RGB.
    """
    if crop is None:
        crop = align_face(image, face.landmarks_xy, **vars(SHARPNESS_CROP))
    box = face.bbox_xyxy.astype(np.float64)
    return Quality(
        size_px=float(max(0.0, (box[2:] - box[:2]).min())),
        sharpness=sharpness(crop),
        frontality=None if face.head_pose is None else frontality(face.head_pose),
        visible=visible_share(box, image.shape[:2]),
    )


def sharpness(crop: np.ndarray) -> float:
    """Return the sharpness of an aligned face, 0 (blurred) .. 1 (crisp): e / (e + HALF_SHARPNESS_ENERGY).

    e is the variance of the Laplacian divided by the variance of the gray values, so that neither brightness nor
    contrast matters. A uniform crop has sharpness 0. The sums are of integers and equal on every CPU.
    """
    # at most 255,000: exact in float32
    gray = crop.astype(np.float32) @ GRAY_WEIGHTS
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    variance = _variance(gray)
    energy = _variance(laplacian) / variance if variance > MIN_VARIANCE else 0.0
    return energy / (energy + HALF_SHARPNESS_ENERGY)


def _variance(values: np.ndarray) -> float:
    numbers = values.ravel().astype(np.float64)
    return float(numbers @ numbers - numbers.sum() ** 2 / numbers.size) / numbers.size


def frontality(pose: HeadPose) -> float:
    """Return the cosine of the angle between face and camera, cos(yaw) cos(pitch): 1 frontal, 0 in profile."""
    return max(0.0, math.cos(math.radians(pose.yaw_deg)) * math.cos(math.radians(pose.pitch_deg)))


def visible_share(bbox_xyxy: np.ndarray, size_hw: tuple[int, ...]) -> float:
    """Return the share of a box (4,) inside an image of height and width `size_hw`, 0..1; 0 for an empty box."""
    x1, y1, x2, y2 = bbox_xyxy.tolist()
    area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
    height, width = size_hw
    inside_x = max(min(x2, width) - max(x1, 0.0), 0.0)
    inside_y = max(min(y2, height) - max(y1, 0.0), 0.0)
    return inside_x * inside_y / area if area > 0 else 0.0
