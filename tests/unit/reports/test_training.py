"""Report of a training run: metrics and plots."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.reports.training import MISSING_PLOTS, write_run_report

NAMES = ("neutral", "happiness", "surprise")
LABELS = np.array([0, 1, 2, 1, -1])
LOGITS = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2]] * 4
PLOTS = ["confusion.png", "per_class.png", "learning_curve.png"]


def write_log(directory):
    lines = [
        {"event": "step", "step": 10, "loss": 1.2, "lr": 0.001},
        {"event": "eval", "step": 10, "loss": 1.1, "accuracy": 0.5},
    ]
    (directory / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_writes_report_without_faces(tmp_path):
    write_log(tmp_path)
    paths = write_run_report(tmp_path, names=NAMES, labels=np.empty(0, int), logits=np.empty((0, 3)))
    assert len(paths) == 4
    assert json.loads(paths[0].read_text())["accuracy"] is None


def test_writes_metrics_and_plots(tmp_path):
    write_log(tmp_path)
    paths = write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert [path.name for path in paths] == ["metrics.json", *PLOTS]
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "metrics.json", *PLOTS}
    metrics = json.loads(paths[0].read_text())
    assert (metrics["n"], metrics["correct"], metrics["classes"]) == (4, 3, list(NAMES))
    for path in paths[1:]:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_writes_only_metrics_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    paths = write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert [path.name for path in paths] == ["metrics.json"]
    assert "pip install 'mien[report]'" in MISSING_PLOTS


def test_rejects_directory_without_log_before_writing(tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl"):
        write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert list(tmp_path.iterdir()) == []
