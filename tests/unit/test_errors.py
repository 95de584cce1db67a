"""Errors keep their message and attributes between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from mien import errors

ERRORS = [
    errors.MienError("a"),
    errors.ImageReadError("photo.jpg is empty."),
    errors.UnknownModelError("mobil", ["mobile"]),
    errors.LayoutError("folder", "labels.csv"),
    errors.AnnotationError("labels.csv", 3, "no label"),
    errors.MissingExtraError("A DataFrame", "pandas"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled_and_copied(error: errors.MienError):
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert (str(other), vars(other), other.code) == (str(error), vars(error), error.code)
