"""Plot of a training log: loss, learning rate and validation accuracy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError
from mien.number_format import percent
from mien.reports.plot_style import encode_png, frame_axes, make_figure, write_head
from mien.theme import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIN_ACCURACY_RANGE = 0.02
"""Minimum height of the accuracy axis, so that noise is not enlarged."""

Columns = dict[str, np.ndarray]
"""Columns of a log by name, sorted by `step`; NaN where a value is missing."""


def draw_learning_curve(log: Path, theme: Theme = LIGHT) -> bytes:
    """Draw loss, learning rate and validation accuracy of a JSON Lines training log as PNG.

    Lines with the `event` "step" have `step`, `loss` and `lr`; lines with the `event` "eval" have `step`, `accuracy`
    and `loss`; other events are ignored. The last line of a step counts (a resumed run repeats steps).

    Raises:
        InputError: the log cannot be read, a line is not JSON, or no line is a step or an evaluation.
        MissingExtraError: matplotlib is not installed.
    """
    steps, evals = _read_log(log)
    figure = make_figure(10.4, 5.2, theme)
    grid = figure.add_gridspec(
        2, 2, height_ratios=(4, 1), hspace=0.12, wspace=0.17, left=0.075, right=0.965, top=0.76, bottom=0.115
    )
    loss = figure.add_subplot(grid[0, 0])
    rate = figure.add_subplot(grid[1, 0])
    accuracy = figure.add_subplot(grid[:, 1])
    last = max([1.0, *steps["step"], *evals["step"]])
    for axes in (loss, rate, accuracy):
        frame_axes(axes, theme)
        axes.set_xlim(0, last * 1.01)
        axes.locator_params(axis="x", nbins=6)
    _draw_losses(loss, steps, evals, theme)
    _draw_learning_rate(rate, steps, theme)
    _draw_accuracy(accuracy, evals, theme)
    for axes, title in ((loss, "Loss"), (accuracy, "Validation accuracy")):
        axes.set_title(title, loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)
    for axes in (rate, accuracy):
        axes.set_xlabel("step", color=theme.quiet, fontsize=9.5)
    write_head(figure, "Training", "thin: logged steps, thick: running mean, dots: validation", theme)
    return encode_png(figure)


def _draw_losses(axes: Axes, steps: Columns, evals: Columns, theme: Theme) -> None:
    axes.plot(steps["step"], steps["loss"], color=theme.accent, lw=0.7, alpha=0.3)
    axes.plot(steps["step"], _running_mean(steps["loss"]), color=theme.accent, lw=2.2, label="training")
    if np.isfinite(evals["loss"]).any():
        line: dict[str, Any] = {"color": theme.warm, "lw": 1.8, "marker": "o", "ms": 4.5, "mew": 0}
        axes.plot(evals["step"], evals["loss"], label="validation", **line)
    losses = np.concatenate([steps["loss"], evals["loss"]])
    losses = losses[np.isfinite(losses)]
    if losses.size:
        low, high = losses.min(), np.percentile(losses, 99.5)
        pad = 0.06 * (high - low) + 1e-3
        axes.set_ylim(max(low - pad, 0 if low >= 0 else -math.inf), high + pad)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="upper right")
    axes.tick_params(labelbottom=False)


def _draw_learning_rate(axes: Axes, steps: Columns, theme: Theme) -> None:
    axes.plot(steps["step"], steps["lr"], color=theme.quiet, lw=1.6)
    axes.fill_between(steps["step"], steps["lr"], color=theme.quiet, alpha=0.14, lw=0)
    if np.isfinite(steps["lr"]).any():
        axes.set_ylim(0, np.nanmax(steps["lr"]) * 1.1 or 1)
    axes.locator_params(axis="y", nbins=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style: dict[str, Any] = {"color": theme.quiet, "fontsize": 9, "ha": "right", "va": "top"}
    axes.text(0.99, 0.86, "learning rate", transform=axes.transAxes, **style)


def _draw_accuracy(axes: Axes, evals: Columns, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.1f}".removesuffix(".0") + "%")
    if not np.isfinite(evals["accuracy"]).any():
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, color=theme.quiet, ha="center")
        return
    axes.plot(evals["step"], evals["accuracy"], color=theme.accent, lw=2.2, marker="o", ms=4.5, mew=0)
    best = int(np.nanargmax(evals["accuracy"]))
    step = int(evals["step"][best])
    accuracy = float(evals["accuracy"][best])
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": theme.warm, "lw": 2, "clip_on": False}
    axes.scatter([step], [accuracy], s=110, zorder=3, **ring)
    title = f"best {percent(accuracy)} at step {step:,}"
    axes.set_title(title, loc="right", fontsize=10, color=theme.ink, pad=9)
    low = float(np.nanmin(evals["accuracy"]))
    half = max(0.6 * (accuracy - low), _MIN_ACCURACY_RANGE / 2)
    axes.set_ylim((low + accuracy) / 2 - half, (low + accuracy) / 2 + half)


def _read_log(log: Path) -> tuple[Columns, Columns]:
    """Return the columns of the steps and of the evaluations."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{log}: not a readable training log ({error}).") from None
    records: dict[str, dict[float, dict[str, Any]]] = {"step": {}, "eval": {}}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if isinstance(record, dict) and record.get("event") in records:
                records[record["event"]][float(record["step"])] = record
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and not line.endswith("\n"):
                # a running or killed training leaves an incomplete last line
                break
            raise InputError(f"{log}, line {number}: not a record of a training log ({error}).") from None
    if not records["step"] and not records["eval"]:
        raise InputError(f"{log}: no line with an `event` of step or eval; expected the log.jsonl of a training run.")
    return _columns(records["step"], ("loss", "lr")), _columns(records["eval"], ("loss", "accuracy"))


def _columns(records: dict[float, dict[str, Any]], keys: tuple[str, ...]) -> Columns:
    def number(value: object) -> float:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan

    steps = sorted(records)
    columns = {key: np.array([number(records[step].get(key)) for step in steps], dtype=float) for key in keys}
    return {"step": np.array(steps, dtype=float), **columns}


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over a centered window of 1/40 of the values, shorter at both ends; NaN is ignored."""
    half = max(len(values) // 80, 1)
    is_finite = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(is_finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(is_finite)])
    start = np.maximum(np.arange(len(values)) - half, 0)
    stop = np.minimum(np.arange(len(values)) + half + 1, len(values))
    size = count[stop] - count[start]
    return np.where(size > 0, (total[stop] - total[start]) / np.maximum(size, 1), np.nan)
