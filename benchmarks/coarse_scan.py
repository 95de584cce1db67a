"""Faces of the detector with and without the rules that skip scans, on photographs and on made ones.

python benchmarks/coarse_scan.py wild_valid.zip [--every 2]

Each photograph is scanned as it is, cut to its face at seven sizes from 0.7 to 2 boxes and enlarged to 640 pixels, with
a small portrait in the corner of each cut, and beside each on a canvas of twice the width. A face changes when it has
no counterpart with an IoU above 0.5. First rule: no coarse scan where the other scans explain the image. Second: with
`max_faces=1`, only a reduced image where it shows a large face.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mien.faces import FaceDetector
from mien.geometry import bbox_iou
from mien.imaging import read_image, resize
from mien.results import Face

EXAMPLE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
CUTS = (0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0)
"""Sides of the cuts, in sides of the face's box."""
MIN_IOU = 0.5


class CountingDetector(FaceDetector):
    """Detector that counts its coarse scans, and makes one of each image unless `skips`."""

    skips = True
    coarse_scans = 0
    large_faces = 0

    def _is_unexplained(self, candidates: np.ndarray, rows: np.ndarray, image_area: int) -> bool:
        is_unexplained = not self.skips or super()._is_unexplained(candidates, rows, image_area)
        self.coarse_scans += is_unexplained
        return is_unexplained

    def _detect_large_face(self, image: np.ndarray, max_side: int, min_confidence: float) -> np.ndarray:
        rows = super()._detect_large_face(image, max_side, min_confidence)
        self.large_faces += len(rows)
        return rows


def made_images(photograph: np.ndarray, detector: FaceDetector, other: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a photograph and the images made from it, by kind."""
    yield "photograph", photograph
    faces = detector.detect(photograph)
    for share in CUTS if faces else ():
        center = (faces[0].bbox_xyxy[:2] + faces[0].bbox_xyxy[2:]) / 2
        half = (faces[0].bbox_xyxy[2:] - faces[0].bbox_xyxy[:2]) * share / 2
        x1, y1 = np.maximum(center - half, 0).astype(int)
        x2, y2 = (center + half).astype(int)
        cut = photograph[y1:y2, x1:x2]
        scale = 640 / max(cut.shape[:2])
        cut = resize(cut, (max(1, round(cut.shape[0] * scale)), max(1, round(cut.shape[1] * scale))))
        yield "cut to the face", cut
        if min(cut.shape[:2]) > max(other.shape[:2]):
            corner = cut.copy()
            corner[: other.shape[0], : other.shape[1]] = other
            yield "with a small face in the corner", corner
            wide = np.full((cut.shape[0], 2 * cut.shape[1], 3), 90, dtype=np.uint8)
            wide[:, : cut.shape[1]] = cut
            wide[40 : 40 + other.shape[0], -other.shape[1] - 30 : -30] = other[: len(cut) - 40]
            yield "with a small face beside it", wide


def are_equal(faces: list[Face], others: list[Face]) -> bool:
    """Return whether every face has a counterpart."""
    if not faces or not others:
        return len(faces) == len(others)
    iou = bbox_iou(*(np.array([face.bbox_xyxy for face in some]) for some in (faces, others)))
    return len(faces) == len(others) and bool((iou.max(axis=0) > MIN_IOU).all() and (iou.max(axis=1) > MIN_IOU).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="zip archive of photographs")
    parser.add_argument("--every", type=int, default=2, help="use every n-th photograph")
    arguments = parser.parse_args()
    detector = CountingDetector(threads=1)
    with Image.open(EXAMPLE) as opened:
        other = np.array(opened.convert("RGB").crop((150, 30, 300, 210)).resize((100, 120)))
    images, coarse_scans, changed = Counter[str](), Counter[str](), Counter[str]()
    reduced_scans, other_largest = Counter[str](), Counter[str]()
    with zipfile.ZipFile(arguments.photographs) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in names[:: arguments.every]:
            photograph = read_image(io.BytesIO(archive.read(name)))
            for kind, image in made_images(photograph, detector, other):
                detector.skips, detector.coarse_scans = True, 0
                faces = detector.detect(image)
                images[kind] += 1
                coarse_scans[kind] += detector.coarse_scans
                detector.large_faces = 0
                largest = detector.detect(image, max_faces=1)
                reduced_scans[kind] += detector.large_faces
                other_largest[kind] += not are_equal(largest, faces[:1])
                detector.skips = False
                changed[kind] += not are_equal(faces, detector.detect(image))
    for kind, count in images.items():
        print(
            f"{kind:<34} {count:6} images, coarse scan of {coarse_scans[kind] / count:4.0%}, other faces without the "
            f"rule in {changed[kind]}; max_faces=1: only reduced {reduced_scans[kind] / count:4.0%}, another face "
            f"in {other_largest[kind]}"
        )


if __name__ == "__main__":
    main()
