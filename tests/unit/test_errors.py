"""Errors keep their message and attributes between processes."""

from __future__ import annotations

import copy
import errno
import pickle
import socket

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


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(2, "At /a.csv: [errno 2] No such file or directory"), "no such file or directory"),
        (OSError(1094995529, "Invalid data found when processing input"), "invalid data found when processing input"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (OSError("The server of MinIO\n  closed the connection."), "The server of MinIO closed the connection"),
        (ValueError(), "ValueError"),
    ],
)
def test_reason_is_one_line_without_path(error: Exception, expected: str):
    assert errors.reason(error) == expected


def test_write_error_names_file_and_reason():
    error = errors.write_error("out.csv", OSError(errno.ENOSPC, "No space left on device"))

    assert isinstance(error, errors.InputError)
    assert str(error) == "out.csv: cannot be written: no space left on device."
