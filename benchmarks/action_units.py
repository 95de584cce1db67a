"""Action units of a mesh that is deformed unit by unit, and of labeled photographs.

python benchmarks/action_units.py [--image docs/images/action-units.png] [--photographs wild_valid.zip]

The first table has every unit before and after the mesh of a neutral face is moved as `tests/support/meshes.py` states,
and the unit of another number that rises most. With --photographs (a .zip file with labels.csv: image,label) the second
table has the mean of every unit, its mean over neutral faces, its standard deviation, and the class that it separates
best, with the area under the ROC curve of this class against the others.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import zipfile
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import mien
from mien.action_units import ACTION_UNITS
from mien.faces.blendshapes import BlendshapeModel, level
from mien.faces.movements import estimate_action_units
from support.meshes import UNIT_DEFORMATIONS

PORTRAIT = Path(__file__).parents[1] / "examples/biden.jpg"
DESCRIPTIONS = {unit.name: unit.description for unit in ACTION_UNITS}
COLUMNS = 6
ABSENT_UNITS = (
    ("AU09", "disgust", ((64, 133), (294, 362))),
    ("AU06", "happiness", ((145, 50), (374, 280))),
    ("AU06", "happiness", ((145, 205), (374, 425))),
)
"""Units without a blendshape, the class that they should separate, and distances that they shorten.

Nose wing to inner eye corner; lower lid to cheek, to two points.
"""
MIN_IMAGES = 50
"""Minimum number of photographs of a class in the second table."""


def estimate(model: BlendshapeModel, mesh_xyz: np.ndarray) -> dict[str, float]:
    """Return the action units of a mesh (478, 3)."""
    blendshapes = dict(zip(model.names, model.predict([mesh_xyz])[0].tolist(), strict=True))
    return estimate_action_units(blendshapes, mesh_xyz)


def neutral_mesh() -> np.ndarray:
    """Return the leveled mesh (478, 3) of a neutral face."""
    face = mien.Analyzer(threads=1).analyze(PORTRAIT).faces[0]
    assert face.mesh_xyz is not None
    return np.column_stack([level(face.mesh_xyz), face.mesh_xyz[:, 2]])


def print_deformations(mesh_xyz: np.ndarray) -> dict[str, tuple[float, float]]:
    """Print the first table; return every deformed unit before and after."""
    model = BlendshapeModel(threads=1)
    before = estimate(model, mesh_xyz)
    changes = {}
    print(f"{'unit':8s}{'before':>8s}{'after':>8s}  strongest other change")
    for name, deform in UNIT_DEFORMATIONS.items():
        after = estimate(model, deform(mesh_xyz))
        rises = {other: after[other] - before[other] for other in after if other[:4] != name[:4]}
        other = max(rises, key=lambda unit: rises[unit])
        print(f"{name:8s}{before[name]:8.2f}{after[name]:8.2f}  {other} {rises[other]:+.2f}")
        changes[name] = before[name], after[name]
    return changes


def draw(mesh_xyz: np.ndarray, changes: dict[str, tuple[float, float]], path: Path) -> None:
    """Draw every deformed mesh over the original one."""
    rows = -(-len(changes) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(2.1 * COLUMNS, 2.7 * rows), layout="constrained")
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, (name, (before, after)) in zip(axes.flat, changes.items(), strict=False):
        deformed = UNIT_DEFORMATIONS[name](mesh_xyz)
        moved = np.linalg.norm(deformed - mesh_xyz, axis=1) > 0.5
        panel.scatter(mesh_xyz[:, 0], mesh_xyz[:, 1], s=0.8, color="#c3c9d1")
        panel.scatter(deformed[moved, 0], deformed[moved, 1], s=2.5, color="#d1495b")
        panel.invert_yaxis()
        panel.set_aspect("equal")
        panel.set_title(f"{name.replace('_', ' ')} {DESCRIPTIONS[name[:4]]}\n{before:.2f} → {after:.2f}", fontsize=8)
    figure.savefig(path, dpi=110)


def print_photographs(path: Path) -> None:
    """Print the second table."""
    analyzer = mien.Analyzer(action_units=True, max_faces=1, threads=1)
    with zipfile.ZipFile(path) as archive:
        labels = {row["image"]: row["label"] for row in csv.DictReader(io.TextIOWrapper(archive.open("labels.csv")))}
        results = list(analyzer.analyze_many(archive.read(name) for name in labels))
    pairs = [(label, face) for label, result in zip(labels.values(), results, strict=True) for face in result.faces]
    measured = [(label, face) for label, face in pairs if face.action_units]
    names, faces = np.array([label for label, _ in measured]), [face for _, face in measured]
    print(f"\n{len(measured)} of {len(labels)} photographs with a mesh")
    print(f"{'unit':8s}{'mean':>8s}{'neutral':>8s}{'sd':>8s}  best class, area under the ROC curve")
    for unit in ACTION_UNITS:
        values = np.array([(face.action_units or {})[unit.name] for face in faces])
        classes = [label for label in dict.fromkeys(names) if (names == label).sum() >= MIN_IMAGES]
        best, area = max(((label, roc_area(values, names == label)) for label in classes), key=lambda pair: pair[1])
        neutral = values[names == "neutral"].mean()
        print(f"{unit.name:8s}{values.mean():8.3f}{neutral:8.3f}{values.std():8.3f}  {best} {area:.2f}")

    print_gaze(faces)
    print_absent_units(faces, names)


def print_gaze(faces: list[mien.Face]) -> None:
    """Print how well the gaze agrees with the blendshapes of the eyes."""
    pairs = [(face.gaze, face.blendshapes) for face in faces if face.gaze and face.blendshapes]
    yaw, pitch = np.array([(gaze.yaw_deg, gaze.pitch_deg) for gaze, _ in pairs]).T
    names = ("eyeLookOutLeft", "eyeLookInRight", "eyeLookInLeft", "eyeLookOutRight")
    looks = np.array([[shapes[name] for name in names] for _, shapes in pairs])
    vertical = [shapes["eyeLookUpLeft"] - shapes["eyeLookDownLeft"] for _, shapes in pairs]
    sideways = looks[:, :2].sum(axis=1) - looks[:, 2:].sum(axis=1)
    correlations = np.corrcoef(yaw, sideways)[0, 1], np.corrcoef(pitch, vertical)[0, 1]
    print("\ncorrelation of gaze and eyeLook: yaw {:.2f}, pitch {:.2f}".format(*correlations))


def print_absent_units(faces: list[mien.Face], names: np.ndarray) -> None:
    """Print how well distances on the mesh separate the classes of the units without a blendshape."""
    meshes = np.stack([face.mesh_xyz for face in faces if face.mesh_xyz is not None])
    heights = np.linalg.norm(meshes[:, 10] - meshes[:, 152], axis=1)
    for unit, label, points in ABSENT_UNITS:
        lengths = sum(np.linalg.norm(meshes[:, a] - meshes[:, b], axis=1) for a, b in points) / heights
        print(f"{unit}: a short distance of {points} separates {label} by {roc_area(-lengths, names == label):.2f}")


def roc_area(values: np.ndarray, is_class: np.ndarray) -> float:
    """Return the area under the ROC curve (N,), (N,)."""
    positive, negative = values[is_class], values[~is_class]
    wins = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    return float(wins)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path)
    parser.add_argument("--photographs", type=Path)
    options = parser.parse_args()
    mesh_xyz = neutral_mesh()
    changes = print_deformations(mesh_xyz)
    if options.image:
        draw(mesh_xyz, changes, options.image)
    if options.photographs:
        print_photographs(options.photographs)


if __name__ == "__main__":
    main()
