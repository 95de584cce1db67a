"""Tables on the terminal: faces, video tracks, evaluations, comparisons and data set checks."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from mien.cli.outputs import printable, shorten
from mien.evaluation.summary import describe_missed_faces
from mien.number_format import decimal, interval, percent, points, signed_points
from mien.theme import class_color

if TYPE_CHECKING:
    from mien.cli.inputs import ImageInput
    from mien.datasets import CheckReport
    from mien.inference.result import Result
    from mien.results import Expression, Face, HeadPose, Quality
    from mien.video.timeline import Track

BAR_WIDTH = 8
"""Characters of a confidence bar."""
PIPE_WIDTH = 110
"""Columns of the output if standard output is not a terminal."""
MIN_SHARE = 0.005
"""Minimum share of a track's time for an expression to be listed."""


def open_console() -> Console:
    """Return a console on standard output: plain text of `PIPE_WIDTH` columns if that is not a terminal."""
    is_terminal = sys.stdout.isatty()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # an encoding without box characters and dashes prints "?" instead
        sys.stdout.reconfigure(errors="replace")
    return Console(
        file=sys.stdout, width=None if is_terminal else PIPE_WIDTH, no_color=not is_terminal, highlight=False
    )


class ConsoleWriter:
    """Prints a table of faces for each image."""

    def __init__(self) -> None:
        self._console = open_console()
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        self._full, self._empty, self._degree = ("█", "·", "°") if encoding.startswith("utf") else ("#", ".", "")

    def add(self, item: ImageInput | None, result: Result) -> None:
        """Print one image, unless it could not be read: errors are printed to standard error."""
        if result.error is not None:
            return
        count = {0: "no face", 1: "1 face"}.get(len(result.faces), f"{len(result.faces)} faces")
        name = printable(result.source)
        title = Text.assemble((name, "bold"), (f"  {result.width} x {result.height}, {count}", "dim"))
        self._console.print(title, soft_wrap=True)
        if result.faces:
            self._console.print(self._table(result.faces))

    def _table(self, faces: tuple[Face, ...]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        table.add_column("face", justify="right", no_wrap=True, min_width=4)
        for name in ("expression", "confidence", "yaw pitch roll"):
            table.add_column(name, no_wrap=True)
        # on a narrow terminal this column folds and the others stay whole
        table.add_column("quality")
        for number, face in enumerate(faces, start=1):
            table.add_row(
                str(number),
                _label(face.expression),
                self._bar(face.expression),
                self._pose(face.head_pose),
                _quality(face.quality),
            )
        return table

    def _bar(self, expression: Expression | None) -> Text:
        if expression is None:
            return Text("")
        length = round(expression.confidence * BAR_WIDTH)
        return Text.assemble(
            (self._full * length, class_color(expression.label or "")),
            (self._empty * (BAR_WIDTH - length), "dim"),
            f" {percent(expression.confidence, 0):>4}",
        )

    def _pose(self, pose: HeadPose | None) -> str:
        if pose is None:
            return "unknown"
        angles = (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
        return " ".join(f"{round(angle):d}{self._degree}".rjust(4) for angle in angles)


def _label(expression: Expression | None) -> Text:
    if expression is None:
        return Text("")
    if expression.label is None:
        return Text("not sure")
    return Text(expression.label, style=f"bold {class_color(expression.label)}")


def _quality(quality: Quality | None) -> str:
    if quality is None:
        return ""
    parts = [f"{quality.size_px:.0f} px", f"sharp {decimal(quality.sharpness, 2)}"]
    if quality.visible < 0.995:
        parts.append(f"{percent(quality.visible, 0)} visible")
    return ", ".join(parts)


def print_tracks(tracks: tuple[Track, ...]) -> None:
    """Print one line per face of a video: its times and the share of each expression."""
    if not tracks:
        print("no face found")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("face", "from", "to", "visible"):
        table.add_column(name, justify="right")
    table.add_column("perceived expression, share of the time")
    for track in tracks:
        shares = sorted(track.shares.items(), key=lambda item: -item[1])
        texts = [f"[{class_color(name)}]{name}[/] {percent(share, 0)}" for name, share in shares if share >= MIN_SHARE]
        if track.unsure >= MIN_SHARE:
            texts.append(f"not sure {percent(track.unsure, 0)}")
        times = (f"{track.first_s:.1f} s", f"{track.last_s:.1f} s", f"{track.seconds:.1f} s")
        table.add_row(str(track.track_id), *times, "  ".join(texts))
    open_console().print(table)


def print_check(report: CheckReport, console: Console) -> None:
    """Print the check of a data set: the class counts, and the number of each problem with examples."""
    console.print(f"{escape(report.root)}: {report.n:,} images", soft_wrap=True)
    table = Table()
    table.add_column("class")
    for split in report.counts:
        table.add_column(split, justify="right")
    classes = dict.fromkeys(name for counts in report.counts.values() for name in counts)
    for name in classes:
        table.add_row(name, *(f"{counts.get(name, 0):,}" for counts in report.counts.values()))
    table.add_section()
    table.add_row("all", *(f"{sum(counts.values()):,}" for counts in report.counts.values()))
    console.print(table)
    for name, values in report.groups.items():
        console.print(f"{escape(name)}: {escape(_list_counts(values))}", soft_wrap=True)
    problems: dict[str, list[str]] = {
        "missing images": list(report.missing),
        "unreadable images": [f"{name} ({problem})" for name, problem in report.unreadable.items()],
        "groups of exact duplicates within a split": [" = ".join(ids) for ids in report.duplicates],
        "groups of exact duplicates across splits": [" = ".join(ids) for ids in report.leaks],
        "images with an exact duplicate in a later split: exclude them from training": list(
            report.duplicates_in_later_splits
        ),
    }
    for problem, names in problems.items():
        examples = f": {shorten(names)}" if names else ""
        console.print(f"{len(names):,} {problem}{escape(examples)}", soft_wrap=True)
    console.print(f"License: {escape(report.license)}")


def _list_counts(values: Mapping[str, int], limit: int = 8) -> str:
    """Join the first values with their counts, and the number of values left out."""
    parts = [f"{value or '(none)'} {count:,}" for value, count in list(values.items())[:limit]]
    return ", ".join(parts) + (f" and {len(values) - limit:,} more" if len(values) > limit else "")


def print_evaluation(subject: Mapping[str, str], summary: dict[str, Any]) -> None:
    """Print the protocols, classes and groups of an evaluation."""
    console = open_console()
    _print_subject(subject, console)
    protocols = numbers_table(
        "protocol", "n", "accuracy", "95% interval", "balanced", "macro F1", "ECE", "before", "Brier"
    )
    for name, part in (summary.get("protocols") or {"labels": summary}).items():
        protocols.add_row(name, *_scores(part), *(decimal(part[key]) for key in ("ece", "ece_uncalibrated", "brier")))
    classes = numbers_table("class", "n", "precision", "recall", "F1")
    for name, scores in summary["per_class"].items():
        shares = (percent(scores[key]) for key in ("precision", "recall", "f1"))
        classes.add_row(escape(name), f"{scores['n']:,}", *shares)
    console.print(protocols, classes, sep="\n")
    if groups := summary.get("groups"):
        for name, column in groups.items():
            _print_groups(name, column, console)
        console.print("Groups show for whom the model is less accurate; they do not describe any person.\n")
    for name, reason in summary.get("groups_left_out", {}).items():
        console.print(f"Not measured by {escape(name)}: {reason}.", soft_wrap=True)
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def print_comparison(subject: Mapping[str, str], summary: dict[str, Any], names: tuple[str, str]) -> None:
    """Print the accuracies of two models, the recall of each class, and the difference."""
    console = open_console()
    _print_subject(subject, console)
    models = numbers_table("model", "n", "accuracy", "95% interval", "balanced", "macro F1", "correct only here")
    for name, key in zip(names, ("first", "second"), strict=True):
        scores = _scores({"n": summary["n"], **summary[key]})
        models.add_row(escape(name), *scores, f"{summary['table'][f'only_{key}']:,}")
    classes = numbers_table("class", "n", *(escape(name) for name in names), "points")
    for name, item in summary["per_class"].items():
        recalls = percent(item["first"]), percent(item["second"])
        classes.add_row(escape(name), f"{item['n']:,}", *recalls, signed_points(item["difference"]))
    console.print(models, classes, sep="\n")
    table = summary["table"]
    low, high = summary["difference_interval"]
    console.print(f"Both correct: {table['both_right']:,}, both wrong: {table['both_wrong']:,}.")
    difference = signed_points(summary["difference"])
    bounds = f"{signed_points(low)} to {signed_points(high)}"
    console.print(f"Difference, first minus second: {difference} points (95% interval: {bounds}).")
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def _print_subject(subject: Mapping[str, str], console: Console) -> None:
    console.print(escape(", ".join(f"{key}: {value}" for key, value in subject.items())), soft_wrap=True)


def _scores(part: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns n, accuracy, 95% interval, balanced and macro F1."""
    return (
        f"{part['n']:,}",
        f"[bold]{percent(part['accuracy'])}[/bold]",
        interval(part["accuracy_interval"]),
        percent(part["balanced_accuracy"]),
        percent(part["macro_f1"]),
    )


def _print_groups(name: str, column: dict[str, Any], console: Console) -> None:
    table = numbers_table(escape(name), "n", "accuracy", "95% interval", "balanced", "")
    for group, item in column["groups"].items():
        table.add_row(
            escape(group),
            f"{item['n']:,}",
            percent(item["accuracy"]),
            interval(item["accuracy_interval"]),
            percent(item["balanced_accuracy"]),
            "" if item["is_enough"] else "too few faces",
        )
    gap = column["accuracy_difference"]
    summary = "too few faces to compare its groups" if gap is None else f"best to worst {points(gap)}"
    console.print(table, f"{escape(name)}: {summary}.", "", sep="\n")


def numbers_table(name: str, *columns: str) -> Table:
    """Return an empty table with a column of names and right-aligned columns of numbers.

    On a narrow terminal names and headings fold; numbers stay whole.
    """
    table = Table(Column(name, overflow="fold", min_width=8), box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(Text(column, overflow="fold"), justify="right", no_wrap=True)
    return table
