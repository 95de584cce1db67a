"""Head pose and landmarks of the small landmark network next to those of the detailed one, on photographs.

python benchmarks/small_mesh.py photographs.zip [--every N] [--all-people] [--json]

The archive has `images/` with one main face each, as `NAME_0001.jpg` with one name per person. Only the people on whom
`recipes/distill_landmarks.py` does not train count, unless `--all-people` is given. Every photograph is shown as it is,
and rotated by a random angle. A face is clear when the presence logit of the small network reaches `CLEAR_LOGIT`; the
others are fitted by the detailed network and do not differ. "shifted crop" is the detailed network against itself, with
the box shifted by 4 % of its side: differences below these are noise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))

from landmark_faces import is_held_out

from mien.faces import FaceDetector, FittedMesh, LandmarkMesh, head_pose
from mien.faces.landmarks import MeshSearch
from mien.faces.movements import FOREHEAD_AND_CHIN
from mien.imaging import read_image
from mien.results import Face

SHIFT = 0.04
"""Shift of the box, in its longer sides."""
MAX_TURN_DEG = 30
"""Rotation between two meshes above which they show different rotations of the face."""
KINDS = ("upright", "rotated", "shifted crop")


def read_photographs(archive: Path, every: int, *, all_people: bool) -> Iterator[np.ndarray]:
    """Yield the images (H, W, 3) uint8 RGB of an archive."""
    with zipfile.ZipFile(archive) as photographs:
        names = sorted(name for name in photographs.namelist() if name.endswith(".jpg"))
        for name in [name for name in names if all_people or is_held_out(name)][::every]:
            yield read_image(photographs.read(name))


def rotate(image: np.ndarray, angle_deg: float) -> np.ndarray:
    """Rotate an image about its center on a gray canvas that holds all of it."""
    opened = Image.fromarray(image)
    return np.array(opened.rotate(angle_deg, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128)))


def angle_between_deg(first_deg: float, second_deg: float) -> float:
    """Return the angle between two directions, 0..180."""
    return abs(math.remainder(first_deg - second_deg, 360))


def differences(fit: FittedMesh, reference: FittedMesh) -> dict[str, float]:
    """Return the differences of yaw, pitch and roll in degrees, and of landmarks in percent of the face's height."""
    pose, expected = head_pose(fit.mesh_xyz), head_pose(reference.mesh_xyz)
    top, bottom = reference.mesh_xyz[list(FOREHEAD_AND_CHIN)]
    points = np.linalg.norm((fit.mesh_xyz - reference.mesh_xyz)[:, :2], axis=1).mean()
    return {
        "yaw": abs(pose.yaw_deg - expected.yaw_deg),
        "pitch": abs(pose.pitch_deg - expected.pitch_deg),
        "roll": angle_between_deg(pose.roll_deg, expected.roll_deg),
        "landmarks": 100 * float(points / np.linalg.norm(top - bottom)),
    }


def shift_box(face: Face, direction: np.ndarray) -> Face:
    """Return a face whose box is shifted by `SHIFT` in a direction (2,) of ones."""
    side = float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())
    return replace(face, bbox_xyxy=face.bbox_xyxy + np.tile(SHIFT * side * direction, 2))


def compare(archive: Path, every: int, *, all_people: bool) -> dict[str, Any]:
    """Return the numbers of faces, and the differences of the clear ones, by kind of image."""
    detector, mesh, random = FaceDetector(threads=1), LandmarkMesh(threads=1), np.random.default_rng(0)
    counts = {kind: {"faces": 0, "clear": 0, "clear, detailed fits another rotation or none": 0} for kind in KINDS}
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}

    def add(kind: str, search: MeshSearch, reference: MeshSearch) -> None:
        counts[kind]["faces"] += 1
        if search.best_logit == reference.best_logit:
            return  # not clear: both are of the detailed network
        counts[kind]["clear"] += 1
        fit, expected = search.mesh, reference.mesh
        if fit and expected and angle_between_deg(fit.rotation_deg, expected.rotation_deg) <= MAX_TURN_DEG:
            rows[kind].append(differences(fit, expected))
        else:
            counts[kind]["clear, detailed fits another rotation or none"] += 1

    for image in read_photographs(archive, every, all_people=all_people):
        rotated = rotate(image, random.uniform(20, 340))
        for face in detector.detect(rotated)[:1]:
            add("rotated", *mesh.search(rotated, [face], detailed=False), *mesh.search(rotated, [face]))
        for face in detector.detect(image)[:1]:
            [reference] = mesh.search(image, [face])
            add("upright", *mesh.search(image, [face], detailed=False), reference)
            shifted = shift_box(face, random.choice([-1, 1], size=2))
            add("shifted crop", *mesh.search(image, [shifted]), reference)
    return {kind: {**counts[kind], **_summarize(rows[kind])} for kind in KINDS}


def _summarize(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return median, 95th and 99th percentile of every difference."""
    return (
        {name: np.percentile([row[name] for row in rows], [50, 95, 99]).round(2).tolist() for name in rows[0]}
        if rows
        else {}
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--every", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--all-people", action="store_true", help="also the people of the training")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = compare(options.archive, options.every, all_people=options.all_people)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for kind, values in results.items():
        print(kind)
        for name, value in values.items():
            text = value if isinstance(value, int) else "median {:.2f}, 95 % {:.2f}, 99 % {:.2f}".format(*value)
            print(f"  {name:<50} {text}")


if __name__ == "__main__":
    main()
