"""What logit adjustment after training would do to a model: accuracy against balanced accuracy on FER+ validation.

python benchmarks/adjustment.py ferplus.zip [--model expression] [--mirror]

Several models are averaged (their probabilities): what an ensemble is worth as a teacher.

tau times the log of each class's share of the training votes is taken from the logits (Menon et al. 2021, section 4.2).
"""

from __future__ import annotations

import argparse

import numpy as np

from mien import metrics
from mien.datasets import read_dataset
from mien.evaluation.evaluate import official_labels, read_faces
from mien.inference.classifier import ExpressionClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument(
        "--model", nargs="+", default=["expression"], help="shipped models' names or .onnx files"
    )
    parser.add_argument("--mirror", action="store_true", help="average with the mirror image")
    options = parser.parse_args()
    index = read_dataset("ferplus", options.data)
    votes = [s.label_distribution for s in index.select("train").samples if s.label_distribution is not None]
    prior = np.mean(votes, axis=0)
    classifiers = [ExpressionClassifier(model) for model in options.model]
    valid = index.select("valid")
    labels = official_labels(classifiers[0].manifest, valid)
    counted = labels >= 0
    readings = [
        read_faces(classifier, valid, mirror=options.mirror).logits[counted] for classifier in classifiers
    ]
    logits = np.log(np.mean([metrics.softmax(logits) for logits in readings], axis=0))
    print("tau  accuracy  balanced")
    for tau in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0):
        predictions = (logits - tau * np.log(prior)).argmax(axis=1)
        accuracy = float(np.mean(predictions == labels[counted]))
        balanced = metrics.balanced_accuracy(labels[counted], predictions, len(prior))
        print(f"{tau:.1f}  {accuracy:8.1%}  {balanced:8.1%}")


if __name__ == "__main__":
    main()
