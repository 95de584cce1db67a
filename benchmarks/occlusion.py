"""How often models are still right when a part of the face is covered: FER+ validation, official majority.

python benchmarks/occlusion.py ferplus.zip [--model expression open ...]

A gray bar covers the part in the aligned crop, where every face has it in the same place. `p` is McNemar's test of each
model against the first one on the same faces.
"""

from __future__ import annotations

import numpy as np
from validation import counted_faces, model_parser

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
"""Left, top, right and bottom of the bar, as shares of the crop's side."""
GRAY = 127
BATCH = 256


def is_right(
    classifier: ExpressionClassifier, crops: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """For every cover which faces of (N, side, side, 3) are read as their label, (N,) of N."""
    side, right = crops.shape[1], {}
    for name, bar in COVERS.items():
        left, top, end, bottom = (round(share * side) for share in bar)
        covered = crops.copy()
        covered[:, top:bottom, left:end] = GRAY
        logits = [classifier.logits(covered[at : at + BATCH]) for at in range(0, len(covered), BATCH)]
        right[name] = np.concatenate(logits).argmax(axis=1) == labels
    return right


def main() -> None:
    options = model_parser(__doc__, ["expression", "open"]).parse_args()
    faces = counted_faces(options.data)
    right: dict[str, dict[str, np.ndarray]] = {}
    for model in options.model:
        classifier = ExpressionClassifier(model)
        labels = official_labels(classifier.manifest, faces)
        readings = predict_dataset(classifier, faces)
        crops = np.stack([readings.crop(row) for row in range(len(labels))])
        right[model] = is_right(classifier, crops, labels)
    first = right[options.model[0]]
    for cover in COVERS:
        print(cover)
        for model, found in right.items():
            only = int((first[cover] & ~found[cover]).sum()), int((found[cover] & ~first[cover]).sum())
            print(f"  {found[cover].mean():7.2%}  p {metrics.mcnemar_test(*only):.3f}  {model}")


if __name__ == "__main__":
    main()
