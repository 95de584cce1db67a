"""Comparison report of two models: JSON record, plots and HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.evaluation.compare import Comparison
from mien.evaluation.summary import describe_missed_faces, json_ready
from mien.number_format import p_value
from mien.reports.comparison_plots import draw_differences, draw_recalls
from mien.reports.evaluation import add_images, encode_record, face_records, plot_uris, write_files
from mien.reports.page import render
from mien.theme import DARK, LIGHT

SIGNIFICANCE_LEVEL = 0.05
"""Differences with a smaller p-value are called significant."""


def write_comparison(
    directory: Path, *, title: str, subject: Mapping[str, str], names: tuple[str, str], comparison: Comparison
) -> Path:
    """Write `comparison.html`, `comparison.json`, `recalls.png` and `faces.png`.

    All files are rendered before the first one is written, and each one is replaced atomically.

    Args:
        directory: created if missing.
        title: heading of the page.
        subject: compared models, data set and split, by name, in display order.
        names: display names of the two models.
        comparison: result of `mien.evaluation.compare.compare`.

    Returns:
        The path of `comparison.html`.

    Raises:
        MissingExtraError: matplotlib or Jinja2 is not installed.
        InputError: the directory is not writable.
    """
    sides = comparison.only_first, comparison.only_second
    record = json_ready({"title": title, "subject": subject, "models": names, **comparison.summary})
    record["differences"] = [face_records(side) for side in sides]
    light = draw_recalls(record, names, LIGHT)
    html = render(
        "comparison.html",
        title=title,
        facts=record["subject"],
        record=record,
        names=names,
        verdict=verdict(record, names),
        missing_faces=describe_missed_faces(record),
        plots={"recalls": plot_uris(light, draw_recalls(record, names, DARK))},
        sides=[add_images(*pair) for pair in zip(record["differences"], sides, strict=True)],
    )
    totals = record["table"]["only_first"], record["table"]["only_second"]
    images = {"recalls.png": light, "faces.png": draw_differences(sides, totals, names, LIGHT)}
    write_files(directory, {"comparison.json": encode_record(record), "comparison.html": html, **images})
    return directory / "comparison.html"


def verdict(summary: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Describe the result of McNemar's test, and the classes that only one of the models has."""
    missing = [
        f" {name} does not know {', '.join(classes)}, so it cannot predict it by mistake."
        for name, classes in zip(names, summary["unknown"].values(), strict=True)
        if classes
    ]
    return _describe_difference(summary, names) + "".join(missing)


def _describe_difference(summary: Mapping[str, Any], names: tuple[str, str]) -> str:
    difference = summary["difference"]
    probability = summary["mcnemar"]["p_value"]
    if probability >= SIGNIFICANCE_LEVEL:
        return f"The difference is not significant: McNemar's test gives {p_value(probability)}."
    better = names[0] if difference > 0 else names[1]
    return f"{better} is significantly better: McNemar's test gives {p_value(probability)}."
