"""What logit adjustment after training would do to a model: accuracy against balanced accuracy on FER+ validation.

python benchmarks/adjustment.py ferplus.zip [--model expression] [--flip-tta]

Several models are averaged (their probabilities): what an ensemble is worth as a teacher.

tau times the log of each class's share of the training votes is taken from the logits (Menon et al. 2021, section 4.2).
"""

from __future__ import annotations

import numpy as np
from validation import counted_faces, model_parser

from mien import metrics
from mien.datasets import read_dataset
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--flip-tta", action="store_true", help="average with the mirror image")
    options = parser.parse_args()
    train = read_dataset("ferplus", options.data).select("train")
    prior = np.mean([s.label_distribution for s in train.samples if s.label_distribution is not None], axis=0)
    faces = counted_faces(options.data)
    classifiers = [ExpressionClassifier(model) for model in options.model]
    labels = official_labels(classifiers[0].manifest, faces)
    readings = [
        predict_dataset(classifier, faces, flip_tta=options.flip_tta).logits for classifier in classifiers
    ]
    logits = np.log(np.mean([metrics.softmax(logits) for logits in readings], axis=0))
    print("tau  accuracy  balanced")
    for tau in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0):
        predictions = (logits - tau * np.log(prior)).argmax(axis=1)
        accuracy = float(np.mean(predictions == labels))
        balanced = metrics.balanced_accuracy(labels, predictions, len(prior))
        print(f"{tau:.1f}  {accuracy:8.1%}  {balanced:8.1%}")


if __name__ == "__main__":
    main()
