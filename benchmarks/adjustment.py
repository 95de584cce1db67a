"""Accuracy and balanced accuracy on FER+ validation after logit adjustment.

python benchmarks/adjustment.py ferplus.zip [--model expression] [--flip-tta]

The log of the share of each class in the training votes, times tau, is subtracted from the logits (Menon et al. 2021,
section 4.2). The probabilities of several models are averaged, which shows the worth of an ensemble as a teacher.
"""

from __future__ import annotations

import numpy as np
from validation import labeled_faces, model_parser, open_classifier

from mien import metrics
from mien.datasets import read_dataset
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--flip-tta", action="store_true", help="average with the mirrored crop")
    options = parser.parse_args()
    train = read_dataset("ferplus", options.data).select("train")
    prior = np.mean([s.label_distribution for s in train.samples if s.label_distribution is not None], axis=0)
    faces = labeled_faces(options.data)
    classifiers = [open_classifier(model) for model in options.model]
    labels = official_labels(classifiers[0].manifest, faces)
    probabilities = [
        metrics.softmax(predict_dataset(classifier, faces, flip_tta=options.flip_tta).logits)
        for classifier in classifiers
    ]
    log_probabilities = np.log(np.mean(probabilities, axis=0))
    print("tau  accuracy  balanced")
    for tau in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0):
        predictions = (log_probabilities - tau * np.log(prior)).argmax(axis=1)
        accuracy = float(np.mean(predictions == labels))
        balanced = metrics.balanced_accuracy(labels, predictions, len(prior))
        print(f"{tau:.1f}  {accuracy:8.1%}  {balanced:8.1%}")


if __name__ == "__main__":
    main()
