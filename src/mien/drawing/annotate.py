"""Annotated copies of images: faces with expression, probabilities and head axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from mien.drawing.blur import blur_faces
from mien.drawing.blur_mode import BlurMode, check_blur
from mien.drawing.cards import (
    CARD,
    INK,
    SMOOTH,
    BarsPanel,
    Color,
    Panel,
    StripPanel,
    class_rgb,
    face_color,
    paste_bar,
    text_font,
)
from mien.drawing.label_placement import Placement, head_boxes, panel_distances, place_panels
from mien.imaging import check_image
from mien.results import Expression, Face, HeadPose
from mien.theme import OVERLAY_COLORS, rgb

MIN_SIDE_PX = 600
"""Minimum longer side of an annotated image; smaller images are enlarged by a whole factor."""
MAX_ENLARGED_PX = 2600
"""Maximum longer side to which a crowded image is enlarged to make space for all panels."""
TEXT_SHARES = (72, 90, 110)
"""Longer side of the image in text heights: the default, and two smaller texts for crowds."""
MIN_TEXT_PX = 12
"""Minimum text height."""
MAX_COVERED = 0.03
"""Maximum share of a panel over faces or other panels; beyond it, all faces get smaller panels."""
MAX_DISTANCE = 0.7
"""Maximum gap between a panel and its face in panel widths; beyond it, all faces get smaller panels."""

_AXIS_COLORS = tuple(rgb(OVERLAY_COLORS[name]) for name in ("axis_left", "axis_up", "axis_out"))


def draw_faces(image: np.ndarray, faces: Sequence[Face], *, blur: BlurMode | None = None) -> np.ndarray:
    """Draw each face's box, expression, probabilities and head axes on a copy of an image.

    Text has a readable size independent of the size of the faces and is placed next to them. A tiny or crowded image is
    enlarged, and a legend of the colors is added below a dense crowd.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        faces: faces of the image. Faces without an expression have only a box.
        blur: hide all of these faces, or with "others" all but the largest one, behind a few flat cells; not
            reversible. Faces that are not passed, such as those beyond `max_faces`, stay visible.

    Returns:
        (H * k, W * k, 3) uint8 RGB, where k is a whole number, 1 for ordinary images; higher with a legend.

    Raises:
        InputError: the image is not (H, W, 3) uint8, or the blur mode is unknown.
    """
    check_image(image)
    check_blur(blur, None)
    layout = _choose_layout(image.shape[1::-1], faces)
    canvas = Image.fromarray(blur_faces(image, faces, blur))
    if layout.enlargement > 1:
        size = (canvas.width * layout.enlargement, canvas.height * layout.enlargement)
        canvas = canvas.resize(size, Image.Resampling.BICUBIC)
    for face, box in zip(faces, layout.faces_xyxy, strict=True):
        draw_box(canvas, box, face_color(face.expression), layout.unit)
        draw_axes(canvas, face, layout.unit, layout.enlargement)
    classified = [(face, box) for face, box in zip(faces, layout.faces_xyxy, strict=True) if face.expression]
    for (face, box), space in zip(classified, layout.placement.boxes_xyxy, strict=True):
        tile = layout.panel.draw(face, layout.unit)
        place = _fit_tile(tile, space, box)
        _draw_leader(canvas, box, place, face_color(face.expression), layout.unit)
        canvas.paste(tile, (int(place[0]), int(place[1])), tile)
    expressions = [face.expression for face in faces if face.expression]
    if isinstance(layout.panel, StripPanel) and expressions:
        canvas = _add_legend(canvas, expressions[0], layout.unit)
    return np.array(canvas)


@dataclass(frozen=True)
class _Layout:
    """Enlargement, text height, panels, whether they are smaller than the image, and their positions."""

    enlargement: int
    unit: int
    panel: Panel
    is_inside: bool
    faces_xyxy: np.ndarray
    placement: Placement

    @property
    def is_clear(self) -> bool:
        return self.placement.covered <= MAX_COVERED and self.placement.distance <= MAX_DISTANCE


def _choose_layout(size_wh: tuple[int, int], faces: Sequence[Face]) -> _Layout:
    """Return the first layout with space for all bars of every face; without one, the first with strips."""
    smallest = max(1, math.ceil(MIN_SIDE_PX / max(size_wh)))
    largest = max(smallest, MAX_ENLARGED_PX // max(size_wh))
    enlargements = [smallest * 2**times for times in range(3) if smallest * 2**times <= largest]
    default_share, *small_shares = TEXT_SHARES
    options = [(smallest, default_share)]
    options += [(enlargement, share) for enlargement in enlargements for share in small_shares]
    if sum(face.expression is not None for face in faces) <= 1:
        layouts = [_make_layout(size_wh, faces, *option, BarsPanel()) for option in options]
        if any(layout.is_inside for layout in layouts):
            return min(layouts, key=lambda layout: (not layout.is_clear, round(layout.placement.covered, 1)))
    for panel in (BarsPanel(), StripPanel()):
        for option in options:
            layout = _make_layout(size_wh, faces, *option, panel, max_covered=MAX_COVERED)
            if layout.is_clear:
                return layout
    return _make_layout(size_wh, faces, *options[-1], StripPanel())


def _make_layout(
    size_wh: tuple[int, int],
    faces: Sequence[Face],
    enlargement: int,
    text_share: int,
    panel: Panel,
    max_covered: float = math.inf,
) -> _Layout:
    width, height = size_wh[0] * enlargement, size_wh[1] * enlargement
    unit = max(MIN_TEXT_PX, round(max(width, height) / text_share))
    boxes = np.array([face.bbox_xyxy for face in faces], dtype=np.float64).reshape(-1, 4) * enlargement
    boxes = np.clip(boxes, 0, [width, height, width, height]).round()
    indices = [index for index, face in enumerate(faces) if face.expression]
    panel_wh = (1, 1)
    if indices:
        classified = [faces[index] for index in indices]
        card_width, card_height = _largest_size(BarsPanel(), classified, unit)
        if card_width > width or card_height > height:
            # a long image: reduce the text until the larger panel fits with its gaps
            scale = min(width / (card_width + 1.2 * unit), height / (card_height + 1.2 * unit))
            unit = max(MIN_TEXT_PX, int(unit * scale))
        panel_wh = _largest_size(panel, classified, unit)
    is_inside = panel_wh[0] <= width and panel_wh[1] <= height
    placement = place_panels((width, height), boxes, indices, panel_wh, round(0.6 * unit), max_covered)
    return _Layout(enlargement, unit, panel, is_inside, boxes, placement)


def _largest_size(panel: Panel, faces: Sequence[Face], unit: int) -> tuple[int, int]:
    """Return the largest width and height of the faces' panels, because those with action units are larger."""
    widths, heights = zip(*(panel.size(face, unit) for face in faces), strict=True)
    return max(widths), max(heights)


def _fit_tile(tile: Image.Image, space: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the box (4,) of a tile within the space for a panel, as near to a face's box as possible."""
    size = np.array(tile.size)
    corner = np.clip((box[:2] + box[2:] - size) // 2, space[:2], space[2:] - size)
    return np.concatenate([corner, corner + size])


def draw_box(canvas: Image.Image, box: np.ndarray, color: Color, unit: int) -> None:
    """Draw a thin rectangle with strong round corners around a box.

    Args:
        canvas: image to draw on.
        box: (4,) left, top, right, bottom in whole pixels; boxes below 4 pixels are not drawn.
        color: line color.
        unit: text height in pixels; it limits the thickness of the corners.
    """
    left, top, right, bottom = (int(value) for value in box)
    side = min(right - left, bottom - top)
    if side < 4:
        return
    thickness = max(2, round(min(unit / 5, side / 14)))
    arm = max(2 * thickness, side // 5)
    ImageDraw.Draw(canvas, "RGBA").rounded_rectangle(
        [left, top, right - 1, bottom - 1], radius=arm // 2, outline=(*color, 110), width=max(1, thickness // 3)
    )
    corner = _corner(arm, thickness, color)
    mirrored = corner.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    far_x, far_y = right - arm, bottom - arm
    for x, tile in ((left, corner), (far_x, mirrored)):
        canvas.paste(tile, (x, top), tile)
        flipped = tile.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        canvas.paste(flipped, (x, far_y), flipped)


@lru_cache(maxsize=64)
def _corner(arm: int, thickness: int, color: Color) -> Image.Image:
    """Return the upper left corner of a rounded frame as RGBA (arm, arm)."""
    side = arm * SMOOTH
    tile = Image.new("RGBA", (side, side), (*color, 0))
    ImageDraw.Draw(tile).rounded_rectangle(
        [0, 0, 4 * side, 4 * side], radius=side // 2, outline=(*color, 255), width=thickness * SMOOTH
    )
    return tile.resize((arm, arm), Image.Resampling.BOX)


def draw_axes(canvas: Image.Image, face: Face, unit: int, enlargement: int = 1) -> None:
    """Draw the head's axes from the nose: to the subject's left, up, and out of the face.

    Args:
        canvas: image to draw on.
        face: face; nothing is drawn without a head pose.
        unit: text height in pixels; it limits the thickness of the lines.
        enlargement: factor from the face's pixels to the canvas.
    """
    box = face.bbox_xyxy * enlargement
    # the limit saves memory for boxes of another, larger image
    length = 0.17 * min(float((box[2:] - box[:2]).min()), max(canvas.size))
    if face.head_pose is None or length < 4:
        return
    half = math.ceil(1.2 * length)
    tile = Image.new("RGBA", (2 * half * SMOOTH, 2 * half * SMOOTH), (*INK, 0))
    draw = ImageDraw.Draw(tile)
    thickness = max(1.5, min(unit / 6, length / 9)) * SMOOTH
    center = half * SMOOTH
    # the axis that points to the viewer is drawn last, over the others
    axes = sorted(zip(axes_xyz(face.head_pose).T, _AXIS_COLORS, strict=True), key=lambda axis: axis[0][2])
    for axis_xyz, color in axes:
        end = (center + axis_xyz[0] * length * SMOOTH, center - axis_xyz[1] * length * SMOOTH)
        draw.line([(center, center), end], fill=(*color, 240), width=round(thickness))
        _draw_dot(draw, end, thickness / 2, color)
    _draw_dot(draw, (center, center), thickness * 0.8, INK)
    small = tile.resize((2 * half, 2 * half), Image.Resampling.BOX)
    x, y = (round(float(value)) - half for value in face.landmarks_xy[2] * enlargement)
    canvas.paste(small, (x, y), small)


def axes_xyz(pose: HeadPose) -> np.ndarray:
    """Return the head's axes as columns (3, 3): to the subject's left, up, and out of the face.

    x points right in the image, y up, and z to the viewer. The order of the rotations is that of
    `mien.faces.pose`.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (pose.yaw_deg, -pose.pitch_deg, -pose.roll_deg))
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _draw_leader(canvas: Image.Image, box: np.ndarray, place: np.ndarray, color: Color, unit: int) -> None:
    """Draw a thin line from a panel to its face if they are apart."""
    if panel_distances(place[None], head_boxes(box[None])[0])[0] <= 1.2 * unit:
        return
    middle = (np.maximum(box[:2], place[:2]) + np.minimum(box[2:], place[2:])) / 2
    start = np.clip(middle, place[:2], place[2:])
    end = np.clip(middle, box[:2], box[2:])
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.line([*start.tolist(), *end.tolist()], fill=(*color, 200), width=max(1, unit // 8))


def _add_legend(canvas: Image.Image, expression: Expression, unit: int) -> Image.Image:
    """Return the image with a legend of the class colors below it, in several rows if it is narrow."""
    labels = expression.labels
    font = text_font(unit, 0.95)
    row_height = round(1.7 * unit)
    step = max(font.getlength(name) for name in labels) + 2.2 * unit
    columns = max(1, min(len(labels), int((canvas.width - unit) / step)))
    rows = math.ceil(len(labels) / columns)
    legend = Image.new("RGBA", (canvas.width, rows * row_height + unit), (*CARD[:3], 255))
    left = (canvas.width - columns * step) / 2
    side = round(0.7 * unit)
    for index, name in enumerate(labels):
        x = left + index % columns * step
        y = (index // columns + 0.5) * row_height + unit / 2
        paste_bar(legend, (x + 0.4 * unit, y - side / 2), side, side, (*class_rgb(name), 255))
        ImageDraw.Draw(legend).text((x + 1.5 * unit, y), name, fill=INK, font=font, anchor="lm")
    extended = Image.new("RGB", (canvas.width, canvas.height + legend.height))
    extended.paste(canvas, (0, 0))
    extended.paste(legend.convert("RGB"), (0, canvas.height))
    return extended


def _draw_dot(draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, color: Color) -> None:
    x, y = center
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(*color, 240))
