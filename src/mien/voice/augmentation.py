"""Degradations of speech: telephone band, noise, room, speed and silence, for training and evaluation."""

from __future__ import annotations

import numpy as np

from mien.voice.audio import SAMPLE_RATE_HZ

TELEPHONE_BAND_HZ = (300.0, 3400.0)
_MU = 255.0
"""Constant of the mu law of telephones (ITU-T G.711)."""
_DECAY = 6.9
"""Natural logarithm of 1000: the decay by 60 dB that defines the reverberation time."""
_DIRECT_S = 0.002
"""Time between the direct sound and the first reflection."""
VARIANTS = ("clean", "slow", "fast", "telephone", "noise", "room", "room and noise", "part")
"""Names of the variants of `augment`."""


def augment(samples: np.ndarray, variant: str, rng: np.random.Generator) -> np.ndarray:
    """Return a variant of an utterance (N,) float32: one of `VARIANTS`, with random strength.

    All but "clean" and "part" also get up to 0.4 s of silence on both sides.
    """
    if variant == "clean":
        return samples
    if variant == "part":
        length = min(len(samples), round(rng.uniform(1.0, 2.0) * SAMPLE_RATE_HZ))
        start = int(rng.integers(len(samples) - length + 1))
        return samples[start : start + length]
    if variant in ("slow", "fast", "room and noise"):
        low, high = {"slow": (0.88, 0.95), "fast": (1.05, 1.14)}.get(variant, (0.9, 1.1))
        samples = change_speed(samples, rng.uniform(low, high))
    before_s, after_s = rng.uniform(0.0, 0.4, 2)
    samples = add_silence(samples, before_s, after_s, rng)
    if variant == "telephone":
        return to_telephone(samples)
    if "room" in variant:
        samples = reverberate(samples, rng.uniform(0.2, 0.8), rng.uniform(0.0, 8.0), rng)
    if "noise" in variant:
        noise = colored_noise(len(samples), rng.uniform(0.0, 2.0), rng)
        samples = mix(samples, noise, rng.uniform(5.0, 20.0))
    return samples


def to_telephone(samples: np.ndarray) -> np.ndarray:
    """Return speech as over a telephone: 300 to 3400 Hz, 8-bit mu law."""
    low, high = TELEPHONE_BAND_HZ
    frequencies = np.maximum(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ), 1.0)
    gain = 1 / np.sqrt((1 + (low / frequencies) ** 8) * (1 + (frequencies / high) ** 16))
    filtered = np.fft.irfft(np.fft.rfft(samples) * gain, len(samples))
    scaled = 0.5 * filtered / max(float(np.abs(filtered).max()), 1e-9)
    coded = np.sign(scaled) * np.log1p(_MU * np.abs(scaled)) / np.log1p(_MU)
    coded = np.round(coded * 127) / 127
    return (np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU).astype(np.float32)


def mix(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Return speech with noise of the same length at a signal-to-noise ratio in decibels."""
    ratio = np.mean(samples**2) / max(float(np.mean(noise**2)), 1e-12)
    return (samples + noise * np.sqrt(ratio * 10 ** (-snr_db / 10))).astype(np.float32)


def colored_noise(length: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise (N,) float32 with a power of 1 / f ** exponent above 50 Hz: white 0, pink 1, brown 2."""
    bins = length // 2 + 1
    spectrum = rng.standard_normal(bins) + 1j * rng.standard_normal(bins)
    frequencies = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum * frequencies ** (-exponent / 2), length)
    return (noise / noise.std()).astype(np.float32)


def reverberate(samples: np.ndarray, decay_s: float, direct_db: float, rng: np.random.Generator) -> np.ndarray:
    """Return speech in a room: direct sound and decaying noise as its impulse response.

    Args:
        samples: (N,) float32.
        decay_s: reverberation time, the decay by 60 dB.
        direct_db: energy of the direct sound over that of the reverberation.
        rng: random generator of the room.
    """
    time_s = np.arange(round(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    response = rng.standard_normal(len(time_s)) * np.exp(-_DECAY * time_s / decay_s)
    response[time_s < _DIRECT_S] = 0
    response *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    size = 1 << (len(samples) + len(response)).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)].astype(
        np.float32
    )


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Return speech played faster (factor above 1) or slower; the pitch changes with it."""
    positions = np.arange(int(len(samples) / factor)) * factor
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def add_silence(samples: np.ndarray, before_s: float, after_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return speech between faint noise of two durations in seconds."""
    before, after = round(before_s * SAMPLE_RATE_HZ), round(after_s * SAMPLE_RATE_HZ)
    padded = (1e-4 * rng.standard_normal(before + len(samples) + after)).astype(np.float32)
    padded[before : before + len(samples)] += samples
    return padded
