"""The HTML page of a report, from its record and its images. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mien.evaluation.groups import MIN_FACES
from mien.evaluation.summary import describe_missed_faces
from mien.reports import components
from mien.reports.components import decimal, interval, percent

PERCEIVED = "mien reports the expression that people perceive in a face, not what the person felt."
_GROUPS = (
    "Groups are what annotators of the data set perceived, or where a face comes from. They show whom the model "
    "reads worse; they are no statement about a person. With many groups, or small ones, some gap between the best and "
    "the worst is expected by chance alone."
)


def render_page(
    record: dict[str, Any], light: Mapping[str, bytes], dark: Mapping[str, bytes], faces: Sequence[str]
) -> str:
    """The whole page.

    Args:
        record: what `report.json` holds.
        light: PNG bytes by name: confusion, reliability, per_class, and groups when the record has groups.
        dark: the same for readers in the dark.
        faces: a data URI for each of `record["mistakes"]`.
    """

    def plot(name: str, title: str, text: str) -> str:
        return components.plot(title, text, light[name], dark[name])

    confusions, calibration = _confusions_text(record), _calibration_text(record)
    bars = "Precision, recall and F1 of each expression, as in the table."
    body = [
        _headline(record),
        components.paragraph(PERCEIVED, "perceived"),
        _protocols(record["protocols"]),
        components.section(
            "confusions",
            "What is taken for what",
            components.paragraph(confusions) + plot("confusion", "Confusion matrix", confusions),
        ),
        components.section(
            "classes",
            "Each expression",
            _class_table(record["per_class"]) + plot("per_class", "Bars of each expression", bars),
        ),
    ]
    groups, left_out = record.get("groups"), record.get("groups_left_out")
    if groups or left_out:
        bars = "The accuracy of each group with its interval, as in the tables."
        drawn = plot("groups", "Accuracy of each group", bars) if groups else ""
        tables = _group_tables(groups or {}, left_out or {}) + drawn
        body.append(components.section("groups", "Is it the same for everybody?", tables))
    body += [
        components.section(
            "confidence",
            "Can its confidence be believed?",
            components.paragraph(f"{calibration} {_selective_text(record)}".strip())
            + plot("reliability", "Reliability diagram", calibration),
        ),
        _mistakes(record["mistakes"], faces),
    ]
    footer = "The same numbers stand in report.json beside this page."
    return components.render_frame(record["title"], record["subject"], "\n".join(filter(None, body)), footer)


def _headline(record: dict[str, Any]) -> str:
    return components.tiles(
        [
            ("accuracy", percent(record["accuracy"]), f"95% interval {interval(record)}"),
            ("balanced accuracy", percent(record["balanced_accuracy"]), "mean recall of the classes"),
            ("macro F1", percent(record["macro_f1"]), "mean F1 of the classes"),
            (
                "calibration error",
                decimal(record["ece"]),
                f"{decimal(record['ece_uncalibrated'])} uncalibrated",
            ),
            ("Brier score", decimal(record["brier"]), "0 is best, 2 is worst"),
            ("faces", f"{record['n']:,}", describe_missed_faces(record)),
        ]
    )


def _protocols(protocols: dict[str, dict[str, Any]]) -> str:
    if not protocols:
        return ""
    rows = [
        (
            escape(name),
            f"{item['n']:,}",
            percent(item["accuracy"]),
            interval(item),
            percent(item["balanced_accuracy"]),
            percent(item["macro_f1"]),
            decimal(item["ece"]),
        )
        for name, item in protocols.items()
    ]
    head = ("protocol", "faces", "accuracy", "95% interval", "balanced accuracy", "macro F1", "ECE")
    table = components.table("The same predictions, counted by each protocol", head, rows)
    return components.section("protocols", "Protocols", table)


def _class_table(per_class: dict[str, dict[str, Any]]) -> str:
    is_any_unanswered = any(item["unanswered"] for item in per_class.values())
    head = ("expression", "faces", "precision", "recall", "F1", *(["no answer"] if is_any_unanswered else []))
    rows = [
        (
            components.class_name(name),
            f"{item['n']:,}",
            percent(item["precision"]),
            percent(item["recall"]),
            percent(item["f1"]),
            *([f"{item['unanswered']:,}"] if is_any_unanswered else []),
        )
        for name, item in per_class.items()
    ]
    return components.table("Precision, recall and F1 of each expression", head, rows)


def _group_tables(columns: dict[str, dict[str, Any]], left_out: dict[str, str]) -> str:
    tables = "".join(_group_table(name, column) for name, column in columns.items())
    told = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    note = components.paragraph(f"Not measured: {told}.", "quiet") if told else ""
    return components.paragraph(_GROUPS) + tables + note


def _group_table(name: str, column: dict[str, Any]) -> str:
    few = f' <span class="quiet">(below {MIN_FACES} faces: too few to judge)</span>'
    rows = [
        (
            escape(group) + ("" if item["is_enough"] else few),
            f"{item['n']:,}",
            percent(item["accuracy"]),
            interval(item),
            percent(item["balanced_accuracy"]),
        )
        for group, item in column["groups"].items()
    ]
    return components.table(
        f"{name}: {_difference_text(column)}",
        (name, "faces", "accuracy", "95% interval", "balanced accuracy"),
        rows,
    )


def _difference_text(column: dict[str, Any]) -> str:
    accuracy, balanced = column["accuracy_difference"], column["balanced_accuracy_difference"]
    if accuracy is None:
        return "too few faces to compare its groups"
    also = f", in balanced accuracy {components.points(balanced)}" if balanced is not None else ""
    return f"best and worst group are {components.points(accuracy)} of accuracy apart{also}"


def _mistakes(mistakes: Sequence[dict[str, Any]], faces: Sequence[str]) -> str:
    if not mistakes:
        return ""
    items = [_mistake(item, face) for item, face in zip(mistakes, faces, strict=True)]
    note = "Where the surest answers differ from the label. At times the label is wrong."
    return components.section(
        "mistakes",
        "The most confident mistakes",
        components.paragraph(note, "quiet") + components.face_list(items),
    )


def _mistake(item: dict[str, Any], image: str) -> str:
    predicted = item["predicted"] or ("no face found" if item["is_readable"] else "missing or broken")
    sure = "" if item["confidence"] is None else f" {item['confidence']:.1%}"
    caption = (
        f'<span class="wrong">{escape(predicted)}</span>{sure}<br>label: {escape(item["truth"])}'
        f'<span class="name">{escape(item["name"])}</span>'
    )
    return components.face(image, f"{item['name']}: labeled {item['truth']}, read as {predicted}", caption)


def _confusions_text(record: dict[str, Any], most: int = 3) -> str:
    """The commonest confusions in one sentence."""
    names, counts = list(record["per_class"]), np.array(record["confusion"], dtype=int)
    pairs = [
        (int(counts[row, column]), names[row], names[column])
        for row, column in np.ndindex(len(names), len(names))
        if row != column and counts[row, column]
    ]
    if not pairs:
        return "No expression was taken for another."
    pairs.sort(key=lambda pair: -pair[0])
    told = [f"{truth} read as {predicted} ({count:,})" for count, truth, predicted in pairs[:most]]
    return f"Most often: {', '.join(told)}."


def _calibration_text(record: dict[str, Any]) -> str:
    if record["ece"] is None:
        return "No face got an answer, so there is no confidence to judge."
    unanswered = record["unanswered_faces"]
    left_out = f"Without the {unanswered:,} faces that got no answer. " if unanswered else ""
    return (
        f"{left_out}Confidence and accuracy differ by {record['ece'] * 100:.1f} points on average; "
        f"before the temperature of {record['temperature']:.2f} by {record['ece_uncalibrated'] * 100:.1f}."
    )


def _selective_text(record: dict[str, Any]) -> str:
    points = [point for point in record.get("selective") or [] if point["coverage"] < 0.999]
    told = [f"{percent(point['accuracy'])} (surest {point['coverage']:.0%})" for point in points]
    among = "answers" if record["unanswered_faces"] else "faces"
    return f"Kept to the {among} it is surest of, its accuracy is {', '.join(told)}." if told else ""
