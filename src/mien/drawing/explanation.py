"""Explanations drawn as images: face, class-activation map, probabilities and region weights."""

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
    round_mask,
    rounded,
    text_font,
)
from mien.errors import InputError
from mien.manifest import RegionSpec
from mien.results import ExplainedFace, Explanation
from mien.theme import OVERLAY_COLORS, rgb

NOTE = "A map shows what the network used, not why a person feels anything."
MAX_OPACITY = 0.72
"""Opacity of a map at its maximum."""

_SIDE = 400
"""Side of a face in pixels."""
_UNIT = 20
"""Text height in pixels."""
_GAP = 20
_MARGIN = 28
_PANEL_WIDTH = 360
_CAPTION_HEIGHT = 2 * _UNIT
_BACKGROUND = CARD[:3]
_REGION = rgb(OVERLAY_COLORS["region"])
_HEAT = np.array(
    [
        (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84),
        (228, 90, 49), (249, 142, 9), (249, 203, 53), (252, 255, 164),
    ],
    dtype=np.float64,
)  # fmt: skip
"""Nine evenly spaced colors of the perceptually uniform map "inferno" (Smith and van der Walt, CC0)."""


def draw_explanations(faces: Sequence[ExplainedFace], regions: Sequence[RegionSpec] = ()) -> np.ndarray:
    """Draw one row per face: the face, the map of the explained class over it, and the probabilities as bars.

    Args:
        faces: one or more faces.
        regions: regions of the model's manifest, which are outlined; their weights are drawn as bars.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: there are no faces.
    """
    if not faces:
        raise InputError("no face to draw.")
    rows = [_draw_row(face, regions) for face in faces]
    width = rows[0].width + 2 * _MARGIN
    height = sum(row.height + _GAP for row in rows) + 2 * _MARGIN + _UNIT
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    y = _MARGIN
    for row in rows:
        canvas.paste(row, (_MARGIN, y))
        y += row.height + _GAP
    place = (_MARGIN, height - _MARGIN)
    ImageDraw.Draw(canvas).text(place, NOTE, fill=QUIET, font=text_font(_UNIT, 0.85), anchor="lm")
    return np.array(canvas)


