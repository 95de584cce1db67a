"""Accuracy of models on FER+ validation faces with a covered part of the face.

python benchmarks/occlusion.py ferplus.zip [--model expression open ...]

A gray bar covers the same part of every aligned crop. `p` is that of McNemar's test of each model against the first one
on the same faces.
"""

from __future__ import annotations

import numpy as np
from validation import labeled_faces, model_parser, open_classifier

from mien import metrics
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier

COVERS = {
    "nothing": (0.0, 0.0, 0.0, 0.0),
    "eyes and brows": (0.0, 0.2, 1.0, 0.48),
    "nose": (0.34, 0.42, 0.66, 0.66),
    "mouth and chin": (0.0, 0.65, 1.0, 1.0),
    "left half": (0.0, 0.0, 0.5, 1.0),
    "right half": (0.5, 0.0, 1.0, 1.0),
}
"""Left, top, right and bottom edge of the bar, relative to the side of the crop."""
GRAY = 127
BATCH_SIZE = 256


def find_correct(classifier: ExpressionClassifier, crops: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return for every cover whether each crop (N, S, S, 3) is classified as its label, (N,) bool."""
    side = crops.shape[1]
    correct: dict[str, np.ndarray] = {}
    for name, bar in COVERS.items():
        left, top, right, bottom = (round(edge * side) for edge in bar)
        covered = crops.copy()
        covered[:, top:bottom, left:right] = GRAY
        logits = [
            classifier.logits(covered[start : start + BATCH_SIZE]) for start in range(0, len(covered), BATCH_SIZE)
        ]
        correct[name] = np.concatenate(logits).argmax(axis=1) == labels
    return correct


def main() -> None:
    options = model_parser(__doc__, ["expression", "open"]).parse_args()
    faces = labeled_faces(options.data)
    results: dict[str, dict[str, np.ndarray]] = {}
    for model in options.model:
        classifier = open_classifier(model)
        labels = official_labels(classifier.manifest, faces)
        predictions = predict_dataset(classifier, faces)
        crops = np.stack([predictions.crop(row) for row in range(len(labels))])
        results[model] = find_correct(classifier, crops, labels)
    first = results[options.model[0]]
    for cover in COVERS:
        print(cover)
        for model, correct in results.items():
            only_first = int((first[cover] & ~correct[cover]).sum())
            only_second = int((correct[cover] & ~first[cover]).sum())
            p_value = metrics.mcnemar_test(only_first, only_second)
            print(f"  {correct[cover].mean():7.2%}  p {p_value:.3f}  {model}")


if __name__ == "__main__":
    main()
