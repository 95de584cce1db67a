"""Active speaker assignment: which face's mouth moves with the sound of a speech segment.

The mouth opening of every face is correlated with the loudness of the sound. Its significance is the correlation in
units of those with the same sound shifted in time, which has the same rhythm but belongs to other movements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

STEP_S = 0.05
"""Seconds between two values of the compared series."""
MAX_DELAY_S = 0.2
"""Maximum delay of the sound against the mouth, and of the mouth against the sound."""
MIN_TURN_S = 1.0
"""Shortest segment that is assigned; shorter ones have too few syllables."""
PAD_S = 0.3
"""Seconds before and after a segment that are compared too: a mouth starts and stops with its voice."""
MIN_COVERAGE = 0.8
"""Minimum share of a segment in which the mouth of a face was measured."""
MAX_GAP_S = 0.3
"""Maximum distance of two measurements between which the mouth opening is interpolated."""
MIN_SIGNIFICANCE = 2.8
"""Minimum correlation of a speaker, in standard deviations of the correlations with shifted sound."""
MIN_CORRELATION = 0.6
"""Minimum correlation of a speaker; chance reaches 0.4 to 0.6 in a few seconds."""
MIN_MOVEMENT = 0.004
"""Minimum standard deviation of a speaker's mouth opening, in face heights; noise of a closed mouth is below it."""
MAX_RIVAL = 0.75
"""Significance of a second face, relative to the first, from which both fit equally well."""

MAX_SHIFT_S = 4.0
"""Maximum shift of the sound in the comparison with shifted sound."""
MIN_LEVEL = 0.3
"""Minimum variation of shifted sound, relative to the largest; quieter windows are not compared."""

_TREND_S = 1.0
"""Moving average that is removed from both series: words and syllables are compared, not who moves at all."""
_MAX_LAG = round(MAX_DELAY_S / STEP_S)
_MIN_FAR = round(0.4 / STEP_S)
"""Smallest shift that counts as shifted sound, in steps."""

