"""Explanations drawn as images: face, class-activation map, probabilities and effects of hidden regions."""

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
from mien.results import ExplainedFace
from mien.theme import OVERLAY_COLORS, rgb

NOTE = "A map shows what the network used, not why a person feels anything."
MAX_OPACITY = 0.72
"""Opacity of a map at its maximum."""

NO_EVIDENCE = 0.02
LITTLE_EVIDENCE = 0.35
"""Maxima of a map below which its caption says that there is no or little evidence for the class."""

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
        regions: regions that were hidden, which are outlined; their effects are drawn as bars. By default none.

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
    """Blend a map (h, w) of values in 0..1 over an image (S, S, 3) uint8; opacity is proportional to the value."""
    # one axis at a time, so that the overshoot of the bicubic filter is clipped in between
    values = _stretch_rows(_stretch_rows(heat, image.shape[0]).T, image.shape[0]).T
    opacity = (MAX_OPACITY * values)[:, :, None]
    return (image * (1 - opacity) + heat_colors(values) * opacity).round().astype(np.uint8)


def _stretch_rows(heat: np.ndarray, rows: int) -> np.ndarray:
    """Resize values (h, w) to `rows` rows, and clip them to 0..1."""
    size = (heat.shape[1], rows)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(smooth).clip(0, 1)


def _draw_row(face: ExplainedFace, regions: Sequence[RegionSpec]) -> Image.Image:
    drops = face.explanation.region_drops(face.label) if regions else {}
    panel = _draw_panel(face, drops)
    height = max(_SIDE + _CAPTION_HEIGHT, panel.height)
    row = Image.new("RGB", (2 * _SIDE + 2 * _GAP + _PANEL_WIDTH, height), _BACKGROUND)
    heat = face.explanation.heat(face.label)
    plain = _outline_regions(face.image, regions, drops)
    mask = round_mask(_SIDE, _SIDE, _UNIT // 2)
    row.paste(plain, (0, 0), mask)
    row.paste(Image.fromarray(overlay_heat(face.image, heat)), (_SIDE + _GAP, 0), mask)
    row.paste(panel, (2 * (_SIDE + _GAP), 0), panel)
    y = _SIDE + _CAPTION_HEIGHT // 2 + 2
    left = "face and regions" if regions else "face"
    right = f"{_strength(heat)} evidence for {face.label}".lstrip()
    for x, text in ((2, left), (_SIDE + _GAP + 2, right)):
        ImageDraw.Draw(row).text((x, y), text, fill=QUIET, font=text_font(_UNIT, 0.85), anchor="lm")
    _draw_legend(row, 2 * _SIDE + _GAP - 2, y)
    return row


def _strength(heat: np.ndarray) -> str:
    """Return a word for the evidence of a class beside the strongest evidence of the face; "" if it is strong."""
    peak = float(heat.max())
    return "no" if peak < NO_EVIDENCE else "little" if peak < LITTLE_EVIDENCE else ""


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


def _outline_regions(image: np.ndarray, regions: Sequence[RegionSpec], drops: dict[str, float]) -> Image.Image:
    """Return a face with numbered outlines of its regions; larger drops have stronger lines."""
    large = Image.new("RGBA", (_SIDE * SMOOTH, _SIDE * SMOOTH), (*_REGION, 0))
    draw = ImageDraw.Draw(large)
    for region in regions:
        left, top, right, bottom = (value * (_SIDE * SMOOTH - 1) for value in region.bbox_xyxy)
        share = max(drops[region.name], 0.0)
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


def _draw_panel(face: ExplainedFace, drops: dict[str, float]) -> Image.Image:
    """Return the card beside a face: its expression, probabilities and the effects of hidden regions."""
    expression = face.explanation.expression
    pad = 0.75 * _UNIT
    end = _PANEL_WIDTH - pad
    rows = len(expression.labels) + (len(drops) + 1.6 if drops else 0)
    height = round((3.15 + ROW * (rows - 1) + 1.35) * _UNIT)
    tile = rounded(_PANEL_WIDTH, height, round(0.55 * _UNIT), (255, 255, 255, 14))
    draw = ImageDraw.Draw(tile)
    draw_title(draw, expression, (pad, 1.5 * _UNIT, end), _UNIT)
    y = 3.15 * _UNIT
    draw_bars(tile, expression_bars(expression), (pad, y, end), _UNIT)
    if drops:
        y += ROW * len(expression.labels) * _UNIT
        font = text_font(_UNIT, 0.85)
        title = f"hidden: change of {face.label} in points"
        draw.text((pad, y + 0.3 * _UNIT), title, fill=QUIET, font=font, anchor="lm")
        bars = [_drop_bar(f"{number} {name}", drop) for number, (name, drop) in enumerate(drops.items(), 1)]
        draw_bars(tile, bars, (pad, y + 1.6 * ROW * _UNIT, end), _UNIT, max_name_width=8.5)
    return tile


def _drop_bar(name: str, drop: float) -> Bar:
    """Return the bar of a change in percentage points; a rise has a gray bar."""
    return Bar(name, abs(drop), _REGION if drop > 0 else QUIET, f"{-100 * drop:+.0f}")
