"""Frames of a video with what is known of their faces drawn on: boxes and small cards that move with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from mien.drawing.annotate import MIN_TEXT, draw_axes, draw_box
from mien.drawing.cards import CARD, INK, StripPanel, face_color, rounded, text_font
from mien.results import Face

_TEXT_SHARE = 54  # text is the image's long side divided by this
_UNITS_WIDE = 8.6
_MIN_UNIT = 2  # a card cannot be drawn smaller
_PANEL = StripPanel()


def draw_tracks(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A copy of a frame with each face's box, number, head axes, steady label and smoothed probabilities.

    The card stands under its face, or over it where there is no room: it moves with the face and jumps rarely.

    Args:
        image: (H, W, 3) uint8 RGB, left as it is.
        faces: of a `VideoFrame`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Image.fromarray(image)
    unit = _unit(canvas.size)
    limit = np.array([*canvas.size, *canvas.size])
    for face in sorted(faces, key=lambda face: float(face.bbox_xyxy[3])):
        box = face.bbox_xyxy.clip(0, limit).round()
        draw_box(canvas, box, face_color(face.smoothed), unit)
        draw_axes(canvas, face, unit)
        _draw_number(canvas, face, box, unit)
        if face.smoothed is not None:
            _draw_card(canvas, replace(face, expression=face.smoothed), box, unit)
    return np.array(canvas)


def _unit(size_wh: tuple[int, int]) -> int:
    """Height of text; less in frames that are too narrow for a card."""
    wanted = max(MIN_TEXT, round(max(size_wh) / _TEXT_SHARE))
    return max(_MIN_UNIT, min(wanted, int(size_wh[0] / _UNITS_WIDE)))


def _draw_number(canvas: Image.Image, face: Face, box: np.ndarray, unit: int) -> None:
    """The face's number, on a tag at the upper left corner of its box."""
    text, font = str(face.track_id), text_font(unit, 0.95)
    width, height = round(font.getlength(text) + 0.9 * unit), round(1.35 * unit)
    tag = rounded(width, height, round(0.4 * unit), CARD)
    ImageDraw.Draw(tag).text((width / 2, height / 2), text, fill=INK, font=font, anchor="mm")
    x, y = int(box[0]), max(0, int(box[1]) - height - round(0.2 * unit))
    canvas.paste(tag, (x, y), tag)


def _draw_card(canvas: Image.Image, face: Face, box: np.ndarray, unit: int) -> None:
    assert face.expression is not None  # what is drawn
    width, height = _PANEL.size(face.expression, unit)
    gap = round(0.35 * unit)
    x = round(float(box[0] + box[2] - width) / 2)
    y = int(box[3]) + gap
    if y + height > canvas.height:  # over the number
        y = max(0, int(box[1]) - height - 2 * gap - round(1.35 * unit))
    x = max(0, min(x, canvas.width - width))
    tile = _PANEL.draw(face, unit)
    canvas.paste(tile, (x, y), tile)
