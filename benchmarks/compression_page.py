"""Table and plots of docs/models/compression.md, from the results of compression.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.number_format import percent
from mien.reports.plot_style import encode_png, frame_axes, make_figure, write_head
from mien.theme import LIGHT

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "models/compression.md"
PLOT = DOCS / "images/compression.png"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
MIN_ACCURACY = 0.82
"""Lower end of the plots."""
HEAD = (
    "| variant | trained | FER+ | photographs | MB | multiply-adds | ms | memory, MB |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
TITLES = {
    "expression": "**`expression`**: weights stored as float16",
    "expression.int8": "**`expression`, int8**: computed in int8",
    "expression-int8-weights": "`expression`, weights stored as int8",
    "expression-4-bit": "`expression`, weights in 4 bits",
    "expression-128": "`expression` at 128 px, weights stored as int8",
    "mobile": "**`mobile`**: weights stored as int8",
    "mobile-version-1": "`mobile` version 1, weights stored as float16 (the same network before int8)",
    "mobile-float16": "`mobile`, weights stored as float16",
    "mobile-int8": "`mobile`, computed in int8",
    "mobile-int8-tuned": "the same, quantization-aware training",
    "mobile-4-bit": "`mobile`, weights in 4 bits",
    "mobile-4-bit-tuned": "the same, quantization-aware training",
    "mobile-shared": "`mobile`, 16 shared weights per layer",
    "mobile-80-normalized": "`mobile` at 80 px, batch norms estimated again",
    "mobile-64": "`mobile` at 64 px",
    "mobile-64-normalized": "the same, batch norms estimated again",
    "mobile-64-tuned": "the same, fine-tuned",
    "mobile-pruned-80": "`mobile`, 20% of hidden channels pruned",
    "mobile-pruned-80-normalized": "the same, batch norms estimated again",
    "mobile-pruned-80-tuned": "the same, fine-tuned",
    "mobile-pruned-80-shared": "`mobile`, 20% pruned, 16 shared weights per layer",
    "mobile-pruned-60": "`mobile`, 40% of hidden channels pruned",
    "mobile-pruned-60-normalized": "the same, batch norms estimated again",
    "mobile-pruned-60-tuned": "the same, fine-tuned",
    "efficientface-0.55": "EfficientFace, width 0.55, distilled, **unfinished**",
    "mobilenetv3-0.75": "MobileNetV3-Small, width 0.75, distilled, **unfinished**",
    "compact": "**`compact`**: weights stored as int8",
    "open": "**`open`**: weights stored as float16",
}
"""Rows of the table, in order; bold are the shipped files."""
AXES = (
    ("bytes", "megabytes", (0.3, 0.5, 1, 2, 5, 10)),
    ("multiply_adds", "million multiply-adds", (10, 20, 50, 100, 200, 400)),
)
"""Key of the results, label and ticks, in millions, of the horizontal axes."""


def write_page(results: dict[str, dict[str, Any]]) -> None:
    """Replace the table between the markers of the page, and draw the plots."""
    rows = {name: results[name] for name in TITLES if "milliseconds" in results.get(name, {})}
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table = HEAD + "".join(describe(TITLES[name], row) for name, row in rows.items())
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    PLOT.write_bytes(draw(rows))


def describe(title: str, row: dict[str, Any]) -> str:
    """Return a line of the table."""
    source = row["source"]
    trained = f"{source['faces']:,} faces, {source['minutes']} min" if source.get("steps") else ""
    trained = "" if "recipe" in source else trained or "no"
    return (
        f"| {title} | {trained} | {percent(row['ferplus'])} | {percent(row['photographs'])} "
        f"| {row['bytes'] / 1e6:.2f} | {row['multiply_adds'] / 1e6:.0f} M | {row['milliseconds']:.1f} "
        f"| {row['memory_kb'] / 1024:.0f} |\n"
    )


def pareto_front(rows: dict[str, dict[str, Any]], key: str) -> list[str]:
    """Return the variants that no other one beats in both accuracy and `key`, the cheapest first."""
    front: list[str] = []
    for name in sorted(rows, key=lambda name: (rows[name][key], -rows[name]["ferplus"])):
        if not front or rows[name]["ferplus"] > rows[front[-1]]["ferplus"]:
            front.append(name)
    return front


def draw(rows: dict[str, dict[str, Any]]) -> bytes:
    """Draw accuracy over size and over multiply-adds, with the Pareto fronts, as PNG."""
    figure = make_figure(10.4, 4.9, LIGHT)
    for number, (key, label, ticks) in enumerate(AXES):
        axes = figure.add_axes((0.075 + 0.485 * number, 0.12, 0.415, 0.64))
        frame_axes(axes, LIGHT)
        front = pareto_front(rows, key)
        points = {name: (row[key] / 1e6, row["ferplus"]) for name, row in rows.items()}
        axes.plot(*zip(*(points[name] for name in front), strict=True), color=LIGHT.accent, lw=1.5)
        for name, point in points.items():
            axes.plot(*point, "o", ms=6, color=LIGHT.accent if name in front else LIGHT.other, mew=0)
        for place, name in enumerate(name for name in front if points[name][1] >= MIN_ACCURACY):
            side = (
                {"ha": "left", "xytext": (7, -9)}
                if place % 2 == 0 and name != front[-1]
                else {"ha": "right", "xytext": (-6, 5)}
            )
            axes.annotate(name, points[name], textcoords="offset points", fontsize=8, color=LIGHT.ink, **side)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(ticks[0] * 0.6, ticks[-1] * 1.1)
        axes.set_ylim(MIN_ACCURACY, 0.9)
        axes.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
        axes.set_xlabel(label, color=LIGHT.quiet, fontsize=9.5)
    hidden = sum(row["ferplus"] < MIN_ACCURACY for row in rows.values())
    note = f"FER+ validation, official majority; the line is the Pareto front; {hidden} variants are below the axis"
    write_head(figure, "Accuracy of compressed models", note, LIGHT)
    return encode_png(figure)
