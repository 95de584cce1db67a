"""Plots of an evaluation as PNG: confusion matrix, calibration, scores per class and per group.

Every function takes the result of `mien.evaluation.summary.summarize` and raises `MissingExtraError` if matplotlib is
not installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.number_format import decimal, percent, points, whole_percent
from mien.reports.plot_style import (
    encode_png,
    frame_axes,
    make_figure,
    make_rows,
    printable_name,
    strip_axes,
    write_class,
    write_head,
)
from mien.theme import LIGHT, Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLASS_BARS = (("precision", "precision", 0.38), ("recall", "recall", 0.66), ("f1", "F1", 1.0))
"""Bars of a class: key of the score, name in the legend, opacity."""
_GROUP_ROW = 0.36
"""Height in inches of a group's row."""
_GROUP_HEADING = 1.5
"""Height in rows of a column's heading."""


def draw_confusion(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Draw the confusion matrix: counts, and the share of the row as shade and percentage.

    A last column "no prediction" is added when there are faces without one.
    """
    names = list(summary["per_class"])
    counts = np.array(summary["confusion"], dtype=int).reshape(len(names), len(names))
    unanswered = np.array([[summary["per_class"][name]["unanswered"]] for name in names], dtype=int)
    if unanswered.any():
        counts = np.hstack([counts, unanswered])
    totals = counts.sum(axis=1, keepdims=True)
    rows, columns = counts.shape
    figure = make_figure(2.6 + 0.78 * columns, 2.1 + 0.66 * rows, theme)
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("mien", [theme.cell, theme.accent])
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.4 / height, 0.78 * columns / width, 0.66 * rows / height))
    strip_axes(axes)
    axes.imshow(counts / np.maximum(totals, 1), cmap=shades, vmin=0, vmax=1, aspect="auto")
    for edge in range(1, max(rows, columns)):
        axes.axhline(edge - 0.5, color=theme.paper, lw=2)
        axes.axvline(edge - 0.5, color=theme.paper, lw=2)
    for row, column in np.ndindex(rows, columns):
        _write_cell(axes, row, column, int(counts[row, column]), int(totals[row, 0]), theme)
    for index, name in enumerate(names):
        write_class(axes, -0.66, index, name, theme, note=f"{totals[index, 0]:,}")
    style: dict[str, Any] = {"rotation": 35, "rotation_mode": "anchor", "ha": "left", "va": "bottom"}
    for column, name in enumerate([*names, "no prediction"][:columns]):
        text = printable_name(name)
        axes.text(column - 0.1, -0.58, text, color=theme.ink, fontsize=10, parse_math=False, **style)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    write_head(figure, "Confusion matrix", "rows: label, columns: prediction, shade: share of the row", theme)
    return encode_png(figure)


def draw_reliability(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Draw the reliability diagram and the histogram of confidence, before and after temperature scaling."""
    figure = make_figure(10.4, 5.6, theme)
    grid = figure.add_gridspec(
        2, 2, height_ratios=(4, 1), hspace=0.1, wspace=0.14, left=0.085, right=0.975, top=0.775, bottom=0.115
    )
    title = f"After temperature scaling, T = {decimal(summary.get('temperature'), 2)}"
    panels = (
        ("before", "Before temperature scaling", summary.get("ece_uncalibrated"), theme.other),
        ("after", title, summary.get("ece"), theme.accent),
    )
    for column, (key, title, ece, color) in enumerate(panels):
        upper = figure.add_subplot(grid[0, column])
        lower = figure.add_subplot(grid[1, column])
        _draw_bins(upper, lower, summary["reliability"][key], color, theme)
        upper.set_title(title, loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)
        upper.set_title(f"ECE {decimal(ece)}", loc="right", fontsize=11, color=theme.ink, pad=9)
        lower.set_xlabel("confidence", color=theme.quiet, fontsize=9.5)
        if column == 0:
            upper.set_ylabel("accuracy", color=theme.quiet, fontsize=9.5)
            lower.set_ylabel("faces", color=theme.quiet, fontsize=9.5)
            figure.align_ylabels([upper, lower])
    note = "accuracy of the predictions in each confidence bin; dashed: perfect calibration"
    write_head(figure, "Reliability", note, theme)
    return encode_png(figure)


def draw_per_class(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Draw precision, recall and F1 of each class as bars."""
    per_class: dict[str, dict[str, Any]] = summary["per_class"]
    figure, axes = make_rows(len(per_class), 0.72, theme, right=0.65)
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    for index, (name, scores) in enumerate(per_class.items()):
        write_class(axes, -0.022, index, name, theme, note=f"{scores['n']:,}", step=0.0085)
        for offset, (key, _, alpha) in enumerate(_CLASS_BARS):
            _draw_bar(axes, index + 0.235 * (offset - 1), scores[key], class_color(name), alpha, theme)
    for (_, name, alpha), inches in zip(_CLASS_BARS, (2.85, 1.78, 0.95), strict=True):
        x, y = 1 - inches / width, 1 - 0.42 / height
        corner = (x, y - 0.11 / 2 / height)
        figure.add_artist(Rectangle(corner, 0.11 / width, 0.11 / height, color=theme.ink, alpha=alpha, lw=0))
        figure.text(x + 0.2 / width, y, name, color=theme.ink, fontsize=9.5, va="center")
    write_head(figure, "Scores per expression", "beside each name: number of faces with this label", theme)
    return encode_png(figure)


def draw_groups(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Draw accuracy and 95% interval of each group, one block per column of `summary["groups"]`.

    Groups with too few faces are hollow; the dashed line is the accuracy of all faces.
    """
    columns: dict[str, dict[str, Any]] = summary["groups"]
    rows = sum(len(column["groups"]) + _GROUP_HEADING for column in columns.values())
    figure = make_figure(9.2, 1.55 + _GROUP_ROW * rows, theme)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.5 / height, (width - 3.6) / width, _GROUP_ROW * rows / height))
    strip_axes(axes)
    low, ticks = _group_scale(columns)
    axes.set_xlim(low, 1)
    axes.set_ylim(rows - 0.5, -0.5)
    for tick in ticks:
        axes.axvline(tick, color=theme.line, lw=1, zorder=0)
        axes.text(tick, rows - 0.4, percent(tick, 0), color=theme.quiet, fontsize=9, ha="center", va="top")
    if summary["accuracy"] is not None:
        axes.axvline(summary["accuracy"], color=theme.quiet, lw=1.2, ls=(0, (4, 4)), zorder=1)
    y = 0.0
    for name, column in columns.items():
        _write_group_heading(axes, y + 0.25, name, column, theme)
        y += _GROUP_HEADING
        for group, item in column["groups"].items():
            _draw_group(axes, y - 0.25, group, item, theme)
            y += 1
    note = "dot: accuracy, line: 95% interval, dashed: all faces, hollow: too few faces to compare"
    write_head(figure, "Accuracy per group", note, theme)
    return encode_png(figure)


