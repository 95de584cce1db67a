"""Tables that fit the terminal: columns drop out, then rows fold; numbers are never shortened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns: one of padding, and one that rich draws as the line between them."""
MAX_WORD = 24
"""Columns up to which a word of a text cell stays on one line; a longer one (a path) folds."""


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        name: heading.
        kind: "number" is right-aligned and never folds, "label" is left-aligned and never folds, "text" is left-aligned
            and folds between words.
    """

    name: str
    kind: Literal["number", "label", "text"] = "number"

    def min_width(self, cells: Sequence[Text]) -> int:
        """Return the width at which no number and no word is cut."""
        if self.kind == "text":
            texts = [self.name, *(cell.plain for cell in cells)]
            return max(1, *(min(cell_len(word), MAX_WORD) for text in texts for word in text.split()))
        return max([1, *map(cell_len, self.name.split()), *(cell.cell_len for cell in cells)])

    def max_width(self, cells: Sequence[Text]) -> int:
        """Return the width at which nothing folds."""
        return max([1, cell_len(self.name), *(cell.cell_len for cell in cells)])


class FittedTable:
    """Table that adapts to the width of the terminal.

    Where it is too wide, the columns in `drop` are left out, the first one first, until the others fit, and a line
    names them. Where that is not enough, each row is printed as a list.

    Args:
        columns: the first one names the row.
        drop: names of the columns that may be left out, in that order.
    """

    def __init__(self, *columns: Column, drop: Sequence[str] = ()) -> None:
        self._columns = columns
        self._drop = [next(i for i, column in enumerate(columns) if column.name == name) for name in drop]
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Append a row; strings are printed as they are."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        shown = list(range(len(self._columns)))
        left_out: list[str] = []
        for index in self._drop:
            if self._needed(shown) <= options.max_width:
                break
            shown.remove(index)
            left_out.append(self._columns[index].name)
        if self._needed(shown) > options.max_width:
            yield from self._list_rows()
            return
        yield self._table(shown, options.max_width)
        if left_out:
            yield Text(f"Left out at {options.max_width} columns: {', '.join(left_out)}.", style="dim")

    def _cells(self, index: int) -> list[Text]:
        return [row[index] for row in self._rows]

    def _needed(self, shown: Sequence[int]) -> int:
        return sum(self._columns[index].min_width(self._cells(index)) + GAP for index in shown) - GAP

    def _table(self, shown: Sequence[int], width: int) -> Table:
        table = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
        spare = width - self._needed(shown)
        for index in shown:
            column, cells = self._columns[index], self._cells(index)
            low = column.min_width(cells)
            extra = min(spare, column.max_width(cells) - low)
            spare -= extra
            table.add_column(
                escape(column.name),
                justify="right" if column.kind == "number" else "left",
                width=low + extra,
                overflow="fold",
            )
        for row in self._rows:
            table.add_row(*(row[index] for index in shown))
        return table

    def _list_rows(self) -> Iterator[Text]:
        for row in self._rows:
            yield Text.assemble((self._columns[0].name, "dim"), " ", row[0], overflow="fold")
            for column, cell in zip(self._columns[1:], row[1:], strict=True):
                if cell.plain:
                    yield Text.assemble((f"  {column.name} ", "dim"), cell, overflow="fold")


def numbers_table(name: str, *columns: str, drop: Sequence[str] = ()) -> FittedTable:
    """Return an empty table with a column of names and columns of numbers."""
    return FittedTable(Column(name, "text"), *map(Column, columns), drop=drop)
