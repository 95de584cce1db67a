"""Explanations drawn on images: each face, its class-activation map, its probabilities and region weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mien.drawing.cards import (
    CARD,
    INK,
    QUIET,
    ROW,
    SMOOTH,
    Bar,
    draw_bars,
    draw_title,
    expression_bars,
    rounded,
    text_font,
)
from mien.errors import InputError
from mien.manifest import RegionSpec
from mien.results import ExplainedFace, Explanation
from mien.theme import OVERLAY_COLORS, rgb

_SIDE = 400
"""Side of a face in pixels."""
NOTE = "A map shows what the network used, not why a person feels anything."
_UNIT, _GAP, _MARGIN, _PANEL = 20, 20, 28, 360
_CAPTION = 2 * _UNIT
_GROUND = CARD[:3]
_REGION = rgb(OVERLAY_COLORS["region"])
_MAX_COVER = 0.72
_HEAT = np.array(
    [
        (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84),
        (228, 90, 49), (249, 142, 9), (249, 203, 53), (252, 255, 164),
    ],
    dtype=np.float64,
)  # fmt: skip
"""Nine evenly spaced colors of "inferno", perceptually uniform (Smith and van der Walt, CC0); linear in between."""


def draw_explanations(faces: Sequence[ExplainedFace], regions: Sequence[RegionSpec] = ()) -> np.ndarray:
    """A row a face: the face, the map of the explained class over it, and the probabilities as bars.

    Args:
        faces: one or more.
        regions: of the model's manifest; they are outlined and their weights stand beside the probabilities.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: when there is no face.
    """
    if not faces:
        raise InputError("no face to draw.")
    rows = [_draw_row(face, regions) for face in faces]
    width, height = rows[0].width + 2 * _MARGIN, sum(row.height + _GAP for row in rows) + 2 * _MARGIN + _UNIT
    canvas = Image.new("RGB", (width, height), _GROUND)
    y = _MARGIN
    for row in rows:
        canvas.paste(row, (_MARGIN, y))
        y += row.height + _GAP
    foot = (_MARGIN, height - _MARGIN)
    ImageDraw.Draw(canvas).text(foot, NOTE, fill=QUIET, font=text_font(_UNIT, 0.85), anchor="lm")
    return np.array(canvas)


def heat_colors(heat: np.ndarray) -> np.ndarray:
    """The colors (h, w, 3) uint8 RGB of values (h, w) within 0..1: dark is little, bright is much."""
    places = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(heat, places, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def lay_over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) uint8 with a map (h, w) of values 0..1 smoothly over it; where it is 0 it is clear."""
    values = _stretch(_stretch(heat, image.shape[0]).T, image.shape[0]).T
    cover = (_MAX_COVER * np.sqrt(values))[:, :, None]
    return (image * (1 - cover) + heat_colors(values) * cover).round().astype(np.uint8)


def _stretch(heat: np.ndarray, rows: int) -> np.ndarray:
    """Values (h, w) smoothly stretched to `rows` rows; one way at a time, for the curve's overshoot is cut off."""
    size = heat.shape[1], rows
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(smooth).clip(0, 1)