def _write_cell(axes: Axes, row: int, column: int, count: int, total: int, theme: Theme) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    if count == 0:
        axes.text(column, row, "0", color=theme.quiet, alpha=0.55, fontsize=9, **style)
        return
    share = count / total
    style["color"] = theme.paper if share > 0.5 else theme.ink
    weight = "bold" if row == column else "normal"
    axes.text(column, row - 0.1, f"{count:,}", fontsize=11, fontweight=weight, **style)
    axes.text(column, row + 0.24, whole_percent(share), alpha=0.8, fontsize=7.5, **style)


def _draw_bins(upper: Axes, lower: Axes, bins: dict[str, Any], color: str, theme: Theme) -> None:
    edges = np.array(bins["edges"])
    count = np.array(bins["count"], dtype=float)
    accuracy = np.array(bins["accuracy"], dtype=float)
    confidence = np.array(bins["confidence"], dtype=float)
    center = (edges[:-1] + edges[1:]) / 2
    width = np.diff(edges) * 0.9
    for axes in (upper, lower):
        frame_axes(axes, theme)
        axes.set_xlim(0, 1)
    filled = count > 0
    shares = count / max(count.sum(), 1)
    upper.plot([0, 1], [0, 1], color=theme.quiet, lw=1.2, ls=(0, (4, 4)), zorder=1)
    upper.bar(center[filled], accuracy[filled], width[filled], color=color, alpha=0.3, lw=0, zorder=2)
    upper.vlines(confidence[filled], accuracy[filled], confidence[filled], color=theme.warm, lw=2, alpha=0.85, zorder=3)
    upper.scatter(confidence[filled], accuracy[filled], s=30, color=color, lw=0, zorder=4)
    upper.set_ylim(0, 1.02)
    upper.tick_params(labelbottom=False)
    if filled.any():
        upper.text(0.035, 0.955, "orange: calibration gap", color=theme.warm, fontsize=9, va="top")
    else:
        upper.text(0.5, 0.5, "no faces", color=theme.quiet, fontsize=11, ha="center")
    lower.bar(center, shares, width, color=color, alpha=0.75, lw=0)
    lower.set_ylim(0, max(shares.max() * 1.15, 0.01))
    lower.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
    lower.locator_params(axis="y", nbins=2)


