"""A progress bar on standard error, for people alone: nothing is drawn when it is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Tells a bar how far the job is."""

    def __call__(self, done: int, count: int, note: str = "") -> None:
        """`done` of `count`, and a few words to show beside it."""
        ...


@contextmanager
def progress_bar(what: str) -> Iterator[Advance]:
    """Draw the progress of one job; call what it gives with the number done and of all.

    Args:
        what: is being done, in a few words.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")

        def advance(done: int, count: int, note: str = "") -> None:
            bar.update(task, completed=done, total=count, note=note)

        yield advance
