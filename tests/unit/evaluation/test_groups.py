"""Results by group: columns, small groups, differences, and order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mien import metrics
from mien.datasets.index import Sample
from mien.evaluation.groups import MAX_GROUPS, MIN_FACES, columns_left_out, group_columns, group_results


def sample(number: int, **groups: str) -> Sample:
    return Sample(id=str(number), split="test", label=0, label_distribution=None, groups=groups)


def test_no_faces_have_no_groups():
    assert group_columns([]) == {}
    assert group_columns([sample(0), sample(1)]) == {}
    assert group_results(np.empty(0, int), np.empty(0, int), {}, 3) == {}


def test_skips_columns_with_one_or_too_many_values():
    count = MAX_GROUPS + 1
    samples = [sample(row, person=str(row), same="x", gender="fm"[row % 2]) for row in range(count)]
    assert list(group_columns(samples)) == ["gender"]
    assert columns_left_out(samples) == {"person": "41 values, more than 40"}
    assert columns_left_out(samples[1:]) == columns_left_out([]) == {}


def test_empty_cells_form_the_group_not_stated():
    columns = group_columns([sample(0, age="young"), sample(1, age=""), sample(2)])
    assert columns == {"age": ["young", "not stated", "not stated"]}


def test_scores_of_a_group_match_the_metrics_of_its_faces():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 3, 200), rng.integers(-1, 3, 200)
    names = rng.choice(["a", "b"], 200)
    column = group_results(labels, predictions, {"g": list(names)}, 3)["g"]
    for name in "ab":
        is_member = names == name
        item = column["groups"][name]
        assert item["n"] == is_member.sum()
        assert item["correct"] == (labels == predictions)[is_member].sum()
        assert item["accuracy"] == pytest.approx(metrics.accuracy(labels[is_member], predictions[is_member]), abs=1e-6)
        assert item["balanced_accuracy"] == pytest.approx(
            metrics.balanced_accuracy(labels[is_member], predictions[is_member], 3), abs=1e-6
        )
        low, high = item["accuracy_interval"]
        assert low < item["accuracy"] < high
    first, second = (column["groups"][name]["accuracy"] for name in "ab")
    assert column["accuracy_difference"] == pytest.approx(abs(first - second), abs=2e-6)
    assert json.loads(json.dumps(column, allow_nan=False)) == column


def test_small_group_is_listed_but_not_compared():
    few = MIN_FACES - 1
    names = ["a"] * MIN_FACES + ["b"] * MIN_FACES + ["few"] * few
    labels = np.zeros(len(names), dtype=int)
    predictions = np.repeat([0, 1, 0, 1], [MIN_FACES, 2, MIN_FACES - 2, few])
    column = group_results(labels, predictions, {"g": names}, 2)["g"]
    assert [item["is_enough"] for item in column["groups"].values()] == [True, True, False]
    assert column["groups"]["few"]["accuracy"] == 0
    assert column["accuracy_difference"] == pytest.approx(2 / MIN_FACES)
    single = group_results(labels[few:], predictions[few:], {"g": names[few:]}, 2)["g"]
    assert single["accuracy_difference"] is None


def test_not_stated_is_not_compared():
    names = np.repeat(["a", "b", "not stated"], MIN_FACES)
    labels = np.zeros(len(names), dtype=int)
    predictions = np.repeat([0, 1], [2 * MIN_FACES, MIN_FACES])
    column = group_results(labels, predictions, {"g": list(names)}, 2)["g"]
    assert column["groups"]["not stated"]["accuracy"] == 0
    assert column["accuracy_difference"] == column["balanced_accuracy_difference"] == 0
    half = group_results(labels, predictions, {"g": list(np.where(names == "a", "not stated", names))}, 2)
    assert half["g"]["accuracy_difference"] is None


def test_sorts_ages_by_number():
    ages = ["70+", "4-19", "0-3", "20-39"]
    labels = np.zeros(4, dtype=int)
    assert list(group_results(labels, labels, {"age": ages}, 2)["age"]["groups"]) == ["0-3", "4-19", "20-39", "70+"]


def test_sorts_numbers_of_any_length():
    names = ["7" + "0" * 5000, "10", "6" + "9" * 5000, "0" * 5000 + "9"]
    labels = np.zeros(4, dtype=int)
    groups = group_results(labels, labels, {"person": names}, 2)["person"]["groups"]
    assert list(groups) == [names[3], names[1], names[2], names[0]]
