"""Cards with the expression of one face as text and bars, and the drawing primitives of all overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.action_units import ACTION_UNITS
from mien.number_format import whole_percent
from mien.results import Expression, Face, HeadPose
from mien.theme import OVERLAY_COLORS, class_color, rgb

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
SMOOTH = 4
"""Supersampling factor of shapes: Pillow does not smooth edges."""
INK = rgb(OVERLAY_COLORS["ink"])
"""Color of titles, names and main numbers."""
QUIET = rgb(OVERLAY_COLORS["quiet"])
"""Color of notes and secondary numbers."""
CARD = (*rgb(OVERLAY_COLORS["card"]), 222)
"""Background of a card."""
_TRACK = (255, 255, 255, 30)
UNIT_ROWS = 5
"""Number of action units on a card."""
ROW = 1.35
"""Distance between the rows of a card, in text heights."""


class BarsPanel:
    """Card with the label, one named bar per class, the strongest action units if estimated, and the head pose."""

    def size(self, face: Face, unit: int) -> tuple[int, int]:
        """Return width and height in pixels; `unit` is the text height in pixels."""
        assert face.expression is not None
        rows = len(face.expression.labels) + (UNIT_ROWS if face.action_units else 0)
        return round((16.5 if face.action_units else 14.2) * unit), round(
            ROW * unit * rows + (6.1 if face.action_units else 4.9) * unit
        )

    def draw(self, face: Face, unit: int) -> Image.Image:
        """Return the card of a face with an expression as RGBA."""
        expression = face.expression
        assert expression is not None
        width, height = self.size(face, unit)
        tile = rounded(width, height, round(0.55 * unit), CARD)
        draw = ImageDraw.Draw(tile)
        pad = 0.75 * unit
        top = 1.5 * unit
        draw_title(draw, expression, (pad, top, width - pad), unit)
        top += 1.65 * unit
        draw_bars(tile, expression_bars(expression), (pad, top, width - pad), unit)
        if face.action_units:
            top += (ROW * len(expression.labels) + 1.2) * unit
            paste_bar(tile, (pad, top - 1.2 * unit), width - 2 * pad, max(1, unit // 12), _TRACK)
            draw_bars(tile, action_unit_bars(face.action_units), (pad, top, width - pad), unit, max_name_width=9.5)
        paste_bar(tile, (pad, height - 1.95 * unit), width - 2 * pad, max(1, unit // 12), _TRACK)
        self._draw_pose(draw, face.head_pose, (pad, height - 0.95 * unit, width - pad), unit)
        return tile

    def _draw_pose(
        self, draw: ImageDraw.ImageDraw, pose: HeadPose | None, row: tuple[float, float, float], unit: int
    ) -> None:
        start, y, end = row
        font = text_font(unit, 0.85)
        if pose is None:
            draw.text((start, y), "head pose unknown", fill=QUIET, font=font, anchor="lm")
            return
        angles = (("yaw", pose.yaw_deg), ("pitch", pose.pitch_deg), ("roll", pose.roll_deg))
        texts = [f"{name} {round(angle):d}°" for name, angle in angles]
        for text, x, anchor in zip(texts, (start, (start + end) / 2, end), ("lm", "mm", "rm"), strict=True):
            draw.text((x, y), text, fill=QUIET, font=font, anchor=anchor)


class StripPanel:
    """Small card for crowds: the label above one strip of segments that are the probabilities."""

    def size(self, face: Face, unit: int) -> tuple[int, int]:
        """Return width and height in pixels; `unit` is the text height in pixels."""
        return round(8.6 * unit), round(2.7 * unit)

    def draw(self, face: Face, unit: int) -> Image.Image:
        """Return the card of a face with an expression as RGBA."""
        expression = face.expression
        assert expression is not None
        width, height = self.size(face, unit)
        tile = rounded(width, height, round(0.55 * unit), CARD)
        pad = 0.5 * unit
        draw_title(ImageDraw.Draw(tile), expression, (pad, 0.95 * unit, width - pad), unit, scale=1.0)
        self._draw_strip(tile, expression, (pad, 1.8 * unit, width - pad), round(0.5 * unit))
        return tile

    def _draw_strip(
        self, tile: Image.Image, expression: Expression, row: tuple[float, float, float], thickness: int
    ) -> None:
        start, y, end = (round(value) for value in row)
        edges = start + np.concatenate([[0.0], np.cumsum(expression.probabilities)]) * (end - start)
        strip = Image.new("RGBA", tile.size)
        draw = ImageDraw.Draw(strip)
        for name, left, right in zip(expression.labels, edges[:-1], edges[1:], strict=True):
            if round(right) > round(left):
                box = [round(left), y, round(right) - 1, y + thickness - 1]
                draw.rectangle(box, fill=(*class_rgb(name), 255))
        mask = Image.new("L", tile.size)
        mask.paste(round_mask(end - start, thickness, thickness // 2), (start, y))
        tile.paste(strip, (0, 0), mask)


Panel = BarsPanel | StripPanel


@dataclass(frozen=True)
class Bar:
    """One row of a card: name, share 0..1, color of the bar, and the number beside it, by default a percentage."""

    name: str
    share: float
    color: Color
    number: str = ""


def expression_bars(expression: Expression) -> list[Bar]:
    """Return one bar per class with its probability."""
    shares = zip(expression.labels, expression.probabilities.tolist(), strict=True)
    return [Bar(name, probability, class_rgb(name)) for name, probability in shares]


def action_unit_bars(intensities: Mapping[str, float]) -> list[Bar]:
    """Return bars of the `UNIT_ROWS` strongest action units, the mean of both sides, in descending order."""
    units = {f"{unit.name} {unit.description}": intensities[unit.name] for unit in ACTION_UNITS}
    strongest = sorted(units, key=lambda name: -units[name])[:UNIT_ROWS]
    return [Bar(name, units[name], QUIET, f"{units[name]:.2f}") for name in strongest]


def draw_bars(
    tile: Image.Image, bars: Sequence[Bar], row: tuple[float, float, float], unit: int, max_name_width: float = 5.5
) -> None:
    """Draw names, bars and numbers in rows `ROW` text heights apart; below 0.5% only the name is drawn.

    Args:
        tile: card to draw on.
        bars: bars from top to bottom.
        row: left end, vertical center of the first row, and right end in pixels.
        unit: text height in pixels.
        max_name_width: maximum width of the names in text heights.
    """
    start, y, end = row
    widest = max(text_font(unit, 0.95).getlength(bar.name) for bar in bars)
    bar_start = start + min(widest, max_name_width * unit) + 0.55 * unit
    max_length = end - 2.5 * unit - bar_start
    thickness = max(4, round(0.5 * unit))
    draw = ImageDraw.Draw(tile)
    for place, bar in enumerate(bars):
        middle = y + ROW * place * unit
        color = INK if bar.share >= 0.1 else QUIET
        _draw_text(draw, (start, middle), bar.name, color, text_font(unit, 0.95), bar_start - start)
        corner = (bar_start, middle - thickness / 2)
        paste_bar(tile, corner, max_length, thickness, _TRACK)
        if bar.share >= 0.005:
            paste_bar(tile, corner, max(thickness, max_length * bar.share), thickness, (*bar.color, 255))
            number = bar.number or whole_percent(bar.share)
            draw.text((end, middle), number, fill=color, font=text_font(unit, 0.9), anchor="rm")


def draw_title(
    draw: ImageDraw.ImageDraw, expression: Expression, row: tuple[float, float, float], unit: int, scale: float = 1.35
) -> None:
    """Draw the label on the left and the confidence on the right.

    Args:
        draw: canvas to draw on.
        expression: prediction; "not sure" is drawn when it has no label.
        row: left end, vertical center and right end in pixels.
        unit: text height of the card in pixels.
        scale: text height of the title in units.
    """
    start, y, end = row
    font = text_font(unit, scale)
    label = expression.label or "not sure"
    tint = _mix(face_color(expression), INK, 0.35) if expression.label else QUIET
    _draw_text(draw, (start, y), label, tint, font, end - start - font.getlength("100% "))
    color = INK if expression.label else QUIET
    draw.text((end, y), whole_percent(expression.confidence), fill=color, font=font, anchor="rm")


def _draw_text(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], text: str, color: Color, font: Font, max_width: float
) -> None:
    """Draw text, cut to a width in pixels and ended by two dots if it is wider."""
    if font.getlength(text) > max_width:
        while text and font.getlength(f"{text}..") > max_width:
            text = text[:-1]
        text = f"{text}.."
    draw.text(start, text, fill=color, font=font, anchor="lm")


def paste_bar(
    tile: Image.Image, corner: tuple[float, float], length: float, thickness: int, color: tuple[int, int, int, int]
) -> None:
    """Paste a bar with round ends on a tile, its corner rounded to whole pixels."""
    bar = rounded(max(thickness, round(length)), thickness, thickness // 2, color)
    tile.alpha_composite(bar, (round(corner[0]), round(corner[1])))


def rounded(width: int, height: int, radius: int, color: tuple[int, int, int, int]) -> Image.Image:
    """Return a smooth rounded rectangle on a transparent background as RGBA."""
    large = Image.new("RGBA", (width * SMOOTH, height * SMOOTH), (*color[:3], 0))
    box = [0, 0, width * SMOOTH - 1, height * SMOOTH - 1]
    ImageDraw.Draw(large).rounded_rectangle(box, radius=radius * SMOOTH, fill=color)
    return large.resize((width, height), Image.Resampling.BOX)


def round_mask(width: int, height: int, radius: int) -> Image.Image:
    """Return a smooth rounded rectangle as a paste mask."""
    return rounded(width, height, radius, (255, 255, 255, 255)).getchannel("A")


@lru_cache(maxsize=64)
def text_font(unit: int, scale: float) -> Font:
    """Return Pillow's built-in font; `scale` is its height in units, at least 10 pixels."""
    return ImageFont.load_default(size=max(10, round(unit * scale)))


def face_color(expression: Expression | None) -> Color:
    """Return the color of a face's label; gray without one."""
    label = None if expression is None else expression.label
    return class_rgb(label or "")


def class_rgb(name: str) -> Color:
    """Return a class color as red, green and blue."""
    return rgb(class_color(name))


def _mix(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue
