"""Accuracy of the shipped models by head pose, face size and skin tone, on FER+ validation faces and photographs.

python benchmarks/groups.py ferplus.zip wild_valid.zip [--json groups.json]

Prints the tables of the model cards. Groups are measured, not annotated: the pose from the face mesh, the size from the
detected box, the skin tone as the individual typology angle of pixels inside the mesh (`skin_tone.py`), which gray
images do not have. FER+ and photographs are counted apart, and gray and color photographs too, because they differ in
far more than color. An image without a detected face is an error in photographs; FER+ crops are classified whole.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from skin_tone import category, is_color, typology_angle

import mien
from mien import metrics
from mien.datasets import read_dataset
from mien.datasets.index import Sample
from mien.datasets.labeled_face import detect_labeled_face
from mien.faces import FaceDetector
from mien.faces.alignment import letterbox
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.results import Face
from mien.runtime import shipped_models, usable_cores

YAW_DEG = (0, 10, 20, 30, 91)
PITCH_DEG = (-91, -20, -10, 10, 91)
SIZE_PX = (0, 32, 48, 96, 160, 10_000)
"""Edges of the groups: absolute yaw, pitch (positive upward), and shorter side of the face box."""
MIN_FACES = 20
"""Minimum number of faces of a group that is shown."""
MIN_IMAGES = 10
"""Minimum number of images of a class that counts in the mean recall."""
BATCH = 64


@dataclass(frozen=True)
class MeasuredFace:
    """A labeled face and the groups that it belongs to.

    Attributes:
        part: data set.
        label: name of the class.
        crop: input of the models; None without a face.
        groups: name of the group by kind; empty without a face.
    """

    part: str
    label: str
    crop: np.ndarray | None
    groups: dict[str, str]


class Measurer:
    """Detects labeled faces and measures their groups."""

    def __init__(self) -> None:
        # all shipped models have the same crops
        self._analyzer = mien.Analyzer("open", threads=1, max_faces=1)
        self._detector = FaceDetector(threads=1)

    def crop(self, label: str, data: bytes) -> MeasuredFace:
        """Return the face of a FER+ image, detected as in `mien evaluate`; without one, the whole image."""
        image = read_image(data)
        face = detect_labeled_face(image, Sample(id="", split="valid"), self._detector)
        if face is None:
            size = self._analyzer.classifier.framing.size
            return MeasuredFace("FER+ validation", label, letterbox(image, size=size), {"face": "not detected"})
        crop = self._analyzer.classifier.crop(image, face)
        (posed,), _ = self._analyzer.crop_faces(image, [face])
        return MeasuredFace("FER+ validation", label, crop, _groups(image, posed))

    def photograph(self, label: str, data: bytes) -> MeasuredFace:
        """Return the largest face of a photograph, detected as in `mien predict`."""
        image = read_image(data)
        part = f"photographs, {'color' if is_color(image) else 'gray'}"
        faces, crops = self._analyzer.crop_faces(image, self._analyzer.detect(image))
        if not faces:
            return MeasuredFace(part, label, None, {"face": "not detected"})
        return MeasuredFace(part, label, crops[0], _groups(image, faces[0]))


def _groups(image: np.ndarray, face: Face) -> dict[str, str]:
    """Return the groups of a face with its pose and quality."""
    assert face.quality is not None
    groups = {"size": _band(face.quality.size_px, SIZE_PX, "px")}
    if face.head_pose is None or face.mesh_xyz is None:
        return {**groups, "yaw": "no mesh fits", "pitch": "no mesh fits"}
    angle = typology_angle(image, face.mesh_xyz)
    return {
        **groups,
        "yaw": _band(abs(face.head_pose.yaw_deg), YAW_DEG, "°"),
        "pitch": _band(face.head_pose.pitch_deg, PITCH_DEG, "°"),
        **({} if angle is None else {"skin tone (ITA)": category(angle)}),
    }


def _band(value: float, edges: tuple[int, ...], unit: str) -> str:
    low, high = next((low, high) for low, high in pairwise(edges) if low <= value < high)
    if low == edges[0]:
        return f"below {high}{unit}"
    return f"{low}{unit} and more" if high == edges[-1] else f"{low} to {high}{unit}"


def read_faces(ferplus: Path, photographs: Path) -> list[MeasuredFace]:
    """Return the labeled faces of the validation split and of the photographs."""
    measurer = Measurer()
    index = read_dataset("ferplus", ferplus).select("valid")
    crops = [(index.labels[sample.label], index.read(sample)) for sample in index.samples if sample.label is not None]
    with zipfile.ZipFile(photographs) as archive:
        rows = csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), encoding="utf-8"))
        images = [(row["label"], archive.read(row["image"])) for row in rows]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return [
            *pool.map(lambda item: measurer.crop(*item), crops),
            *pool.map(lambda item: measurer.photograph(*item), images),
        ]


def scores(correct: np.ndarray) -> dict[str, Any]:
    """Return number, accuracy and its 95 % interval."""
    low, high = metrics.accuracy_interval(int(correct.sum()), len(correct))
    return {"n": len(correct), "accuracy": float(correct.mean()), "interval": [low, high]}


def summarize(faces: list[MeasuredFace], logits: np.ndarray, classifier: ExpressionClassifier) -> dict[str, Any]:
    """Return the scores of a model for every data set and its groups.

    Args:
        faces: the N faces.
        logits: (N, C); NaN without a face.
        classifier: the model.
    """
    labels = classifier.manifest.labels
    truth = np.array([labels.index(face.label) for face in faces])
    correct = metrics.choose_labels(logits) == truth
    probabilities = metrics.softmax(logits, classifier.manifest.temperature)
    parts = np.array([face.part for face in faces])
    result: dict[str, Any] = {}
    for part in dict.fromkeys(parts.tolist()):
        rows = np.flatnonzero(parts == part)
        answered = rows[np.isfinite(logits[rows, 0])]
        counted = [number for number in range(len(labels)) if (truth[rows] == number).sum() >= MIN_IMAGES]
        recalls = [correct[rows][truth[rows] == number].mean() for number in counted]
        groups: dict[str, dict[str, list[int]]] = {}
        for row in rows.tolist():
            for kind, name in faces[row].groups.items():
                groups.setdefault(kind, {}).setdefault(name, []).append(row)
        result[part] = {
            **scores(correct[rows]),
            "mean_recall": float(np.mean(recalls)),
            "ece": metrics.expected_calibration_error(probabilities[answered], truth[answered]),
            "confidence": float(probabilities[answered].max(axis=1).mean()),
            "groups": {
                kind: {name: scores(correct[members]) for name, members in sorted(names.items(), key=_order)}
                for kind, names in groups.items()
            },
        }
    return result


def _order(item: tuple[str, list[int]]) -> tuple[int, float | str]:
    """Order bands by their lower edge and categories of skin tone from dark to light; other names last."""
    name = item[0]
    tones = ["dark", "brown", "tan", "intermediate", "light", "very light"]
    if name in tones:
        return 0, tones.index(name)
    number = name.removeprefix("below ").split("°")[0].split("px")[0].split(" ")[0]
    try:
        return 0, float(number) - 1e-3 * name.startswith("below")
    except ValueError:
        return 1, 0.0


def to_markdown(result: dict[str, Any]) -> str:
    """Return the two tables of a model card."""
    lines = ["| data | faces | accuracy (95 %) | mean recall | ECE | mean confidence |", "|---|---|---|---|---|---|"]
    for part, numbers in result.items():
        lines.append(
            f"| {part} | {numbers['n']:,} | {_accuracy(numbers)} | {numbers['mean_recall']:.1%} | "
            f"{numbers['ece']:.3f} | {numbers['confidence']:.1%} |"
        )
    parts = list(result)
    lines += ["", f"| group | {' | '.join(parts)} |", "|---|" + "---|" * len(parts)]
    for kind in dict.fromkeys(kind for numbers in result.values() for kind in numbers["groups"]):
        names = {name: [0] for numbers in result.values() for name in numbers["groups"].get(kind, {})}
        for name, _ in sorted(names.items(), key=_order):
            cells = [numbers["groups"].get(kind, {}).get(name) for numbers in result.values()]
            if any(cell and cell["n"] >= MIN_FACES for cell in cells):
                texts = [f"{_accuracy(cell)}, n = {cell['n']:,}" if cell else "" for cell in cells]
                lines.append(f"| {kind}: {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _accuracy(numbers: dict[str, Any]) -> str:
    low, high = numbers["interval"]
    return f"{numbers['accuracy']:.1%} ({low:.1%} to {high:.1%})".replace("% to", " to").replace("%)", ")")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ferplus", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    faces = read_faces(options.ferplus, options.photographs)
    found = [row for row, face in enumerate(faces) if face.crop is not None]
    crops = [faces[row].crop for row in found]
    report = {}
    for name in shipped_models():
        classifier = ExpressionClassifier(name, precision="float32")
        logits = np.full((len(faces), len(classifier.manifest.labels)), np.nan, dtype=np.float32)
        for start in range(0, len(found), BATCH):
            logits[found[start : start + BATCH]] = classifier.logits(np.stack(crops[start : start + BATCH]))
        report[name] = summarize(faces, logits, classifier)
        print(f"\n## {name}\n\n{to_markdown(report[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
