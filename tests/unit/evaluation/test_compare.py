"""Comparison of two models: counts, differences, verdict, and report page."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from mien.datasets.index import Index, Sample
from mien.errors import MissingExtraError
from mien.evaluation.compare import MAX_DIFFERENCES, compare_predictions
from mien.evaluation.predictions import DatasetPredictions
from mien.manifest import AlignmentSpec, InputSpec, Manifest
from mien.reports.comparison import verdict, write_comparison

LABELS = ("neutral", "happiness", "fear")
FIRST = Manifest(
    name="a",
    version="1",
    task="expression",
    input=InputSpec(size=8),
    sha256="0",
    license="MIT",
    labels=LABELS,
    alignment=AlignmentSpec(template="ferplus", margin=0.0),
)
SECOND = replace(FIRST, name="b", labels=LABELS[::-1])
HOSTILE = "<b>$x^$"


def make_index(labels: list[int | None], root) -> Index:
    samples = tuple(
        Sample(id=f"{row}{HOSTILE}.png", split="test", label=label, label_distribution=None)
        for row, label in enumerate(labels)
    )
    return Index(name="made", root=root, labels=LABELS, samples=samples, license="CC0", is_cropped=True)


def make_predictions(
    index: Index, classes: list[int], manifest: Manifest, strengths: list[float]
) -> DatasetPredictions:
    """Return predictions of the given classes of `LABELS` with the given logits; -1 for no detected face."""
    logits = np.zeros((len(classes), 3), dtype=np.float32)
    for row, (label, logit) in enumerate(zip(classes, strengths, strict=True)):
        logits[row, manifest.labels.index(LABELS[label])] = logit
    is_found = np.array(classes) >= 0
    logits[~is_found] = np.nan
    crops = np.random.default_rng(0).integers(0, 256, (len(classes), 8, 8, 3), dtype=np.uint8)
    is_readable = np.ones(len(classes), dtype=bool)
    return DatasetPredictions(
        index=index, crop=lambda row: crops[row], logits=logits, is_found=is_found, is_readable=is_readable
    )


@pytest.fixture
def comparison(tmp_path):
    index = make_index([0, 0, 1, 1, 2, 2, None, 0], tmp_path)
    logits = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    first = make_predictions(index, [0, 0, 1, 0, 2, 0, 1, -1], FIRST, logits)
    second = make_predictions(index, [0, 1, 0, 1, 2, 1, 1, -1], SECOND, logits)
    return compare_predictions(FIRST, SECOND, first, second)


def test_compares_without_labeled_faces(tmp_path):
    index = make_index([None], tmp_path)
    predictions = [make_predictions(index, [0], manifest, [1.0]) for manifest in (FIRST, SECOND)]
    summary = compare_predictions(FIRST, SECOND, *predictions).summary
    assert (summary["n"], summary["difference"], summary["mcnemar"]["p_value"]) == (0, None, 1.0)
    assert summary["difference_interval"] == [None, None]
    write_comparison(
        tmp_path / "new",
        title="t",
        subject={},
        names=("a", "b"),
        comparison=compare_predictions(FIRST, SECOND, *predictions),
    )


def test_counts_do_not_depend_on_class_order(comparison):
    summary = comparison.summary
    assert summary["n"] == 7
    assert summary["table"] == {"both_right": 2, "only_first": 2, "only_second": 1, "both_wrong": 2}
    assert (summary["first"]["correct"], summary["second"]["correct"]) == (4, 3)
    assert [summary[key]["name"] for key in ("first", "second")] == ["a", "b"]
    assert (summary["first"]["version"], summary["first"]["sha256"]) == ("1", "0")
    assert summary["difference"] == pytest.approx(1 / 7, abs=1e-6)
    assert summary["difference_interval"][0] < 1 / 7 < summary["difference_interval"][1]
    assert summary["mcnemar"] == {"p_value": 1.0}
    assert summary["per_class"]["happiness"] == {
        "n": 2, "first": 0.5, "second": 0.5, "difference": 0.0, "only_first": 1, "only_second": 1,
    }  # fmt: skip
    assert summary["missed_faces"] == 1
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_small_p_values_keep_their_digits(tmp_path):
    index = make_index([0] * 30, tmp_path)
    first = make_predictions(index, [0] * 30, FIRST, [1.0] * 30)
    second = make_predictions(index, [1] * 30, SECOND, [1.0] * 30)
    summary = compare_predictions(FIRST, SECOND, first, second).summary
    assert summary["mcnemar"]["p_value"] == pytest.approx(2 * 0.5**30, rel=1e-5, abs=0)


def test_differences_start_with_the_most_confident_mistake(comparison):
    assert [face.name[0] for face in comparison.only_first] == ["2", "1"]
    (face,) = comparison.only_second
    assert (face.name[0], face.truth, face.predictions) == ("3", "happiness", ("neutral", "happiness"))
    assert face.confidences[0] == pytest.approx(np.exp(4) / (np.exp(4) + 2))


def test_differences_beyond_the_limit_are_counted_but_not_returned(tmp_path, monkeypatch):
    count = MAX_DIFFERENCES + 3
    index = make_index([0] * count, tmp_path)
    logits = np.random.default_rng(0).permutation(np.linspace(1, 9, count)).tolist()
    first = make_predictions(index, [0] * count, FIRST, logits)
    second = make_predictions(index, [1] * count, SECOND, logits)
    comparison = compare_predictions(FIRST, SECOND, first, second)
    assert comparison.summary["table"]["only_first"] == count
    assert len(comparison.only_first) == MAX_DIFFERENCES
    confidences = [face.confidences[1] for face in comparison.only_first]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] == pytest.approx(np.exp(9) / (np.exp(9) + 2))
    texts = []
    monkeypatch.setattr("matplotlib.figure.Figure.text", lambda _, x, y, text, **style: texts.append(text))
    path = write_comparison(tmp_path / "new", title="t", subject={}, names=("a", "b"), comparison=comparison)
    assert f"only a is correct: {MAX_DIFFERENCES} of {count} faces" in texts
    assert f"<p>{MAX_DIFFERENCES} of {count} faces, most confident" in path.read_text(encoding="utf-8")


def test_extra_class_of_one_model_counts_as_a_mistake(tmp_path):
    index, more = make_index([0, 0, 1], tmp_path), replace(FIRST, name="more", labels=("contempt", *LABELS))
    narrow = FIRST, make_predictions(index, [0, 0, 1], FIRST, [3.0] * 3)
    wide = more, replace(narrow[1], logits=np.eye(4, dtype=np.float32)[[0, 1, 2]] * 3)
    orders = ((narrow, wide), [3, 2], [["contempt"], []]), ((wide, narrow), [2, 3], [[], ["contempt"]])
    for ((first, first_predictions), (second, second_predictions)), correct, unknown in orders:
        comparison = compare_predictions(first, second, first_predictions, second_predictions)
        summary = comparison.summary
        assert [summary[side]["correct"] for side in ("first", "second")] == correct
        assert list(summary["unknown"].values()) == unknown
        (face,) = comparison.only_first + comparison.only_second
        assert sorted(face.predictions) == ["contempt", "neutral"]
        assert summary["per_class"]["contempt"]["n"] == 0
        assert " does not know contempt, so it cannot" in verdict(summary, ("a", "b"))


def test_page_shows_both_predictions_and_escapes_names(comparison, tmp_path):
    names = (f"a {HOSTILE}", "b")
    path = write_comparison(
        tmp_path / "new", title=HOSTILE, subject={"models": HOSTILE}, names=names, comparison=comparison
    )
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "comparison.html", "comparison.json", "faces.png", "recalls.png",
    ]  # fmt: skip
    html = path.read_text(encoding="utf-8")
    assert "<b>" not in html
    assert html.count("data:image/") == 2 + 3
    assert "The difference is not significant" in html
    assert "not what the person felt" in html
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in comparison.summary} == comparison.summary
    assert [len(side) for side in record["differences"]] == [2, 1]


@pytest.mark.parametrize(
    ("p_value", "difference", "expected"),
    [
        (0.0001, 0.1, "a is significantly better: McNemar's test gives p < 0.001."),
        (0.04, -0.1, "b is significantly better: McNemar's test gives p = 0.040."),
        (0.2, -0.1, "The difference is not significant: McNemar's test gives p = 0.200."),
        (1.0, 0.0, "The difference is not significant: McNemar's test gives p = 1.000."),
    ],
)
def test_verdict(p_value, difference, expected):
    unknown = {"first": [], "second": []}
    summary = {"mcnemar": {"p_value": p_value}, "difference": difference, "unknown": unknown}
    assert verdict(summary, ("a", "b")) == expected


def test_report_names_the_missing_extra(comparison, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"mien\[report\]"):
        write_comparison(tmp_path / "new", title="t", subject={}, names=("a", "b"), comparison=comparison)
    assert not (tmp_path / "new").exists()
