"""The images of a report, as PNG bytes in one visual style. Needs matplotlib (the extra `report`).

Every function takes what `summarize` gives, or a training log, and a `Theme`. Without matplotlib it raises
`MissingExtraError`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError
from mien.reports.plot_style import (
    draw_swatch,
    encode_png,
    frame_axes,
    make_figure,
    make_rows,
    make_shades,
    printable_name,
    strip_axes,
    write_class,
    write_head,
)
from mien.theme import LIGHT, Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_confusion(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Confusion matrix: counts, and the share of the row as shade and per cent. PNG.

    A last column "no answer" appears when faces got none.
    """
    names, counts = _confusion_table(summary)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    rows, columns = counts.shape
    figure = make_figure(2.6 + 0.78 * columns, 2.1 + 0.66 * rows, theme)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.4 / height, 0.78 * columns / width, 0.66 * rows / height))
    strip_axes(axes)
    axes.imshow(shares, cmap=make_shades(theme), vmin=0, vmax=1, aspect="auto")
    for edge in range(1, max(rows, columns)):
        axes.axhline(edge - 0.5, color=theme.paper, lw=2)
        axes.axvline(edge - 0.5, color=theme.paper, lw=2)
    for row, column in np.ndindex(rows, columns):
        _write_cell(axes, row, column, int(counts[row, column]), int(totals[row, 0]), theme)
    for index, name in enumerate(names):
        write_class(axes, -0.66, index, name, theme, note=f"{totals[index, 0]:,}")
    place: dict[str, Any] = {"rotation": 35, "rotation_mode": "anchor", "ha": "left", "va": "bottom"}
    for column, name in enumerate([*names, "no answer"][:columns]):
        text = printable_name(name)
        axes.text(column - 0.1, -0.58, text, color=theme.ink, fontsize=10, parse_math=False, **place)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    note = "rows: the label, columns: how it was read, shade: share of the row"
    write_head(figure, "Confusion matrix", note, theme)
    return encode_png(figure)


