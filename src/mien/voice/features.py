"""Log-mel spectrogram, the input of the voice model."""

from __future__ import annotations

from functools import cache

import numpy as np

from mien.voice.audio import SAMPLE_RATE_HZ

WINDOW = 400
"""Samples of an analysis window, 25 ms."""
HOP = 160
"""Samples between two windows, 10 ms."""
MELS = 80
"""Number of mel bands, 0 to 8000 Hz."""
_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0
"""Decades of power that are kept below the loudest value."""
_MIN_VARIANCE = 1e-7


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram (80, T) float32 of a speech segment, about -1..1, with one column per 10 ms.

    The samples are first scaled to variance 1, so that the result does not depend on the recording level.

    Args:
        samples: (N,) float32 at 16 kHz; T is N // 160.

    Source:
        The input of Whisper (Radford et al. 2022), with the scaling of Smart Turn. The last window of Whisper is
        dropped there, and here.
    """
    columns = len(samples) // HOP
    if columns == 0:
        return np.zeros((MELS, 0), dtype=np.float32)
    samples = samples.astype(np.float32)
    scaled = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(_MIN_VARIANCE))
    padded = np.pad(scaled, WINDOW // 2, mode="reflect" if len(scaled) > WINDOW // 2 else "constant")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:columns]
    window, filters = _window(), mel_filters()
    power = np.abs(np.fft.rfft(windows * window, axis=1)) ** 2
    values = np.log10(np.maximum(power.astype(np.float32) @ filters, _FLOOR)).T
    values = np.maximum(values, values.max() - _DYNAMIC_RANGE)
    return np.ascontiguousarray((values + 4) / 4, dtype=np.float32)


@cache
def _window() -> np.ndarray:
    """Return the periodic Hann window."""
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


@cache
def mel_filters() -> np.ndarray:
    """Return the triangular mel filters (201, 80) float32 from power to bands, each of area 1 in hertz.

    Source:
        Slaney's Auditory Toolbox (1998): linear below 1000 Hz, logarithmic above.
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE_HZ / 2), MELS + 2))
    frequencies = np.linspace(0.0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1)
    widths = np.diff(edges)
    slopes = edges[None, :] - frequencies[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def _hz_to_mel(frequency_hz: float) -> float:
    return 15.0 + np.log(frequency_hz / 1000.0) * 27.0 / np.log(6.4) if frequency_hz >= 1000 else 3 * frequency_hz / 200


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels >= 15.0, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0), 200.0 * mels / 3.0)
