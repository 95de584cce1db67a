"""Faces of JPEGs that were decoded at a reduced size: sufficient detail, and coordinates in the whole image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mien.image_decoding import DecodedImage
from mien.imaging import Color, ImageSource, is_repeatable, read_reduced
from mien.inference.options import AnalysisOptions
from mien.results import Face

_REDUCED_SIDE = 1.5
"""Minimum long side of a reduced image, in long sides of the detector's input."""
_MIN_FACE_PX = 112.0
"""Minimum longer side of every face in a reduced image, in pixels; below it the image is decoded at a larger size."""


def read_detailed(
    image: ImageSource, detect: Callable[[np.ndarray], list[Face]], options: AnalysisOptions, *, color: Color
) -> tuple[DecodedImage, list[Face]]:
    """Read an image, a large JPEG at a reduced size at which its faces are large enough, and detect the faces.

    Args:
        image: see `read_image`.
        detect: returns the faces of pixels.
        options: detector size and maximum number of pixels.
        color: see `read_image`.

    Returns:
        The image, and its faces in the coordinates of its pixels.
    """
    min_side = round(_REDUCED_SIDE * options.detector_size) if is_repeatable(image) else None
    while True:
        decoded = read_reduced(image, min_side, max_pixels=options.max_pixels, color=color)
        faces = detect(decoded.pixels)
        if decoded.scale == 1 or _has_detail(faces):
            return decoded, faces
        min_side = _sufficient_side(faces, decoded.pixels.shape)


def _has_detail(faces: Sequence[Face]) -> bool:
    """Return whether a reduced image shows faces, and all of them large enough for the networks."""
    return bool(faces) and _min_side(faces) >= _MIN_FACE_PX


def _sufficient_side(faces: Sequence[Face], shape: tuple[int, ...]) -> int | None:
    """Return the minimum long side at which all faces are large enough; None, the whole image, without faces.

    Args:
        faces: faces of a reduced image.
        shape: its height and width come first.
    """
    return math.ceil(max(shape[:2]) * _MIN_FACE_PX / max(_min_side(faces), 1.0)) if faces else None


def _min_side(faces: Sequence[Face]) -> float:
    """Return the longer side of the smallest face in pixels."""
    return min(float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()) for face in faces)


def enlarge_face(face: Face, scale: int) -> Face:
    """Return a face of a reduced image with the coordinates and the size of the whole image."""
    if scale == 1:
        return face
    return replace(
        face,
        bbox_xyxy=face.bbox_xyxy * scale,
        landmarks_xy=face.landmarks_xy * scale,
        mesh_xyz=None if face.mesh_xyz is None else face.mesh_xyz * scale,
        quality=None if face.quality is None else replace(face.quality, size_px=face.quality.size_px * scale),
    )
