"""Matplotlib building blocks of the plots: figures, axes, titles and class names in the colors of a theme.

Figures are created without pyplot: no window and no global state. matplotlib is imported when a figure is created.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.number_format import percent
from mien.theme import Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
MAX_NAME_LENGTH = 16
"""Maximum number of characters of a class name in a plot."""


def make_figure(width: float, height: float, theme: Theme) -> Figure:
    """Return an empty figure; width and height are in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("A report", "report") from None
    return Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper)


def make_rows(rows: int, row_height: float, theme: Theme, *, right: float) -> tuple[Figure, Axes]:
    """Return a figure with one row per class on a scale from 0 to 100%, below room for title and note.

    Args:
        rows: number of rows.
        row_height: height of a row in inches.
        theme: colors.
        right: empty space to the right of the scale in inches.
    """
    figure = make_figure(9.2, 1.62 + row_height * rows, theme)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1.95 / width, 0.55 / height, (width - 1.95 - right) / width, row_height * rows / height))
    strip_axes(axes)
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        axes.axvline(tick, color=theme.line, lw=1, zorder=0)
        axes.text(tick, rows - 0.42, percent(tick, 0), color=theme.quiet, fontsize=9, ha="center", va="top")
    axes.set_xlim(0, 1)
    axes.set_ylim(rows - 0.5, -0.5)
    return figure, axes


def write_head(figure: Figure, title: str, note: str, theme: Theme) -> None:
    """Write title and note into the upper left corner; they take the first 0.85 inches."""
    width, height = figure.get_size_inches()
    style: dict[str, Any] = {"va": "center", "parse_math": False}
    figure.text(0.3 / width, 1 - 0.42 / height, title, color=theme.ink, fontsize=15, fontweight="bold", **style)
    figure.text(0.3 / width, 1 - 0.7 / height, note, color=theme.quiet, fontsize=9.5, **style)


def strip_axes(axes: Axes) -> None:
    """Remove ticks, frame and background of axes."""
    axes.set_facecolor("none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def frame_axes(axes: Axes, theme: Theme) -> None:
    """Give axes a grid behind the data, and no frame."""
    axes.set_facecolor(theme.paper)
    axes.grid(True, color=theme.line, lw=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.quiet, labelsize=9, length=0)
    axes.spines[:].set_visible(False)


def write_class(axes: Axes, x: float, y: float, name: str, theme: Theme, note: str, step: float = 0.085) -> None:
    """Write a class name with its color, right-aligned left of `x`, and a note below it."""
    axes.plot([x], [y], marker="s", ms=7, color=class_color(name), mew=0, clip_on=False)
    style: dict[str, Any] = {"ha": "right", "va": "center", "parse_math": False}
    axes.text(x - 2 * step, y - 0.1, printable_name(name), color=theme.ink, fontsize=10, **style)
    axes.text(x - 2 * step, y + 0.2, note, color=theme.quiet, fontsize=8, **style)


def printable_name(name: str) -> str:
    """Return a class name without control characters, cut to `MAX_NAME_LENGTH` characters.

    Example:
        >>> printable_name("happiness"), printable_name("a very long class name")
        ('happiness', 'a very long cla…')
    """
    clean = "".join(letter if letter.isprintable() else " " for letter in name).strip() or "(no name)"
    return clean if len(clean) <= MAX_NAME_LENGTH else clean[: MAX_NAME_LENGTH - 1] + "…"


def encode_png(figure: Figure) -> bytes:
    """Return a figure as PNG at `DPI`."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a class name in a script that the font does not cover
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor())
    return buffer.getvalue()
