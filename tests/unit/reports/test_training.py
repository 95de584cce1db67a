"""What a training run leaves behind: nothing to judge first, then the files, and the numbers without plots."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.reports.training import ADVICE, write_run_report

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


def test_no_faces_still_give_a_report(tmp_path):
    write_log(tmp_path)
    written = write_run_report(tmp_path, names=NAMES, labels=np.empty(0, int), logits=np.empty((0, 3)))
    assert len(written) == 4
    assert json.loads(written[0].read_text())["accuracy"] is None


def test_numbers_and_plots_stand_in_the_folder(tmp_path):
    write_log(tmp_path)
    written = write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert [path.name for path in written] == ["metrics.json", *PLOTS]
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "metrics.json", *PLOTS}
    numbers = json.loads(written[0].read_text())
    assert (numbers["n"], numbers["correct"], numbers["classes"]) == (4, 3, list(NAMES))
    for path in written[1:]:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_without_matplotlib_the_numbers_stand_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    written = write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert [path.name for path in written] == ["metrics.json"]
    assert "pip install 'mien[report]'" in ADVICE


def test_a_folder_without_a_log_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl"):
        write_run_report(tmp_path, names=NAMES, labels=LABELS, logits=LOGITS)
    assert list(tmp_path.iterdir()) == []
