"""What several benchmarks start from: the FER+ validation faces that count, and the models asked about them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from mien.datasets import Index, majority_label, read_dataset


def model_parser(documentation: str, models: Sequence[str] = ("expression",)) -> argparse.ArgumentParser:
    """A parser of the data set and the models, `models` unless told."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument(
        "--model", nargs="+", default=list(models), help="shipped models' names or .onnx files"
    )
    return parser


def counted_faces(data: str) -> Index:
    """The validation faces that count by the official majority protocol."""
    valid = read_dataset("ferplus", data).select("valid")
    counted = (sample for sample in valid.samples if majority_label(sample.votes) is not None)
    return replace(valid, samples=tuple(counted))
