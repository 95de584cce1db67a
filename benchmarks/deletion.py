"""Deletion test of the class-activation maps of mien explain on FER+ validation faces.

python benchmarks/deletion.py ferplus.zip [--model expression mobile ...] [--faces 400]

A fifth of every aligned crop is filled with its mean color: the part where the map of the predicted class is brightest,
the darkest part, a random part, or the center of the crop. The numbers are mean drops of the probability of that class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from validation import labeled_faces, model_parser, open_classifier

from mien.evaluation.predictions import predict_dataset
from mien.imaging import resize
from mien.inference.classifier import ExpressionClassifier

SHARE = 0.2
BATCH_SIZE = 64


def make_scores(crops: np.ndarray, classifier: ExpressionClassifier) -> dict[str, np.ndarray]:
    """Return for every choice of the hidden part the score (N, S, S) whose highest values are hidden."""
    side = crops.shape[1]
    explanations = [
        explanation
        for start in range(0, len(crops), BATCH_SIZE)
        for explanation in classifier.explain(crops[start : start + BATCH_SIZE])
    ]
    labels = classifier.manifest.labels
    heats = [item.heat(labels[int(item.expression.probabilities.argmax())]) for item in explanations]
    bright = np.stack([enlarge(heat, side) for heat in heats])
    random = np.random.default_rng(0).random((len(crops), 8, 8))
    distance = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2))
    return {
        "brightest": bright,
        "darkest": -bright,
        "random": np.stack([enlarge(values, side) for values in random]),
        "center": np.broadcast_to(-distance, bright.shape),
    }


def enlarge(values: np.ndarray, side: int) -> np.ndarray:
    """Return values (h, w) in 0..1 at (side, side)."""
    pixels = np.repeat((255 * values).astype(np.uint8)[:, :, None], 3, axis=2)
    return resize(pixels, (side, side))[:, :, 0].astype(float)


def hide(crops: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the crops with the pixels of the highest scores filled with the mean color of each crop."""
    hidden = crops.reshape(len(crops), -1, 3).copy()
    count = round(SHARE * hidden.shape[1])
    for pixels, score, crop in zip(hidden, scores.reshape(len(crops), -1), crops, strict=True):
        pixels[np.argsort(score, kind="stable")[-count:]] = crop.mean(axis=(0, 1)).round()
    return hidden.reshape(crops.shape)


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--faces", type=int, default=400, help="number of faces, drawn at random")
    options = parser.parse_args()
    faces = labeled_faces(options.data)
    chosen = np.random.default_rng(0).permutation(len(faces.samples))[: options.faces]
    faces = replace(faces, samples=tuple(faces.samples[row] for row in chosen))
    for model in options.model:
        classifier = open_classifier(model)
        predictions = predict_dataset(classifier, faces)
        crops = np.stack([predictions.crop(row) for row in range(len(faces.samples))])
        before = np.stack([expression.probabilities for expression in classifier.classify(crops)])
        rows, top = np.arange(len(crops)), before.argmax(axis=1)
        print(f"{model}, {len(crops)} faces")
        for name, scores in make_scores(crops, classifier).items():
            after = np.stack([expression.probabilities for expression in classifier.classify(hide(crops, scores))])
            print(f"  {name:9} {100 * (before - after)[rows, top].mean():5.1f} points")


if __name__ == "__main__":
    main()
