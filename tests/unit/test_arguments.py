"""Arguments of a wrong type or out of range are errors that name the argument."""

from __future__ import annotations

import numpy as np
import pytest

from mien.arguments import check_bool, check_integer, check_number, check_share, check_threads
from mien.errors import InputError
from mien.sessions import open_first

NOT_NUMBERS = (None, "2", b"2", [], object(), float("nan"))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_of_python_and_numpy_become_int(value):
    assert check_integer("faces", value, 1) == 3
    assert type(check_integer("faces", value, 1)) is int


@pytest.mark.parametrize("value", [*NOT_NUMBERS, True, np.True_, 2.0, np.float64(2), 2.5, 0, 11])
def test_rejects_other_integers(value):
    with pytest.raises(InputError, match=r"faces is .*; expected an integer, 1 to 10 \(a hint\)"):
        check_integer("faces", value, 1, 10, meaning="(a hint)")


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.array(0.25)])
def test_shares_of_python_and_numpy_become_float(value):
    assert check_share("error", value) == 0.25
    assert type(check_share("error", value)) is float


@pytest.mark.parametrize("value", [*NOT_NUMBERS, True, np.True_, -0.1, 1.1, float("inf"), 10**400])
def test_rejects_other_shares(value):
    with pytest.raises(InputError, match=r"error is .*; expected a share from 0 to 1, such as 0.05"):
        check_share("error", value, example="0.05")


def test_ends_of_a_share_may_be_excluded():
    assert (check_share("error", 0), check_share("error", 1)) == (0, 1)
    for value in (0, 1):
        with pytest.raises(InputError, match="between 0 and 1"):
            check_share("error", value, with_ends=False)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, True, 0, -1.0, float("inf")])
def test_rejects_other_numbers(value):
    assert check_number("fps", np.int64(2), lambda number: number > 0, "a number above 0") == 2.0
    with pytest.raises(InputError, match=r"fps is .*; expected a number above 0"):
        check_number("fps", value, lambda number: number > 0, "a number above 0")


def test_only_bools_are_bools():
    assert check_bool("pose", np.True_) is True
    for value in (None, 1, "yes", np.int64(1)):
        with pytest.raises(InputError, match=r"pose is .*; expected True or False"):
            check_bool("pose", value)


@pytest.mark.parametrize("value", [-1, 1025, 99999, 2.0, None])
def test_threads_are_bounded_before_a_model_is_opened(value):
    assert check_threads(1024) == 1024
    with pytest.raises(InputError, match=r"threads is .*; expected an integer, 0 to 1024 \(0 is automatic\)"):
        check_threads(value)
    with pytest.raises(InputError, match="threads is"):
        open_first(lambda device: pytest.fail("was opened"), value, "cpu")
