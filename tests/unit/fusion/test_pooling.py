from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from mien.errors import InputError
from mien.fusion import conflict, log_linear_pool

NAN = float("nan")
FACE = np.array([0.5, 0.3, 0.1, 0.1])
VOICE = np.array([0.1, 0.6, 0.3, NAN])


def test_pools_in_the_logarithm():
    pooled = log_linear_pool(np.array([[0.8, 0.2], [0.2, 0.8]]), np.array([3.0, 1.0]))
    odds = 4**0.75 * 0.25**0.25
    assert np.allclose(pooled, [odds / (1 + odds), 1 / (1 + odds)])


def test_equal_distributions_are_not_sharpened():
    assert np.allclose(log_linear_pool(np.stack([FACE, FACE]), np.array([1.0, 0.5])), FACE)


@pytest.mark.parametrize("other", [VOICE, np.full(4, NAN), np.zeros(4)])
def test_weight_zero_returns_the_other_modality_exactly(other):
    assert (log_linear_pool(np.stack([FACE, other]), np.array([0.3, 0.0])) == FACE).all()


def test_voice_without_face_keeps_its_probabilities_exactly():
    pooled = log_linear_pool(np.stack([np.full(4, NAN), VOICE]), np.array([0.0, 0.2]))
    assert pooled.tolist() == [0.1, 0.6, 0.3, 0.0]


def test_class_that_a_voice_lacks_is_neither_vetoed_nor_raised():
    pooled = log_linear_pool(np.stack([FACE, VOICE]), np.array([1.0, 1.0]))
    assert pooled[3] == pytest.approx(FACE[3])
    within = np.sqrt(FACE[:3] / 0.9 * VOICE[:3])
    assert np.allclose(pooled[:3], 0.9 * within / within.sum())


def test_probability_zero_does_not_veto():
    pooled = log_linear_pool(np.array([[1.0, 0.0], [0.01, 0.99]]), np.array([0.1, 1.0]))
    assert pooled[1] > 0.9


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (np.stack([FACE, FACE]), [0.0, 0.0], "not all 0"),
        (np.stack([FACE, FACE]), [1.0, -1.0], "at least 0"),
        (np.stack([FACE, FACE]), [1.0], "expected"),
        (np.stack([FACE, 2 * FACE]), [1.0, 1.0], "does not sum to 1"),
        (np.array([[1.0, NAN], [NAN, 1.0]]), [1.0, 1.0], "no class"),
        (np.zeros((0, 4)), [], "not all 0"),
    ],
)
def test_rejects_what_cannot_be_pooled(rows, weights, message):
    with pytest.raises(InputError, match=message):
        log_linear_pool(rows, np.array(weights))


def distributions(classes: int) -> st.SearchStrategy[np.ndarray]:
    values = st.lists(st.floats(0.001, 1.0), min_size=classes, max_size=classes)
    return values.map(lambda row: np.array(row) / sum(row))


@given(distributions(5), distributions(5), st.floats(0, 5), st.floats(0.01, 5))
def test_pool_is_a_distribution_between_its_parts(first, second, first_weight, second_weight):
    pooled = log_linear_pool(np.stack([first, second]), np.array([first_weight, second_weight]))
    assert pooled.sum() == pytest.approx(1)
    assert conflict(first, second) + 1e-9 >= conflict(pooled, second)


@given(distributions(4), distributions(4))
def test_conflict_equals_scipy_and_is_symmetric(first, second):
    expected = jensenshannon(first, second, base=2) ** 2
    assert conflict(first, second) == pytest.approx(expected, abs=1e-9)
    assert conflict(first, second) == pytest.approx(conflict(second, first), abs=1e-12)


def test_conflict_is_between_nothing_and_one_bit():
    assert conflict(FACE, FACE) == 0.0
    assert conflict(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)


def test_classes_that_faces_lack_count_as_agreement():
    face, voice = np.array([0.7, 0.3]), np.array([0.1, 0.9])
    with_boredom = conflict(np.array([0.28, 0.12, 0.6]), np.array([0.04, 0.36, 0.6]))
    assert conflict(face, voice, share=0.4) == pytest.approx(with_boredom)


@pytest.mark.parametrize("share", [-0.1, 1.1, NAN])
def test_conflict_rejects_a_share_out_of_range(share):
    with pytest.raises(InputError, match=r"share is .*; expected a share from 0 to 1"):
        conflict(FACE, FACE, share=share)


def test_conflict_leaves_out_classes_that_one_lacks():
    face = np.array([0.05, 0.3, 0.15, 0.5])
    assert conflict(face, VOICE) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InputError, match="no class in common"):
        conflict(np.array([1.0, NAN]), np.array([NAN, 1.0]))
