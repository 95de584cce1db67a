"""Generated speech: loudness of syllables, and mouths that move with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.manifest import Manifest, read_manifest
from mien.runtime import find_model
from mien.video.speakers import STEP_S, MouthSeries
from mien.video.speaking import MOUTH, SoundTrack
from mien.voice.prosody import Prosody
from mien.voice.result import VoiceResult, VoiceSegment
from support.video_rows import LABELS, face_row

LENGTH_S = 30.0
RATE_HZ = 8.33
"""Mouths are measured about as often as faces are detected."""
VOICE_LABELS = ("neutral", "happiness", "boredom")


def syllables(seed: int) -> np.ndarray:
    """Return the envelope of generated speech, one value per `STEP_S`."""
    generator = np.random.default_rng(seed)
    times_s = (np.arange(round(LENGTH_S / STEP_S)) + 0.5) * STEP_S
    envelope = np.zeros(len(times_s))
    now_s = 0.0
    while now_s < LENGTH_S:
        now_s += generator.gamma(9, 0.2 / 9) + (0.3 if generator.random() < 0.15 else 0)
        envelope += generator.uniform(0.3, 1) * np.exp(-(((times_s - now_s) / 0.07) ** 2) / 2)
    return envelope


def mouth_of(envelope: np.ndarray, *, delay_s: float = 0.08, noise: float = 0.25, seed: int = 9) -> MouthSeries:
    """Return a mouth that moves `delay_s` before the sound, with movements of its own."""
    times_s = np.arange(0, LENGTH_S, 1 / RATE_HZ)
    grid_s = (np.arange(len(envelope)) + 0.5) * STEP_S
    opening = np.interp(times_s + delay_s, grid_s, np.sqrt(np.convolve(envelope, np.ones(3) / 3, mode="same")))
    own = np.random.default_rng(seed).standard_normal(len(times_s))
    return MouthSeries(times_s=times_s, openings=0.03 * (opening / opening.std() + noise * own))


def still_mouth(seed: int = 3) -> MouthSeries:
    times_s = np.arange(0, LENGTH_S, 1 / RATE_HZ)
    noise = np.random.default_rng(seed).standard_normal(len(times_s))
    return MouthSeries(times_s=times_s, openings=0.01 + 0.001 * noise)


def mouth_rows(*mouths: MouthSeries, label: str = "neutral") -> list[dict[str, object]]:
    """Return the rows of faces 1, 2, ... with these mouths; each is predicted to show one label."""
    shares = {f"p_{name}": 0.8 if name == label else 0.1 for name in LABELS}
    return [
        face_row(float(time_s), label, track=number) | shares | {MOUTH: float(opening), "nose_x": 30.0, "nose_y": 40.0}
        for times in zip(*(zip(mouth.times_s, mouth.openings, strict=True) for mouth in mouths), strict=True)
        for number, (time_s, opening) in enumerate(times, start=1)
    ]


def voice_segment(start_s: float, end_s: float, shares: tuple[float, ...] = (0.2, 0.7, 0.1)) -> VoiceSegment:
    """Return a segment with the probabilities of `VOICE_LABELS`."""
    prosody = Prosody(pitch_hz=120, pitch_range_semitones=4, voiced=0.5, level_dbfs=-20, syllables_per_s=4, clipped=0.0)
    probabilities = np.array(shares)
    label = VOICE_LABELS[int(probabilities.argmax())]
    return VoiceSegment(
        start_s=start_s,
        end_s=end_s,
        arousal=0.4,
        labels=VOICE_LABELS,
        probabilities=probabilities,
        label=label,
        prosody=prosody,
        embedding=np.zeros(4, dtype=np.float32),
    )


def sound_track(envelope: np.ndarray, *segments: VoiceSegment, offset_s: float = 0.0) -> SoundTrack:
    voice = VoiceResult(source="a.wav", duration_s=LENGTH_S, offset_s=offset_s, segments=segments, envelope=envelope)
    return SoundTrack(voice=voice, manifest=read_manifest(find_model("voice")))


def face_manifest() -> Manifest:
    """Return the manifest of an expression model with the classes of `support.video_rows`."""
    return replace(read_manifest(find_model("expression")), labels=LABELS, abstain_below=0.5)
