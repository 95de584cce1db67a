"""Plot of the speech of a file: waveform with segments, arousal, and class probabilities over time."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.reports.plot_style import encode_png, frame_axes, make_figure, printable_name, write_head
from mien.theme import Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from mien.voice.result import VoiceResult

WIDTH = 11.0
"""Width of the figure in inches."""
_HEIGHT = 6.2
_MAX_POINTS = 4000
"""Maximum number of points of the waveform; more are not visible."""
_NOTE = "How the voice sounds to listeners, not what the speaker feels. Classes are experimental."


def plot_voice(result: VoiceResult, theme: Theme, *, envelope_s: float) -> bytes:
    """Return a PNG with the waveform, arousal and class probabilities of a file over time.

    Args:
        result: of `VoiceAnalyzer.analyze`.
        theme: colors.
        envelope_s: seconds per value of the envelope.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = make_figure(WIDTH, _HEIGHT, theme)
    write_head(figure, f"Voice: {printable_name(PurePath(result.source).name)}", _NOTE, theme)
    places = {"waveform": (0.66, 0.17), "arousal": (0.42, 0.19), "classes": (0.12, 0.25)}
    axes = {name: figure.add_axes((0.085, bottom, 0.76, height)) for name, (bottom, height) in places.items()}
    for name, plot in axes.items():
        frame_axes(plot, theme)
        plot.set_xlim(0, max(result.duration_s, 0.1))
        plot.set_title(_TITLES[name], loc="left", color=theme.ink, fontsize=10)
        if name != "classes":
            plot.tick_params(labelbottom=False)
    _draw_waveform(axes["waveform"], result, theme, envelope_s)
    _draw_arousal(axes["arousal"], result, theme)
    _draw_classes(axes["classes"], result, theme)
    axes["classes"].set_xlabel("seconds", color=theme.quiet, fontsize=9)
    return encode_png(figure)


_TITLES = {
    "waveform": "Waveform and speech segments",
    "arousal": "Arousal",
    "classes": "Class probabilities (experimental)",
}


def _draw_waveform(axes: Axes, result: VoiceResult, theme: Theme, envelope_s: float) -> None:
    envelope = result.envelope
    step = max(1, -(-len(envelope) // _MAX_POINTS))
    envelope = np.maximum.reduceat(envelope, np.arange(0, len(envelope), step)) if len(envelope) else envelope
    time_s = (np.arange(len(envelope)) + 0.5) * envelope_s * step
    axes.fill_between(time_s, -envelope, envelope, color=theme.accent, lw=0, step="mid")
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, 0, 1])
    _add_bars(axes, result, 0, 1, theme.warm, alpha=0.18, transform=axes.get_xaxis_transform())
    if not result.segments:
        place = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.85, "no speech found", color=theme.quiet, fontsize=11, **place)


def _draw_arousal(axes: Axes, result: VoiceResult, theme: Theme) -> None:
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1], ["calm", "0", "excited"])
    axes.axhline(0, color=theme.hatch, lw=1)
    colors = [theme.warm if segment.arousal > 0 else theme.accent for segment in result]
    _add_bars(axes, result, 0, [segment.arousal for segment in result], colors, alpha=0.75)


def _draw_classes(axes: Axes, result: VoiceResult, theme: Theme) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    axes.grid(False, axis="x")
    names = result.segments[0].labels if result.segments else ()
    tops = np.cumsum([segment.probabilities for segment in result], axis=-1)
    for number, name in enumerate(names):
        _add_bars(axes, result, tops[:, number - 1] if number else 0, tops[:, number], class_color(name))
    for row, name in enumerate(reversed(names)):
        y = (row + 0.5) / len(names)
        axes.plot(
            [1.02], [y], marker="s", ms=7, color=class_color(name), mew=0, transform=axes.transAxes, clip_on=False
        )
        style = {"transform": axes.transAxes, "va": "center", "parse_math": False}
        axes.text(1.04, y, printable_name(name), color=theme.ink, fontsize=9, **style)


def _add_bars(
    axes: Axes, result: VoiceResult, bottom: ArrayLike, top: ArrayLike, color: str | list[str], **style: Any
) -> None:
    """Draw one bar for each segment, from bottom to top; one artist, because a file may have thousands."""
    from matplotlib.collections import PolyCollection

    spans_s = np.array([(segment.start_s, segment.end_s) for segment in result]).reshape(-1, 2)
    corners = np.empty((len(spans_s), 4, 2))
    corners[:, :2, 0] = spans_s[:, :1]
    corners[:, 2:, 0] = spans_s[:, 1:]
    corners[:, 0, 1] = corners[:, 3, 1] = bottom
    corners[:, 1, 1] = corners[:, 2, 1] = top
    axes.add_collection(PolyCollection(list(corners), facecolors=color, lw=0, **style), autolim=False)
