"""Color theme: class colors, and the light and dark palettes of plots and pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_COLORS = json.loads(Path(__file__).with_name("theme.json").read_text(encoding="utf-8"))

CLASS_COLORS: Mapping[str, str] = _COLORS["classes"]
"""Color of each expression as #rrggbb, the same in every image, plot and page."""

OVERLAY_COLORS: Mapping[str, str] = _COLORS["overlay"]
"""Colors of what is drawn on images, as #rrggbb."""


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Palette of plots and pages; every value is a CSS color, except `shadow`.

    Attributes:
        page: background of the page.
        paper: background of cards and plots.
        well: background of an image or video.
        track: empty part of a bar or switch.
        ink: titles, names and main numbers.
        quiet: notes, axis ticks and secondary numbers.
        line: borders and grid lines.
        cell: empty cell of a matrix.
        hatch: pattern of abstained or unanalyzed time.
        grid: grid lines over filled areas.
        accent: data, links and focus.
        on_accent: text on the accent color.
        warm: highlighted data.
        other: reference data.
        correct: a correct prediction.
        wrong: a wrong prediction.
        warn: text of a warning.
        warn_page: background of a warning.
        shadow: CSS box shadow of a card.
    """

    page: str
    paper: str
    well: str
    track: str
    ink: str
    quiet: str
    line: str
    cell: str
    hatch: str
    grid: str
    accent: str
    on_accent: str
    warm: str
    other: str
    correct: str
    wrong: str
    warn: str
    warn_page: str
    shadow: str


LIGHT = Theme(**_COLORS["light"])
DARK = Theme(**_COLORS["dark"])


def class_color(name: str) -> str:
    """Return the color of a class as #rrggbb; gray for an unknown name.

    Example:
        >>> class_color("anger") == CLASS_COLORS["anger"]
        True
    """
    return CLASS_COLORS.get(name) or _COLORS["voice_classes"].get(name, _COLORS["other_class"])


def rgb(color: str) -> tuple[int, int, int]:
    """Convert a color #rrggbb to red, green and blue, 0..255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def css_variables() -> str:
    """Return CSS that defines every theme color as a variable, with the dark theme in a media query."""

    def root(theme: Theme) -> str:
        return "".join(f"--{name.replace('_', '-')}:{value};" for name, value in asdict(theme).items())

    return f":root{{{root(LIGHT)}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{root(DARK)}}}}}"
