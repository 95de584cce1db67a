"""Video frames with tracked faces drawn on: boxes, numbers, head axes and small cards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from mien.drawing.annotate import MIN_TEXT_PX, draw_axes, draw_box
from mien.drawing.cards import CARD, INK, SMOOTH, StripPanel, face_color, rounded, text_font
from mien.results import Face

_TEXT_SHARE = 54
"""Longer side of a frame in text heights."""
_CARD_WIDTH = 8.6
"""Width of a card in text heights."""
_MIN_LINES = 17
"""Minimum height of a frame, in text heights; in lower frames the text is smaller, at least `MIN_TEXT_PX`."""
_MIN_UNIT_PX = 2
"""Minimum text height of a card."""
SPEAKING = INK
"""Color of the mark of a speaker."""
_PANEL = StripPanel()


def draw_tracks(image: np.ndarray, faces: Sequence[Face], speakers: Collection[int] = ()) -> np.ndarray:
    """Draw each face's box, number, head axes, stable label and smoothed probabilities on a copy of a frame.

    The card is placed below the face, or above or beside it where space is missing: it follows the face and rarely
    jumps.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        faces: faces of a `VideoFrame`.
        speakers: numbers of the faces that speak; they get a loudspeaker beside their number.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Image.fromarray(image)
    unit = _text_height(canvas.size)
    limit = np.array([*canvas.size, *canvas.size])
    for face in sorted(faces, key=lambda face: float(face.bbox_xyxy[3])):
        box = face.bbox_xyxy.clip(0, limit).round()
        draw_box(canvas, box, face_color(face.smoothed), unit)
        draw_axes(canvas, face, unit)
        _draw_number(canvas, face, box, unit, is_speaking=face.track_id in speakers)
        if face.smoothed is not None:
            shown = replace(face, expression=face.smoothed, action_units=face.smoothed_action_units)
            _draw_card(canvas, shown, box, unit)
    return np.array(canvas)


def _text_height(size_wh: tuple[int, int]) -> int:
    """Return the text height in pixels, reduced in frames that are low or narrower than a card."""
    height = max(MIN_TEXT_PX, min(round(max(size_wh) / _TEXT_SHARE), size_wh[1] // _MIN_LINES))
    return max(_MIN_UNIT_PX, min(height, int(size_wh[0] / _CARD_WIDTH)))


def _draw_number(canvas: Image.Image, face: Face, box: np.ndarray, unit: int, *, is_speaking: bool) -> None:
    """Draw the number of a face on a tag at the upper left corner of its box, and a loudspeaker if it speaks."""
    text = str(face.track_id)
    font = text_font(unit, 0.95)
    width = round(font.getlength(text) + 0.9 * unit)
    height = round(1.35 * unit)
    tag = rounded(width + (height if is_speaking else 0), height, round(0.4 * unit), CARD)
    ImageDraw.Draw(tag).text((width / 2, height / 2), text, fill=INK, font=font, anchor="mm")
    if is_speaking:
        symbol = _loudspeaker(height)
        tag.paste(symbol, (width - round(0.2 * unit), 0), symbol)
    canvas.paste(tag, (int(box[0]), max(0, int(box[1]) - height - round(0.2 * unit))), tag)


@lru_cache(maxsize=16)
def _loudspeaker(side: int) -> Image.Image:
    """Return a loudspeaker with two waves as RGBA (side, side)."""
    large = side * SMOOTH
    tile = Image.new("RGBA", (large, large), (*SPEAKING, 0))
    draw = ImageDraw.Draw(tile)
    outline = ((0.12, 0.38), (0.28, 0.38), (0.5, 0.18), (0.5, 0.82), (0.28, 0.62), (0.12, 0.62))
    draw.polygon([(x * large, y * large) for x, y in outline], fill=(*SPEAKING, 255))
    for radius in (0.18, 0.34):
        box = [(0.5 - radius) * large, (0.5 - radius) * large, (0.54 + radius) * large, (0.5 + radius) * large]
        draw.arc(box, -50, 50, fill=(*SPEAKING, 255), width=max(1, large // 12))
    return tile.resize((side, side), Image.Resampling.BOX)


def _draw_card(canvas: Image.Image, face: Face, box: np.ndarray, unit: int) -> None:
    """Draw the card of a face with an expression below its box, above its number, or beside its box."""
    assert face.expression is not None
    width, height = _PANEL.size(face, unit)
    gap = round(0.35 * unit)
    x = round(float(box[0] + box[2] - width) / 2)
    y = int(box[3]) + gap
    if y + height > canvas.height:
        y = int(box[1]) - height - 2 * gap - round(1.35 * unit)
    if y < 0:
        y = 0
        beside = (int(box[2]) + gap, int(box[0]) - gap - width)
        x = next((left for left in beside if 0 <= left <= canvas.width - width), x)
    x = max(0, min(x, canvas.width - width))
    tile = _PANEL.draw(face, unit)
    canvas.paste(tile, (x, y), tile)
