"""Annotated copies of images: every face with its expression, all probabilities and the head's axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

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
from mien.results import Face, HeadPose
from mien.theme import OVERLAY_COLORS, rgb

MIN_SIDE = 600
"""Images with a shorter long side are enlarged a whole number of times before they are drawn on."""
MAX_ENLARGED = 2600
"""A crowded image is enlarged up to this long side to make room for every face's panel."""
TEXT_SHARES = (72, 90, 110)
"""Heights of text in an image's long side: the usual one, and two smaller ones for crowds."""
MIN_TEXT = 12
"""Text is never smaller than this many pixels."""
CROWD_COVERED, CROWD_DISTANCE = 0.03, 0.7
"""A panel may cover and be away from its face this much; otherwise all faces get smaller panels."""

_AXES = tuple(rgb(OVERLAY_COLORS[name]) for name in ("axis_left", "axis_up", "axis_out"))


def draw_faces(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A copy of an image with every face's box, expression, probabilities and head axes drawn.

    Text has a readable size whatever the faces' size, and lies beside the faces. The copy is larger than the
    image when that is tiny or crowded; under the copy of a dense crowd a line explains the colors.

    Args:
        image: (H, W, 3) uint8 RGB, left as it is.
        faces: of that image. Faces without an expression get a box only.

    Returns:
        (H * k, W * k, 3) uint8 RGB, k a whole number, 1 for ordinary images; a crowd's is a little higher.
    """
    check_image(image)
    plan = _plan(image.shape[1::-1], faces)
    width, height = image.shape[1] * plan.enlargement, image.shape[0] * plan.enlargement
    canvas = Image.fromarray(image)
    if plan.enlargement > 1:
        canvas = canvas.resize((width, height), Image.Resampling.BICUBIC)
    for face, box in zip(faces, plan.faces_xyxy, strict=True):
        draw_box(canvas, box, face_color(face.expression), plan.unit)
        draw_axes(canvas, face, plan.unit, plan.enlargement)
    read = [(face, box) for face, box in zip(faces, plan.faces_xyxy, strict=True) if face.expression]
    for (face, box), place in zip(read, plan.placement.boxes_xyxy, strict=True):
        _draw_leader(canvas, box, place, face_color(face.expression), plan.unit)
        tile = plan.panel.draw(face, plan.unit)
        canvas.paste(tile, (int(place[0]), int(place[1])), tile)
    if isinstance(plan.panel, StripPanel) and read:
        canvas = _with_legend(canvas, read[0][0], plan.unit)
    return np.array(canvas)


@dataclass(frozen=True)
class _Plan:
    """How one image is laid out: its enlargement, the height of its text, and where the panels go."""

    enlargement: int
    unit: int
    panel: Panel
    faces_xyxy: np.ndarray
    placement: Placement

    @property
    def is_clear(self) -> bool:
        return self.placement.covered <= CROWD_COVERED and self.placement.distance <= CROWD_DISTANCE


def _plan(size_wh: tuple[int, int], faces: Sequence[Face]) -> _Plan:
    """The first layout in which every face has room for all its bars; when there is none, for a strip."""
    least = max(1, math.ceil(MIN_SIDE / max(size_wh)))
    most = max(least, MAX_ENLARGED // max(size_wh))
    doubled = [least * 2**times for times in range(3) if least * 2**times <= most]
    usual, *smaller = TEXT_SHARES
    tries = [(least, usual), *((enlargement, share) for enlargement in doubled for share in smaller)]
    if sum(face.expression is not None for face in faces) <= 1:
        plans = [_layout(size_wh, faces, enlargement, share, BarsPanel()) for enlargement, share in tries]
        return min(plans, key=lambda plan: (not plan.is_clear, round(plan.placement.covered, 1)))
    for panel in (BarsPanel(), StripPanel()):
        for enlargement, share in tries:
            plan = _layout(size_wh, faces, enlargement, share, panel, most_covered=CROWD_COVERED)
            if plan.is_clear:
                return plan
    enlargement, share = tries[-1]
    return _layout(size_wh, faces, enlargement, share, StripPanel())


def _layout(
    size_wh: tuple[int, int],
    faces: Sequence[Face],
    enlargement: int,
    share: int,
    panel: Panel,
    most_covered: float = math.inf,
) -> _Plan:
    width, height = size_wh[0] * enlargement, size_wh[1] * enlargement
    unit = max(MIN_TEXT, round(max(width, height) / share))
    boxes = np.array([face.bbox_xyxy for face in faces], dtype=np.float64).reshape(-1, 4) * enlargement
    boxes = np.clip(boxes, 0, [width, height, width, height]).round()
    read = [index for index, face in enumerate(faces) if face.expression]
    sizes = [panel.size(face.expression, unit) for face in faces if face.expression][:1]
    panel_wh = sizes[0] if sizes else (1, 1)
    placement = place_panels((width, height), boxes, read, panel_wh, round(0.6 * unit), most_covered)
    return _Plan(enlargement, unit, panel, boxes, placement)


def draw_box(canvas: Image.Image, box: np.ndarray, color: Color, unit: int) -> None:
    """A hairline rectangle with strong round corners around a box (4,) in whole pixels; `unit` is the text's height."""
    left, top, right, bottom = (int(value) for value in box)
    side = min(right - left, bottom - top)
    if side < 4:
        return
    thick = max(2, round(min(unit / 5, side / 14)))
    arm = max(2 * thick, side // 5)
    hairline = max(1, thick // 3)
    ImageDraw.Draw(canvas, "RGBA").rounded_rectangle(
        [left, top, right - 1, bottom - 1], radius=arm // 2, outline=(*color, 110), width=hairline
    )
    corner = _corner(arm, thick, color)
    far_x, far_y = right - arm, bottom - arm
    flip_x, flip_y = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
    for x, y, flips in (
        (left, top, ()),
        (far_x, top, (flip_x,)),
        (left, far_y, (flip_y,)),
        (far_x, far_y, (flip_x, flip_y)),
    ):
        tile = corner
        for flip in flips:
            tile = tile.transpose(flip)
        canvas.paste(tile, (x, y), tile)


@lru_cache(maxsize=64)
def _corner(arm: int, thick: int, color: Color) -> Image.Image:
    """The upper left corner of a rounded frame, on a soft dark edge that holds on bright images."""
    big = arm * SMOOTH
    tile = Image.new("RGBA", (big, big), (*color, 0))
    draw = ImageDraw.Draw(tile)
    radius = big // 2
    draw.rounded_rectangle(
        [0, 0, 4 * big, 4 * big], radius=radius, outline=(*color, 255), width=thick * SMOOTH
    )
    return tile.resize((arm, arm), Image.Resampling.BOX)


def draw_axes(canvas: Image.Image, face: Face, unit: int, enlargement: int = 1) -> None:
    """Three short lines from the nose: to the subject's left, up, and out of the face; none without a head pose."""
    box = face.bbox_xyxy * enlargement
    length = 0.17 * float((box[2:] - box[:2]).min())
    if face.head_pose is None or length < 4:
        return
    half = math.ceil(1.2 * length)
    tile = Image.new("RGBA", (2 * half * SMOOTH, 2 * half * SMOOTH), (*INK, 0))
    draw = ImageDraw.Draw(tile)
    thick = max(1.5, min(unit / 6, length / 9)) * SMOOTH
    middle = half * SMOOTH
    nearest_last = sorted(zip(axes_xyz(face.head_pose).T, _AXES, strict=True), key=lambda axis: axis[0][2])
    for axis_xyz, color in nearest_last:
        end = (middle + axis_xyz[0] * length * SMOOTH, middle - axis_xyz[1] * length * SMOOTH)
        draw.line([(middle, middle), end], fill=(*color, 240), width=round(thick))
        _dot(draw, end, thick / 2, (*color, 240))
    _dot(draw, (middle, middle), thick * 0.8, (*INK, 240))
    small = tile.resize((2 * half, 2 * half), Image.Resampling.BOX)
    x, y = (round(float(value)) - half for value in face.landmarks_xy[2] * enlargement)
    canvas.paste(small, (x, y), small)


def axes_xyz(pose: HeadPose) -> np.ndarray:
    """The head's axes as columns (3, 3): to the subject's left, up, out of the face.

    x points right in the image, y up, z to the viewer; the order of the turns is `mien.faces.head_pose`'s.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (pose.yaw_deg, -pose.pitch_deg, -pose.roll_deg))
    about_x = np.array(
        [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]]
    )
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _draw_leader(canvas: Image.Image, box: np.ndarray, place: np.ndarray, color: Color, unit: int) -> None:
    """A thin line from a panel to its face, when they are apart."""
    if panel_distances(place[None], head_boxes(box[None])[0])[0] <= 1.2 * unit:
        return
    middle = (np.maximum(box[:2], place[:2]) + np.minimum(box[2:], place[2:])) / 2
    start, end = np.clip(middle, place[:2], place[2:]), np.clip(middle, box[:2], box[2:])
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.line([*start.tolist(), *end.tolist()], fill=(*color, 200), width=max(1, unit // 8))


def _with_legend(canvas: Image.Image, face: Face, unit: int) -> Image.Image:
    """The image with a line under it that names the colors; two lines and more when it is narrow."""
    assert face.expression is not None  # it has a panel
    labels = face.expression.labels
    font, line = text_font(unit, 0.95), round(1.7 * unit)
    step = max(font.getlength(name) for name in labels) + 2.2 * unit
    columns = max(1, min(len(labels), int((canvas.width - unit) / step)))
    lines = math.ceil(len(labels) / columns)
    legend = Image.new("RGBA", (canvas.width, lines * line + unit), (*CARD[:3], 255))
    left = (canvas.width - columns * step) / 2
    for index, name in enumerate(labels):
        x, y = left + index % columns * step, (index // columns + 0.5) * line + unit / 2
        side = round(0.7 * unit)
        paste_bar(legend, (x + 0.4 * unit, y - side / 2), side, side, (*class_rgb(name), 255))
        ImageDraw.Draw(legend).text((x + 1.5 * unit, y), name, fill=INK, font=font, anchor="lm")
    extended = Image.new("RGB", (canvas.width, canvas.height + legend.height))
    extended.paste(canvas, (0, 0))
    extended.paste(legend.convert("RGB"), (0, canvas.height))
    return extended


def _dot(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], radius: float, color: tuple[int, ...]
) -> None:
    draw.ellipse([middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius], fill=color)
