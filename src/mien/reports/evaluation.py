"""Evaluation report: JSON record, plots and HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.atomic import write_atomic
from mien.errors import write_error
from mien.evaluation.compare import Difference
from mien.evaluation.evaluate import Mistake
from mien.evaluation.groups import MIN_FACES
from mien.evaluation.summary import describe_missed_faces, json_ready
from mien.number_format import percent, points
from mien.reports import plots
from mien.reports.page import render
from mien.reports.thumbnails import data_uri, encode_face
from mien.theme import DARK, LIGHT

PLOTS = {
    "confusion": plots.draw_confusion,
    "reliability": plots.draw_reliability,
    "per_class": plots.draw_per_class,
    "groups": plots.draw_groups,
}
"""Plots of a report; `groups` is drawn only for a summary with groups."""


def write_report(
    directory: Path,
    *,
    title: str,
    subject: Mapping[str, str],
    summary: Mapping[str, Any],
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
    mistakes: Iterable[Mistake] = (),
    shown: int = 24,
) -> Path:
    """Write `report.html`, `report.json`, `confusion.png`, `reliability.png` and `per_class.png`.

    A summary with groups adds `groups.png`. All files are rendered before the first one is written, and each one is
    replaced atomically. The page is self-contained: it embeds images and style, and has no script.

    Args:
        directory: created if missing; files of an earlier report in it are replaced.
        title: heading of the page.
        subject: evaluated model, data set and split, by name, in display order.
        summary: result of `mien.evaluation.summary.summarize`; the source of tiles, tables and plots.
        protocols: summaries by protocol; `summary["protocols"]` by default.
        mistakes: candidates for the list of mistakes, which is sorted by descending confidence.
        shown: maximum number of mistakes on the page.

    Returns:
        The path of `report.html`.

    Raises:
        MissingExtraError: matplotlib or Jinja2 is not installed.
        InputError: the directory is not writable, or the image of a mistake is not (H, W, 3) uint8.
    """
    protocols = protocols if protocols is not None else summary.get("protocols") or {}
    record = json_ready({"title": title, "subject": subject, **summary, "protocols": protocols})
    top = sorted(mistakes, key=lambda mistake: -(mistake.confidence or 0.0))[:shown]
    record["mistakes"] = face_records(top)
    drawn = {name: draw for name, draw in PLOTS.items() if name != "groups" or record.get("groups")}
    light = {name: draw(record, LIGHT) for name, draw in drawn.items()}
    html = render(
        "evaluation.html",
        title=title,
        facts=record["subject"],
        record=record,
        **_descriptions(record),
        plots={name: plot_uris(light[name], draw(record, DARK)) for name, draw in drawn.items()},
        mistakes=add_images(record["mistakes"], top),
    )
    images = {f"{name}.png": light.get(name) for name in PLOTS}
    write_files(directory, {"report.json": encode_record(record), "report.html": html, **images})
    return directory / "report.html"


def plot_uris(light: bytes, dark: bytes) -> dict[str, str]:
    """Return the data URIs of a PNG plot in both themes."""
    return {"light": data_uri(light, "png"), "dark": data_uri(dark, "png")}


def write_files(directory: Path, files: Mapping[str, bytes | str | None]) -> None:
    """Write files by name; None deletes the file of an earlier report.

    Raises:
        InputError: the directory is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if data is None:
                (directory / name).unlink(missing_ok=True)
            else:
                # a file name that is not valid Unicode (a lone surrogate) becomes question marks
                content = data.encode("utf-8", errors="replace") if isinstance(data, str) else data
                write_atomic(directory / name, content)
    except OSError as error:
        raise write_error(directory, error) from None


def encode_record(record: Mapping[str, Any]) -> str:
    """Return a record as indented JSON."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def face_records(faces: Iterable[Mistake | Difference]) -> list[dict[str, Any]]:
    """Return the fields of faces for JSON, without their images."""
    return [json_ready({name: value for name, value in vars(face).items() if name != "image"}) for face in faces]


def add_images(records: Iterable[dict[str, Any]], faces: Iterable[Mistake | Difference]) -> list[dict[str, Any]]:
    """Return records of faces with their images as data URIs."""
    return [{**item, "image": encode_face(face.image, face.name)} for item, face in zip(records, faces, strict=True)]


def _descriptions(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups and sentences of the page."""
    return {
        "groups": record.get("groups") or {},
        "groups_left_out": record.get("groups_left_out") or {},
        "min_faces": MIN_FACES,
        "describe_gap": _describe_gap,
        "missing_faces": describe_missed_faces(record),
        "confusions": _describe_confusions(record),
        "calibration": _describe_calibration(record),
        "selective": _describe_selective(record),
    }


def _describe_gap(column: Mapping[str, Any]) -> str:
    """Describe the gap between the best and the worst group of a column."""
    accuracy = column["accuracy_difference"]
    balanced = column["balanced_accuracy_difference"]
    if accuracy is None:
        return "too few faces to compare the groups"
    also = "" if balanced is None else f", balanced accuracy by {points(balanced)}"
    return f"accuracy differs by {points(accuracy)} between the best and the worst group{also}"


def _describe_confusions(record: Mapping[str, Any], limit: int = 3) -> str:
    """Describe the most frequent confusions."""
    names = list(record["per_class"])
    counts = np.array(record["confusion"], dtype=int)
    pairs = [
        (int(counts[row, column]), names[row], names[column])
        for row, column in np.ndindex(len(names), len(names))
        if row != column and counts[row, column]
    ]
    if not pairs:
        return "No expression was confused with another."
    pairs.sort(key=lambda pair: -pair[0])
    listed = [f"{truth} predicted as {predicted} ({count:,})" for count, truth, predicted in pairs[:limit]]
    return f"Most frequent: {', '.join(listed)}."


def _describe_calibration(record: Mapping[str, Any]) -> str:
    """Describe the calibration error before and after temperature scaling."""
    if record["ece"] is None:
        return "There are no predictions, so calibration is not defined."
    unanswered = record["unanswered_faces"]
    left_out = f" Faces without a prediction are excluded ({unanswered:,})." if unanswered else ""
    before = f"{points(record['ece_uncalibrated'])} before temperature scaling with T = {record['temperature']:.2f}"
    return f"Confidence and accuracy differ by {points(record['ece'])} on average, {before}.{left_out}"


def _describe_selective(record: Mapping[str, Any]) -> str:
    """Describe the accuracy on the most confident predictions; empty without such results."""
    results = [item for item in record.get("selective") or [] if item["coverage"] < 0.999]
    if not results:
        return ""
    listed = [f"{percent(item['accuracy'])} (top {percent(item['coverage'], 0)})" for item in results]
    return f"Accuracy of the most confident predictions: {', '.join(listed)}."
