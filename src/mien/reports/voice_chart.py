"""Plot of the speech of a file: waveform with segments, arousal, and class probabilities over time."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from mien.reports.plot_style import encode_png, frame_axes, make_figure, printable_name, write_head
from mien.theme import Theme, class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    for segment in result.segments:
        axes.axvspan(segment.start_s, segment.end_s, color=theme.warm, alpha=0.18, lw=0)
    if not result.segments:
        place = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.85, "no speech found", color=theme.quiet, fontsize=11, **place)


def _draw_arousal(axes: Axes, result: VoiceResult, theme: Theme) -> None:
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1], ["calm", "0", "excited"])
    axes.axhline(0, color=theme.hatch, lw=1)
    for segment in result.segments:
        width = segment.end_s - segment.start_s
        color = theme.warm if segment.arousal > 0 else theme.accent
        axes.bar(segment.start_s, segment.arousal, width, align="edge", color=color, alpha=0.75, lw=0)


def _draw_classes(axes: Axes, result: VoiceResult, theme: Theme) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    axes.grid(False, axis="x")
    for segment in result.segments:
        bottom, width = 0.0, segment.end_s - segment.start_s
        for name, share in zip(segment.labels, segment.probabilities, strict=True):
            axes.bar(segment.start_s, share, width, bottom, align="edge", color=class_color(name), lw=0)
            bottom += float(share)
    names = result.segments[0].labels if result.segments else ()
    for row, name in enumerate(reversed(names)):
        y = (row + 0.5) / len(names)
        style = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([1.02], [y], marker="s", ms=7, color=class_color(name), mew=0, **style)
        axes.text(1.04, y, printable_name(name), color=theme.ink, fontsize=9, va="center", transform=axes.transAxes)
