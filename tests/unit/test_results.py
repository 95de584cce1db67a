"""Result types: choice of the label, valence and arousal derived from probabilities."""

from dataclasses import fields

import numpy as np
import pytest

from mien.emotions import EXPRESSIONS, VALENCE_AROUSAL
from mien.errors import InputError
from mien.results import Expression, choose_label


def expression(labels, probabilities):
    values = np.array(probabilities, dtype=np.float32)
    return Expression(labels=tuple(labels), probabilities=values, label=None, confidence=float(values.max()))


@pytest.mark.parametrize("label", EXPRESSIONS)
def test_a_certain_class_is_at_its_coordinates(label):
    certain = expression(EXPRESSIONS, [float(name == label) for name in EXPRESSIONS])
    assert (certain.valence, certain.arousal) == pytest.approx(VALENCE_AROUSAL[label])


def test_a_mixture_is_between_its_classes():
    mixed = expression(["happiness", "sadness"], [0.5, 0.5])
    assert mixed.valence == pytest.approx((0.81 - 0.63) / 2)
    assert mixed.arousal == pytest.approx((0.51 - 0.27) / 2)


def test_own_coordinates_replace_the_defaults():
    own = expression(["calm", "excited"], [0.25, 0.75])
    assert (own.valence, own.arousal) == (None, None)
    assert own.to_dict()["valence"] is None
    assert own.valence_arousal({"calm": (0.2, -0.8), "excited": (0.6, 0.8)}) == pytest.approx((0.5, 0.4))
    with pytest.raises(KeyError):
        own.valence_arousal({"calm": (0.2, -0.8)})


def test_contains_its_classes():
    mixed = expression(["happiness", "sadness"], [0.5, 0.5])
    assert "happiness" in mixed
    assert "fear" not in mixed


def test_is_one_value_to_pandas():
    pd = pytest.importorskip("pandas")
    mixed = expression(["happiness", "sadness"], [0.5, 0.5])
    assert list(pd.DataFrame([mixed, mixed])) == [field.name for field in fields(mixed)]
    assert pd.DataFrame({"expression": mixed}, index=[0])["expression"][0] is mixed
    with pytest.raises(TypeError, match="not iterable"):
        list(mixed)


@pytest.mark.parametrize("k", [-1, 1.0])
def test_top_rejects_numbers_of_no_classes(k):
    with pytest.raises(InputError, match="k is"):
        expression(["happiness", "sadness"], [0.5, 0.5]).top(k)


@pytest.mark.parametrize(("abstain_below", "label"), [(0.0, "b"), (0.5, "b"), (0.51, None)])
def test_label_is_the_most_probable_class_from_the_threshold_on(abstain_below, label):
    assert choose_label(("a", "b", "c"), np.array([0.25, 0.5, 0.25]), abstain_below) == (label, 0.5)
