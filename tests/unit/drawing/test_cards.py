"""Texts and bars of cards."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from mien.drawing.cards import Bar, draw_bars, draw_title
from mien.results import Expression

ROW = (10.0, 20.0, 190.0)


def title(confidence: float) -> np.ndarray:
    tile = Image.new("RGBA", (200, 40))
    probabilities = np.array([confidence, 1 - confidence])
    expression = Expression(labels=("a", "b"), probabilities=probabilities, label="a", confidence=confidence)
    draw_title(ImageDraw.Draw(tile), expression, ROW, 12)
    return np.asarray(tile)


def bar(share: float) -> np.ndarray:
    tile = Image.new("RGBA", (200, 40))
    draw_bars(tile, [Bar("a", share, (255, 0, 0))], ROW, 12)
    return np.asarray(tile)


def test_only_certainty_is_drawn_as_100_percent():
    for draw in (title, bar):
        assert (draw(1.0) != draw(0.9999)).any()
        np.testing.assert_array_equal(draw(0.9999), draw(0.9998))
