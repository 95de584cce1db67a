"""The page of a comparison: `comparison.html`, `comparison.json`, and two plots, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mien.evaluation.compare import Comparison, Difference
from mien.evaluation.summary import describe_missed_faces, json_ready
from mien.reports import components
from mien.reports.comparison_plots import draw_differences, draw_recalls
from mien.reports.components import interval, percent
from mien.reports.evaluation import record_text, write_files
from mien.reports.evaluation_page import PERCEIVED
from mien.theme import DARK, LIGHT

CHANCE = 0.05
"""A smaller p value is called more than chance."""


def write_comparison(
    directory: Path,
    *,
    title: str,
    subject: Mapping[str, str],
    names: tuple[str, str],
    comparison: Comparison,
) -> Path:
    """Write `comparison.html`, `comparison.json`, `recalls.png` and `faces.png`.

    Everything is made before the first file is written, and each file is replaced whole or not at all.

    Args:
        directory: made when it does not exist.
        title: the page's heading.
        subject: what was measured, in the order to show.
        names: of the two models, as they are shown.
        comparison: what `mien.evaluation.compare.compare` gave.

    Returns:
        The path of `comparison.html`.

    Raises:
        MissingExtraError: when matplotlib is not installed.
        InputError: when the directory cannot be written.
    """
    sides = comparison.only_first, comparison.only_second
    record = json_ready({"title": title, "subject": subject, "models": names, **comparison.summary})
    record["differences"] = [[_describe(face) for face in side] for side in sides]
    light, dark = (draw_recalls(record, names, theme) for theme in (LIGHT, DARK))
    recalls = components.plot(
        "Recall of each expression", "Recall of both models, as in the table.", light, dark
    )
    html = _render(record, names, recalls, sides)
    images = {"recalls.png": light, "faces.png": draw_differences(sides, names, LIGHT)}
    write_files(directory, {"comparison.json": record_text(record), "comparison.html": html, **images})
    return directory / "comparison.html"


def verdict(summary: Mapping[str, Any], names: tuple[str, str]) -> str:
    """What McNemar's test says, in a sentence, and another one where the models do not know the same classes."""
    lacks = [
        f" {name} does not know {', '.join(unknown)}, so it cannot say so by mistake."
        for name, unknown in zip(names, summary["unknown"].values(), strict=True)
        if unknown
    ]
    return "".join([_difference(summary, names), *lacks])


def _difference(summary: Mapping[str, Any], names: tuple[str, str]) -> str:
    p_value, difference = summary["mcnemar"]["p_value"], summary["difference"]
    told = _told(p_value)
    if not difference:
        return f"Both are right equally often ({told})."
    if p_value >= CHANCE:
        return f"The difference may be chance: McNemar's test gives {told}."
    better = names[0] if difference > 0 else names[1]
    return f"{better} is better by more than chance: McNemar's test gives {told}."


def _told(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _render(
    record: dict[str, Any],
    names: tuple[str, str],
    recalls: str,
    sides: tuple[Sequence[Difference], Sequence[Difference]],
) -> str:
    body = [
        _headline(record, names),
        components.paragraph(verdict(record, names)),
        components.paragraph(PERCEIVED, "perceived"),
        components.section("table", "Right and wrong", _table(record["table"], names)),
        components.section("classes", "Each expression", _class_table(record["per_class"], names) + recalls),
        *(
            _faces(f"faces-{number}", f"Only {names[number]} is right", side, names, number)
            for number, side in enumerate(sides)
        ),
    ]
    footer = "The same numbers stand in comparison.json beside this page."
    return components.render_frame(record["title"], record["subject"], "\n".join(filter(None, body)), footer)


def _headline(record: dict[str, Any], names: tuple[str, str]) -> str:
    first, second, table, mcnemar = (record[key] for key in ("first", "second", "table", "mcnemar"))
    low, high = record["difference_interval"]
    spread = "" if low is None else f"95% interval {low * 100:+.1f} to {high * 100:+.1f}"
    difference = record["difference"]
    return components.tiles(
        [
            (
                "difference",
                components.DASH if difference is None else f"{difference * 100:+.1f} points",
                spread,
            ),
            (names[0], percent(first["accuracy"]), f"accuracy, 95% interval {interval(first)}"),
            (names[1], percent(second["accuracy"]), f"accuracy, 95% interval {interval(second)}"),
            (
                "McNemar's test",
                _told(mcnemar["p_value"]),
                "exact, on the faces that one alone reads right",
            ),
            (
                "they differ on",
                f"{table['only_first'] + table['only_second']:,}",
                f"of {record['n']:,} faces; {describe_missed_faces(record)}",
            ),
            (
                "balanced accuracy",
                f"{percent(first['balanced_accuracy'])}",
                f"of {names[0]}; {names[1]}: {percent(second['balanced_accuracy'])}",
            ),
        ]
    )


def _table(table: dict[str, int], names: tuple[str, str]) -> str:
    head = ("", f"{names[1]} right", f"{names[1]} wrong")
    rows = [
        (f"{escape(names[0])} right", f"{table['both_right']:,}", f"{table['only_first']:,}"),
        (f"{escape(names[0])} wrong", f"{table['only_second']:,}", f"{table['both_wrong']:,}"),
    ]
    return components.table("How many faces each of them reads right", head, rows)


def _class_table(per_class: dict[str, dict[str, Any]], names: tuple[str, str]) -> str:
    head = ("expression", "faces", *names, "points", f"only {names[0]}", f"only {names[1]}")
    rows = [
        (
            components.class_name(name),
            f"{item['n']:,}",
            percent(item["first"]),
            percent(item["second"]),
            components.DASH if item["difference"] is None else f"{item['difference'] * 100:+.1f}",
            f"{item['only_first']:,}",
            f"{item['only_second']:,}",
        )
        for name, item in per_class.items()
    ]
    return components.table("Recall of each expression, and the faces that one alone reads right", head, rows)


def _faces(name: str, title: str, side: Sequence[Difference], names: tuple[str, str], right: int) -> str:
    if not side:
        return ""
    items = [
        components.face(
            components.encode_face(face.image, face.name),
            f"{face.name}: labeled {face.truth}; "
            f"{names[0]} predicts {face.predictions[0]}, {names[1]} {face.predictions[1]}",
            _caption(face, names, right),
        )
        for face in side
    ]
    return components.section(name, title, components.face_list(items))


def _caption(face: Difference, names: tuple[str, str], right: int) -> str:
    told = [
        f'<span class="{"right" if number == right else "wrong"}">{escape(reading)}</span> {sure:.0%} '
        f'<span class="who">{escape(name)}</span>'
        for number, (name, reading, sure) in enumerate(
            zip(names, face.predictions, face.confidences, strict=True)
        )
    ]
    return "".join(told) + f'<span class="name">{escape(face.name)}</span>'


def _describe(face: Difference) -> dict[str, Any]:
    return json_ready(
        {
            "name": face.name,
            "truth": face.truth,
            "predictions": face.predictions,
            "confidences": face.confidences,
        }
    )
