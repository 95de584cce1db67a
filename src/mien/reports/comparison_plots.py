"""Plots of a comparison of two models as PNG: recall per class, and the faces on which they differ.

Every function raises `MissingExtraError` if matplotlib is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.evaluation.compare import Difference
from mien.number_format import count, signed_points, whole_percent
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

_FACES_PER_ROW = 8


def draw_recalls(summary: dict[str, Any], names: tuple[str, str], theme: Theme = LIGHT) -> bytes:
    """Draw the recall of each class, one dot per model and a line between them."""
    per_class: dict[str, dict[str, Any]] = summary["per_class"]
    figure, axes = make_rows(len(per_class), 0.56, theme, right=1.25)
    width, height = figure.get_size_inches()
    for index, (name, item) in enumerate(per_class.items()):
        write_class(axes, -0.03, index, name, theme, note=f"{item['n']:,}", step=0.0095)
        _draw_recall_pair(axes, index, item, theme)
    for name, color, inches in zip(names, (theme.accent, theme.warm), (4.3, 2.35), strict=True):
        x, y = 1 - inches / width, 1 - 0.42 / height
        figure.text(x, y, "●", color=color, fontsize=11, va="center")
        text = printable_name(name)
        figure.text(x + 0.22 / width, y, text, color=theme.ink, fontsize=9.5, va="center", parse_math=False)
    note = "share of each class's faces that are predicted correctly; at the right: difference in points"
    write_head(figure, "Recall per expression", note, theme)
    return encode_png(figure)


def draw_differences(
    sides: tuple[Sequence[Difference], Sequence[Difference]],
    totals: tuple[int, int],
    names: tuple[str, str],
    theme: Theme = LIGHT,
) -> bytes:
    """Draw faces that only one model predicts correctly, with both predictions below each face.

    Args:
        sides: faces that only the first model, and only the second model predicts correctly.
        totals: numbers of all such faces.
        names: display names of the models.
        theme: colors.
    """
    rows = [-(-len(side) // _FACES_PER_ROW) for side in sides]
    figure = make_figure(0.6 + 1.35 * _FACES_PER_ROW, 1.0 + sum(0.65 + 1.85 * n for n in rows), theme)
    width, height = figure.get_size_inches()
    top = height - 0.95
    for number, (side, total, name, n_rows) in enumerate(zip(sides, totals, names, rows, strict=True)):
        color = (theme.accent, theme.warm)[number]
        shown = f"{len(side)} of {count(total, 'face')}" if side else "no faces"
        text = f"only {printable_name(name)} is correct: {shown}"
        style: dict[str, Any] = {"fontweight": "bold", "va": "center", "parse_math": False}
        figure.text(0.3 / width, (top - 0.25) / height, text, color=color, fontsize=11.5, **style)
        top -= 0.5
        for place, face in enumerate(side):
            row, column = divmod(place, _FACES_PER_ROW)
            left = 0.3 + 1.35 * column
            bottom = top - 1.85 * row - 1.2
            axes = figure.add_axes((left / width, bottom / height, 1.2 / width, 1.2 / height))
            _draw_face(axes, face, correct_side=number, theme=theme)
        top -= 0.15 + 1.85 * n_rows
    note = "below each face: its label and both predictions; most confident mistakes first"
    write_head(figure, "Where they differ", note, theme)
    return encode_png(figure)


def _draw_recall_pair(axes: Axes, y: float, item: dict[str, Any], theme: Theme) -> None:
    if item["first"] is None:
        axes.text(0.008, y, "no faces", color=theme.quiet, fontsize=8, va="center")
        return
    axes.plot([item["first"], item["second"]], [y, y], color=theme.other, lw=2.4, alpha=0.55, zorder=2)
    for value, color in ((item["second"], theme.warm), (item["first"], theme.accent)):
        axes.scatter([value], [y], s=62, color=color, lw=0, zorder=3, clip_on=False)
    style: dict[str, Any] = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
    text = signed_points(item["difference"])
    axes.text(1.13, y, text, color=theme.ink, fontsize=9.5, fontweight="bold", **style)


def _draw_face(axes: Axes, face: Difference, *, correct_side: int, theme: Theme) -> None:
    strip_axes(axes)
    axes.imshow(face.image, aspect="auto", interpolation="lanczos")
    style: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "parse_math": False}
    axes.text(0, -0.05, printable_name(face.truth), color=theme.ink, fontsize=8.5, fontweight="bold", **style)
    predictions = zip(face.predictions, face.confidences, (theme.accent, theme.warm), strict=True)
    for number, (prediction, confidence, color) in enumerate(predictions):
        text = f"{printable_name(prediction)} {whole_percent(confidence)}"
        weight = "bold" if number == correct_side else "normal"
        axes.text(0, -0.19 - 0.13 * number, text, color=color, fontsize=7.5, fontweight=weight, **style)
