"""Pitch of `mien.voice` compared with Praat, on EmoDB or any folder of WAV files.

python benchmarks/pitch.py emodb.zip [--every 10] [--write tests/golden/voice]

Needs Praat's Python package: pip install praat-parselmouth. `--write` stores Praat's pitch of the recordings of a
folder, which the tests compare with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from mien.voice.corpora import read_emodb
from mien.voice.prosody import MAX_PITCH_HZ, MIN_PITCH_HZ, track_pitch

GROSS = 0.2
"""Relative difference from which a pitch is a gross error."""


def praat_pitch(samples: np.ndarray) -> np.ndarray:
    """Return Praat's pitch at the times of `track_pitch`, NaN where unvoiced."""
    import parselmouth

    sound = parselmouth.Sound(samples.astype(np.float64), SAMPLE_RATE_HZ)
    pitch = sound.to_pitch_ac(0.01, MIN_PITCH_HZ, pitch_ceiling=MAX_PITCH_HZ)
    times_s = (np.arange(len(track_pitch(samples))) + 2) * 0.01
    return np.array([pitch.get_value_at_time(time_s) for time_s in times_s])


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return the agreement of voicing, the share of gross errors, and the median difference in percent."""
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    relative = np.abs(ours[both] / theirs[both] - 1)
    return {
        "frames": len(ours),
        "same_voicing": float(np.mean(np.isnan(ours) == np.isnan(theirs))),
        "gross_errors": float(np.mean(relative > GROSS)),
        "median_difference_percent": float(100 * np.median(relative)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=10, help="take every Nth utterance")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    sounds = [read_audio(utterance.read()) for utterance in read_emodb(options.data)[:: options.every]]
    pairs = [(track_pitch(sound), praat_pitch(sound)) for sound in sounds]
    print(compare(*(np.concatenate(values) for values in zip(*pairs, strict=True))))
    for path in sorted(options.write.glob("*.flac")) if options.write else ():
        values = [None if np.isnan(value) else round(float(value), 2) for value in praat_pitch(read_audio(path))]
        path.with_suffix(".praat.json").write_text(json.dumps(values) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
