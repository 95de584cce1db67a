"""Scaling of pixel values to 8 bits by the range in use."""

from __future__ import annotations

import numpy as np
import pytest

from mien.pixels import to_8_bits

GRAY = np.tile(np.arange(256, dtype=np.uint8), (20, 1))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_no_values_give_no_values(dtype):
    assert to_8_bits(np.zeros((0, 4), dtype)).shape == (0, 4)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, ">u2"])
def test_depth_is_that_of_the_largest_value(bits: int, dtype):
    values = (GRAY / 255 * (2**bits - 1)).round().astype(dtype)
    np.testing.assert_array_equal(to_8_bits(values), GRAY)


def test_floating_point_values_up_to_one_are_shares():
    np.testing.assert_array_equal(to_8_bits((GRAY / 255).astype(np.float32)), GRAY)


def test_dark_photograph_of_full_depth_keeps_its_exposure():
    values = GRAY.astype(np.uint16) * 80
    np.testing.assert_array_equal(to_8_bits(values), (GRAY * (80 / 257)).round().astype(np.uint8))


@pytest.mark.parametrize(
    "values",
    [
        (7000 + GRAY.astype(float) * 8).astype(np.uint16),
        (29000 + GRAY.astype(float) * 8).astype(np.uint16),
        GRAY.astype(np.int32) * 10 - 500,
        GRAY.astype(np.int32) * 100_000,
        (20 + GRAY / 255 * 17).astype(np.float32),
        (GRAY / 255 - 0.5).astype(np.float32),
    ],
    ids=["thermal", "centikelvin", "signed", "32 bits", "celsius", "negative"],
)
def test_values_in_use_are_stretched_when_narrow_negative_or_large(values: np.ndarray):
    assert np.abs(to_8_bits(values).astype(int) - GRAY).max() <= 1


def test_dead_and_hot_pixels_do_not_count_as_in_use():
    values = (7000 + np.tile(GRAY, (5, 1)).astype(float) * 8).astype(np.uint16)
    values[0, 0], values[1, 100] = 0, 65535
    scaled = to_8_bits(values)
    assert (scaled[0, 0], scaled[1, 100]) == (0, 255)
    assert np.abs(scaled[2:].astype(int) - GRAY[:1]).max() <= 2


def test_values_that_are_not_finite_become_zero():
    values = (20 + GRAY / 255 * 17).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    scaled = to_8_bits(values)
    assert scaled[0, :3].tolist() == [0, 0, 0]
    assert np.abs(scaled[1:].astype(int) - GRAY[1:]).max() <= 1
    assert to_8_bits(np.full((2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (1000, 249), (-3, 0)])
def test_uniform_images_are_not_stretched(value: int, expected: int):
    assert to_8_bits(np.full((4, 4), value, np.int32)).tolist() == [[expected] * 4] * 4
