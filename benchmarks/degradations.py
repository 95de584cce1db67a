"""Degraded copies of a face: rotated in 3D, downscaled, blurred, darkened. Needs scipy (with scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.ndimage import distance_transform_edt

from mien.imaging import resize
from mien.results import Face

TURNS_DEG = (("yaw", -40), ("yaw", -20), ("yaw", 20), ("yaw", 40), ("pitch", -25), ("pitch", 25))
SIDES_PX = (32, 24, 16, 12)
SIGMAS_PX = (0.8, 1.5, 2.5)
GAINS = (0.5, 0.25, 0.12)

NOISE = 3.0
"""Standard deviation of the sensor noise of dark images, in gray values of 255."""
OVERSAMPLING = 4
"""Points per pixel and axis of a rotated face; it is drawn at half this resolution."""
DEPTH_SLOPE = 1.0
"""Depth of points beside the mesh, in pixels for each pixel of distance from it."""


@dataclass(frozen=True)
class Copy:
    """An image of a face and its degradation: "as is", "yaw", "pitch", "size", "blur" or "dark"."""

    kind: str
    amount: float
    image: np.ndarray
    face: Face


def make_copies(image: np.ndarray, face: Face, seed: int) -> list[Copy]:
    """Return the original and all degraded copies of an image; the face must have its mesh."""
    rng = np.random.default_rng(seed)
    copies = [Copy("as is", 0, image, face)]
    copies += [Copy(axis, degrees, *rotate(image, face, axis, degrees)) for axis, degrees in TURNS_DEG]
    copies += [Copy("size", side, *shrink(image, face, side)) for side in SIDES_PX]
    copies += [Copy("blur", sigma, blur(image, sigma), face) for sigma in SIGMAS_PX]
    return copies + [Copy("dark", gain, darken(image, gain, rng), face) for gain in GAINS]


def rotate(image: np.ndarray, face: Face, axis: str, degrees: float) -> tuple[np.ndarray, Face]:
    """Rotate a face around its center in orthographic projection, filling uncovered pixels with the nearest color.

    Pixels have the depth of the mesh, and recede beside it. This rotates a mask rather than a head, so it is not
    realistic beyond about 40 degrees.
    """
    assert face.mesh_xyz is not None
    mesh = face.mesh_xyz[:468].astype(np.float64)  # without the irises
    height, width = image.shape[:2]
    y, x = (np.mgrid[: height * OVERSAMPLING, : width * OVERSAMPLING] + 0.5) / OVERSAMPLING
    points = np.column_stack([x.ravel(), y.ravel()])
    depth = _depth(mesh, points)
    fine = Image.fromarray(image).resize((width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.BICUBIC)
    rotated = _rotate_points(np.column_stack([points, depth]), mesh.mean(axis=0), axis, degrees)
    drawn = _draw(rotated, np.asarray(fine).reshape(-1, 3), (height, width))
    landmarks = face.landmarks_xy.astype(np.float64)
    landmarks = _rotate_points(np.column_stack([landmarks, _depth(mesh, landmarks)]), mesh.mean(axis=0), axis, degrees)
    return drawn, replace(face, landmarks_xy=landmarks[:, :2], mesh_xyz=None)


def shrink(image: np.ndarray, face: Face, side: int) -> tuple[np.ndarray, Face]:
    """Resize an image to a side in pixels, and its face with it."""
    scale = side / max(image.shape[:2])
    small = resize(image, (side, side))
    return small, replace(face, bbox_xyxy=face.bbox_xyxy * scale, landmarks_xy=face.landmarks_xy * scale, mesh_xyz=None)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Apply an approximate Gaussian blur; sigma in image pixels."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def darken(image: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Scale the gray values by `gain` and add sensor noise that does not depend on it."""
    noisy = image * gain + rng.normal(0, NOISE, (*image.shape[:2], 1))
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _depth(mesh: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the depth (N,) at points (N, 2)."""
    inside = LinearNDInterpolator(mesh[:, :2], mesh[:, 2])(points)
    nearest = NearestNDInterpolator(mesh[:, :2], np.arange(len(mesh)))(points).astype(int)
    distance = np.linalg.norm(points - mesh[nearest, :2], axis=1)
    limit = np.ptp(mesh[:, 0]) / 2
    return np.where(np.isnan(inside), mesh[nearest, 2] + DEPTH_SLOPE * np.minimum(distance, limit), inside)


def _rotate_points(points: np.ndarray, center: np.ndarray, axis: str, degrees: float) -> np.ndarray:
    """Rotate points (N, 3) around a center, with the signs of `HeadPose`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, z = (points - center).T
    if axis == "yaw":
        return np.column_stack([x * cos - z * sin, y, z * cos + x * sin]) + center
    return np.column_stack([x, y * cos + z * sin, z * cos - y * sin]) + center


def _draw(points: np.ndarray, colors: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Draw colored points (N, 3), the nearest on top, and fill holes with the closest color."""
    factor = OVERSAMPLING // 2
    height, width = size_hw[0] * factor, size_hw[1] * factor
    positions = np.floor(points[:, :2] * factor).astype(int)
    is_inside = (positions >= 0).all(axis=1) & (positions < (width, height)).all(axis=1)
    order = np.flatnonzero(is_inside)
    order = order[np.argsort(-points[order, 2], kind="stable")]  # far points first
    canvas = np.zeros((height, width, 3))
    is_empty = np.ones((height, width), dtype=bool)
    canvas[positions[order, 1], positions[order, 0]] = colors[order]
    is_empty[positions[order, 1], positions[order, 0]] = False
    nearest = np.asarray(distance_transform_edt(is_empty, return_distances=False, return_indices=True))
    filled = canvas[nearest[0], nearest[1]].reshape(size_hw[0], factor, size_hw[1], factor, 3)
    return np.round(filled.mean(axis=(1, 3))).astype(np.uint8)
