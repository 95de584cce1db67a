"""Progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mien.cli.messages import printable

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar:
    """Callable that updates the progress of one task; draws nothing without a rich display."""

    def __init__(self, task: str, display: Progress | None) -> None:
        self._display = display
        self.done = 0
        self.total = 0
        self._task = display.add_task(task, total=None, note="") if display is not None else None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total` items, and a short note beside them."""
        self.done = done
        self.total = total
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=done, total=total, note=note)

    def print(self, line: str) -> None:
        """Print a line to standard error, above the bar if there is one."""
        line = printable(line)
        if self._display is None:
            print(line, file=sys.stderr)
        else:
            self._display.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(task: str, *, is_shown: bool = True, on_stop: str = "") -> Iterator[ProgressBar]:
    """Draw a progress bar on standard error if that is a terminal.

    Args:
        task: a few words on what is being done.
        is_shown: False draws nothing, on a terminal either.
        on_stop: what is kept and how to continue, printed with the progress when a stop signal ends the block.
    """
    with _draw_bar(task, is_shown=is_shown) as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            if on_stop:
                state = f" after {progress.done:,} of {progress.total:,}" if progress.total else ""
                progress.print(f"mien: stopped{state} ({task}); {on_stop}")
            raise


@contextmanager
def _draw_bar(task: str, *, is_shown: bool) -> Iterator[ProgressBar]:
    if not (is_shown and sys.stderr.isatty()):
        yield ProgressBar(task, None)
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
    # rich would send what is printed to a file or a pipe to standard error instead
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirect) as display:
        yield ProgressBar(task, display)
