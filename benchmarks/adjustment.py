"""What logit adjustment after training would do to a model: accuracy against balanced accuracy on FER+ validation.

python benchmarks/adjustment.py ferplus.zip [--model expression] [--mirror]

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
    parser.add_argument("--model", default="expression", help="a shipped model's name or an .onnx file")
    parser.add_argument("--mirror", action="store_true", help="average with the mirror image")
    options = parser.parse_args()
    index = read_dataset("ferplus", options.data)
    votes = [s.label_distribution for s in index.select("train").samples if s.label_distribution is not None]
    prior = np.mean(votes, axis=0)
    classifier = ExpressionClassifier(options.model)
    valid = index.select("valid")
    labels = official_labels(classifier.manifest, valid)
    counted = labels >= 0
    logits = read_faces(classifier, valid, mirror=options.mirror).logits[counted]
    print("tau  accuracy  balanced")
    for tau in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0):
        predictions = (logits - tau * np.log(prior)).argmax(axis=1)
        accuracy = float(np.mean(predictions == labels[counted]))
        balanced = metrics.balanced_accuracy(labels[counted], predictions, len(prior))
        print(f"{tau:.1f}  {accuracy:8.1%}  {balanced:8.1%}")


if __name__ == "__main__":
    main()
