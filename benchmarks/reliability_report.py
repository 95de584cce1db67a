"""Tables and plot of the results of `reliability.py`. Needs matplotlib (the extra `report`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mien.reports.plot_style import encode_png, frame_axes, make_figure, strip_axes, write_head
from mien.theme import LIGHT, Theme

NAMES = {
    "as is": "original",
    "yaw": "yaw {:.0f}°",
    "size": "downscaled to {:.0f} px",
    "blur": "blurred, {:.1f} px",
    "dark": "brightness x {:.2f}",
}
MARKED = (1.0, 0.9, 0.8, 0.5)
"""Coverages that are labeled in the plot."""


def to_markdown(report: dict[str, Any]) -> str:
    """Return the tables of docs/reliability.md."""
    points = [(f"{p['coverage']:.0%}", f"{p['error']:.1%}", f"{p['confidence']:.3f}") for p in report["risk_coverage"]]
    parts = [_table(("labeled", "wrong", "min. confidence"), points)]
    head = ("faces", "n", "accuracy (95 %)", "mean confidence", "ECE", "mesh fits", "flip TTA (p)")
    real = [
        (f"{axis} {_band(row['band_deg'])}", *_cells(row))
        for axis, rows in report["real"].items()
        for row in rows
        if row["n"] and not (axis == "pitch" and row["band_deg"] is None)
    ]
    parts.append(_table(head, real))
    copies = [(name_copy(row), *_cells(row)) for row in report["copies"]]
    parts.append(_table(head, copies))
    quality = report["quality_temperature"]
    rows = [
        (
            name,
            *(f"{part[key]:.3f}" for key in ("ece", "ece_one_temperature", "ece_by_quality")),
            *(f"{part[key]:.1%}" for key in ("risk_80", "risk_80_by_quality")),
        )
        for name, part in quality["parts"].items()
    ]
    ece_head = ("faces", "ECE", "one temperature", "by quality", "wrong at 80 %", "by quality")
    parts.append(_table(ece_head, rows))
    parts.append("weights: " + ", ".join(f"{name} {value:.2f}" for name, value in quality["weights"].items()))
    return "\n\n".join(parts)


def name_copy(row: dict[str, Any]) -> str:
    """Return a description of a degradation."""
    if row["kind"] == "pitch":
        return f"pitch {abs(row['amount'])}° {'up' if row['amount'] > 0 else 'down'}"
    return NAMES[row["kind"]].format(row["amount"])


def draw(report: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """Draw the risk-coverage curve, and accuracy against confidence of each degradation, as PNG."""
    figure = make_figure(11.6, 5.8, theme)
    _draw_curve(figure.add_axes((0.065, 0.115, 0.37, 0.655)), report, theme)
    _draw_copies(figure.add_axes((0.625, 0.115, 0.35, 0.655)), report, theme)
    faces, copied = report["faces"], report["copied"]
    note = f"{report['model']} on {faces:,} FER+ validation faces, and on degraded copies of {copied:,} of them"
    write_head(figure, "Error with abstention, and overconfidence on degraded images", note, theme)
    return encode_png(figure)


def _draw_curve(axes: Any, report: dict[str, Any], theme: Theme) -> None:
    frame_axes(axes, theme)
    coverage, risk = report["curve"]
    axes.plot(coverage, risk, color=theme.accent, lw=2)
    axes.fill_between(coverage, risk, color=theme.accent, alpha=0.08, lw=0)
    for share in MARKED:
        point = min(report["risk_coverage"], key=lambda point: abs(point["coverage"] - share))
        x, y = point["coverage"], point["error"]
        axes.plot([x], [y], marker="o", ms=7, color=theme.warm, mec=theme.paper, mew=1.5, clip_on=False)
        axes.annotate(f"{y:.1%}", (x, y), (-9, 6), textcoords="offset points", ha="right", color=theme.ink, fontsize=10)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(risk) * 1.15)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("coverage", color=theme.quiet, fontsize=9.5)
    axes.set_title("Error of the labeled faces", loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)


def _draw_copies(axes: Any, report: dict[str, Any], theme: Theme) -> None:
    rows = report["copies"]
    strip_axes(axes)
    for tick in (0.2, 0.4, 0.6, 0.8, 1.0):
        axes.axvline(tick, color=theme.line, lw=1, zorder=0)
        axes.text(tick, len(rows) - 0.3, f"{tick:.0%}", color=theme.quiet, fontsize=9, ha="center", va="top")
    for place, row in enumerate(rows):
        accuracy, confidence = row["accuracy"], row["confidence"]
        axes.plot([accuracy, confidence], [place, place], color=theme.line, lw=3, zorder=1)
        axes.plot([confidence], [place], marker="o", ms=7, color=theme.other, mew=0, zorder=2)
        axes.plot([accuracy], [place], marker="o", ms=7, color=theme.accent, mew=0, zorder=3)
        axes.text(0.165, place, name_copy(row), color=theme.ink, fontsize=9.5, ha="right", va="center")
    axes.set_xlim(0.2, 1)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_title("Degraded copies", loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=9)
    for x, name, color in ((0.66, "accuracy", theme.accent), (0.83, "confidence", theme.other)):
        axes.plot([x - 0.02], [-1.15], marker="o", ms=7, color=color, mew=0, clip_on=False)
        axes.text(x, -1.15, name, color=theme.ink, fontsize=9.5, va="center")


def _band(band: list[int] | None) -> str:
    return "unknown (no mesh)" if band is None else f"{band[0]}° to {band[1]}°"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    flipped = "" if "flip_p" not in row else f"{row['accuracy_flipped']:.1%} ({row['flip_p']:.2g})"
    return (
        f"{row['n']:.0f}",
        f"{row['accuracy']:.1%} ({row['accuracy_low'] * 100:.1f} to {row['accuracy_high'] * 100:.1f})",
        f"{row['confidence']:.1%}",
        f"{row['ece']:.3f}",
        f"{1 - row['no_mesh']:.0%}",
        flipped,
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
