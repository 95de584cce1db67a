"""The HTML page of a report, from its record and its pictures. Every text in it is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from mien.errors import InputError
from mien.evaluation.style import class_colour

FACE_SIDE = 224
"""Longest side in pixels of a face on the page."""

_DASH = "–"


def render_page(
    record: dict[str, Any], light: dict[str, bytes], dark: dict[str, bytes], faces: Sequence[str]
) -> str:
    """The whole page.

    Args:
        record: what `report.json` holds.
        light: PNG bytes by name: confusion, reliability, per_class.
        dark: the same for readers in the dark.
        faces: a data URI for each of `record["mistakes"]`.
    """
    template = files("mien.evaluation").joinpath("report.html.template").read_text(encoding="utf-8")
    plots = {
        name: _plot(title, text, light[name], dark[name])
        for name, title, text in (
            ("confusion", "Confusion matrix", _confusions_text(record)),
            ("reliability", "Reliability diagram", _calibration_text(record)),
            (
                "per_class",
                "Bars of each expression",
                "Precision, recall and F1 of each expression, as in the table.",
            ),
        )
    }
    return Template(template).substitute(
        title=escape(record["title"]),
        subject=_subject(record["subject"]),
        headline=_headline(record),
        protocols=_protocols(record["protocols"]),
        confusions=f"<p>{escape(_confusions_text(record))}</p>",
        confusion_plot=plots["confusion"],
        class_table=_class_table(record["per_class"]),
        class_plot=plots["per_class"],
        calibration=f"<p>{escape(_calibration_text(record))} {escape(_selective_text(record))}</p>",
        reliability_plot=plots["reliability"],
        mistakes=_mistakes(record["mistakes"], faces),
    )


def encode_face(image: np.ndarray, name: str = "a mistake") -> str:
    """A picture (H, W, 3) uint8 as a data URI, at most `FACE_SIDE` pixels on its longer side.

    Raises:
        InputError: when the array is not such a picture; the message gives its name.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"{name}: {image.shape} of {image.dtype}, expected a picture (H, W, 3) uint8.")
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((FACE_SIDE, FACE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(picture.size) <= 64:
        picture.save(buffer, "PNG", optimize=True)
        return _data_uri(buffer.getvalue(), "png")
    picture.save(buffer, "JPEG", quality=88)
    return _data_uri(buffer.getvalue(), "jpeg")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _plot(title: str, text: str, light: bytes, dark: bytes) -> str:
    return (
        f'<div class="card scroll plot" tabindex="0" role="region" aria-label="{escape(title)}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark, "png")}">'
        f'<img src="{_data_uri(light, "png")}" alt="{escape(title)}. {escape(text)}"></picture></div>'
    )


def _subject(subject: dict[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in subject.items()
    )
    return f'<dl class="subject">{items}</dl>' if items else ""


def _missed(record: dict[str, Any]) -> str:
    """What became of the faces that were not found: errors in photographs, read whole in data sets of crops."""
    missed = record["missed_faces"]
    unanswered = sum(scores.get("missed", 0) for scores in record["per_class"].values())
    return (
        f"{missed:,} not found, {'counted as errors' if unanswered else 'read whole'}"
        if missed
        else "all found"
    )


def _headline(record: dict[str, Any]) -> str:
    tiles = [
        ("accuracy", _percent(record["accuracy"]), f"95% interval {_interval(record)}"),
        ("balanced accuracy", _percent(record["balanced_accuracy"]), "mean recall of the classes"),
        ("macro F1", _percent(record["macro_f1"]), "mean F1 of the classes"),
        (
            "calibration error",
            _decimal(record["ece"]),
            f"{_decimal(record['ece_uncalibrated'])} uncalibrated",
        ),
        ("Brier score", _decimal(record["brier"]), "0 is best, 2 is worst"),
        ("faces", f"{record['n']:,}", _missed(record)),
    ]
    main = ' class="main"'
    items = "".join(
        f'<div{main if index == 0 else ""}><dt>{name}</dt><dd class="value">{value}</dd>'
        f'<dd class="note">{note}</dd></div>'
        for index, (name, value, note) in enumerate(tiles)
    )
    return f'<dl class="tiles">{items}</dl>'


def _protocols(protocols: dict[str, dict[str, Any]]) -> str:
    if not protocols:
        return ""
    rows = [
        (
            escape(name),
            f"{item['n']:,}",
            _percent(item["accuracy"]),
            _interval(item),
            _percent(item["balanced_accuracy"]),
            _percent(item["macro_f1"]),
            _decimal(item["ece"]),
        )
        for name, item in protocols.items()
    ]
    head = ("protocol", "faces", "accuracy", "95% interval", "balanced accuracy", "macro F1", "ECE")
    table = _table("The same predictions, counted by each protocol", head, rows)
    return f'<section aria-labelledby="protocols"><h2 id="protocols">Protocols</h2>{table}</section>'


def _class_table(per_class: dict[str, dict[str, Any]]) -> str:
    any_missed = any(item.get("missed") for item in per_class.values())
    head = ("expression", "faces", "precision", "recall", "F1", *(["not found"] if any_missed else []))
    rows = [
        (
            f'<span class="chip" style="background:{class_colour(name)}"></span>{escape(name)}',
            f"{item['n']:,}",
            _percent(item["precision"]),
            _percent(item["recall"]),
            _percent(item["f1"]),
            *([f"{item.get('missed', 0):,}"] if any_missed else []),
        )
        for name, item in per_class.items()
    ]
    return _table("Precision, recall and F1 of each expression", head, rows)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column heads its row; `rows` are HTML, `caption` and `head` are text."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="card scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _mistakes(mistakes: Sequence[dict[str, Any]], faces: Sequence[str]) -> str:
    if not mistakes:
        return ""
    items = "".join(_mistake(item, face) for item, face in zip(mistakes, faces, strict=True))
    return (
        '<section aria-labelledby="mistakes"><h2 id="mistakes">The most confident mistakes</h2>'
        '<p class="quiet">Where the surest answers differ from the label. At times the label is wrong.</p>'
        f'<ul class="mistakes">{items}</ul></section>'
    )


def _mistake(item: dict[str, Any], face: str) -> str:
    truth, name = escape(item["truth"]), escape(item["name"])
    predicted = "no face found" if item["predicted"] is None else escape(item["predicted"])
    sure = "" if item["confidence"] is None else f" {item['confidence']:.1%}"
    alt = f"{name}: labelled {truth}, read as {predicted}"
    return (
        f'<li><figure><img src="{face}" alt="{alt}" loading="lazy"><figcaption>'
        f'<span class="read">{predicted}</span>{sure}<br>label: {truth}<span class="name">{name}</span>'
        "</figcaption></figure></li>"
    )


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
        return "No face was found, so there is no confidence to judge."
    return (
        f"Confidence and accuracy differ by {record['ece'] * 100:.1f} points on average; "
        f"before the temperature of {record['temperature']:.2f} by {record['ece_uncalibrated'] * 100:.1f}."
    )


def _selective_text(record: dict[str, Any]) -> str:
    points = [point for point in record.get("selective") or [] if point["coverage"] < 0.999]
    told = [f"{_percent(point['accuracy'])} (surest {point['coverage']:.0%})" for point in points]
    return f"Kept to the faces it is surest of, its accuracy is {', '.join(told)}." if told else ""


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _decimal(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}"


def _interval(record: dict[str, Any]) -> str:
    low, high = record["accuracy_interval"]
    return _DASH if low is None else f"{low * 100:.1f}–{high * 100:.1f}%"
