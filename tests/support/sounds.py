"""Synthetic sounds, recordings of speech, and audio files of any codec."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from mien.voice.audio import SAMPLE_RATE_HZ

RECORDINGS = Path(__file__).parents[1] / "golden/voice"


def times(seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def tone(seconds: float, frequency_hz: float = 220.0, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Return a sine (N,) float32 with amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times(seconds, rate_hz))).astype(np.float32)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE_HZ))
    return (level * samples).astype(np.float32)


def music(seconds: float) -> np.ndarray:
    """Return a melody of plucked chords with overtones, (N,) float32."""
    time = times(seconds)
    notes = np.array([262.0, 294.0, 330.0, 392.0, 440.0])[(time * 2).astype(int) % 5]
    decay = np.exp(-4 * (time * 2 % 1))
    phase = 2 * np.pi * np.cumsum(notes) / SAMPLE_RATE_HZ
    chord = sum(np.sin(ratio * phase) / order for order, ratio in enumerate((1, 1.25, 1.5, 2, 3), start=1))
    return (0.15 * decay * chord).astype(np.float32)


def write_audio(
    path: Path, samples: np.ndarray, *, codec: str = "pcm_s16le", rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1
) -> Path:
    """Encode samples (N,) float32 at `SAMPLE_RATE_HZ`, the same in every channel."""
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=rate_hz, frame_size=stream.codec_context.frame_size
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path
