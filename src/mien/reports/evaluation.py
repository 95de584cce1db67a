"""The report of one measurement: `report.json`, its plots, and one HTML page that needs nothing else.

The page holds its images and its style, has no script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.evaluation.evaluate import Mistake
from mien.evaluation.summary import json_ready
from mien.reports import evaluation_page, plots
from mien.reports.components import encode_face
from mien.reports.group_plot import draw_groups
from mien.theme import DARK, LIGHT

PLOTS = {
    "confusion": plots.draw_confusion,
    "reliability": plots.draw_reliability,
    "per_class": plots.draw_per_class,
    "groups": draw_groups,
}
"""What a report draws; the groups only where there are some."""


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

    A summary with groups gives `groups.png` too. Everything is made before the first file is written, and each file is
    replaced whole or not at all.

    Args:
        directory: made when it does not exist; files of an earlier report in it are replaced.
        title: the page's heading.
        subject: what was measured, in the order to show: model, data set, split.
        summary: what `summarize` gave; the headline and the plots are of this one.
        protocols: the summaries to compare, by name; `summary["protocols"]` when left out.
        mistakes: shown as images, the most confident first.
        shown: how many of them at most.

    Returns:
        The path of `report.html`.

    Raises:
        MissingExtraError: when matplotlib is not installed.
        InputError: when the directory cannot be written, or a mistake's image is not (H, W, 3) uint8.
    """
    protocols = protocols if protocols is not None else summary.get("protocols") or {}
    record = json_ready({"title": title, "subject": subject, **summary, "protocols": protocols})
    surest = sorted(mistakes, key=lambda mistake: -(mistake.confidence or 0.0))[:shown]
    record["mistakes"] = [_describe(mistake) for mistake in surest]
    wanted = {name: draw for name, draw in PLOTS.items() if name != "groups" or record.get("groups")}
    light = {name: draw(record, LIGHT) for name, draw in wanted.items()}
    dark = {name: draw(record, DARK) for name, draw in wanted.items()}
    faces = [encode_face(mistake.image, mistake.name) for mistake in surest]
    html = evaluation_page.render_page(record, light, dark, faces)
    images = {f"{name}.png": light.get(name) for name in PLOTS}
    write_files(directory, {"report.json": record_text(record), "report.html": html, **images})
    return directory / "report.html"


def write_files(directory: Path, files: Mapping[str, bytes | str | None]) -> None:
    """Write a report's files by name; None removes the file of an earlier report.

    Raises:
        InputError: when the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if data is None:
                (directory / name).unlink(missing_ok=True)
            else:
                write_atomic(directory / name, _encode(data) if isinstance(data, str) else data)
    except OSError as error:
        raise InputError(f"{directory}: the report cannot be written ({error.strerror}).") from None


def record_text(record: Mapping[str, Any]) -> str:
    """A report's record as the text of its JSON file."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _describe(mistake: Mistake) -> dict[str, Any]:
    return json_ready(
        {
            "name": mistake.name,
            "truth": mistake.truth,
            "predicted": mistake.predicted,
            "confidence": mistake.confidence,
            "is_readable": mistake.is_readable,
        }
    )


def _encode(text: str) -> bytes:
    """UTF-8; a file name that is not text (a lone surrogate) becomes question marks."""
    return text.encode("utf-8", errors="replace")
