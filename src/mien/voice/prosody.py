"""Prosody of a speech segment: pitch, level, voicing and speech rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.voice.audio import CLIPPED, SAMPLE_RATE_HZ

MIN_PITCH_HZ = 75.0
MAX_PITCH_HZ = 600.0
PITCH_HOP = 160
"""Samples between two pitch values, 10 ms."""
_WINDOW = 640
"""Samples of the pitch window, 40 ms: three periods of the lowest pitch."""
_MIN_STRENGTH = 0.45
"""Minimum normalized autocorrelation of a voiced frame."""
_MIN_LEVEL = 0.03
"""Minimum peak of a voiced frame relative to the peak of the segment."""
_OCTAVE_COST = 0.01
_JUMP_COST = 0.35
"""Cost of a jump by one octave between frames."""
_VOICING_COST = 0.14
"""Cost of a change between voiced and unvoiced."""
_CANDIDATES = 6
_SMOOTHING = np.array([1, 3, 3, 1]) / 8
"""Weights of the level of four hops, as long as the pitch window."""


@dataclass(frozen=True, kw_only=True)
class Prosody:
    """Measured properties of a speech segment; they describe the sound and are not predictions.

    Attributes:
        pitch_hz: median fundamental frequency of the voiced frames; None without voiced frames.
        pitch_range_semitones: distance of its 10th and 90th percentile; None without voiced frames.
        voiced: share of the frames with a pitch, 0..1.
        level_dbfs: level (RMS) in decibels below full scale, without a constant offset.
        syllables_per_s: estimated rate of syllables.
        clipped: share of samples at full scale, 0..1.
    """

    pitch_hz: float | None
    pitch_range_semitones: float | None
    voiced: float
    level_dbfs: float
    syllables_per_s: float
    clipped: float


def measure_prosody(samples: np.ndarray) -> Prosody:
    """Measure the prosody of a speech segment (N,) float32 at 16 kHz."""
    clipped = float(np.mean(np.abs(samples) >= CLIPPED)) if len(samples) else 0.0
    # a constant offset of the recording cannot be heard; clipping is at full scale with it
    samples = samples - samples.mean() if len(samples) else samples
    pitch_hz = track_pitch(samples)
    voiced_hz = pitch_hz[~np.isnan(pitch_hz)]
    power = float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
    low_hz, high_hz = np.percentile(voiced_hz, [10, 90]) if len(voiced_hz) else (1.0, 1.0)
    return Prosody(
        pitch_hz=float(np.median(voiced_hz)) if len(voiced_hz) else None,
        pitch_range_semitones=float(12 * np.log2(high_hz / low_hz)) if len(voiced_hz) else None,
        voiced=len(voiced_hz) / max(len(pitch_hz), 1),
        level_dbfs=float(10 * np.log10(max(power, 1e-12))),
        syllables_per_s=_syllable_rate(samples, pitch_hz),
        clipped=clipped,
    )


def track_pitch(samples: np.ndarray) -> np.ndarray:
    """Return the fundamental frequency in hertz of frames every 10 ms (T,), NaN where unvoiced.

    Frame t is centered at `(t + 2) * 10 ms`.

    Args:
        samples: (N,) float32 at 16 kHz.

    Source:
        Boersma: Accurate short-term analysis of the fundamental frequency (1993), the method of Praat: the
        autocorrelation divided by that of the window, and a path through its peaks. Here the window is 40 ms at every
        pitch and peaks are interpolated by parabolas.
    """
    if len(samples) < _WINDOW:
        return np.full(0, np.nan)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float32), _WINDOW)[::PITCH_HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    peaks = np.abs(frames).max(axis=1)
    relative = peaks / max(float(peaks.max()), 1e-9)
    frequencies, strengths = _candidates(_autocorrelation(frames))
    strengths = np.where(np.isnan(frequencies), 0.0, strengths)
    unvoiced = _MIN_STRENGTH + np.maximum(0.0, 2 - relative / _MIN_LEVEL)
    return _best_path(frequencies, strengths, unvoiced)


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Return the normalized autocorrelation (T, L) of windowed frames, divided by that of the window."""
    window = np.hanning(_WINDOW).astype(np.float32)
    lags = round(SAMPLE_RATE_HZ / MIN_PITCH_HZ) + 2
    power = np.abs(np.fft.rfft(frames * window, 2 * _WINDOW, axis=1)) ** 2
    values = np.fft.irfft(power, axis=1)[:, :lags]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * _WINDOW)) ** 2)[:lags]
    return values / np.maximum(values[:, :1], 1e-9) / (of_window / of_window[0])


