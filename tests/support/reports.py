"""Fixed inputs of the three HTML reports, and the text of a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from mien.evaluation.compare import Comparison, Difference
from mien.evaluation.evaluate import Mistake
from mien.evaluation.groups import group_results
from mien.evaluation.summary import summarize
from mien.video.timeline import Timeline, summarize_rows

CLASSES = ("neutral", "happiness", "surprise", "<b>odd</b>")
VOID = {"meta", "img", "source", "br", "path", "link", "input", "hr"}
_SHOWN = ("alt", "aria-label", "title", "id", "href")


class PageText(HTMLParser):
    """Text and described attributes of a page, one piece a line; checks that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self._open.append(tag)
        self.lines += [f"{name}: {value}" for name, value in sorted(attrs) if name in _SHOWN and value]
        if values := dict(attrs).get("data-values"):
            self.lines.append(f"data-values: {json.dumps(json.loads(values))}")

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open) and data.strip():
            self.lines.append(" ".join(data.split()))


def page_text(path: Path) -> str:
    """The text of an HTML file."""
    return "\n".join(PageText(path.read_text(encoding="utf-8")).lines) + "\n"


def make_summary(n: int = 120, missed: int = 3, *, groups: bool = True) -> dict:
    """A summary of `n` faces in four classes; the first `missed` have no answer."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) * 2 + 2 * np.eye(4)[labels]
    logits[:missed] = np.nan
    summary = summarize(labels, logits, CLASSES, temperature=1.4)
    if groups:
        answers = np.where(np.isnan(logits[:, 0]), -1, np.nan_to_num(logits).argmax(axis=1))
        ages = np.array(["4-19", "20-39", "40-69"])[np.arange(n) // 50].tolist()
        summary["groups"] = group_results(labels, answers, {"age & more": ages}, 4)
        summary["groups_left_out"] = {"person": "41 values, more than 40"}
    return summary


def make_mistakes() -> list[Mistake]:
    """A small face, a missed one and an image that was not readable."""
    small, large = np.full((48, 48, 3), 90, np.uint8), np.full((300, 200, 3), 200, np.uint8)
    return [
        Mistake(image=small, name="a'b\"<i>.png", truth="neutral", predicted="<b>odd</b>", confidence=0.61),
        Mistake(image=large, name="missed.png", truth="neutral", predicted=None, confidence=None),
        Mistake(image=small, name="broken.png", truth="surprise", predicted=None, confidence=None, is_readable=False),
        Mistake(image=small, name="sure.png", truth="happiness", predicted="neutral", confidence=0.974),
    ]


def make_comparison() -> Comparison:
    """Two models that differ on three faces; the second lacks a class."""
    image = np.full((48, 48, 3), 120, np.uint8)

    def side(correct: int, accuracy: float, low: float, high: float) -> dict:
        return {
            "correct": correct,
            "accuracy": accuracy,
            "accuracy_interval": [low, high],
            "balanced_accuracy": accuracy - 0.05,
            "macro_f1": accuracy - 0.04,
        }

    def recall(n: int, first: float | None, second: float | None, only_first: int, only_second: int) -> dict:
        difference = None if first is None or second is None else first - second
        return {
            "n": n,
            "first": first,
            "second": second,
            "difference": difference,
            "only_first": only_first,
            "only_second": only_second,
        }

    summary = {
        "n": 1000,
        "first": side(890, 0.89, 0.8691, 0.9079),
        "second": side(861, 0.861, 0.8381, 0.8811),
        "difference": 0.029,
        "difference_interval": [0.0112, 0.0468],
        "table": {"both_right": 820, "only_first": 70, "only_second": 41, "both_wrong": 69},
        "mcnemar": {"p_value": 0.0076},
        "per_class": {
            "neutral": recall(600, 0.91, 0.9, 30, 24),
            "happiness": recall(400, 0.86, 0.8025, 40, 17),
            "contempt": recall(0, None, None, 0, 0),
        },
        "unknown": {"first": [], "second": ["contempt"]},
        "missed_faces": 4,
        "unreadable_faces": 1,
        "unanswered_faces": 5,
        "unreadable": ["x.png"],
    }
    faces = [
        Difference(image=image, name=f"{name}.png", truth="neutral", predictions=predictions, confidences=(0.71, 0.997))
        for name, predictions in (
            ("<i>", ("neutral", "happiness")),
            ("b", ("neutral", "anger")),
            ("c", ("fear", "neutral")),
        )
    ]
    return Comparison(summary=summary, only_first=tuple(faces[:2]), only_second=tuple(faces[2:]))


def make_timeline() -> Timeline:
    """Four faces in two scenes, with transitions, abstention and frames without a prediction."""
    labels = CLASSES

    def row(time: float, label: str | None, track: int, scene: int, *, has_prediction: bool = True) -> dict:
        shares = {f"s_{name}": (0.7 if name == label else 0.1) if has_prediction else None for name in labels}
        x = 10.0 + 20 * track
        return {
            "timestamp_s": time,
            "scene": scene,
            "track_id": track,
            **{"x1": x, "y1": 20.0, "x2": x + 40, "y2": 70.0},
            **{"yaw_deg": 12.0, "pitch_deg": -3.0, "roll_deg": 0.0},
            **{"size_px": 50.0, "sharpness": 0.5, "frontality": 0.9, "visible": 1.0},
            **{"label": label, "confidence": 0.7},
            **shares,
        }

    def label_at(number: int) -> str | None:
        return ("neutral", "happiness", None, "surprise", "<b>odd</b>", "neutral")[number // 20]

    rows = [row(i / 10, label_at(i), 1, 1) for i in range(120)]
    rows += [row(i / 10, "happiness", 2, 1, has_prediction=i >= 15) for i in range(5, 60)]
    rows += [row(12 + i / 10, "neutral", 1, 2) for i in range(8)]
    rows += [row(12 + i / 10, None, 3, 2, has_prediction=False) for i in range(4)]
    rows.sort(key=lambda item: (item["timestamp_s"], item["track_id"]))
    return summarize_rows(rows, labels, max_curves=2, max_transitions=2)


def frames(moments):
    """A gray frame for each moment."""
    for moment in moments:
        yield moment, np.full((120, 160, 3), 90, np.uint8)
