from __future__ import annotations

import numpy as np
import pytest

from mien.voice.audio import SAMPLE_RATE_HZ
from mien.voice.augmentation import VARIANTS, augment, change_speed, colored_noise, mix, reverberate, to_telephone
from support.sounds import noise, tone


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_finite_and_repeatable(variant):
    first = augment(tone(1.5), variant, np.random.default_rng(3))
    again = augment(tone(1.5), variant, np.random.default_rng(3))
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_clean_is_unchanged():
    assert np.array_equal(augment(tone(1.0), "clean", np.random.default_rng(0)), tone(1.0))


@pytest.mark.parametrize(("frequency_hz", "is_kept"), [(100, False), (1000, True), (6000, False)])
def test_telephone_keeps_its_band(frequency_hz, is_kept):
    sound = to_telephone(tone(1.0, frequency_hz) + tone(1.0, 1500.0))
    spectrum = np.abs(np.fft.rfft(sound))
    share = spectrum[frequency_hz] / spectrum[1500]
    assert (share > 0.5) == is_kept
    assert (share < 0.1) != is_kept


def test_mix_has_the_requested_ratio():
    added = mix(tone(1.0), noise(1.0), 10) - tone(1.0)
    assert 10 * np.log10(np.mean(tone(1.0) ** 2) / np.mean(added**2)) == pytest.approx(10, abs=0.01)


def test_pink_noise_falls_by_3_db_per_octave():
    power = np.abs(np.fft.rfft(colored_noise(16 * SAMPLE_RATE_HZ, 1.0, np.random.default_rng(0)))) ** 2
    low, high = power[16 * 500 : 16 * 1000].mean(), power[16 * 1000 : 16 * 2000].mean()
    assert 10 * np.log10(low / high) == pytest.approx(3, abs=0.3)


def test_room_adds_sound_after_the_direct_sound():
    click = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    click[0] = 1
    sound = reverberate(click, 0.3, 0.0, np.random.default_rng(0))
    assert sound[0] == pytest.approx(1, abs=1e-5)
    assert np.abs(sound[1:30]).max() < 1e-5
    assert np.sum(sound[1:] ** 2) == pytest.approx(1, abs=0.01)


def test_speed_changes_length_and_pitch():
    fast = change_speed(tone(2.0, 200.0), 1.25)
    assert len(fast) == pytest.approx(1.6 * SAMPLE_RATE_HZ, abs=1)
    assert np.abs(np.fft.rfft(fast)).argmax() / 1.6 == pytest.approx(250, abs=1)