def _candidates(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequency and strength of the best peaks of each frame, (T, K); NaN where there are fewer."""
    low, high = int(SAMPLE_RATE_HZ / MAX_PITCH_HZ), correlation.shape[1] - 1
    left, middle, right = (
        correlation[:, low - 1 : high - 1],
        correlation[:, low:high],
        correlation[:, low + 1 : high + 1],
    )
    is_peak = (middle > left) & (middle >= right) & (middle > 0.5 * _MIN_STRENGTH)
    curvature = np.minimum(left - 2 * middle + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)
    height = np.minimum(middle - 0.25 * (left - right) * shift, 1.0)
    frequencies = SAMPLE_RATE_HZ / (np.arange(low, high) + shift)
    scores = np.where(is_peak, height + _OCTAVE_COST * np.log2(frequencies / MIN_PITCH_HZ), -np.inf)
    order = np.argsort(-scores, axis=1)[:, :_CANDIDATES]
    best = np.take_along_axis(scores, order, axis=1)
    chosen = np.take_along_axis(frequencies, order, axis=1)
    return np.where(np.isfinite(best), chosen, np.nan), np.where(np.isfinite(best), best, 0.0)


def _best_path(frequencies: np.ndarray, strengths: np.ndarray, unvoiced: np.ndarray) -> np.ndarray:
    """Return the sequence of candidates (T,) with the highest total score; NaN is the unvoiced candidate."""
    octaves = np.log2(np.concatenate([frequencies, np.full((len(frequencies), 1), np.nan)], axis=1))
    missing = np.isnan(octaves)
    gains = np.where(missing, -np.inf, np.concatenate([strengths, np.zeros((len(strengths), 1))], axis=1))
    gains[:, -1] = unvoiced
    octaves = np.nan_to_num(octaves)
    came_from = np.zeros(gains.shape, dtype=np.int64)
    score = gains[0]
    for t in range(1, len(gains)):
        cost = _JUMP_COST * np.abs(octaves[t - 1][:, None] - octaves[t][None, :])
        cost = np.where(missing[t - 1][:, None] | missing[t][None, :], _VOICING_COST, cost)
        cost[-1, -1] = 0.0
        total = score[:, None] - cost
        came_from[t] = total.argmax(axis=0)
        score = total.max(axis=0) + gains[t]
    path = np.zeros(len(gains), dtype=np.int64)
    path[-1] = int(score.argmax())
    for t in range(len(gains) - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    all_hz = np.concatenate([frequencies, np.full((len(frequencies), 1), np.nan)], axis=1)
    return all_hz[np.arange(len(path)), path]


def _syllable_rate(samples: np.ndarray, pitch_hz: np.ndarray) -> float:
    """Return the number of voiced peaks of the smoothed level per second.

    Source:
        De Jong and Wempe: Praat script to detect syllable nuclei (2009): peaks that rise by 2 dB after the dip before
        them, are at most 25 dB below the loudest, and are voiced.
    """
    if not len(pitch_hz):
        return 0.0
    hops = samples[: len(samples) // PITCH_HOP * PITCH_HOP].reshape(-1, PITCH_HOP).astype(np.float64)
    power = np.convolve(np.mean(hops**2, axis=1), _SMOOTHING, "valid")
    level_db = 10 * np.log10(np.maximum(power, 1e-12))
    threshold_db = level_db.max() - 25
    count, dip = 0, -np.inf
    for t in range(1, len(level_db) - 1):
        dip = min(dip, level_db[t]) if np.isfinite(dip) else level_db[0]
        is_peak = level_db[t - 1] < level_db[t] >= level_db[t + 1] and level_db[t] > threshold_db
        if is_peak and level_db[t] - dip >= 2 and not np.isnan(pitch_hz[t]):
            count += 1
            dip = level_db[t]
    return count * SAMPLE_RATE_HZ / len(samples)
