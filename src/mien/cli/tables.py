"""A data set's check for people: its counts as a table, its faults in a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from mien.datasets import CheckReport


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
    findings: list[tuple[str, list[str]]] = [
        ("missing images", list(report.missing)),
        ("unreadable images", [f"{name} ({problem})" for name, problem in report.unreadable.items()]),
        ("groups of exact duplicates within a split", [" = ".join(ids) for ids in report.duplicates]),
        ("groups of the same pixels in several splits", [" = ".join(ids) for ids in report.leaks]),
        ("images that also stand in a later split: train without them", list(report.twins_in_later_splits)),
    ]
    for what, found in findings:
        more = ", ..." if len(found) > examples else ""
        shown = f": {', '.join(found[:examples])}{more}" if found else ""
        console.print(f"{len(found):,} {what}{escape(shown)}", highlight=False, soft_wrap=True)
    console.print(f"Licence: {escape(report.licence)}", highlight=False)
