"""Copies of a face that are harder to read: turned, shrunk, blurred, darkened. Needs scipy (with scikit-learn)."""

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
"""Deviation of a dark camera's noise, in gray values of 255."""
FINER = 4
"""Points a pixel and axis that a turned face is made of; it is drawn at half as many."""
FALL = 1.0
"""How much the head falls back beside the mesh, in pixels of depth for each pixel of distance."""


@dataclass(frozen=True)
class Copy:
    """An image of one face, and how it came about: `kind` is "as is", "yaw", "pitch", "size", "blur" or "dark"."""

    kind: str
    amount: float
    image: np.ndarray
    face: Face


def make_copies(image: np.ndarray, face: Face, seed: int) -> list[Copy]:
    """The image itself and all harder copies; the face has its mesh."""
    rng = np.random.default_rng(seed)
    copies = [Copy("as is", 0, image, face)]
    copies += [Copy(axis, degrees, *turn(image, face, axis, degrees)) for axis, degrees in TURNS_DEG]
    copies += [Copy("size", side, *shrink(image, face, side)) for side in SIDES_PX]
    copies += [Copy("blur", sigma, blur(image, sigma), face) for sigma in SIGMAS_PX]
    return copies + [Copy("dark", gain, darken(image, gain, rng), face) for gain in GAINS]


def turn(image: np.ndarray, face: Face, axis: str, degrees: float) -> tuple[np.ndarray, Face]:
    """The face turned about its own middle, seen from far away; what was hidden takes its neighbors' color.

    Every pixel has the depth of the mesh, and beside the mesh falls back. It is a mask that turns, not a head: beyond
    about 40 degrees it says little.
    """
    assert face.mesh_xyz is not None
    mesh = face.mesh_xyz[:468].astype(np.float64)  # without the irises, which lie within the eyes
    height, width = image.shape[:2]
    y, x = (np.mgrid[: height * FINER, : width * FINER] + 0.5) / FINER
    points = np.column_stack([x.ravel(), y.ravel()])
    depth = _depth(mesh, points)
    fine = Image.fromarray(image).resize((width * FINER, height * FINER), Image.Resampling.BICUBIC)
    turned = _turned(np.column_stack([points, depth]), mesh.mean(axis=0), axis, degrees)
    drawn = _draw(turned, np.asarray(fine).reshape(-1, 3), (height, width))
    marks = face.landmarks_xy.astype(np.float64)
    marks = _turned(np.column_stack([marks, _depth(mesh, marks)]), mesh.mean(axis=0), axis, degrees)
    return drawn, replace(face, landmarks_xy=marks[:, :2], mesh_xyz=None)


def shrink(image: np.ndarray, face: Face, side: int) -> tuple[np.ndarray, Face]:
    """The image at another side in pixels, and its face there."""
    scale = side / max(image.shape[:2])
    small = resize(image, (side, side))
    return small, replace(
        face, bbox_xyxy=face.bbox_xyxy * scale, landmarks_xy=face.landmarks_xy * scale, mesh_xyz=None
    )


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, nearly; sigma in pixels of the image."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def darken(image: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Less light on the same sensor: the gray values shrink, the noise does not."""
    noisy = image * gain + rng.normal(0, NOISE, (*image.shape[:2], 1))
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _depth(mesh: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Depth (N,) at points (N, 2)."""
    inside = LinearNDInterpolator(mesh[:, :2], mesh[:, 2])(points)
    nearest = NearestNDInterpolator(mesh[:, :2], np.arange(len(mesh)))(points).astype(int)
    away = np.linalg.norm(points - mesh[nearest, :2], axis=1)
    limit = np.ptp(mesh[:, 0]) / 2
    return np.where(np.isnan(inside), mesh[nearest, 2] + FALL * np.minimum(away, limit), inside)


def _turned(points: np.ndarray, middle: np.ndarray, axis: str, degrees: float) -> np.ndarray:
    """Points (N, 3) turned; the signs are those of `HeadPose`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, z = (points - middle).T
    if axis == "yaw":
        return np.column_stack([x * cos - z * sin, y, z * cos + x * sin]) + middle
    return np.column_stack([x, y * cos + z * sin, z * cos - y * sin]) + middle


def _draw(points: np.ndarray, colors: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Points (N, 3) with colors as an image: the nearest wins, holes take the color beside them."""
    factor = FINER // 2
    height, width = size_hw[0] * factor, size_hw[1] * factor
    places = np.floor(points[:, :2] * factor).astype(int)
    is_inside = (places >= 0).all(axis=1) & (places < (width, height)).all(axis=1)
    order = np.flatnonzero(is_inside)
    order = order[np.argsort(-points[order, 2], kind="stable")]  # far ones first, near ones over them
    canvas, is_empty = np.zeros((height, width, 3)), np.ones((height, width), dtype=bool)
    canvas[places[order, 1], places[order, 0]] = colors[order]
    is_empty[places[order, 1], places[order, 0]] = False
    nearest = np.asarray(distance_transform_edt(is_empty, return_distances=False, return_indices=True))
    filled = canvas[nearest[0], nearest[1]].reshape(size_hw[0], factor, size_hw[1], factor, 3)
    return np.round(filled.mean(axis=(1, 3))).astype(np.uint8)
