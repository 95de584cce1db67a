"""Report of a training run: validation metrics as JSON, and plots."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from mien.atomic import write_atomic
from mien.errors import MissingExtraError
from mien.evaluation.summary import summarize
from mien.reports import plots
from mien.reports.evaluation import encode_record
from mien.reports.learning_curve import draw_learning_curve

LOG = "log.jsonl"
METRICS = "metrics.json"
MISSING_PLOTS = str(MissingExtraError("A plot of the run", "report"))
"""Message for a run whose report has no plots because matplotlib is not installed."""


def write_run_report(directory: Path, *, names: tuple[str, ...], labels: np.ndarray, logits: np.ndarray) -> list[Path]:
    """Write `metrics.json`, `confusion.png`, `per_class.png` and `learning_curve.png` into the directory of a run.

    Each file is replaced atomically. Without matplotlib only the metrics are written; see `MISSING_PLOTS`.

    Args:
        directory: directory of the run; its `log.jsonl` is the source of the learning curve.
        names: the C class names, in the order of the columns.
        labels: (N,) class numbers of the validation faces; faces with -1 are ignored.
        logits: (N, C) logits of the averaged weights, before calibration.

    Returns:
        The paths of the written files, the metrics first.

    Raises:
        InputError: the shapes of the arrays do not match, or the log cannot be read.
    """
    labels = np.asarray(labels)
    is_labeled = labels >= 0
    summary = summarize(labels[is_labeled], np.asarray(logits)[is_labeled], names)
    files: dict[str, bytes | str] = {METRICS: encode_record(summary)}
    with suppress(MissingExtraError):
        files |= {
            "confusion.png": plots.draw_confusion(summary),
            "per_class.png": plots.draw_per_class(summary),
            "learning_curve.png": draw_learning_curve(directory / LOG),
        }
    for name, data in files.items():
        write_atomic(directory / name, data)
    return [directory / name for name in files]
