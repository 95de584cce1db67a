from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from mien.voice.prosody import measure_prosody, track_pitch
from support.sounds import RECORDINGS, noise, times, tone


def vowel(seconds: float, pitch_hz: float | np.ndarray) -> np.ndarray:
    """Return a harmonic sound with falling overtones, (N,) float32."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch_hz, len(times(seconds)))) / SAMPLE_RATE_HZ
    return (0.2 * sum(np.sin(order * phase) / order for order in range(1, 8))).astype(np.float32)


@pytest.mark.parametrize("length", [0, 1, 639])
def test_too_short_for_a_pitch(length):
    assert track_pitch(noise(1.0)[:length]).shape == (0,)
    prosody = measure_prosody(noise(1.0)[:length])
    assert (prosody.pitch_hz, prosody.pitch_range_semitones, prosody.voiced) == (None, None, 0)
    assert prosody.syllables_per_s == 0


@given(st.floats(80, 500))
def test_finds_the_pitch_of_a_harmonic_sound(pitch_hz):
    found = track_pitch(vowel(0.5, pitch_hz))
    assert np.mean(~np.isnan(found)) > 0.9
    assert np.nanmedian(found) == pytest.approx(pitch_hz, rel=0.005)


def test_follows_a_glide():
    pitch_hz = np.linspace(120, 240, len(times(1.0)))
    found = track_pitch(vowel(1.0, pitch_hz))
    expected = pitch_hz[(np.arange(len(found)) + 2) * 160]
    assert np.nanmax(np.abs(found / expected - 1)) < 0.02


def test_noise_and_silence_have_no_pitch():
    assert np.mean(~np.isnan(track_pitch(noise(2.0)))) < 0.05
    assert np.isnan(track_pitch(np.zeros(16000, dtype=np.float32))).all()


@pytest.mark.parametrize("name", ["03a01Wa", "03a05Tc"])
def test_agrees_with_praat(name):
    """The files hold Praat's pitch of the recordings; benchmarks/pitch.py writes them."""
    values = json.loads((RECORDINGS / f"{name}.praat.json").read_text())
    praat = np.array([np.nan if value is None else value for value in values])
    ours = track_pitch(read_audio(RECORDINGS / f"{name}.flac"))
    assert len(ours) == len(praat)
    both = ~np.isnan(ours) & ~np.isnan(praat)
    assert np.mean(np.isnan(ours) == np.isnan(praat)) > 0.9
    assert np.median(np.abs(ours[both] / praat[both] - 1)) < 0.005
    assert np.mean(np.abs(ours[both] / praat[both] - 1) > 0.2) < 0.02


def test_level_is_relative_to_full_scale():
    assert measure_prosody(tone(1.0)).level_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert measure_prosody(np.zeros(16000, dtype=np.float32)).level_dbfs == pytest.approx(-120)


def test_counts_syllables_and_clipped_samples():
    time = times(3.0)
    bursts = vowel(3.0, 150.0) * (0.02 + np.sin(2 * np.pi * 2 * time) ** 2).astype(np.float32)
    assert measure_prosody(bursts).syllables_per_s == pytest.approx(4, abs=0.5)
    assert measure_prosody(bursts).clipped == 0
    assert measure_prosody(np.clip(bursts * 20, -1, 1)).clipped > 0.3


def test_constant_offset_does_not_change_level_and_syllables():
    bursts = vowel(3.0, 150.0) * (0.02 + np.sin(2 * np.pi * 2 * times(3.0)) ** 2).astype(np.float32)
    expected, shifted = measure_prosody(0.2 * bursts), measure_prosody(0.2 * bursts + np.float32(0.1))
    assert shifted.level_dbfs == pytest.approx(expected.level_dbfs, abs=0.01)
    assert shifted.syllables_per_s == pytest.approx(expected.syllables_per_s) == pytest.approx(4, abs=0.5)
    assert measure_prosody(np.minimum(bursts + np.float32(0.9), 1)).clipped > 0.1