def heat_colors(heat: np.ndarray) -> np.ndarray:
    """Map values (h, w) in 0..1 to colors (h, w, 3) uint8 RGB, from dark to bright."""
    positions = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(heat, positions, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def overlay_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a map (h, w) of values in 0..1 over an image (S, S, 3) uint8; the map is transparent at 0."""
    # one axis at a time, so that the overshoot of the bicubic filter is clipped in between
    values = _stretch_rows(_stretch_rows(heat, image.shape[0]).T, image.shape[0]).T
    opacity = (MAX_OPACITY * np.sqrt(values))[:, :, None]
    return (image * (1 - opacity) + heat_colors(values) * opacity).round().astype(np.uint8)


def _stretch_rows(heat: np.ndarray, rows: int) -> np.ndarray:
    """Resize values (h, w) to `rows` rows, and clip them to 0..1."""
    size = (heat.shape[1], rows)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(smooth).clip(0, 1)


def _draw_row(face: ExplainedFace, regions: Sequence[RegionSpec]) -> Image.Image:
    panel = _draw_panel(face.explanation)
    height = max(_SIDE + _CAPTION_HEIGHT, panel.height)
    row = Image.new("RGB", (2 * _SIDE + 2 * _GAP + _PANEL_WIDTH, height), _BACKGROUND)
    weights = face.explanation.region_weights
    heat = face.explanation.heat(face.label)
    plain = _outline_regions(face.image, regions, weights) if weights else Image.fromarray(face.image)
    mask = round_mask(_SIDE, _SIDE, _UNIT // 2)
    row.paste(plain, (0, 0), mask)
    row.paste(Image.fromarray(overlay_heat(face.image, heat)), (_SIDE + _GAP, 0), mask)
    row.paste(panel, (2 * (_SIDE + _GAP), 0), panel)
    y = _SIDE + _CAPTION_HEIGHT // 2 + 2
    left = "face and regions" if weights else "face"
    right = f"evidence for {face.label}" if heat.any() else f"no evidence for {face.label}"
    for x, text in ((2, left), (_SIDE + _GAP + 2, right)):
        ImageDraw.Draw(row).text((x, y), text, fill=QUIET, font=text_font(_UNIT, 0.85), anchor="lm")
    _draw_legend(row, 2 * _SIDE + _GAP - 2, y)
    return row


def _draw_legend(row: Image.Image, right: int, y: int, length: int = 84, thickness: int = 10) -> None:
    """Draw the colors of a map on gray between "low" and "high", which ends at `right`."""
    draw = ImageDraw.Draw(row)
    font = text_font(_UNIT, 0.75)
    draw.text((right, y), "high", fill=QUIET, font=font, anchor="rm")
    start = round(right - font.getlength("high") - 8 - length)
    gray = np.full((length, length, 3), 128, dtype=np.uint8)
    colors = overlay_heat(gray, np.tile(np.linspace(0, 1, length), (length, 1)))
    strip = Image.fromarray(colors[:thickness])
    row.paste(strip, (start, y - thickness // 2), round_mask(length, thickness, thickness // 2))
    draw.text((start - 8, y), "low", fill=QUIET, font=font, anchor="rm")


def _outline_regions(image: np.ndarray, regions: Sequence[RegionSpec], weights: dict[str, float]) -> Image.Image:
    """Return a face with numbered outlines of its regions; larger weights have stronger lines."""
    large = Image.new("RGBA", (_SIDE * SMOOTH, _SIDE * SMOOTH), (*_REGION, 0))
    draw = ImageDraw.Draw(large)
    max_weight = max(weights.values())
    for region in regions:
        left, top, right, bottom = (value * (_SIDE * SMOOTH - 1) for value in region.bbox_xyxy)
        share = weights[region.name] / max_weight if max_weight else 0.0
        draw.rounded_rectangle(
            [left + 4, top + 4, right - 4, bottom - 4],
            radius=8 * SMOOTH,
            outline=(*_REGION, round(90 + 165 * share)),
            width=round((1.5 + 2.5 * share) * SMOOTH),
        )
    outlined = Image.fromarray(image).convert("RGBA")
    outlined.alpha_composite(large.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    for number, region in enumerate(regions, start=1):
        left, top = (round(value * _SIDE) + 8 for value in region.bbox_xyxy[:2])
        outlined.alpha_composite(rounded(_UNIT, _UNIT, _UNIT // 4, (*_BACKGROUND, 200)), (left, top))
        place = (left + _UNIT / 2, top + _UNIT / 2)
        font = text_font(_UNIT, 0.75)
        ImageDraw.Draw(outlined).text(place, str(number), fill=INK, font=font, anchor="mm")
    return outlined.convert("RGB")


def _draw_panel(explanation: Explanation) -> Image.Image:
    """Return the card beside a face: its expression, probabilities and region weights."""
    expression = explanation.expression
    weights = explanation.region_weights
    pad = 0.75 * _UNIT
    end = _PANEL_WIDTH - pad
    rows = len(expression.labels) + (len(weights) + 1.6 if weights else 0)
    height = round((3.15 + ROW * (rows - 1) + 1.35) * _UNIT)
    tile = rounded(_PANEL_WIDTH, height, round(0.55 * _UNIT), (255, 255, 255, 14))
    draw = ImageDraw.Draw(tile)
    draw_title(draw, expression, (pad, 1.5 * _UNIT, end), _UNIT)
    y = 3.15 * _UNIT
    draw_bars(tile, expression_bars(expression), (pad, y, end), _UNIT)
    if weights:
        y += ROW * len(expression.labels) * _UNIT
        font = text_font(_UNIT, 0.85)
        draw.text((pad, y + 0.3 * _UNIT), "region weights", fill=QUIET, font=font, anchor="lm")
        bars = [Bar(f"{number} {name}", share, _REGION) for number, (name, share) in enumerate(weights.items(), 1)]
        draw_bars(tile, bars, (pad, y + 1.6 * ROW * _UNIT, end), _UNIT, max_name_width=8.5)
    return tile
