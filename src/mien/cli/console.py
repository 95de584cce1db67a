"""Results for people: one table an image on the terminal, plain text when the output goes elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mien.theme import CLASS_COLORS, class_color

if TYPE_CHECKING:
    from mien.cli.inputs import ImageInput
    from mien.inference.analyzer import Analysis
    from mien.results import Expression, Face, HeadPose, Quality

BAR = 14
MIN_WIDTH = 110
"""Columns of a file or a pipe, which have no width of their own."""


class Screen:
    """Prints every image's faces to standard output."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self._console = Console(
            file=sys.stdout,
            width=None if is_terminal else MIN_WIDTH,
            no_color=not is_terminal,
            highlight=False,
        )
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        self._marks = ("█", "·", "°") if encoding.startswith("utf") else ("#", ".", "")

    def add(self, item: ImageInput | None, analysis: Analysis) -> None:
        """Print one image; one that could not be read is told on standard error, not here."""
        if analysis.error is not None:
            return
        found = {0: "no face", 1: "1 face"}.get(len(analysis.faces), f"{len(analysis.faces)} faces")
        name = os.fsencode(analysis.source).decode("utf-8", errors="replace")
        title = Text.assemble((name, "bold"), (f"  {analysis.width} x {analysis.height}, {found}", "dim"))
        self._console.print(title, soft_wrap=True)
        if analysis.faces:
            self._console.print(self._table(analysis.faces))

    def _table(self, faces: tuple[Face, ...]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        table.add_column("face", justify="right", no_wrap=True, min_width=4)
        for name in ("perceived expression", "confidence", "yaw pitch roll", "quality"):
            table.add_column(name, no_wrap=True)
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
        full, empty, _ = self._marks
        filled = round(expression.confidence * BAR)
        color = class_color(expression.label or "")
        return Text.assemble(
            (full * filled, color), (empty * (BAR - filled), "dim"), f" {expression.confidence:4.0%}"
        )

    def _pose(self, pose: HeadPose | None) -> str:
        if pose is None:
            return "unknown"
        angles = (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
        return " ".join(f"{round(angle):d}{self._marks[2]}".rjust(4) for angle in angles)


def _label(expression: Expression | None) -> Text:
    if expression is None:
        return Text("")
    if expression.label is None:
        return Text("not sure")
    return Text(expression.label, style=f"bold {CLASS_COLORS.get(expression.label, '')}".strip())


def _quality(quality: Quality | None) -> str:
    if quality is None:
        return ""
    words = [f"{quality.size_px:.0f} px", f"sharp {quality.sharpness:.2f}"]
    if quality.visible < 0.995:
        words.append(f"{quality.visible:.0%} visible")
    return ", ".join(words)
