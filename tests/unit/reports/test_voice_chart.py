"""Plot of the speech of a file."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.reports import voice_chart
from mien.theme import LIGHT
from mien.voice.prosody import measure_prosody
from mien.voice.result import VoiceResult, VoiceSegment

pytest.importorskip("matplotlib")


def speech(count: int) -> VoiceResult:
    """Return a result with segments of 0.5 s, one per second."""
    segments = [
        VoiceSegment(
            start_s=float(start_s),
            end_s=start_s + 0.5,
            arousal=0.5,
            labels=("anger", "neutral"),
            probabilities=np.array([0.75, 0.25]),
            label="anger",
            prosody=measure_prosody(np.zeros(1600, dtype=np.float32)),
            embedding=np.zeros(1, dtype=np.float32),
        )
        for start_s in range(count)
    ]
    return VoiceResult(source="a.wav", duration_s=float(count), segments=tuple(segments))


def rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[start : start + 2], 16) for start in (1, 3, 5))


def colors_of(result: VoiceResult) -> set[tuple[int, ...]]:
    with Image.open(io.BytesIO(voice_chart.plot_voice(result, LIGHT, envelope_s=0.05))) as image:
        return {
            tuple(pixel) for pixel in np.unique(np.asarray(image.convert("RGB"))[:, 100:-300].reshape(-1, 3), axis=0)
        }


def test_bars_have_the_colors_of_their_classes():
    anger, neutral = rgb(voice_chart.class_color("anger")), rgb(voice_chart.class_color("neutral"))
    assert {anger, neutral} <= colors_of(speech(2))
    assert not {anger, neutral} & colors_of(speech(0))


def test_names_are_not_read_as_formulas():
    result = speech(1)
    (segment,) = result.segments
    named = replace(segment, labels=("$x^$", "neutral"))
    assert voice_chart.plot_voice(replace(result, source="price $5_$6.wav"), LIGHT, envelope_s=0.05)
    assert voice_chart.plot_voice(replace(result, segments=(named,)), LIGHT, envelope_s=0.05)


def test_number_of_artists_does_not_grow_with_the_segments(monkeypatch):
    figures = []
    monkeypatch.setattr(voice_chart, "encode_png", figures.append)
    for count in (1, 50):
        voice_chart.plot_voice(speech(count), LIGHT, envelope_s=0.05)
    few, many = (sum(len(axes.get_children()) for axes in figure.axes) for figure in figures)
    assert few == many
