"""A progress bar on standard error, for people alone: nothing is drawn when it is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Shows how far one job is: call it with the number done."""

    def __init__(self, what: str, drawn: Progress | None) -> None:
        self._drawn = drawn
        self._task = drawn.add_task(what, total=None, note="") if drawn is not None else None

    def __call__(self, done: int, count: int, note: str = "") -> None:
        """`done` of `count`, and a few words to show beside it."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=count, note=note)

    def tell(self, line: str) -> None:
        """Print a line on standard error, above the bar when there is one."""
        if self._drawn is None:
            print(line, file=sys.stderr)
        else:
            self._drawn.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str, *, is_wanted: bool = True) -> Iterator[Bar]:
    """Draw the progress of one job; call what it gives with the number done and of all.

    Args:
        what: is being done, in a few words.
        is_wanted: False draws nothing, on a terminal either.
    """
    if not (is_wanted and sys.stderr.isatty()):
        yield Bar(what, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        yield Bar(what, drawn)
