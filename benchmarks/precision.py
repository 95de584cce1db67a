"""Compare the int8 file of a model with its float32 file: accuracy, calibration, equal labels, and time of one thread.

python benchmarks/precision.py ferplus.zip [--table labels.csv] [--model expression] [--int8 FILE] [--repeats 200]

Accuracy and ECE are those of the official protocol, with the temperature of each manifest. Times are medians of one
thread's CPU time for one face; the two files take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from validation import labeled_faces

from mien import metrics
from mien.datasets import Index, read_dataset
from mien.evaluation.labels import official_labels, select_labeled
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier
from mien.runtime import INT8_SUFFIX, find_model


def compare(paths: tuple[Path, Path], index: Index) -> None:
    """Print accuracy, ECE and agreement on the labeled faces of a data set."""
    classifiers = [ExpressionClassifier(path) for path in paths]
    labels = official_labels(classifiers[0].manifest, index)
    logits = [predict_dataset(classifier, index).logits for classifier in classifiers]
    counted = (labels >= 0) & np.isfinite(logits[0]).all(axis=1)
    chosen = [metrics.choose_labels(values[counted]) for values in logits]
    probabilities = [
        metrics.softmax(values[counted], classifier.manifest.temperature)
        for values, classifier in zip(logits, classifiers, strict=True)
    ]
    accuracy = [metrics.accuracy(labels[counted], predictions) for predictions in chosen]
    ece = [metrics.expected_calibration_error(values, labels[counted]) for values in probabilities]
    print(f"{index.name}, {counted.sum()} faces")
    print(f"  accuracy    {accuracy[0]:8.2%} {accuracy[1]:8.2%}  {100 * (accuracy[1] - accuracy[0]):+.2f} points")
    print(f"  ECE         {ece[0]:8.4f} {ece[1]:8.4f}  {ece[1] - ece[0]:+.4f}")
    print(f"  same label  {(chosen[0] == chosen[1]).mean():8.2%}")
    print(f"  probability {np.abs(probabilities[0] - probabilities[1]).mean():8.4f} mean change")


def times_ms(paths: tuple[Path, Path], repeats: int) -> list[float]:
    """Return the median CPU milliseconds of one face for each file."""
    classifiers = [ExpressionClassifier(path, threads=1) for path in paths]
    size = classifiers[0].manifest.input.size
    crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    times: list[list[float]] = [[] for _ in paths]
    for turn in range(repeats + 5):
        for classifier, values in zip(classifiers, times, strict=True):
            start = time.thread_time()
            classifier.logits(crop)
            if turn >= 5:
                values.append(time.thread_time() - start)
    return [1000 * statistics.median(values) for values in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="FER+, a folder or a zip archive")
    parser.add_argument("--table", type=Path, help="table of labeled photographs, image,label")
    parser.add_argument("--model", default="expression", help="name of a shipped model or float32 .onnx file")
    parser.add_argument("--int8", type=Path, help="int8 file, by default the one beside the model")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    original = find_model(arguments.model)
    paths = (original, arguments.int8 or original.with_suffix(INT8_SUFFIX))
    sizes = [path.stat().st_size / 1e6 for path in paths]
    before, after = times_ms(paths, arguments.repeats)
    print("                float32     int8")
    print(f"megabytes     {sizes[0]:8.1f} {sizes[1]:8.1f}")
    print(f"milliseconds  {before:8.2f} {after:8.2f}  {before / after:.2f} times as fast")
    compare(paths, labeled_faces(arguments.data))
    if arguments.table:
        compare(paths, select_labeled(read_dataset("table", arguments.table)))


if __name__ == "__main__":
    main()
