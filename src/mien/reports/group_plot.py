"""The accuracy of every group of faces with its interval, as PNG bytes. Needs matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mien.reports.plot_style import (
    encode_png,
    make_figure,
    printable_name,
    strip_axes,
    write_head,
)
from mien.theme import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW, _GAP = 0.36, 1.5
"""Inches of a row, and rows that a column's heading takes."""


def draw_groups(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Accuracy and 95 % interval of each group, a block for every column of `summary["groups"]`. PNG.

    Groups that are too small to judge are hollow; the dashed line is the accuracy of all faces.
    """
    columns: dict[str, dict[str, Any]] = summary["groups"]
    rows = sum(len(column["groups"]) + _GAP for column in columns.values())
    figure = make_figure(9.2, 1.55 + _ROW * rows, theme)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.5 / height, (width - 3.6) / width, _ROW * rows / height))
    strip_axes(axes)
    low = _lowest(columns)
    axes.set_xlim(low, 1)
    axes.set_ylim(rows - 0.5, -0.5)
    for tick in _ticks(low):
        axes.axvline(tick, color=theme.line, lw=1, zorder=0)
        axes.text(tick, rows - 0.4, f"{tick:.0%}", color=theme.quiet, fontsize=9, ha="center", va="top")
    if summary["accuracy"] is not None:
        axes.axvline(summary["accuracy"], color=theme.quiet, lw=1.2, ls=(0, (4, 4)), zorder=1)
    y = 0.0
    for name, column in columns.items():
        _write_heading(axes, y + 0.25, name, column, theme)
        y += _GAP
        for group, item in column["groups"].items():
            _draw_group(axes, y - 0.25, group, item, theme)
            y += 1
    note = "dot: accuracy, line: its 95 % interval, dashed: all faces, hollow: too few faces to judge"
    write_head(figure, "Per group", note, theme)
    return encode_png(figure)


def _draw_group(axes: Axes, y: float, name: str, item: dict[str, Any], theme: Theme) -> None:
    color = theme.accent if item["is_enough"] else theme.other
    place: dict[str, Any] = {"va": "center", "parse_math": False, "transform": axes.get_yaxis_transform()}
    axes.text(-0.025, y, printable_name(name), color=theme.ink, fontsize=10, ha="right", **place)
    low, high = item["accuracy_interval"]
    axes.plot([low, high], [y, y], color=color, lw=2.4, alpha=0.45, solid_capstyle="round", zorder=2)
    axes.scatter(
        [item["accuracy"]], [y], s=46, zorder=3, lw=1.6, edgecolors=color,
        facecolors=color if item["is_enough"] else theme.paper, clip_on=False,
    )  # fmt: skip
    axes.text(1.035, y, f"{item['accuracy']:.1%}", color=theme.ink, fontsize=9.5, fontweight="bold", **place)
    axes.text(1.145, y, f"of {item['n']:,}", color=theme.quiet, fontsize=9, **place)


def _write_heading(axes: Axes, y: float, name: str, column: dict[str, Any], theme: Theme) -> None:
    place: dict[str, Any] = {"va": "center", "parse_math": False, "transform": axes.get_yaxis_transform()}
    text = printable_name(name)
    axes.text(-0.025, y, text, color=theme.ink, fontsize=11, fontweight="bold", ha="right", **place)
    gap = column["accuracy_difference"]
    told = "too few faces to compare" if gap is None else f"best to worst: {gap * 100:.1f} points"
    axes.text(0.0, y, told, color=theme.warm if gap else theme.quiet, fontsize=9.5, **place)


def _lowest(columns: dict[str, dict[str, Any]]) -> float:
    """Where the scale starts: a tenth below every interval, at most 80 %."""
    lows = [item["accuracy_interval"][0] for column in columns.values() for item in column["groups"].values()]
    return max(0.0, min(0.8, math.floor(min(lows) * 10 - 0.2) / 10))


def _ticks(low: float) -> list[float]:
    step = 0.1 if low >= 0.4 else 0.2
    count = round((1 - low) / step + 1e-9)
    return [round(1 - step * number, 2) for number in range(count, -1, -1) if 1 - step * number >= low - 1e-9]
