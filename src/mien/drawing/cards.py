"""The cards of annotated images: one face's expression as text and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.results import Expression, Face, HeadPose
from mien.theme import OVERLAY_COLORS, class_color, rgb

Color = tuple[int, int, int]
SMOOTH = 4
"""Shapes are drawn this many times larger and shrunk, because Pillow does not smooth edges."""
INK = rgb(OVERLAY_COLORS["ink"])
"""Color of titles, names and main numbers."""
QUIET = rgb(OVERLAY_COLORS["quiet"])
"""Color of notes and secondary numbers."""
CARD = (*rgb(OVERLAY_COLORS["card"]), 222)
"""Background of a card."""
_TRACK = (255, 255, 255, 30)
ROW = 1.35
"""Units from one row of a card to the next."""


class BarsPanel:
    """A card with the label, one named bar a class, and the head pose."""

    def size(self, expression: Expression, unit: int) -> tuple[int, int]:
        """Width and height in pixels."""
        return round(14.2 * unit), round(ROW * unit * len(expression.labels) + 4.9 * unit)

    def draw(self, face: Face, unit: int) -> Image.Image:
        """The card as an RGBA image."""
        expression = face.expression
        assert expression is not None  # faces without one get no panel
        width, height = self.size(expression, unit)
        tile = _card(width, height, unit)
        draw = ImageDraw.Draw(tile)
        pad, top = 0.75 * unit, 1.5 * unit
        draw_title(draw, expression, (pad, top, width - pad), unit)
        draw_bars(tile, expression_bars(expression), (pad, top + 1.65 * unit, width - pad), unit)
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
    """A small card for crowds: the label over one strip whose segments are the probabilities."""

    def size(self, expression: Expression, unit: int) -> tuple[int, int]:
        """Width and height in pixels."""
        return round(8.6 * unit), round(2.7 * unit)

    def draw(self, face: Face, unit: int) -> Image.Image:
        """The card as an RGBA image."""
        expression = face.expression
        assert expression is not None  # faces without one get no panel
        width, height = self.size(expression, unit)
        tile = _card(width, height, unit)
        pad = 0.5 * unit
        draw_title(ImageDraw.Draw(tile), expression, (pad, 0.95 * unit, width - pad), unit, scale=1.0)
        self._draw_strip(tile, expression, (pad, 1.8 * unit, width - pad), round(0.5 * unit))
        return tile

    def _draw_strip(
        self, tile: Image.Image, expression: Expression, row: tuple[float, float, float], thick: int
    ) -> None:
        start, y, end = (round(value) for value in row)
        edges = start + np.concatenate([[0.0], np.cumsum(expression.probabilities)]) * (end - start)
        strip = Image.new("RGBA", tile.size)
        draw = ImageDraw.Draw(strip)
        for name, left, right in zip(expression.labels, edges[:-1], edges[1:], strict=True):
            if round(right) > round(left):
                draw.rectangle(
                    [round(left), y, round(right) - 1, y + thick - 1], fill=(*class_rgb(name), 255)
                )
        mask = Image.new("L", tile.size)
        mask.paste(rounded(end - start, thick, thick // 2, (255, 255, 255, 255)).getchannel("A"), (start, y))
        tile.paste(strip, (0, 0), mask)


Panel = BarsPanel | StripPanel


@dataclass(frozen=True)
class Bar:
    """One row of a card: a name, a share 0..1, and the color of its bar."""

    name: str
    share: float
    color: Color


def expression_bars(expression: Expression) -> list[Bar]:
    """The probability of every class."""
    shares = zip(expression.labels, expression.probabilities.tolist(), strict=True)
    return [Bar(name, probability, class_rgb(name)) for name, probability in shares]


def draw_bars(
    tile: Image.Image,
    bars: Sequence[Bar],
    row: tuple[float, float, float],
    unit: int,
    longest: float = 5.5,
) -> None:
    """Names, bars and per cents, `ROW` units apart; below half a per cent there is a name alone.

    Args:
        tile: the card.
        bars: from top to bottom.
        row: left end, middle of the first row, right end, in pixels.
        unit: height of text in pixels.
        longest: names take at most so many units.
    """
    start, y, end = row
    names = max(text_font(unit, 0.95).getlength(bar.name) for bar in bars)
    columns = start + min(names, longest * unit) + 0.55 * unit, end - 2.5 * unit
    for number, bar in enumerate(bars):
        _draw_bar(tile, bar, (start, *columns, end), y + ROW * number * unit, unit)


def _draw_bar(
    tile: Image.Image, bar: Bar, columns: tuple[float, float, float, float], y: float, unit: int
) -> None:
    start, bar_start, bar_end, end = columns
    draw = ImageDraw.Draw(tile)
    tone = INK if bar.share >= 0.1 else QUIET
    _text(draw, (start, y), bar.name, tone, text_font(unit, 0.95), bar_start - start)
    thick = max(4, round(0.5 * unit))
    paste_bar(tile, (bar_start, y - thick / 2), bar_end - bar_start, thick, _TRACK)
    if bar.share >= 0.005:
        length = max(thick, (bar_end - bar_start) * bar.share)
        paste_bar(tile, (bar_start, y - thick / 2), length, thick, (*bar.color, 255))
        draw.text((end, y), f"{bar.share:.0%}", fill=tone, font=text_font(unit, 0.9), anchor="rm")


def draw_title(
    draw: ImageDraw.ImageDraw,
    expression: Expression,
    row: tuple[float, float, float],
    unit: int,
    scale: float = 1.35,
) -> None:
    """Label to the left, confidence to the right."""
    start, y, end = row
    text = expression.label or "not sure"
    tint = _mix(face_color(expression), INK, 0.35) if expression.label else QUIET
    font = text_font(unit, scale)
    _text(draw, (start, y), text, tint, font, end - start - font.getlength("100% "))
    tone = INK if expression.label else QUIET
    draw.text((end, y), f"{expression.confidence:.0%}", fill=tone, font=font, anchor="rm")


def _text(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    text: str,
    color: Color,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    length: float,
) -> None:
    """Text of at most a length; what does not fit ends in two dots."""
    if font.getlength(text) > length:
        while text and font.getlength(f"{text}..") > length:
            text = text[:-1]
        text = f"{text}.."
    draw.text(start, text, fill=color, font=font, anchor="lm")


def _card(width: int, height: int, unit: int) -> Image.Image:
    return rounded(width, height, round(0.55 * unit), CARD)


def paste_bar(
    tile: Image.Image,
    corner: tuple[float, float],
    length: float,
    thick: int,
    color: tuple[int, int, int, int],
) -> None:
    """Lay a bar with round ends on a tile, its corner at whole pixels."""
    bar = rounded(max(thick, round(length)), thick, thick // 2, color)
    tile.alpha_composite(bar, (round(corner[0]), round(corner[1])))


def rounded(width: int, height: int, radius: int, color: tuple[int, int, int, int]) -> Image.Image:
    """A smooth rounded rectangle on nothing."""
    big = Image.new("RGBA", (width * SMOOTH, height * SMOOTH), (*color[:3], 0))
    corners = [0, 0, width * SMOOTH - 1, height * SMOOTH - 1]
    ImageDraw.Draw(big).rounded_rectangle(corners, radius=radius * SMOOTH, fill=color)
    return big.resize((width, height), Image.Resampling.BOX)


@lru_cache(maxsize=64)
def text_font(unit: int, scale: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The built-in font, `scale` units high."""
    return ImageFont.load_default(size=max(10, round(unit * scale)))


def face_color(expression: Expression | None) -> Color:
    """The color of a face: its expression's, gray when there is none."""
    label = None if expression is None else expression.label
    return class_rgb(label or "")


def class_rgb(name: str) -> Color:
    """A class's color as red, green and blue."""
    return rgb(class_color(name))


def _mix(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue
