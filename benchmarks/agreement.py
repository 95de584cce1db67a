"""Accuracy of models by the agreement of the ten annotators of FER+.

python benchmarks/agreement.py ferplus.zip [--model expression mobile] [--ensemble]

The column "votes" is an upper bound: how often ten votes that are drawn from the votes of a face give its label again.
"""

from __future__ import annotations

import numpy as np
from validation import labeled_faces, model_parser, open_classifier

from mien import metrics
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset

LEADS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 10))
"""Minimum and maximum lead, in votes, of the top class over the second one."""
DRAWS = 500
"""Draws of ten votes per face."""


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--ensemble", action="store_true", help="average the probabilities of the models")
    options = parser.parse_args()
    faces = labeled_faces(options.data)
    classifiers = [open_classifier(model) for model in options.model]
    labels = official_labels(classifiers[0].manifest, faces)
    votes = np.array([sample.votes for sample in faces.samples])
    names = options.model
    probabilities = [metrics.softmax(predict_dataset(classifier, faces).logits) for classifier in classifiers]
    if options.ensemble:
        names = ["ensemble"]
        probabilities = [np.mean(probabilities, axis=0)]
    correct = {"votes": resample_votes(votes, labels)}
    for name, rows in zip(names, probabilities, strict=True):
        correct[name] = rows.argmax(axis=1) == labels
    leads = np.diff(np.sort(votes, axis=1)[:, -2:], axis=1)[:, 0]
    print("lead   faces  ", "  ".join(f"{name:>6}" for name in correct))
    for low, high in (*LEADS, (0, 10)):
        selected = (leads >= low) & (leads <= high)
        accuracies = (f"{values[selected].mean():{max(6, len(name))}.1%}" for name, values in correct.items())
        print(f"{low:>2}-{high:<2} {selected.sum():6,}  ", "  ".join(accuracies))


def resample_votes(votes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share (N,) of draws of ten votes from the votes (N, C) of a face that give its label (N,)."""
    random = np.random.default_rng(0)
    agreements = np.zeros(len(votes))
    for _ in range(DRAWS):
        drawn = random.multinomial(10, votes / votes.sum(axis=1, keepdims=True))
        # a random fraction breaks ties
        agreements += (drawn + random.random(drawn.shape)).argmax(axis=1) == labels
    return agreements / DRAWS


if __name__ == "__main__":
    main()
