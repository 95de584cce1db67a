"""Prepare faces for recipes/distill_landmarks.py: crops, landmarks and presence logits of the shipped face mesh.

    python recipes/landmark_faces.py ferplus.zip wild_valid.zip [-o runs/landmarks] [--every 2] [--workers 2]

writes ferplus-train.npz (every second face), ferplus-valid.npz and photographs.npz to the folder, in about six minutes
on two cores. The second archive has `images/` with one main face each, as `NAME_0001.jpg` with one name per person. A
file has the arrays of `PreparedFace`, with one row per face; images without a face that the mesh fits are left out. The
landmarks are averages over slightly different crops, to reduce the noise of the mesh.
"""

from __future__ import annotations

import argparse
import math
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from mien.atomic import open_atomic
from mien.errors import LayoutError
from mien.faces import FaceDetector
from mien.faces.mesh_network import CROP_SCALE, OUTER_EYES, MeshNetwork, map_mesh, mesh_crop_matrix
from mien.geometry import invert, transform_points
from mien.imaging import read_image, warp
from mien.parallel import map_in_order
from mien.results import Face

BASE_SCALE = 2.2
"""Side of a stored crop, in longer sides of the detector's box; the crop of a network has `CROP_SCALE`."""
TEACHER_SIZE = 256
"""Side of the teacher's crops in pixels."""
MIN_LOGIT = 3.0
"""Minimum presence logit of a face that is prepared."""
LEVELING_PASSES = 2
"""Number of fits that level the crop by the eyes of the mesh."""
HELD_OUT = 7
"""The photographs of about one in this number of people are held out of the training."""
SUFFIXES = (".png", ".jpg", ".jpeg")

Jitter = tuple[float, float, float]
"""Maximum rotation in degrees, log of the scale, and shift in sides of the crop."""
PASS_JITTER: Jitter = (10, 0.12, 0.04)
"""Jitter of the crops over which landmarks are averaged; the first one has none."""
ODD_JITTERS: tuple[tuple[float, Jitter], ...] = ((0.45, (180, 0.2, 0.06)), (0.75, (30, 0.9, 0.6)), (1, (25, 0.3, 0.15)))
"""Jitters of odd crops, with their cumulative probabilities: rotated, far from the face, and moderate."""


@dataclass(frozen=True, kw_only=True)
class FaceSource:
    """Images of one kind, and how their faces are prepared.

    Attributes:
        folder: folder in the archive.
        crop_size: side of a stored crop in pixels.
        passes: number of teacher crops over which the landmarks are averaged.
        odd_crops: number of odd crops per face.
        resized: side in pixels to which an image, which a face fills, is enlarged before detection; 0 leaves it as is.
        border: width in pixels of the border of repeated pixels around an enlarged image.
        grayscale: store gray crops.
    """

    folder: str
    crop_size: int
    passes: int
    odd_crops: int
    resized: int = 0
    border: int = 0
    grayscale: bool = False


FERPLUS_TRAIN = FaceSource(
    folder="FER2013Train", crop_size=96, passes=3, odd_crops=1, resized=192, border=48, grayscale=True
)
FERPLUS_VALID = replace(FERPLUS_TRAIN, folder="FER2013Valid", passes=5)
PHOTOGRAPHS = FaceSource(folder="images", crop_size=288, passes=5, odd_crops=12)


@dataclass(frozen=True, kw_only=True)
class PreparedFace:
    """Crop of a face, and the outputs of the teacher.

    Attributes:
        names: name of the image in the archive.
        crops: (H, H) gray or (H, H, 3) RGB uint8, of `BASE_SCALE` box sides, with the eyes level.
        landmarks_xyz: (478, 3) float32 in pixels of the crop, averaged over the passes.
        logits: presence logit, averaged over the passes.
        deviations: mean absolute deviation of x and y between the passes, in sides of a network's crop.
        to_source: (2, 3) float32 transform from pixels of the crop to those of the source image.
        source_xyxy: (4,) float32 part of the source image that is not a repeated border.
        odd_matrices: (K, 2, 3) float32 transforms from pixels of the crop to those of odd crops of `TEACHER_SIZE`:
            rotated, shifted or scaled, so that the mesh fits some of them badly.
        odd_logits: (K,) float32 presence logits of the odd crops.
    """

    names: str
    crops: np.ndarray
    landmarks_xyz: np.ndarray
    logits: float
    deviations: float
    to_source: np.ndarray
    source_xyxy: np.ndarray
    odd_matrices: np.ndarray
    odd_logits: np.ndarray


