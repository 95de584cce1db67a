"""Hints on what keeps faces of an image from being found: too small a scan, or swapped color channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mien.faces.detection import SCAN_SIZES, FaceDetector
from mien.inference.options import AnalysisOptions
from mien.results import Face

MIN_SHRINK = 1.05
"""Reduction of an image for the detector from which on a larger scan can find more faces."""
SMALL_FACE_PX = 20.0
"""Longer side of a face in the scan, in pixels, below which there may be faces that are too small to be found."""
ZOOMS = (2.0, 4.0)
"""Enlargements of the part of an image that is scanned to find out whether a larger scan finds more faces."""
MIN_ZOOMED_CONFIDENCE = 0.8
"""Minimum confidence of a face that only a larger scan finds."""
MIN_BLUE_EXCESS = 0.15
"""Excess of blue over red, relative to the brightness, from which the channels may be swapped; of the faces, because
skin has more red in most light, or of the image without faces. RGB photographs: below 0.09 in 95 % of the faces."""
MIN_CONFIDENCE_GAIN = 0.02
"""Minimum gain of the sum of the detector's confidences when swapped channels are swapped back."""
SWAP_HINTS = {
    "rgb": "pass color='bgr' for an array of OpenCV, or convert it by cv2.cvtColor(image, cv2.COLOR_BGR2RGB).",
    "bgr": "the array seems to be RGB; leave out color='bgr'.",
}
"""What to do about swapped channels, by the stated order."""


def find_hints(
    detector: FaceDetector, image: np.ndarray, faces: Sequence[Face], options: AnalysisOptions, *, is_array: bool
) -> tuple[str, ...]:
    """Return one sentence for each cause that keeps faces from being found.

    Both checks cost nothing for most images: they detect again only where the faces are small or missing, or bluish.

    Args:
        detector: the detector that found the faces.
        image: (H, W, 3) uint8 RGB.
        faces: the faces that were found; with `max_faces`, only the largest.
        options: of the analysis.
        is_array: true for pixels, whose channels may be in another order than that of `options.color`.
    """
    hints = []
    if is_array and is_probably_bgr(detector, image, faces, options):
        hints.append(f"more faces are found with the channels swapped: {SWAP_HINTS[options.color]}")
    elif size := larger_detector_size(detector, image, faces, options):
        hints.append(
            f"some faces are too small to be found with a detector size of {options.detector_size}; {size} finds more."
        )
    return tuple(hints)


def larger_detector_size(
    detector: FaceDetector, image: np.ndarray, faces: Sequence[Face], options: AnalysisOptions
) -> int | None:
    """Return a detector size that finds more faces in a part of the image; None when there is none or no need."""
    shrink = max(image.shape[:2]) / options.detector_size
    small = [face for face in faces if _longer_side(face) < SMALL_FACE_PX * shrink]
    is_limited = options.max_faces is not None and len(faces) >= options.max_faces
    if is_limited or shrink < MIN_SHRINK or (faces and not small):
        return None
    height, width = image.shape[:2]
    center = np.median([_center(face) for face in small], axis=0) if small else np.array([width / 2, height / 2])
    gains = {}
    for zoom in ZOOMS:
        size = min(round(options.detector_size * zoom), max(image.shape[:2]), SCAN_SIZES[1])
        gains[size] = _count_new(detector, image, faces, options, center, size / options.detector_size)
    best = max(gains, key=lambda size: (gains[size], -size))
    return best if gains[best] and best > options.detector_size else None


def is_probably_bgr(detector: FaceDetector, image: np.ndarray, faces: Sequence[Face], options: AnalysisOptions) -> bool:
    """Return whether the detector is more confident with the channels swapped, and the colors suggest it."""
    excesses = list(_blue_excesses(image, faces)) if faces else [_blue_excess(image[::8, ::8])]
    if not excesses or np.mean(excesses) <= MIN_BLUE_EXCESS:
        return False
    swapped = np.ascontiguousarray(image[:, :, ::-1])
    others = detector.detect(swapped, min_confidence=options.min_confidence, max_side=options.detector_size)
    gain = sum(face.confidence for face in others[: options.max_faces]) - sum(face.confidence for face in faces)
    return gain > MIN_CONFIDENCE_GAIN


def _count_new(
    detector: FaceDetector,
    image: np.ndarray,
    faces: Sequence[Face],
    options: AnalysisOptions,
    center: np.ndarray,
    zoom: float,
) -> int:
    """Return the number of faces that are found only in an enlarged square around `center` (2,)."""
    side = round(max(image.shape[:2]) / zoom)
    limits = np.maximum(np.array(image.shape[1::-1]) - side, 0)
    x, y = np.clip(center - side / 2, 0, limits).round().astype(int)
    tile = np.ascontiguousarray(image[y : y + side, x : x + side])
    confidence = max(options.min_confidence, MIN_ZOOMED_CONFIDENCE)
    found = detector.detect(tile, min_confidence=confidence, max_side=options.detector_size)
    known = np.array([face.bbox_xyxy for face in faces]).reshape(-1, 4) - [x, y, x, y]
    centers = [_center(face) for face in found if _is_inside(face, tile.shape[:2])]
    return sum(not ((known[:, :2] < at) & (at < known[:, 2:])).all(axis=1).any() for at in centers)


def _blue_excesses(image: np.ndarray, faces: Sequence[Face]) -> Iterator[float]:
    """Yield the excess of blue over red in the middle of each face, relative to its brightness."""
    for face in faces:
        quarter = (face.bbox_xyxy[2:] - face.bbox_xyxy[:2]) / 4
        x1, y1 = np.maximum(face.bbox_xyxy[:2] + quarter, 0).astype(int)
        x2, y2 = np.maximum(face.bbox_xyxy[2:] - quarter, 0).astype(int)
        middle = image[y1:y2, x1:x2]
        if middle.size:
            yield _blue_excess(middle)


def _blue_excess(pixels: np.ndarray) -> float:
    # row by row first, because numpy sums long rows faster
    red, green, blue = (pixels.sum(axis=0, dtype=np.uint32).sum(axis=0) / (pixels.shape[0] * pixels.shape[1])).tolist()
    return (blue - red) / max((red + green + blue) / 3, 1.0)


def _center(face: Face) -> np.ndarray:
    return (face.bbox_xyxy[:2] + face.bbox_xyxy[2:]) / 2


def _longer_side(face: Face) -> float:
    return float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())


def _is_inside(face: Face, size_hw: tuple[int, ...]) -> bool:
    return bool((face.bbox_xyxy[:2] > 0).all() and (face.bbox_xyxy[2:] < size_hw[::-1]).all())
