"""What a run leaves behind for people: its numbers on the validation split, and three plots."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from mien.atomic import write_atomic
from mien.errors import MissingExtraError
from mien.evaluation.summary import summarize
from mien.reports import plots

LOG = "log.jsonl"
NUMBERS = "metrics.json"
ADVICE = str(MissingExtraError("A run's plots", "report"))
"""What to tell when `write_run_report` gave the numbers alone."""


def write_run_report(
    directory: Path, *, names: tuple[str, ...], labels: np.ndarray, logits: np.ndarray
) -> list[Path]:
    """Write `metrics.json`, `confusion.png`, `per_class.png` and `learning_curve.png` into a run's folder.

    Each file is replaced whole or not at all. Without matplotlib there are no plots; see `ADVICE`.

    Args:
        directory: of the run; its `log.jsonl` is drawn as the learning curve.
        names: the C classes, in the order of the columns.
        labels: (N,) class numbers of the validation faces; a face of -1 does not count.
        logits: (N, C) of the averaged weights, uncalibrated.

    Returns:
        The paths that were written, the numbers first.

    Raises:
        InputError: when the arrays do not fit together, or the log cannot be read.
    """
    labels, logits = np.asarray(labels), np.asarray(logits)
    counted = labels >= 0
    summary = summarize(labels[counted], logits[counted], names)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files: dict[str, bytes | str] = {NUMBERS: text}
    with suppress(MissingExtraError):
        files |= {
            "confusion.png": plots.draw_confusion(summary),
            "per_class.png": plots.draw_per_class(summary),
            "learning_curve.png": plots.draw_learning_curve(directory / LOG),
        }
    for name, data in files.items():
        write_atomic(directory / name, data)
    return [directory / name for name in files]
