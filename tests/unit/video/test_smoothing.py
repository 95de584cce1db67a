"""Temporal smoothing: delay, stability, weights, and restoring the state."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import InputError
from mien.results import Expression, Quality
from mien.video.smoothing import MIN_WEIGHT, Smoother, prediction_weight

LABELS = ("calm", "glad", "sad")


def predict(*probabilities):
    values = np.array(probabilities, dtype=np.float32)
    best = int(values.argmax())
    return Expression(labels=LABELS, probabilities=values, label=LABELS[best], confidence=float(values[best]))


CALM, GLAD = predict(1, 0, 0), predict(0, 1, 0)


def quality(**changes):
    return Quality(**{"size_px": 100.0, "sharpness": 1.0, "frontality": 1.0, "visible": 1.0, **changes})


def change_after_s(smoother, fps, *, weight=1.0):
    """Return the seconds from a sudden change of expression to the change of the label at a frame rate."""
    for index in range(round(2 * fps) + 1):
        assert smoother.add(1, index / fps, CALM, weight).label == "calm"
    changed_s = round(2 * fps) / fps  # time of the last calm prediction
    for index in range(1, round(5 * fps)):
        if smoother.add(1, changed_s + index / fps, GLAD, weight).label == "glad":
            return index / fps
    raise AssertionError("the label never changes")


def test_unknown_track_has_no_expression():
    smoother = Smoother(LABELS)
    assert smoother.last(1) is None
    assert smoother.state() == {}
    smoother.retain()


@pytest.mark.parametrize("fps", [5, 8, 12.5, 25, 30, 60, 240])
@pytest.mark.parametrize("smoothing_s", [0.1, 0.2, 0.5])
def test_label_changes_after_the_delay_at_any_frame_rate(fps, smoothing_s):
    smoother = Smoother(LABELS, smoothing_s=smoothing_s)
    after_s = change_after_s(smoother, fps)
    assert smoother.delay_ms / 1000 <= after_s <= smoother.delay_ms / 1000 + 1 / fps + 1e-9


def test_default_delay_is_below_300_ms():
    assert Smoother(LABELS).delay_ms == pytest.approx(160, abs=1)
    assert change_after_s(Smoother(LABELS), 25 / 3) <= 0.3


def test_low_weight_slows_the_change_of_label():
    assert change_after_s(Smoother(LABELS), 50, weight=0.5) == pytest.approx(
        2 * Smoother(LABELS).delay_ms / 1000, abs=0.021
    )
    smoother = Smoother(LABELS)
    smoother.add(1, 0.0, CALM)
    assert smoother.add(1, 1.0, GLAD, 0.0).probabilities.tolist() == CALM.probabilities.tolist()


def test_curve_does_not_depend_on_sampling_rate():
    curves = []
    for steps in (1, 2, 7, 100):
        smoother = Smoother(LABELS)
        smoother.add(1, 10.0, CALM)
        for step in range(1, steps + 1):
            smoothed = smoother.add(1, 10.0 + 0.3 * step / steps, GLAD)
        curves.append(smoothed.probabilities)
    np.testing.assert_allclose(curves, np.broadcast_to(curves[0], (4, 3)), atol=1e-6)
    assert curves[0][1] == pytest.approx(1 - np.exp(-0.3 / 0.2), abs=1e-6)


def test_single_outlier_and_repeated_time_keep_the_label():
    smoother = Smoother(LABELS)
    labels = [smoother.add(1, 0.12 * index, GLAD if index == 5 else CALM).label for index in range(12)]
    assert set(labels) == {"calm"}
    before = smoother.last(1).probabilities
    np.testing.assert_array_equal(smoother.add(1, 0.12 * 11, GLAD).probabilities, before)


def test_zero_time_constant_returns_every_prediction():
    smoother = Smoother(LABELS, smoothing_s=0, hysteresis=0)
    assert smoother.delay_ms == 0
    for index, prediction in enumerate((CALM, GLAD, CALM)):
        smoothed = smoother.add(1, index / 25, prediction, 0.1)
        np.testing.assert_array_equal(smoothed.probabilities, prediction.probabilities)
        assert smoothed.label == prediction.label


@pytest.mark.parametrize(("hysteresis", "changes"), [(0.1, 0), (0.0, 20)])
def test_hysteresis_prevents_flicker_between_close_classes(hysteresis, changes):
    smoother = Smoother(LABELS, smoothing_s=0, hysteresis=hysteresis)
    labels = []
    for index in range(40):
        lead = 0.04 if index % 2 else -0.04
        labels.append(smoother.add(1, index / 25, predict(0.5 + lead, 0.5 - lead, 0)).label)
    count = sum(a != b for a, b in pairwise(labels))
    assert count == 0 if changes == 0 else count > changes


def test_confidence_belongs_to_the_label():
    smoother = Smoother(LABELS, smoothing_s=0)
    smoother.add(1, 0.0, predict(0.6, 0.4, 0))
    smoothed = smoother.add(1, 0.1, predict(0.46, 0.54, 0))
    assert smoothed.label == "calm"
    assert smoothed.confidence == pytest.approx(0.46)


def test_abstains_below_threshold_with_hysteresis():
    smoother = Smoother(LABELS, 0.6, smoothing_s=0)
    steps = [(0.55, None), (0.59, None), (0.61, "calm"), (0.57, "calm"), (0.56, "calm"), (0.54, None), (0.57, None)]
    for index, (value, label) in enumerate(steps):
        smoothed = smoother.add(1, index / 25, predict(value, 1 - value, 0))
        assert smoothed.label == label
        assert smoothed.confidence == pytest.approx(value)


def test_tracks_are_independent_and_can_be_dropped():
    smoother = Smoother(LABELS)
    smoother.add(1, 0.0, CALM)
    smoother.add(2, 1.0, GLAD)
    assert (smoother.last(1).label, smoother.last(2).label) == ("calm", "glad")
    smoother.retain({2})
    assert smoother.last(1) is None
    assert smoother.last(2).label == "glad"
    smoother.retain()
    assert smoother.last(2) is None


def test_restored_smoother_continues_exactly():
    rng = np.random.default_rng(0)
    predictions = [predict(*rng.dirichlet(np.ones(3))) for _ in range(60)]
    uninterrupted = Smoother(LABELS, 0.5)
    expected = [
        uninterrupted.add(index % 2, index / 29.97, prediction, 0.7) for index, prediction in enumerate(predictions)
    ]
    smoother, results = Smoother(LABELS, 0.5), []
    for index, prediction in enumerate(predictions):
        state = json.loads(json.dumps(smoother.state()))
        smoother = Smoother(LABELS, 0.5)
        smoother.restore(state)
        results.append(smoother.add(index % 2, index / 29.97, prediction, 0.7))
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.probabilities, other.probabilities)
        assert (result.label, result.confidence) == (other.label, other.confidence)
    assert smoother.state() == uninterrupted.state()


@pytest.mark.parametrize("value", [-0.1, 61, float("nan"), float("inf")])
def test_rejects_time_constant_out_of_range(value):
    with pytest.raises(InputError, match="smoothing_s"):
        Smoother(LABELS, smoothing_s=value)


@pytest.mark.parametrize("value", [-0.1, 1, float("nan")])
def test_rejects_hysteresis_out_of_range(value):
    with pytest.raises(InputError, match="hysteresis"):
        Smoother(LABELS, hysteresis=value)


def test_weight_is_the_product_of_quality_values():
    assert prediction_weight(None) == 0.5
    assert prediction_weight(quality()) == 1
    assert prediction_weight(quality(frontality=None)) == 0.5
    assert prediction_weight(quality(size_px=20.0, visible=0.5)) == pytest.approx(0.25)
    assert prediction_weight(quality(frontality=0.0)) == MIN_WEIGHT
    assert prediction_weight(quality(size_px=0.0, visible=0.0)) == MIN_WEIGHT


@given(
    predictions=st.lists(
        st.tuples(
            st.floats(0, 10),
            st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda values: sum(values) > 1e-3),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=30,
    ),
    smoothing_s=st.floats(0, 60),
    abstain_below=st.floats(0, 1),
)
def test_smoothed_probabilities_sum_to_one(predictions, smoothing_s, abstain_below):
    smoother = Smoother(LABELS, abstain_below, smoothing_s=smoothing_s)
    now = 0.0
    for gap_s, values, weight in predictions:
        now += gap_s
        smoothed = smoother.add(1, now, predict(*(np.array(values) / sum(values))), weight)
        assert smoothed.probabilities.min() >= 0
        assert smoothed.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert smoothed.label is None or smoothed.label in LABELS
        assert 0 <= smoothed.confidence <= smoothed.probabilities.max() + 1e-6
