"""The speech of one file: its segments, or why it could not be read; conversions to JSON and plots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import msgspec
import numpy as np

from mien.errors import MienError
from mien.results import Recordable
from mien.schema import ErrorRecord, ProsodyRecord, VoiceRecord, VoiceSegmentRecord, valid_text
from mien.voice.prosody import Prosody

ENVELOPE_S = 0.05
"""Seconds per value of `VoiceResult.envelope`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VoiceSegment(Recordable):
    """How a speech segment sounds to listeners, not what the speaker feels.

    Attributes:
        start_s: seconds since the start of the sound.
        end_s: likewise.
        arousal: -1 (calm) to 1 (excited): twice the calibrated probability of high arousal, minus 1.
        labels: class names, in the order of the model's manifest.
        probabilities: (C,) float, sums to 1. Experimental: see docs/models/voice.md.
        label: the most probable class, or None when its probability is below the model's `abstain_below`.
        prosody: measured properties of the sound.
        embedding: (D,) float32 features of the model.
    """

    start_s: float
    end_s: float
    arousal: float
    labels: tuple[str, ...]
    probabilities: np.ndarray
    label: str | None
    prosody: Prosody
    embedding: np.ndarray = field(repr=False)

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities.max())

    def to_record(self) -> VoiceSegmentRecord:
        """Return the struct of `mien.schema`."""
        named = zip(self.labels, self.probabilities, strict=True)
        numbers = {name: None if value is None else round(value, 3) for name, value in asdict(self.prosody).items()}
        return VoiceSegmentRecord(
            start_s=round(self.start_s, 3),
            end_s=round(self.end_s, 3),
            arousal=round(self.arousal, 4),
            label=self.label,
            confidence=round(self.confidence, 6),
            probabilities={name: round(float(value), 6) for name, value in named},
            prosody=msgspec.convert(numbers, ProsodyRecord),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class VoiceResult(Recordable):
    """The speech segments of one file. It behaves like a sequence of them: `len`, iteration and indexing.

    Attributes:
        source: name of the file.
        duration_s: seconds of sound; 0 when it could not be read.
        offset_s: start of the sound after the first frame of the video in the same file; 0 without a video.
        segments: in the order of time; empty without speech.
        envelope: (T,) float32, largest absolute value of every `ENVELOPE_S` of the sound.
        warnings: what makes predictions unreliable, such as clipping; mostly empty.
        error: why the file could not be read, or None.
    """

    source: str
    duration_s: float = 0.0
    offset_s: float = 0.0
    segments: tuple[VoiceSegment, ...] = ()
    envelope: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32), repr=False)
    warnings: tuple[str, ...] = ()
    error: MienError | None = None

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[VoiceSegment]:
        return iter(self.segments)

    def __getitem__(self, index: int) -> VoiceSegment:
        return self.segments[index]

    def to_record(self) -> VoiceRecord:
        """Return the struct of `mien.schema`."""
        return VoiceRecord(
            audio=valid_text(self.source),
            duration_s=round(self.duration_s, 3),
            segments=[segment.to_record() for segment in self.segments],
            warnings=list(self.warnings),
            error=ErrorRecord(code=self.error.code, message=valid_text(str(self.error))) if self.error else None,
        )

    def to_json(self) -> str:
        """Return a line of JSON, as `mien voice --json` prints it."""
        return json.dumps(self.to_dict())
