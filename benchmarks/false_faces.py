"""Faces found in images without faces, and faces that are hard to see: detector confidence and fit of the mesh.

python benchmarks/false_faces.py photographs.zip --without-faces folder [--first 200]

For several thresholds it prints how many detections are doubtful, that is, less confident than the threshold and
without a landmark mesh at any rotation. `photographs.zip` has one main face per image, such as a set of portraits.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from degradations import blur, darken, rotate

from mien.errors import MienError
from mien.faces import FaceDetector, LandmarkMesh
from mien.faces.attributes import DOUBTFUL_LOGIT
from mien.geometry import bbox_area
from mien.imaging import IMAGE_SUFFIXES, read_image, resize
from mien.results import Face

THRESHOLDS = (0.65, 0.70, 0.75, 0.80, 0.85, 0.90)
SCALES = (0.25, 0.5, 1.0, 2.0)
CELLS = 3
"""Images without faces are also cut into CELLS x CELLS parts."""
FACE_SIDES_PX = (48, 24, 16, 12)
TURNED_SIDE_PX = 110
"""Side of the images whose face is turned in depth; larger ones take long."""
GRAY = 127


def variants_without_faces(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an image at several scales, mirrored, darkened, and in parts."""
    for scale in SCALES:
        size_hw = max(8, round(image.shape[0] * scale)), max(8, round(image.shape[1] * scale))
        if max(size_hw) <= 4000:
            yield resize(image, size_hw)
    yield np.ascontiguousarray(image[:, ::-1])
    yield np.ascontiguousarray(image[::-1])
    yield (image * 0.4).astype(np.uint8)
    height, width = image.shape[0] // CELLS, image.shape[1] // CELLS
    for row in range(CELLS):
        for column in range(CELLS):
            yield np.ascontiguousarray(image[row * height : (row + 1) * height, column * width : (column + 1) * width])


def face_copies(image: np.ndarray, face: Face, mesh: LandmarkMesh) -> Iterator[tuple[str, np.ndarray, Face]]:
    """Yield the kind of degradation, the image and the place of its face."""
    rng = np.random.default_rng(0)
    yield "as it is", image, face
    for side in FACE_SIDES_PX:
        yield f"{side} px", *_scaled(image, face, side / (face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())
    for gain in (0.25, 0.12, 0.06):
        yield f"light x {gain}", darken(image, gain, rng), face
    for share in (0.02, 0.05):
        sigma = share * (face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()
        yield f"blurred, {share:.0%} of the face", blur(image, float(sigma)), face
    x1, y1, x2, y2 = (max(0, round(float(edge))) for edge in face.bbox_xyxy)
    for name, rows, columns in (
        ("mask over mouth and nose", (0.55, 1.0), (0.0, 1.0)),
        ("eyes covered", (0.15, 0.5), (0.0, 1.0)),
        ("left half covered", (0.0, 1.0), (0.0, 0.5)),
    ):
        covered = image.copy()
        top, bottom = (y1 + round(share * (y2 - y1)) for share in rows)
        left, right = (x1 + round(share * (x2 - x1)) for share in columns)
        covered[top:bottom, left:right] = GRAY
        yield name, covered, face
    small, small_face = _scaled(image, face, TURNED_SIDE_PX / max(image.shape[:2]))
    if (fit := mesh.fit(small, [small_face])[0]) is not None:
        posed = replace(small_face, mesh_xyz=fit.mesh_xyz)
        for degrees in (40, 60):
            yield f"yaw {degrees}", rotate(small, posed, "yaw", degrees)[0], small_face


def _scaled(image: np.ndarray, face: Face, factor: float) -> tuple[np.ndarray, Face]:
    size_hw = max(8, round(image.shape[0] * factor)), max(8, round(image.shape[1] * factor))
    place = Face(bbox_xyxy=face.bbox_xyxy * factor, landmarks_xy=face.landmarks_xy * factor, confidence=face.confidence)
    return resize(image, size_hw), place


class Detections:
    """Confidence and mesh fit of detections, by kind of image."""

    def __init__(self) -> None:
        self.detector = FaceDetector()
        self.mesh = LandmarkMesh()
        self.found: dict[str, list[tuple[float, bool]]] = {}
        self.images: dict[str, int] = {}

    def add(self, kind: str, image: np.ndarray, is_counted: Callable[[Face], bool]) -> None:
        faces = [face for face in self.detector.detect(image, rotated=True) if is_counted(face)]
        searches = self.mesh.search(image, faces, detailed=False)
        rows = [
            (face.confidence, search.mesh is not None or search.best_logit >= DOUBTFUL_LOGIT)
            for face, search in zip(faces, searches, strict=True)
        ]
        self.found.setdefault(kind, []).extend(rows)
        self.images[kind] = self.images.get(kind, 0) + 1

    def print(self) -> None:
        heads = "".join(f"{threshold:>7.2f}" for threshold in THRESHOLDS)
        print(f"{'':32}{'images':>8}{'faces':>7}{'no mesh':>9}  doubtful below{heads}")
        for kind, rows in self.found.items():
            counts = [sum(c < threshold and not fits for c, fits in rows) for threshold in THRESHOLDS]
            unfit = sum(not fits for _, fits in rows)
            print(f"{kind:32}{self.images[kind]:>8}{len(rows):>7}{unfit:>9}{'':16}{''.join(f'{n:>7}' for n in counts)}")


def is_near(place: Face) -> Callable[[Face], bool]:
    """Return a test whether a detection covers the center of a face and has about its size."""
    center = (place.bbox_xyxy[:2] + place.bbox_xyxy[2:]) / 2
    area = float(bbox_area(place.bbox_xyxy))

    def test(face: Face) -> bool:
        is_over = (face.bbox_xyxy[:2] < center).all() and (center < face.bbox_xyxy[2:]).all()
        return bool(is_over) and area / 4 < float(bbox_area(face.bbox_xyxy)) < area * 4

    return test


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure false faces and doubtful detections.")
    parser.add_argument("photographs", type=Path, help="zip file of images with one main face each")
    parser.add_argument("--without-faces", type=Path, required=True, help="folder of images without faces")
    parser.add_argument("--first", type=int, default=200, help="number of photographs")
    options = parser.parse_args()
    detections = Detections()
    for path in sorted(options.without_faces.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            for image in variants_without_faces(read_image(path)):
                detections.add("without faces", image, lambda face: True)
    with zipfile.ZipFile(options.photographs) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(IMAGE_SUFFIXES))
        for name in names[:: max(1, len(names) // options.first)][: options.first]:
            image = read_image(archive.read(name))
            faces = detections.detector.detect(image)
            if not faces:
                detections.images["as it is"] = detections.images.get("as it is", 0) + 1
                continue
            for kind, copy, place in face_copies(image, faces[0], detections.mesh):
                try:
                    detections.add(kind, copy, is_near(place))
                except MienError:
                    continue
    detections.print()


if __name__ == "__main__":
    main()
