"""Checks of arguments that callers pass from Python, so that a wrong type is an error with a name."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from mien.errors import InputError

MAX_THREADS = 1024
"""Maximum number of threads per network; each takes memory at once."""


def check_integer(name: str, value: Any, minimum: int, maximum: int | None = None, *, meaning: str = "") -> int:
    """Return an integer of Python or numpy as int.

    Args:
        name: of the argument.
        value: as it was passed.
        minimum: smallest valid value.
        maximum: largest valid value, or None.
        meaning: added to the message, such as "(0 is automatic)".

    Raises:
        InputError: when the value is not an integer, or out of range; a bool and 2.0 are not integers.
    """
    number = _as_integer(value)
    if number is None or number < minimum or (maximum is not None and number > maximum):
        bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
        raise InputError(f"{name} is {value!r}; expected an integer, {bounds}{meaning and ' '}{meaning}.")
    return number


def check_threads(value: Any) -> int:
    """Return a number of threads per network; 0 is automatic.

    Raises:
        InputError: when the value is not an integer, or out of range.
    """
    return check_integer("threads", value, 0, MAX_THREADS, meaning="(0 is automatic)")


def check_share(name: str, value: Any, *, with_ends: bool = True, example: str = "0.5") -> float:
    """Return a number from 0 to 1 as float, or between them without `with_ends`.

    Raises:
        InputError: when the value is not a number, or out of range.
    """
    bounds = "a share from 0 to 1" if with_ends else "a number between 0 and 1"
    return check_number(
        name, value, lambda number: 0 <= number <= 1 and (with_ends or 0 < number < 1), f"{bounds}, such as {example}"
    )


def check_number(name: str, value: Any, is_valid: Callable[[float], bool], expected: str) -> float:
    """Return a finite number as float.

    Args:
        name: of the argument.
        value: as it was passed.
        is_valid: whether the number is in range.
        expected: words for what is valid, such as "a number above 0".

    Raises:
        InputError: when the value is not a finite number, or out of range.
    """
    number = _as_number(value)
    if number is None or math.isinf(number) or not is_valid(number):
        raise InputError(f"{name} is {value!r}; expected {expected}.")
    return number


def check_bool(name: str, value: Any) -> bool:
    """Return a bool of Python or numpy as bool.

    Raises:
        InputError: when the value is not a bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {value!r}; expected True or False.")
    return bool(value)


def _as_integer(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_ | str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number