class Teacher:
    """The shipped detector and landmark mesh; thread-safe."""

    def __init__(self) -> None:
        self.detector = FaceDetector(threads=1)
        self.network = MeshNetwork("face-landmarks", threads=1)

    def level(self, image: np.ndarray, face: Face) -> np.ndarray | None:
        """Return the eyes (2, 2) of the mesh, fitted in crops that its eyes leveled; None where it does not fit."""
        eyes_xy = face.landmarks_xy[:2].astype(np.float64)
        for _ in range(LEVELING_PASSES):
            matrix = mesh_crop_matrix(face.bbox_xyxy, eyes_xy, TEACHER_SIZE)
            landmarks, logits = self.network.predict_crops(image, [matrix])
            if logits[0] < MIN_LOGIT:
                return None
            eyes_xy = transform_points(invert(matrix), landmarks[0, :, :2])[OUTER_EYES]
        return eyes_xy


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the transform (2, 3) that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def random_similarity(random: np.random.Generator, jitter: Jitter) -> np.ndarray:
    """Return a random rotation, scale and shift (2, 3) about the center of a teacher crop, in its pixels."""
    max_rotation_deg, max_log_scale, max_shift = jitter
    angle = math.radians(random.uniform(-max_rotation_deg, max_rotation_deg))
    scale = math.exp(random.uniform(-max_log_scale, max_log_scale))
    shift_x, shift_y = random.uniform(-max_shift, max_shift, 2) * TEACHER_SIZE
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    middle = TEACHER_SIZE / 2
    return np.array(
        [
            [cos, -sin, middle + shift_x - (cos * middle - sin * middle)],
            [sin, cos, middle + shift_y - (sin * middle + cos * middle)],
        ]
    )


def odd_similarity(random: np.random.Generator) -> np.ndarray:
    """Return the transform (2, 3) from a teacher crop to an odd crop."""
    choice = random.random()
    jitter = next(jitter for probability, jitter in ODD_JITTERS if choice < probability)
    return random_similarity(random, jitter)


def base_crop_matrix(face: Face, eyes_xy: np.ndarray, size: int) -> np.ndarray:
    """Return the transform (2, 3) from image pixels to those of a stored crop with this side."""
    factor = CROP_SCALE / BASE_SCALE
    shrink = np.array([[factor, 0, size * (1 - factor) / 2], [0, factor, size * (1 - factor) / 2]])
    return compose(shrink, mesh_crop_matrix(face.bbox_xyxy, eyes_xy, size))


