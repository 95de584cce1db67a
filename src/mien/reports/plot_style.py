"""One visual style for every plot: two themes, and the pieces that plots are set from. Needs matplotlib.

Figures are made with matplotlib's object interface alone: no window, no global state.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.theme import Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
_NAME_LENGTH = 16


def make_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of a size in inches.

    Raises:
        MissingExtraError: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("A report", "report") from None
    return Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper)


def write_head(figure: Figure, title: str, note: str, theme: Theme) -> None:
    """Title and note in the upper left corner; they take the first 0.85 inches."""
    width, height = figure.get_size_inches()
    figure.text(
        0.3 / width, 1 - 0.42 / height, title, color=theme.ink, fontsize=15, fontweight="bold", va="center"
    )
    figure.text(0.3 / width, 1 - 0.7 / height, note, color=theme.quiet, fontsize=9.5, va="center")


def strip_axes(axes: Axes) -> None:
    """Axes without ticks, frame or ground."""
    axes.set_facecolor("none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def frame_axes(axes: Axes, theme: Theme) -> None:
    """Axes with a quiet grid behind the data and no frame."""
    axes.set_facecolor(theme.paper)
    axes.grid(True, color=theme.line, lw=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.quiet, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def make_shades(theme: Theme) -> Any:
    """The color map from an empty cell to a full one."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("mien", [theme.cell, theme.accent])


def make_rows(rows: int, inches: float, theme: Theme, *, right: float) -> tuple[Figure, Axes]:
    """A figure with a row for each class on a scale from 0 to 100 %, under a head.

    Args:
        rows: how many.
        inches: height of a row.
        theme: its colors.
        right: inches that stay free to the right of the scale.
    """
    figure = make_figure(9.2, 1.62 + inches * rows, theme)
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (1.95 / width, 0.55 / height, (width - 1.95 - right) / width, inches * rows / height)
    )
    strip_axes(axes)
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        axes.axvline(tick, color=theme.line, lw=1, zorder=0)
        axes.text(tick, rows - 0.42, f"{tick:.0%}", color=theme.quiet, fontsize=9, ha="center", va="top")
    axes.set_xlim(0, 1)
    axes.set_ylim(rows - 0.5, -0.5)
    return figure, axes


def printable_name(name: str) -> str:
    """A class name that fits: no control characters, at most `_NAME_LENGTH` characters."""
    clean = "".join(letter if letter.isprintable() else " " for letter in name).strip() or "(no name)"
    return clean if len(clean) <= _NAME_LENGTH else clean[: _NAME_LENGTH - 1] + "…"


def encode_png(figure: Figure) -> bytes:
    """A figure as PNG bytes at `DPI`."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a class name in a script that the font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def write_class(
    axes: Axes, x: float, y: float, name: str, theme: Theme, note: str, step: float = 0.085
) -> None:
    """A class name with its color, right-aligned left of `x`, and a note under it."""
    axes.plot([x], [y], marker="s", ms=7, color=class_color(name), mew=0, clip_on=False)
    place: dict[str, Any] = {"ha": "right", "va": "center", "parse_math": False}
    axes.text(x - 2 * step, y - 0.1, printable_name(name), color=theme.ink, fontsize=10, **place)
    axes.text(x - 2 * step, y + 0.2, note, color=theme.quiet, fontsize=8, **place)


def draw_swatch(figure: Figure, x: float, y: float, color: str, alpha: float) -> None:
    """A small square of a color, its left edge at x and its middle at y, in parts of the figure."""
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches()
    size = 0.11
    figure.add_artist(
        Rectangle((x, y - size / 2 / height), size / width, size / height, color=color, alpha=alpha, lw=0)
    )
