"""Accuracy and calibration of the shipped models on labeled photographs, gray and color ones separately.

python benchmarks/photographs.py wild_valid.zip [--json]

The archive has labels.csv (image,label) and the images, each with one main face. The largest face of every image
counts; an image without a face counts as wrong. Mean recall is over the classes with at least `MIN_IMAGES` images.
Color and gray photographs are reported separately, because they may differ in far more than color.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from skin_tone import is_color

import mien
from mien import metrics
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import shipped_models

MIN_IMAGES = 10


def read_crops(path: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return the aligned crops (N, S, S, 3), black without a face, the labels, and which images are color (N,)."""
    analyzer = mien.Analyzer(max_faces=1)
    crops, labels, has_color = [], [], []
    with zipfile.ZipFile(path) as archive:
        for row in csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), encoding="utf-8")):
            image = mien.read_image(archive.read(row["image"]))
            _, found = analyzer.crop_faces(image, analyzer.detect(image))
            crops.append(found[0] if found else np.zeros((64, 64, 3), dtype=np.uint8))
            labels.append(row["label"])
            has_color.append(is_color(image))
    return np.stack(crops), labels, np.array(has_color)


def measure(classifier: ExpressionClassifier, crops: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """Return number of images, accuracy with interval, mean recall and calibration error."""
    names = classifier.manifest.labels
    ids = np.array([names.index(label) for label in labels])
    logits = classifier.logits(crops)
    predictions = np.where(crops.any(axis=(1, 2, 3)), metrics.choose_labels(logits), metrics.NO_PREDICTION)
    probabilities = metrics.softmax(logits, classifier.manifest.temperature)
    correct = predictions == ids
    has_face = predictions != metrics.NO_PREDICTION
    counted = [number for number in range(len(names)) if (ids == number).sum() >= MIN_IMAGES]
    return {
        "images": len(ids),
        "accuracy": round(float(correct.mean()), 4),
        "interval": [round(bound, 4) for bound in metrics.accuracy_interval(int(correct.sum()), len(ids))],
        "mean_recall": round(float(np.mean([correct[ids == number].mean() for number in counted])), 4),
        "ece": round(metrics.expected_calibration_error(probabilities[has_face], ids[has_face]), 4),
        "confidence": round(float(probabilities[has_face].max(axis=1).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    crops, labels, has_color = read_crops(options.photographs)
    report = {}
    for name in shipped_models():
        classifier = ExpressionClassifier(name, precision="float32")
        report[name] = {
            part: measure(classifier, crops[rows], [labels[row] for row in rows])
            for part, rows in (
                ("all", np.arange(len(labels))),
                ("gray", np.flatnonzero(~has_color)),
                ("color", np.flatnonzero(has_color)),
            )
        }
    if options.json:
        print(json.dumps(report))
        return
    print(f"{'model':12s}{'part':7s}{'images':>7s}{'accuracy':>10s}{'recall':>8s}{'ECE':>7s}{'confidence':>12s}")
    for name, parts in report.items():
        for part, numbers in parts.items():
            print(
                f"{name:12s}{part:7s}{numbers['images']:7d}{numbers['accuracy']:10.1%}{numbers['mean_recall']:8.1%}"
                f"{numbers['ece']:7.3f}{numbers['confidence']:12.1%}"
            )


if __name__ == "__main__":
    main()