def draw_reliability(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Reliability diagram with the histogram of confidence, before and after the temperature. PNG."""
    figure = make_figure(10.4, 5.6, theme)
    grid = figure.add_gridspec(
        2, 2, height_ratios=(4, 1), hspace=0.1, wspace=0.14, left=0.085, right=0.975, top=0.775, bottom=0.115
    )
    temperature = _number(summary.get("temperature"), "{:.2f}")
    panels = (
        ("before", "Before the temperature", summary.get("ece_uncalibrated"), theme.other),
        ("after", f"After, T = {temperature}", summary.get("ece"), theme.accent),
    )
    for column, (key, title, ece, color) in enumerate(panels):
        upper, lower = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        _draw_bins(upper, lower, summary["reliability"][key], color, theme)
        upper.set_title(title, loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)
        upper.set_title(f"ECE {_number(ece, '{:.3f}')}", loc="right", fontsize=11, color=theme.ink, pad=9)
        lower.set_xlabel("confidence", color=theme.quiet, fontsize=9.5)
        if column == 0:
            upper.set_ylabel("accuracy", color=theme.quiet, fontsize=9.5)
            lower.set_ylabel("faces", color=theme.quiet, fontsize=9.5)
            figure.align_ylabels([upper, lower])
    note = "how often an answer is right when it claims this confidence; on the dashed line the two agree"
    write_head(figure, "Reliability", note, theme)
    return encode_png(figure)


def draw_per_class(summary: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Precision, recall and F1 of every class as bars. PNG."""
    per_class: dict[str, dict[str, Any]] = summary["per_class"]
    figure, axes = make_rows(len(per_class), 0.72, theme, right=0.65)
    width, height = figure.get_size_inches()
    for index, (name, scores) in enumerate(per_class.items()):
        write_class(axes, -0.022, index, name, theme, note=f"{scores['n']:,}", step=0.0085)
        for offset, (key, alpha) in enumerate(_PER_CLASS_BARS):
            _draw_bar(axes, index + 0.235 * (offset - 1), scores[key], class_color(name), alpha, theme)
    for (key, alpha), inches in zip(_PER_CLASS_BARS, (2.85, 1.78, 0.95), strict=True):
        x, y = 1 - inches / width, 1 - 0.42 / height
        draw_swatch(figure, x, y, theme.ink, alpha)
        figure.text(x + 0.2 / width, y, _SHORT.get(key, key), color=theme.ink, fontsize=9.5, va="center")
    write_head(figure, "Per expression", "beside the name: how many faces carry this label", theme)
    return encode_png(figure)


def draw_learning_curve(log: Path, theme: Theme = LIGHT) -> bytes:
    """Loss, learning rate and validation accuracy of a JSON-lines training log. PNG.

    Lines whose `event` is "step" give `step`, `loss` and `lr`; those whose `event` is "eval" give `step`,
    `accuracy` and `loss`; others are passed over. A step that stands twice (a resumed run) counts as its last
    line says.

    Raises:
        InputError: when the log cannot be read, a line is not JSON, or no line is a step or an evaluation.
    """
    steps, evals = _read_log(log)
    figure = make_figure(10.4, 5.2, theme)
    grid = figure.add_gridspec(
        2, 2, height_ratios=(4, 1), hspace=0.12, wspace=0.17, left=0.075, right=0.965, top=0.76, bottom=0.115
    )
    loss, rate = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    accuracy = figure.add_subplot(grid[:, 1])
    last = max([1.0, *steps["step"], *evals["step"]])
    for axes in (loss, rate, accuracy):
        frame_axes(axes, theme)
        axes.set_xlim(0, last * 1.01)
        axes.locator_params(axis="x", nbins=6)
    _draw_losses(loss, steps, evals, theme)
    _draw_rate(rate, steps, theme)
    _draw_accuracy(accuracy, evals, theme)
    for axes, title in ((loss, "Loss"), (accuracy, "Validation accuracy")):
        axes.set_title(title, loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)
    for axes in (rate, accuracy):
        axes.set_xlabel("step", color=theme.quiet, fontsize=9.5)
    write_head(figure, "Training", "thin: logged steps, thick: their running mean, dots: validation", theme)
    return encode_png(figure)


_PER_CLASS_BARS = (("precision", 0.38), ("recall", 0.66), ("f1", 1.0))
_SHORT = {"f1": "F1"}
_MIN_SPAN = 0.02


def _draw_bar(axes: Axes, y: float, value: float | None, color: str, alpha: float, theme: Theme) -> None:
    if value is None:
        axes.text(0.008, y, "not defined", color=theme.quiet, fontsize=7.5, va="center")
        return
    axes.barh(y, value, height=0.2, color=color, alpha=alpha, lw=0)
    axes.text(
        value + 0.008, y, f"{value:.1%}", fontsize=7.5, va="center",
        color=theme.ink if alpha == 1 else theme.quiet, fontweight="bold" if alpha == 1 else "normal",
    )  # fmt: skip


def _draw_bins(upper: Axes, lower: Axes, bins: dict[str, Any], color: str, theme: Theme) -> None:
    edges, count = np.array(bins["edges"]), np.array(bins["count"], dtype=float)
    accuracy = np.array(bins["accuracy"], dtype=float)
    confidence = np.array(bins["confidence"], dtype=float)
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges) * 0.9
    for axes in (upper, lower):
        frame_axes(axes, theme)
        axes.set_xlim(0, 1)
    filled = count > 0
    shares = count / max(count.sum(), 1)
    upper.plot([0, 1], [0, 1], color=theme.quiet, lw=1.2, ls=(0, (4, 4)), zorder=1)
    upper.bar(middle[filled], accuracy[filled], width[filled], color=color, alpha=0.3, lw=0, zorder=2)
    upper.vlines(
        confidence[filled], accuracy[filled], confidence[filled], color=theme.warm, lw=2, alpha=0.85, zorder=3
    )
    upper.scatter(confidence[filled], accuracy[filled], s=30, color=color, lw=0, zorder=4)
    upper.set_ylim(0, 1.02)
    upper.tick_params(labelbottom=False)
    if filled.any():
        upper.text(0.035, 0.955, "orange: the gap", color=theme.warm, fontsize=9, va="top")
    else:
        upper.text(0.5, 0.5, "no faces", color=theme.quiet, fontsize=11, ha="center")
    lower.bar(middle, shares, width, color=color, alpha=0.75, lw=0)
    lower.set_ylim(0, max(shares.max() * 1.15, 0.01))
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    lower.locator_params(axis="y", nbins=2)


def _draw_losses(
    axes: Axes, steps: dict[str, np.ndarray], evals: dict[str, np.ndarray], theme: Theme
) -> None:
    axes.plot(steps["step"], steps["loss"], color=theme.accent, lw=0.7, alpha=0.3)
    axes.plot(steps["step"], _running_mean(steps["loss"]), color=theme.accent, lw=2.2, label="training")
    if np.isfinite(evals["loss"]).any():
        axes.plot(
            evals["step"],
            evals["loss"],
            color=theme.warm,
            lw=1.8,
            marker="o",
            ms=4.5,
            mew=0,
            label="validation",
        )
    known = np.concatenate([steps["loss"], evals["loss"]])
    known = known[np.isfinite(known)]
    if known.size:
        low, high = known.min(), np.percentile(known, 99.5)
        pad = 0.06 * (high - low) + 1e-3
        axes.set_ylim(max(low - pad, 0 if low >= 0 else -math.inf), high + pad)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="upper right")
    axes.tick_params(labelbottom=False)