SpeakerStatus = Literal["assigned", "no_match", "ambiguous", "too_short"]
"""A face speaks; no visible mouth fits (an off-screen voice, or unclear); several fit equally; the segment is short."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MouthSeries:
    """Mouth opening of one face over time.

    Attributes:
        times_s: (N,) seconds, ascending.
        openings: (N,) distance of the lips in face heights.
    """

    times_s: np.ndarray
    openings: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MouthMatch:
    """Agreement of one mouth with the sound of a segment.

    Attributes:
        correlation: highest correlation within `MAX_DELAY_S`, -1..1.
        delay_s: delay of the sound against the mouth at that correlation.
        significance: the correlation in standard deviations of those with shifted sound, both after Fisher's
            transformation.
        is_peak: true when no shift of the sound by up to `MAX_SHIFT_S` fits better; false at the limit of the delay
            where a longer one fits better.
        movement: standard deviation of the mouth opening, in face heights.
    """

    correlation: float
    delay_s: float
    significance: float
    is_peak: bool
    movement: float

    @property
    def fits(self) -> bool:
        """True when the mouth moves with the sound."""
        return (
            self.is_peak
            and self.significance >= MIN_SIGNIFICANCE
            and self.correlation >= MIN_CORRELATION
            and self.movement >= MIN_MOVEMENT
        )


@dataclass(frozen=True, kw_only=True)
class SpeakerMatch:
    """The speaker of a segment.

    Attributes:
        status: see `SpeakerStatus`.
        speaker: index of the face; None without one.
        confidence: weight of the best face against the other faces and an off-screen voice, 0..1; 0 without a
            face that could be compared.
        match: of the best face; None without one.
    """

    status: SpeakerStatus
    speaker: int | None = None
    confidence: float = 0.0
    match: MouthMatch | None = None


def find_speaker(
    envelope: np.ndarray, mouths: Sequence[MouthSeries], start_s: float, end_s: float, *, sound_start_s: float = 0.0
) -> SpeakerMatch:
    """Find the face that speaks during a segment.

    Args:
        envelope: (T,) largest absolute value of every `STEP_S` of the sound.
        mouths: the faces, also those that are not visible during the segment.
        start_s: start of the segment, on the clock of the mouths.
        end_s: end of the segment.
        sound_start_s: time of the start of the sound on that clock.
    """
    if end_s - start_s < MIN_TURN_S:
        return SpeakerMatch(status="too_short")
    if not len(envelope):
        return SpeakerMatch(status="no_match")
    loudness = np.sqrt(np.convolve(np.pad(envelope, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid"))
    loudness_times_s = sound_start_s + (np.arange(len(envelope)) + 0.5) * STEP_S
    matches: dict[int, MouthMatch] = {}
    for index, mouth in enumerate(mouths):
        match = _match(loudness_times_s, loudness, mouth, start_s - PAD_S, end_s + PAD_S)
        if match is not None:
            matches[index] = match
    return _decide(matches)


def _match(
    loudness_times_s: np.ndarray, loudness: np.ndarray, mouth: MouthSeries, start_s: float, end_s: float
) -> MouthMatch | None:
    """Compare one mouth with the sound; None when it was not measured for long enough, or one of both is constant."""
    count = round((end_s - start_s) / STEP_S)
    if _coverage(start_s + np.arange(count) * STEP_S, mouth.times_s) < MIN_COVERAGE:
        return None
    margin = round(MAX_SHIFT_S / STEP_S)
    wide_s = start_s + np.arange(-margin, count + margin) * STEP_S
    opening = _without_trend(np.interp(wide_s, mouth.times_s, mouth.openings))[margin:-margin]
    sound = _without_trend(np.interp(wide_s, loudness_times_s, loudness))
    by_shift = _correlations(opening, sound)
    near = by_shift[margin - _MAX_LAG : margin + _MAX_LAG + 1]
    far = np.concatenate([by_shift[: margin - _MIN_FAR], by_shift[margin + _MIN_FAR + 1 :]])
    rolled = np.concatenate([sound[margin:-margin], sound[margin : -margin - 1]])
    circular = _correlations(opening, rolled)[_MIN_FAR : count - _MIN_FAR + 1]
    shifted = np.concatenate([far, circular])
    if np.isnan(near).all() or np.isnan(shifted).all():
        return None
    best = margin - _MAX_LAG + int(np.nanargmax(near))
    deviation = float(np.sqrt(np.nanmean(np.arctanh(shifted) ** 2)))
    rivals = np.array([*far, by_shift[best - 1], by_shift[best + 1]])
    return MouthMatch(
        correlation=float(by_shift[best]),
        delay_s=round((best - margin) * STEP_S, 3),
        significance=float(np.arctanh(by_shift[best])) / max(deviation, 1e-6),
        is_peak=not np.any(rivals > by_shift[best]),
        movement=float(opening.std()),
    )


def _decide(matches: dict[int, MouthMatch]) -> SpeakerMatch:
    """Return the face with the highest significance among those that fit, unless another one is nearly as significant.

    Without a face that fits, the overall highest significance is reported.
    """
    if not matches:
        return SpeakerMatch(status="no_match")
    speaker = max(matches, key=lambda index: (matches[index].fits, matches[index].significance))
    best = matches[speaker]
    others = [match for index, match in matches.items() if index != speaker and match.movement >= MIN_MOVEMENT]
    # an off-screen voice counts as one at the threshold
    evidence = np.array([*map(_evidence, others), 0.5 * MIN_SIGNIFICANCE**2])
    confidence = float(1 / (1 + np.exp(np.minimum(evidence - _evidence(best), 500)).sum()))
    if not best.fits:
        return SpeakerMatch(status="no_match", confidence=confidence, match=best)
    if max((match.significance for match in others), default=0.0) >= MAX_RIVAL * best.significance:
        return SpeakerMatch(status="ambiguous", confidence=confidence, match=best)
    return SpeakerMatch(status="assigned", speaker=speaker, confidence=confidence, match=best)


def _evidence(match: MouthMatch) -> float:
    """Return the log-likelihood of a match: that of a correlation z grows with z^2 / 2; 0 for a still mouth."""
    return 0.5 * max(match.significance, 0.0) ** 2 if match.movement >= MIN_MOVEMENT else 0.0


def _coverage(times_s: np.ndarray, measured_s: np.ndarray) -> float:
    """Return the share of times between two measurements that are close enough to each other."""
    if len(measured_s) < 2:
        return 0.0
    after = np.searchsorted(measured_s, times_s, side="right").clip(1, len(measured_s) - 1)
    is_inside = (times_s >= measured_s[after - 1]) & (times_s <= measured_s[after])
    return float(np.mean(is_inside & (measured_s[after] - measured_s[after - 1] <= MAX_GAP_S)))


def _without_trend(values: np.ndarray) -> np.ndarray:
    """Return the values minus their moving average over `_TREND_S`."""
    half = round(_TREND_S / STEP_S) // 2
    window = np.ones(2 * half + 1)
    padded = np.pad(values, half, mode="edge")
    return values - np.convolve(padded, window / len(window), mode="valid")


def _correlations(values: np.ndarray, longer: np.ndarray) -> np.ndarray:
    """Return the correlation of a series (N,) with each window (N,) of a longer one; NaN where one is quiet."""
    windows = np.lib.stride_tricks.sliding_window_view(longer, len(values))
    windows = windows - windows.mean(axis=1, keepdims=True)
    values = values - values.mean()
    scales = np.sqrt((windows**2).sum(axis=1) * (values**2).sum())
    floor = MIN_LEVEL * float(scales.max())
    is_compared = scales > max(floor, 1e-12)
    return np.where(is_compared, windows @ values / np.maximum(scales, 1e-12), np.nan).clip(-0.999, 0.999)
