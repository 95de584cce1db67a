"""The images of a comparison of two models, as PNG bytes. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.evaluation.compare import Difference
from mien.reports.plot_style import (
    encode_png,
    make_figure,
    make_rows,
    printable_name,
    strip_axes,
    write_class,
    write_head,
)
from mien.theme import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 8


def draw_recalls(summary: dict[str, Any], names: tuple[str, str], theme: Theme = LIGHT) -> bytes:
    """Recall of each class, a dot for each model and a line between them. PNG."""
    per_class: dict[str, dict[str, Any]] = summary["per_class"]
    figure, axes = make_rows(len(per_class), 0.56, theme, right=1.25)
    width, height = figure.get_size_inches()
    for index, (name, item) in enumerate(per_class.items()):
        write_class(axes, -0.03, index, name, theme, note=f"{item['n']:,}", step=0.0095)
        _draw_pair(axes, index, item, theme)
    for name, color, inches in zip(names, (theme.accent, theme.warm), (4.3, 2.35), strict=True):
        x, y = 1 - inches / width, 1 - 0.42 / height
        figure.text(x, y, "●", color=color, fontsize=11, va="center")
        text = printable_name(name)
        figure.text(x + 0.22 / width, y, text, color=theme.ink, fontsize=9.5, va="center", parse_math=False)
    note = "recall of each class: how many of its faces are read right; right: points between the two"
    write_head(figure, "Per expression", note, theme)
    return encode_png(figure)


def draw_differences(
    sides: tuple[Sequence[Difference], Sequence[Difference]], names: tuple[str, str], theme: Theme = LIGHT
) -> bytes:
    """The faces that one model alone reads right, with both readings under each. PNG."""
    lines = [-(-len(side) // _COLUMNS) for side in sides]
    figure = make_figure(0.6 + 1.35 * _COLUMNS, 1.0 + sum(0.65 + 1.85 * count for count in lines), theme)
    width, height = figure.get_size_inches()
    top = height - 0.95
    for number, (side, name, count) in enumerate(zip(sides, names, lines, strict=True)):
        told = (
            f"only {printable_name(name)} is right"
            if side
            else f"none that only {printable_name(name)} reads right"
        )
        figure.text(
            0.3 / width, (top - 0.25) / height, told, color=(theme.accent, theme.warm)[number], fontsize=11.5,
            fontweight="bold", va="center", parse_math=False,
        )  # fmt: skip
        top -= 0.5
        for place, face in enumerate(side):
            row, column = divmod(place, _COLUMNS)
            box = (0.3 + 1.35 * column, top - 1.85 * row - 1.2, 1.2, 1.2)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            _draw_face(axes, face, right=number, theme=theme)
        top -= 0.15 + 1.85 * count
    note = "under each face: its label, then what the two models said; the surest mistakes first"
    write_head(figure, "Where they differ", note, theme)
    return encode_png(figure)


def _draw_pair(axes: Axes, y: float, item: dict[str, Any], theme: Theme) -> None:
    place: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform()}
    if item["first"] is None:
        axes.text(0.008, y, "no faces", color=theme.quiet, fontsize=8, va="center")
        return
    axes.plot([item["first"], item["second"]], [y, y], color=theme.other, lw=2.4, alpha=0.55, zorder=2)
    for value, color in ((item["second"], theme.warm), (item["first"], theme.accent)):
        axes.scatter([value], [y], s=62, color=color, lw=0, zorder=3, clip_on=False)
    points = 100 * item["difference"]
    axes.text(
        1.13, y, f"{points:+.1f}", color=theme.ink, fontsize=9.5, fontweight="bold", ha="right", **place
    )


def _draw_face(axes: Axes, face: Difference, *, right: int, theme: Theme) -> None:
    strip_axes(axes)
    axes.imshow(face.image, aspect="auto", interpolation="lanczos")
    place: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "parse_math": False}
    axes.text(0, -0.05, printable_name(face.truth), color=theme.ink, fontsize=8.5, fontweight="bold", **place)
    for number, (reading, confidence) in enumerate(zip(face.predictions, face.confidences, strict=True)):
        color = (theme.accent, theme.warm)[number]
        text = f"{printable_name(reading)} {confidence:.0%}"
        weight = "bold" if number == right else "normal"
        axes.text(0, -0.19 - 0.13 * number, text, color=color, fontsize=7.5, fontweight=weight, **place)
