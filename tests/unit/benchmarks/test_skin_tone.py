"""Individual typology angle of the benchmark of groups."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from skin_tone import category, to_lab, typology_angle

SIDE = 100


def mesh():
    """A mesh whose cheeks and forehead lie in the middle of the image."""
    points = np.full((478, 3), SIDE / 2)
    points[33, 0], points[263, 0] = 20, 80
    return points


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((128, 64, 32), (35.3, 24.6, 31.3)),
    ],
)
def test_lab_of_known_colors(rgb, lab):
    np.testing.assert_allclose(to_lab(np.array([rgb]))[0], lab, atol=0.6)


@pytest.mark.parametrize(
    ("rgb", "tone"), [((244, 208, 177), "very light"), ((141, 85, 36), "brown"), ((45, 34, 30), "dark")]
)
def test_darker_skin_has_a_smaller_angle(rgb, tone):
    image = np.full((SIDE, SIDE, 3), rgb, np.uint8)
    image[:40] = (200, 30, 30)
    angle = typology_angle(image, mesh())
    assert angle is not None
    assert category(angle) == tone


def test_gray_images_have_no_angle():
    assert typology_angle(np.full((SIDE, SIDE, 3), 150, np.uint8), mesh()) is None


def test_categories_begin_above_their_limits():
    angles = (-50, -30, -29, 10, 11, 28, 29, 41, 42, 55, 56)
    names = ("dark", "dark", "brown", "brown", "tan", "tan", *("intermediate",) * 2, "light", "light", "very light")
    assert tuple(map(category, angles)) == names