def _draw_rate(axes: Axes, steps: dict[str, np.ndarray], theme: Theme) -> None:
    axes.plot(steps["step"], steps["lr"], color=theme.quiet, lw=1.6)
    axes.fill_between(steps["step"], steps["lr"], color=theme.quiet, alpha=0.14, lw=0)
    if np.isfinite(steps["lr"]).any():
        axes.set_ylim(0, np.nanmax(steps["lr"]) * 1.1 or 1)
    axes.locator_params(axis="y", nbins=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.text(
        0.99,
        0.86,
        "learning rate",
        transform=axes.transAxes,
        color=theme.quiet,
        fontsize=9,
        ha="right",
        va="top",
    )


def _draw_accuracy(axes: Axes, evals: dict[str, np.ndarray], theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.1f}".removesuffix(".0") + "%")
    if not np.isfinite(evals["accuracy"]).any():
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, color=theme.quiet, ha="center")
        return
    axes.plot(evals["step"], evals["accuracy"], color=theme.accent, lw=2.2, marker="o", ms=4.5, mew=0)
    best = int(np.nanargmax(evals["accuracy"]))
    at, value = evals["step"][best], evals["accuracy"][best]
    axes.scatter(
        [at], [value], s=110, facecolors="none", edgecolors=theme.warm, lw=2, zorder=3, clip_on=False
    )
    axes.set_title(f"best {value:.1%} at step {int(at):,}", loc="right", fontsize=10, color=theme.ink, pad=9)
    axes.set_ylim(*_accuracy_range(evals["accuracy"]))


def _accuracy_range(accuracy: np.ndarray) -> tuple[float, float]:
    """Where the axis starts and ends: around the middle of the values, and wide enough not to enlarge noise."""
    low, high = float(np.nanmin(accuracy)), float(np.nanmax(accuracy))
    half = max(0.6 * (high - low), _MIN_SPAN / 2)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _read_log(log: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    try:
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{log}: not a readable training log ({error}).") from None
    found: dict[str, dict[float, dict[str, Any]]] = {"step": {}, "eval": {}}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if isinstance(record, dict) and record.get("event") in found:
                found[record["event"]][float(record["step"])] = record
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break  # a run that is still writing, or was killed, leaves part of a last line
            raise InputError(f"{log}, line {number}: not a record of a training log ({error}).") from None
    if not found["step"] and not found["eval"]:
        raise InputError(
            f"{log}: no line with an `event` of step or eval. Give the log.jsonl of a training run."
        )
    return _columns(found["step"], ("loss", "lr")), _columns(found["eval"], ("loss", "accuracy"))


def _columns(records: dict[float, dict[str, Any]], keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    steps = sorted(records)
    columns = {
        key: np.array([_as_float(records[step].get(key)) for step in steps], dtype=float) for key in keys
    }
    return {"step": np.array(steps, dtype=float), **columns}


def _as_float(value: Any) -> float:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else math.nan


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a centered window of a fortieth of the values, shorter at both ends; nan is left out."""
    half = max(len(values) // 80, 1)
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    start = np.maximum(np.arange(len(values)) - half, 0)
    stop = np.minimum(np.arange(len(values)) + half + 1, len(values))
    size = count[stop] - count[start]
    return np.where(size > 0, (total[stop] - total[start]) / np.maximum(size, 1), np.nan)


def _confusion_table(summary: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    names = list(summary["per_class"])
    counts = np.array(summary["confusion"], dtype=int).reshape(len(names), len(names))
    unanswered = np.array([[summary["per_class"][name]["unanswered"]] for name in names], dtype=int)
    return names, np.hstack([counts, unanswered]) if unanswered.any() else counts


def _write_cell(axes: Axes, row: int, column: int, count: int, total: int, theme: Theme) -> None:
    place: dict[str, Any] = {"ha": "center", "va": "center"}
    if count == 0:
        axes.text(column, row, "0", color=theme.quiet, alpha=0.55, fontsize=9, **place)
        return
    share = count / total
    color = theme.paper if share > 0.5 else theme.ink
    weight = "bold" if row == column else "normal"
    axes.text(column, row - 0.1, f"{count:,}", color=color, fontsize=11, fontweight=weight, **place)
    axes.text(column, row + 0.24, _percent(share), color=color, alpha=0.8, fontsize=7.5, **place)


def _percent(share: float) -> str:
    """A share without decimals that says 0 % and 100 % only when it is."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _number(value: float | None, form: str) -> str:
    return "not defined" if value is None else form.format(value)