def read_source(data: bytes, source: FaceSource) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return an image (H, W, 3) uint8 RGB, and the box (x1, y1, x2, y2) within its border of repeated pixels."""
    image = read_image(data)
    if source.resized:
        size, border = source.resized, source.border
        enlarged = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
        image = np.pad(np.array(enlarged), ((border, border), (border, border), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    return image, (source.border, source.border, width - source.border, height - source.border)


def prepare_face(name: str, data: bytes, source: FaceSource, teacher: Teacher) -> PreparedFace | None:
    """Prepare the largest face of an encoded image; return None if none is found or its mesh does not fit."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    image, source_xyxy = read_source(data, source)
    faces = teacher.detector.detect(image)
    if not faces:
        return None
    face = max(faces, key=lambda face: float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()))
    eyes_xy = teacher.level(image, face)
    if eyes_xy is None:
        return None
    to_base = base_crop_matrix(face, eyes_xy, source.crop_size)
    to_teacher = mesh_crop_matrix(face.bbox_xyxy, eyes_xy, TEACHER_SIZE)
    jitters = [(0.0, 0.0, 0.0), *[PASS_JITTER] * (source.passes - 1)]
    passes = [compose(random_similarity(random, jitter), to_teacher) for jitter in jitters]
    landmarks, logits = teacher.network.predict_crops(image, passes)
    meshes = [map_mesh(mesh, compose(to_base, invert(matrix))) for mesh, matrix in zip(landmarks, passes, strict=True)]
    mean_xyz = np.mean(meshes, axis=0)
    deviation = np.abs(meshes - mean_xyz)[:, :, :2].mean() / source.crop_size * BASE_SCALE / CROP_SCALE
    odd = [compose(odd_similarity(random), to_teacher) for _ in range(source.odd_crops)]
    crop = warp(image, to_base, (source.crop_size, source.crop_size))
    return PreparedFace(
        names=name,
        crops=crop.mean(axis=-1).round().astype(np.uint8) if source.grayscale else crop,
        landmarks_xyz=mean_xyz.astype(np.float32),
        logits=logits.mean(),
        deviations=float(deviation),
        to_source=invert(to_base).astype(np.float32),
        source_xyxy=np.array(source_xyxy, dtype=np.float32),
        odd_matrices=np.stack([compose(matrix, invert(to_base)) for matrix in odd]).astype(np.float32),
        odd_logits=teacher.network.predict_crops(image, odd)[1].astype(np.float32),
    )


def is_held_out(name: str) -> bool:
    """Return whether a photograph `folder/NAME_0001.jpg` shows a person on whom the network is not trained."""
    person = PurePosixPath(name).name.rsplit("_", 1)[0]
    return zlib.crc32(person.encode()) % HELD_OUT == 0


def prepare_faces(archive: Path, source: FaceSource, output: Path, *, every: int = 1, workers: int = 1) -> int:
    """Write the prepared faces of an archive to an .npz file and return their number.

    Args:
        archive: ZIP file.
        source: kind of its images.
        output: path of the file.
        every: use every Nth image, in the order of their names.
        workers: number of threads.

    Raises:
        LayoutError: if the archive has no such images, or none with a face.
    """
    teacher = Teacher()
    with zipfile.ZipFile(archive) as images:
        names = [name for name in images.namelist() if name.startswith(f"{source.folder}/")]
        names = sorted(name for name in names if name.lower().endswith(SUFFIXES))[::every]
        prepared: list[PreparedFace] = []
        results = map_in_order(lambda name: prepare_face(name, images.read(name), source, teacher), names, workers)
        for count, face in enumerate(results, start=1):
            prepared += [face] if face else []
            if count % 1000 == 0:
                print(f"{source.folder}: {len(prepared)} faces in {count} of {len(names)} images", flush=True)
    if not prepared:
        raise LayoutError(archive, f"{source.folder}/ with images of faces")
    arrays: dict[str, Any] = {
        field.name: np.array([getattr(face, field.name) for face in prepared]) for field in fields(PreparedFace)
    }
    with open_atomic(output) as file:
        np.savez(file, **arrays)
    deviation = np.median(arrays["deviations"])
    print(f"{output}: {len(prepared)} faces in {len(names)} images; deviation of passes {deviation:.2%} of the crop")
    return len(prepared)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ferplus", type=Path, help="FER+, a ZIP archive")
    parser.add_argument("photographs", type=Path, help="photographs, a ZIP archive with images/NAME_0001.jpg")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/landmarks"), help="output folder")
    parser.add_argument("--every", type=int, default=2, help="use every Nth training image of FER+")
    parser.add_argument("--workers", type=int, default=2, help="number of threads")
    options = parser.parse_args()
    folder, workers = options.output, options.workers
    folder.mkdir(parents=True, exist_ok=True)
    prepare_faces(options.ferplus, FERPLUS_TRAIN, folder / "ferplus-train.npz", every=options.every, workers=workers)
    prepare_faces(options.ferplus, FERPLUS_VALID, folder / "ferplus-valid.npz", workers=workers)
    prepare_faces(options.photographs, PHOTOGRAPHS, folder / "photographs.npz", workers=workers)


if __name__ == "__main__":
    main()
