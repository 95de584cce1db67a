"""Arguments and data shared by benchmarks: the labeled faces of the FER+ validation split, and models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mien.datasets import Index, majority_label, read_dataset
from mien.inference.classifier import ExpressionClassifier


def model_parser(documentation: str, models: Sequence[str] = ("expression",)) -> argparse.ArgumentParser:
    """Return a parser of the data set and the models, `models` by default."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("data", help="FER+, a folder or a zip archive")
    parser.add_argument("--model", nargs="+", default=list(models), help="names of shipped models or .onnx files")
    return parser


def labeled_faces(data: str) -> Index:
    """Return the validation faces with a label by the official majority protocol."""
    valid = read_dataset("ferplus", data).select("valid")
    samples = (sample for sample in valid.samples if majority_label(sample.votes) is not None)
    return replace(valid, samples=tuple(samples))


def open_classifier(model: str) -> ExpressionClassifier:
    """Open a shipped model in float32, as the model cards state it, or an .onnx file in its own precision."""
    return ExpressionClassifier(model, precision="auto" if Path(model).suffix else "float32")