def _draw_bar(axes: Axes, y: float, value: float | None, color: str, alpha: float, theme: Theme) -> None:
    if value is None:
        axes.text(0.008, y, "not defined", color=theme.quiet, fontsize=7.5, va="center")
        return
    axes.barh(y, value, height=0.2, color=color, alpha=alpha, lw=0)
    style: dict[str, Any] = {"color": theme.ink, "fontweight": "bold"} if alpha == 1 else {"color": theme.quiet}
    axes.text(value + 0.008, y, percent(value), fontsize=7.5, va="center", **style)


def _write_group_heading(axes: Axes, y: float, name: str, column: dict[str, Any], theme: Theme) -> None:
    style: dict[str, Any] = {"va": "center", "parse_math": False, "transform": axes.get_yaxis_transform()}
    text = printable_name(name)
    axes.text(-0.025, y, text, color=theme.ink, fontsize=11, fontweight="bold", ha="right", **style)
    gap = column["accuracy_difference"]
    text = "too few faces to compare" if gap is None else f"best to worst: {points(gap)}"
    axes.text(0.0, y, text, color=theme.warm if gap else theme.quiet, fontsize=9.5, **style)


def _draw_group(axes: Axes, y: float, name: str, item: dict[str, Any], theme: Theme) -> None:
    color = theme.accent if item["is_enough"] else theme.other
    style: dict[str, Any] = {"va": "center", "parse_math": False, "transform": axes.get_yaxis_transform()}
    axes.text(-0.025, y, printable_name(name), color=theme.ink, fontsize=10, ha="right", **style)
    axes.plot(item["accuracy_interval"], [y, y], color=color, lw=2.4, alpha=0.45, solid_capstyle="round")
    fill = color if item["is_enough"] else theme.paper
    axes.scatter([item["accuracy"]], [y], s=46, zorder=3, lw=1.6, edgecolors=color, facecolors=fill, clip_on=False)
    axes.text(1.035, y, percent(item["accuracy"]), color=theme.ink, fontsize=9.5, fontweight="bold", **style)
    axes.text(1.145, y, f"of {item['n']:,}", color=theme.quiet, fontsize=9, **style)


def _group_scale(columns: dict[str, dict[str, Any]]) -> tuple[float, list[float]]:
    """Return the lower limit of the accuracy scale, below every interval and at most 80%, and its ticks."""
    bounds = [item["accuracy_interval"][0] for column in columns.values() for item in column["groups"].values()]
    low = max(0.0, min(0.8, math.floor(min(bounds) * 10 - 0.2) / 10))
    step = 0.1 if low >= 0.4 else 0.2
    count = math.floor((1 - low) / step + 1e-9)
    return low, [round(1 - step * number, 2) for number in range(count, -1, -1)]
