from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.voice.activity import (
    FRAME,
    MARGIN_FRAMES,
    MAX_SEGMENT_FRAMES,
    MIN_SPEECH_FRAMES,
    SpeechAudio,
    SpeechDetector,
    SpeechSegmenter,
)
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from support.models import break_networks
from support.sounds import RECORDINGS, music, noise, tone


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector(threads=1)


def segments_of(detector: SpeechDetector, samples: np.ndarray, block: int = SAMPLE_RATE_HZ) -> list[SpeechAudio]:
    segmenter = SpeechSegmenter()
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    found = [part for frames, values in detector.probabilities(blocks) for part in segmenter.push(frames, values)]
    return [*found, *segmenter.finish()]


def segments_from(probabilities: list[float]) -> list[tuple[int, int]]:
    """Return the first frame and the number of frames of the segments for given speech probabilities."""
    frames = np.repeat(np.arange(len(probabilities), dtype=np.float32)[:, None], FRAME, axis=1)
    segmenter = SpeechSegmenter()
    found = [*segmenter.push(frames, np.array(probabilities)), *segmenter.finish()]
    for segment in found:
        assert segment.samples[0] == segment.start // FRAME
    return [(segment.start // FRAME, len(segment.samples) // FRAME) for segment in found]


def test_no_audio_has_no_segment(detector):
    assert segments_of(detector, np.zeros(0, dtype=np.float32)) == []
    assert segments_from([]) == []


@pytest.mark.parametrize("samples", [np.zeros(80000, dtype=np.float32), noise(5.0), tone(5.0), music(10.0)])
def test_silence_noise_and_music_are_not_speech(detector, samples):
    assert segments_of(detector, samples) == []


def test_finds_speech_between_silence(detector):
    speech = read_audio(RECORDINGS / "03a01Wa.flac")
    pause = np.zeros(2 * SAMPLE_RATE_HZ, dtype=np.float32)
    found = segments_of(detector, np.concatenate([pause, speech, pause, speech, pause]))
    assert len(found) == 2
    for number, segment in enumerate(found, start=1):
        start_s = 2 * number + (number - 1) * len(speech) / SAMPLE_RATE_HZ
        assert segment.start / SAMPLE_RATE_HZ == pytest.approx(start_s, abs=0.3)
        assert len(segment.samples) == pytest.approx(len(speech), rel=0.25)


def test_size_of_the_blocks_does_not_change_the_segments(detector):
    speech = read_audio(RECORDINGS / "03a05Tc.flac")
    whole, small = segments_of(detector, speech, len(speech)), segments_of(detector, speech, 700)
    assert [segment.start for segment in whole] == [segment.start for segment in small]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(whole, small, strict=True))


def test_last_segment_ends_with_the_audio(detector):
    speech = read_audio(RECORDINGS / "03a01Wa.flac")
    samples = np.concatenate([np.zeros(SAMPLE_RATE_HZ, dtype=np.float32), speech])[: SAMPLE_RATE_HZ * 2 + 100]
    segment = segments_of(detector, samples)[-1]
    assert segment.start + len(segment.samples) == len(samples)
    assert np.array_equal(segment.samples, samples[segment.start :])


def test_segment_has_margins_and_ends_at_a_pause():
    assert segments_from([0.0] * 20 + [0.9] * 30 + [0.0] * 40) == [(20 - MARGIN_FRAMES, 30 + 2 * MARGIN_FRAMES)]


def test_short_sounds_are_left_out_and_short_pauses_bridged():
    assert segments_from([0.0] * 5 + [0.9] * (MIN_SPEECH_FRAMES - 1) + [0.0] * 30) == []
    assert segments_from([0.9] * 20 + [0.0] * 5 + [0.9] * 20) == [(0, 45)]


def test_long_speech_is_divided_at_its_least_probable_frame():
    probabilities = [0.9] * 280
    probabilities[100] = 0.4
    assert segments_from(probabilities) == [(0, 100), (100, 180)]


def test_even_speech_is_divided_as_late_as_possible():
    first, second = segments_from([0.9] * 280)
    assert first[1] > 5 * SAMPLE_RATE_HZ / FRAME
    assert second == (first[1], 280 - first[1])


def test_end_of_divided_speech_is_not_lost():
    # divided in the pause that ends the speech; the least probable frame is just before it
    first, second = segments_from([0.9] * 177 + [0.4] + [0.9] * 2 + [0.0] * 40)
    assert second == (first[1], 180 - first[1] + MARGIN_FRAMES)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), max_size=600))
def test_segments_are_ordered_and_bounded(probabilities):
    found = segments_from(probabilities)
    ends = [first + count for first, count in found]
    assert all(count <= MAX_SEGMENT_FRAMES + 2 * MARGIN_FRAMES for _, count in found)
    assert all(end <= len(probabilities) for end in ends)
    assert all(next_first >= end - MARGIN_FRAMES for end, (next_first, _) in zip(ends, found[1:], strict=False))


@pytest.mark.parametrize("message", ["out of memory\nat line 3", ""])
def test_failure_of_the_network_is_a_model_error(message, monkeypatch):
    break_networks(monkeypatch, "mien.voice.activity", message)
    frames = SpeechDetector(threads=1).probabilities([np.zeros(FRAME, dtype=np.float32)])
    with pytest.raises(ModelError, match=rf"voice-activity\.onnx: {message.partition(chr(10))[0] or 'RuntimeError'}$"):
        next(frames)
