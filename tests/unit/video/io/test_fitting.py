"""Fitting of images into a size: aspect ratio kept, black borders, no narrow ones."""

from __future__ import annotations

import numpy as np
import pytest

from mien.video.io.fitting import center, fit_image, fitted_size, limit_side


@pytest.mark.parametrize(
    ("image_hw", "size_hw", "expected"),
    [
        ((48, 64), (48, 64), (48, 64)),
        ((96, 128), (48, 64), (48, 64)),
        ((24, 32), (48, 64), (48, 64)),
        ((64, 48), (48, 64), (48, 36)),
        ((480, 854), (360, 640), (360, 640)),  # 16:9 up to rounding
        ((1, 1000), (48, 64), (1, 64)),
        ((1000, 1), (48, 64), (48, 1)),
    ],
)
def test_fitted_size_keeps_the_aspect_ratio(image_hw, size_hw, expected):
    assert fitted_size(image_hw, size_hw) == expected


def test_fitted_image_is_centered_on_black():
    fitted = fit_image(np.full((64, 48, 3), 200, np.uint8), (48, 64))
    assert (fitted[:, 14:50] == 200).all()
    assert not fitted[:, :14].any()
    assert not fitted[:, 50:].any()


def test_image_of_the_size_is_returned_as_it_is():
    image = np.zeros((5, 7, 3), np.uint8)
    assert fit_image(image, (5, 7)) is center(image, (5, 7)) is image


def test_limit_side():
    assert limit_side((48, 64), None) == limit_side((48, 64), 64) == (48, 64)
    assert limit_side((48, 64), 32) == (24, 32)
    assert limit_side((1, 640), 64) == (1, 64)