def _draw_row(face: ExplainedFace, regions: Sequence[RegionSpec]) -> Image.Image:
    panel = _draw_panel(face.explanation)
    height = max(_SIDE + _CAPTION, panel.height)
    row = Image.new("RGB", (2 * _SIDE + 2 * _GAP + _PANEL, height), _GROUND)
    weights = face.explanation.region_weights
    known = _outline(face.image, regions, weights) if weights else Image.fromarray(face.image)
    over = Image.fromarray(lay_over(face.image, face.explanation.heat(face.label)))
    mask = rounded(_SIDE, _SIDE, _UNIT // 2, (255, 255, 255, 255)).getchannel("A")
    row.paste(known, (0, 0), mask)
    row.paste(over, (_SIDE + _GAP, 0), mask)
    row.paste(panel, (2 * (_SIDE + _GAP), 0), panel)
    draw, middle = ImageDraw.Draw(row), _SIDE + _CAPTION // 2 + 2
    font = text_font(_UNIT, 0.85)
    draw.text((2, middle), "the face" + ", its regions" * bool(weights), fill=QUIET, font=font, anchor="lm")
    what = (
        f"what speaks for {face.label}"
        if face.explanation.heat(face.label).any()
        else "nothing speaks for it"
    )
    draw.text((_SIDE + _GAP + 2, middle), what, fill=QUIET, font=font, anchor="lm")
    _draw_legend(row, 2 * _SIDE + _GAP - 2, middle)
    return row


def _draw_legend(row: Image.Image, right: int, middle: int, length: int = 84, thick: int = 10) -> None:
    """The map's colors on gray, between two words of which the second ends at `right`."""
    draw, font = ImageDraw.Draw(row), text_font(_UNIT, 0.75)
    draw.text((right, middle), "most", fill=QUIET, font=font, anchor="rm")
    start = round(right - font.getlength("most") - 8 - length)
    gray = np.full((length, length, 3), 128, dtype=np.uint8)
    strip = Image.fromarray(lay_over(gray, np.tile(np.linspace(0, 1, length), (length, 1)))).crop(
        (0, 0, length, thick)
    )
    mask = rounded(length, thick, thick // 2, (255, 255, 255, 255)).getchannel("A")
    row.paste(strip, (start, middle - thick // 2), mask)
    draw.text((start - 8, middle), "least", fill=QUIET, font=font, anchor="rm")


def _outline(image: np.ndarray, regions: Sequence[RegionSpec], weights: dict[str, float]) -> Image.Image:
    """A face with its regions outlined and numbered; the more a region counts, the stronger its line."""
    big = Image.new("RGBA", (_SIDE * SMOOTH, _SIDE * SMOOTH), (*_REGION, 0))
    draw, most = ImageDraw.Draw(big), max(weights.values())
    for region in regions:
        left, top, right, bottom = (value * (_SIDE * SMOOTH - 1) for value in region.bbox_xyxy)
        share = weights[region.name] / most if most else 0.0
        shade, thick = round(90 + 165 * share), round((1.5 + 2.5 * share) * SMOOTH)
        draw.rounded_rectangle(
            [left + 4, top + 4, right - 4, bottom - 4],
            radius=8 * SMOOTH,
            outline=(*_REGION, shade),
            width=thick,
        )
    drawn = Image.fromarray(image).convert("RGBA")
    drawn.alpha_composite(big.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    for number, region in enumerate(regions, start=1):
        left, top = (round(value * _SIDE) + 8 for value in region.bbox_xyxy[:2])
        drawn.alpha_composite(rounded(_UNIT, _UNIT, _UNIT // 4, (*_GROUND, 200)), (left, top))
        place = (left + _UNIT / 2, top + _UNIT / 2)
        ImageDraw.Draw(drawn).text(place, str(number), fill=INK, font=text_font(_UNIT, 0.75), anchor="mm")
    return drawn.convert("RGB")


def _draw_panel(explanation: Explanation) -> Image.Image:
    """The card beside a face: its expression, the probabilities, and what each region counts."""
    expression, weights = explanation.expression, explanation.region_weights
    unit, pad = _UNIT, 0.75 * _UNIT
    rows = len(expression.labels) + (len(weights) + 1.6 if weights else 0)
    height = round((3.15 + ROW * (rows - 1) + 1.35) * unit)
    tile = rounded(_PANEL, height, round(0.55 * unit), (255, 255, 255, 14))
    draw_title(ImageDraw.Draw(tile), expression, (pad, 1.5 * unit, _PANEL - pad), unit)
    y = 3.15 * unit
    draw_bars(tile, expression_bars(expression), (pad, y, _PANEL - pad), unit)
    if weights:
        y += ROW * len(expression.labels) * unit
        heading = text_font(unit, 0.85)
        ImageDraw.Draw(tile).text(
            (pad, y + 0.3 * unit), "what each region counts", fill=QUIET, font=heading, anchor="lm"
        )
        bars = [
            Bar(f"{number} {name}", share, _REGION) for number, (name, share) in enumerate(weights.items(), 1)
        ]
        draw_bars(tile, bars, (pad, y + 1.6 * ROW * unit, _PANEL - pad), unit, longest=8.5)
    return tile
