"""Numbers for people: the check of a data set, and the measurement of a model, as tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mien.evaluation.summary import describe_missed_faces

if TYPE_CHECKING:
    from mien.datasets import CheckReport


WIDTH = 110
"""Columns of a file or a pipe, which have no width of their own."""


def open_console() -> Console:
    """Standard output: as wide as the terminal, or plain and `WIDTH` wide where it is none."""
    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if is_terminal else WIDTH, no_color=not is_terminal)


def print_check(report: CheckReport, console: Console, *, examples: int = 3) -> None:
    """Show a report: the counts as a table, then a line for each kind of finding with a few examples."""
    console.print(f"{escape(report.root)}: {report.n:,} images", highlight=False, soft_wrap=True)
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
        console.print(f"{escape(name)}: {escape(_listed(values))}", highlight=False, soft_wrap=True)
    findings: list[tuple[str, list[str]]] = [
        ("missing images", list(report.missing)),
        ("unreadable images", [f"{name} ({problem})" for name, problem in report.unreadable.items()]),
        ("groups of exact duplicates within a split", [" = ".join(ids) for ids in report.duplicates]),
        ("groups of the same pixels in several splits", [" = ".join(ids) for ids in report.leaks]),
        (
            "images that also stand in a later split: train without them",
            list(report.duplicates_in_later_splits),
        ),
    ]
    for what, found in findings:
        more = ", ..." if len(found) > examples else ""
        shown = f": {', '.join(found[:examples])}{more}" if found else ""
        console.print(f"{len(found):,} {what}{escape(shown)}", highlight=False, soft_wrap=True)
    console.print(f"Licence: {escape(report.license)}", highlight=False)


def _listed(values: Mapping[str, int], most: int = 8) -> str:
    """Values with their counts, and how many are left out."""
    shown = [f"{value or '(none)'} {count:,}" for value, count in list(values.items())[:most]]
    return ", ".join(shown) + (f" and {len(values) - most:,} more" if len(values) > most else "")


def print_summary(subject: dict[str, str], summary: dict[str, Any], console: Console) -> None:
    """Show a measurement: its protocols, its classes, and its groups where it has some."""
    console.print(escape(", ".join(f"{key}: {value}" for key, value in subject.items())), soft_wrap=True)
    protocols = numbers_table(
        "protocol", "n", "accuracy", "95 %", "balanced", "macro F1", "ECE", "before", "Brier"
    )
    for name, part in (summary.get("protocols") or {"labels": summary}).items():
        protocols.add_row(
            name,
            f"{part['n']:,}",
            f"[bold]{percent(part['accuracy'])}[/bold]",
            interval(part),
            percent(part["balanced_accuracy"]),
            percent(part["macro_f1"]),
            *(number(part[key]) for key in ("ece", "ece_uncalibrated", "brier")),
        )
    classes = numbers_table("class", "n", "precision", "recall", "F1")
    for name, scores in summary["per_class"].items():
        shares = (percent(scores[key]) for key in ("precision", "recall", "f1"))
        classes.add_row(escape(name), f"{scores['n']:,}", *shares)
    console.print(protocols, classes, sep="\n")
    if groups := summary.get("groups"):
        for name, column in groups.items():
            _print_groups(name, column, console)
        console.print("Groups show whom the model reads worse; they are no statement about a person.\n")
    for name, reason in summary.get("groups_left_out", {}).items():
        console.print(f"Not measured by {escape(name)}: {reason}.", soft_wrap=True)
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def print_comparison(
    subject: dict[str, str], summary: dict[str, Any], names: tuple[str, str], console: Console
) -> None:
    """Show a comparison of two models: both accuracies, the faces on which they differ, and the classes."""
    console.print(escape(", ".join(f"{key}: {value}" for key, value in subject.items())), soft_wrap=True)
    models = numbers_table("model", "n", "accuracy", "95 %", "balanced", "macro F1", "right alone")
    for name, key in zip(names, ("first", "second"), strict=True):
        part = summary[key]
        models.add_row(
            escape(name),
            f"{summary['n']:,}",
            f"[bold]{percent(part['accuracy'])}[/bold]",
            interval(part),
            percent(part["balanced_accuracy"]),
            percent(part["macro_f1"]),
            f"{summary['table'][f'only_{key}']:,}",
        )
    classes = numbers_table("class", "n", *(escape(name) for name in names), "points")
    for name, item in summary["per_class"].items():
        shares = percent(item["first"]), percent(item["second"])
        classes.add_row(escape(name), f"{item['n']:,}", *shares, _points(item["difference"]))
    console.print(models, classes, sep="\n")
    table, (low, high) = summary["table"], summary["difference_interval"]
    console.print(f"Both right: {table['both_right']:,}, both wrong: {table['both_wrong']:,}.")
    told = f"{_points(summary['difference'])} points (95 %: {_points(low)} to {_points(high)})"
    console.print(f"Difference: {told}, first minus second.")
    console.print(f"Faces: {describe_missed_faces(summary)}.")


def _print_groups(name: str, column: dict[str, Any], console: Console) -> None:
    table = numbers_table(escape(name), "n", "accuracy", "95 %", "balanced", "")
    for group, item in column["groups"].items():
        table.add_row(
            escape(group),
            f"{item['n']:,}",
            percent(item["accuracy"]),
            interval(item),
            percent(item["balanced_accuracy"]),
            "" if item["is_enough"] else "too few to judge",
        )
    gap = column["accuracy_difference"]
    told = "too few faces to compare its groups" if gap is None else f"best to worst {100 * gap:.1f} points"
    console.print(table, f"{escape(name)}: {told}.", "", sep="\n")


def numbers_table(name: str, *columns: str) -> Table:
    """An empty table of names and their numbers."""
    table = Table(name, box=SIMPLE)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def percent(value: float | None) -> str:
    """A share with one decimal; a dash when it is not defined."""
    return "-" if value is None else f"{100 * value:.1f} %"


def interval(part: dict[str, Any]) -> str:
    """The `accuracy_interval` of a record."""
    low, high = part["accuracy_interval"]
    return f"{percent(low)} to {percent(high)}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def number(value: float | None) -> str:
    """Three decimals; a dash when it is not defined."""
    return "-" if value is None else f"{value:.3f}"
