"""Assignment of speech segments to mouths, on generated series."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.video.speakers import STEP_S, MouthSeries, find_speaker
from support.mouths import mouth_of, still_mouth, syllables

SEGMENT_S = 10.0, 13.5
SPEECH = syllables(0)
TALKING, OTHER = mouth_of(SPEECH), mouth_of(syllables(1))


def test_finds_the_mouth_that_moves_with_the_sound():
    for mouths, index in (([TALKING, OTHER], 0), ([OTHER, still_mouth(), TALKING], 2)):
        match = find_speaker(SPEECH, mouths, *SEGMENT_S)
        assert (match.status, match.speaker) == ("assigned", index)
        assert match.confidence > 0.95
        assert match.match is not None
        assert match.match.correlation > 0.7


@pytest.mark.parametrize("delay_s", [-0.15, 0.0, 0.15])
def test_reports_the_delay_of_the_sound(delay_s):
    match = find_speaker(SPEECH, [mouth_of(SPEECH, delay_s=delay_s)], *SEGMENT_S)
    assert match.speaker == 0
    assert match.match is not None
    assert match.match.delay_s == pytest.approx(delay_s, abs=0.051)


def test_sound_may_start_later_than_the_video():
    match = find_speaker(SPEECH[100:], [OTHER, TALKING], *SEGMENT_S, sound_start_s=100 * STEP_S)
    assert match.speaker == 1


def test_voice_off_screen_belongs_to_nobody():
    assert find_speaker(SPEECH, [OTHER, still_mouth()], *SEGMENT_S).status == "no_match"
    assert find_speaker(SPEECH, [], *SEGMENT_S).status == "no_match"


@pytest.mark.parametrize("shift_s", [-2.0, 0.6, 1.0, 2.0, 3.0])
def test_shifted_sound_belongs_to_nobody(shift_s):
    shifted = np.roll(SPEECH, round(shift_s / STEP_S))
    assert find_speaker(shifted, [TALKING, OTHER], *SEGMENT_S).status == "no_match"


def test_false_assignments_to_unrelated_mouths_are_rare():
    pairs = [(syllables(seed), mouth_of(syllables(seed + 500))) for seed in range(12)]
    starts = np.arange(5, 24, 4.0)
    statuses = [find_speaker(sound, [mouth], s, s + 2.5).status for sound, mouth in pairs for s in starts]
    assert statuses.count("assigned") <= 0.05 * len(statuses)


def test_two_mouths_that_fit_equally_are_ambiguous():
    match = find_speaker(SPEECH, [TALKING, mouth_of(SPEECH, seed=12)], *SEGMENT_S)
    assert (match.status, match.speaker) == ("ambiguous", None)


def test_still_mouth_does_not_speak():
    still = MouthSeries(times_s=TALKING.times_s, openings=0.02 * TALKING.openings)
    assert find_speaker(SPEECH, [still], *SEGMENT_S).status == "no_match"


def test_still_face_does_not_hide_the_speaker():
    # the noise of a closed mouth that happens to follow the sound more closely than the open one
    still = MouthSeries(times_s=TALKING.times_s, openings=0.02 * TALKING.openings)
    speaker = MouthSeries(times_s=TALKING.times_s, openings=TALKING.openings + 0.3 * OTHER.openings)
    matches = [find_speaker(SPEECH, [mouth], *SEGMENT_S).match for mouth in (still, speaker)]
    assert matches[0] is not None
    assert matches[1] is not None
    assert matches[0].significance > matches[1].significance
    match = find_speaker(SPEECH, [still, speaker], *SEGMENT_S)
    assert (match.status, match.speaker) == ("assigned", 1)
    assert match.confidence == find_speaker(SPEECH, [speaker], *SEGMENT_S).confidence


def test_false_assignments_of_short_turns_between_silences_are_rare():
    times_s = np.arange(600) * STEP_S
    statuses = []
    for seed in range(20):
        sound, mouth = syllables(seed), mouth_of(syllables(seed + 500))
        for start_s, length_s in itertools.product((5.0, 9.0, 13.0, 17.0, 21.0), (1.2, 1.6, 2.0)):
            turn = np.where((times_s > start_s) & (times_s < start_s + length_s), sound, 1e-4)
            statuses.append(find_speaker(turn, [mouth], start_s, start_s + length_s).status)
    assert statuses.count("assigned") <= 0.05 * len(statuses)


def test_short_segment_is_not_assigned():
    assert find_speaker(SPEECH, [TALKING], 10.0, 10.9).status == "too_short"


def test_mouth_that_is_measured_in_half_of_the_segment_is_no_candidate():
    is_kept = TALKING.times_s < 11.5
    half = MouthSeries(times_s=TALKING.times_s[is_kept], openings=TALKING.openings[is_kept])
    assert find_speaker(SPEECH, [half], *SEGMENT_S).match is None


def test_sound_that_ends_before_the_video_is_not_an_error():
    assert find_speaker(SPEECH[:20], [TALKING], *SEGMENT_S).status == "no_match"
    assert find_speaker(np.zeros(0), [TALKING], *SEGMENT_S).status == "no_match"
    assert find_speaker(np.zeros(600), [TALKING], *SEGMENT_S).status == "no_match"
