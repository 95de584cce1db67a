from __future__ import annotations

import numpy as np
import pytest

from mien.voice.features import HOP, MELS, log_mel, mel_filters
from support.sounds import noise, tone


@pytest.mark.parametrize("length", [0, 1, HOP - 1])
def test_less_than_a_column_is_empty(length):
    assert log_mel(np.zeros(length, dtype=np.float32)).shape == (MELS, 0)


@pytest.mark.parametrize("length", [HOP, 200, 201, 16000, 16079])
def test_shape_and_range(length):
    values = log_mel(noise(2.0)[:length])
    assert values.shape == (MELS, length // HOP)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_silence_is_finite():
    assert np.isfinite(log_mel(np.zeros(16000, dtype=np.float32))).all()


def test_does_not_depend_on_the_level_and_offset():
    samples = noise(1.0) + tone(1.0)
    assert np.allclose(log_mel(samples), log_mel(0.01 * samples + 0.1), atol=1e-3)


@pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 4000.0])
def test_a_tone_is_loudest_in_the_band_of_its_frequency(frequency_hz):
    loudest = log_mel(tone(1.0, frequency_hz)).mean(axis=1).argmax()
    center_hz = mel_filters()[:, loudest].argmax() * 8000 / (len(mel_filters()) - 1)
    assert center_hz == pytest.approx(frequency_hz, abs=max(60, 0.1 * frequency_hz))


def test_filters_have_unit_area():
    area = mel_filters().sum(axis=0) * 40
    assert np.allclose(area[20:], 1, atol=0.15)
