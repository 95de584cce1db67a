from __future__ import annotations

import re

import numpy as np
import pytest

from mien.errors import InputError, ModelError, UnknownModelError
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from mien.voice.augmentation import to_telephone
from mien.voice.classifier import VoiceClassifier
from support.models import break_networks
from support.sounds import RECORDINGS, music, noise, write_audio


@pytest.fixture(scope="module")
def analyzer() -> VoiceAnalyzer:
    return VoiceAnalyzer(threads=1)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Return an angry and a sad utterance with pauses around them."""
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    angry, sad = (read_audio(RECORDINGS / f"{name}.flac") for name in ("03a01Wa", "03a05Tc"))
    return np.concatenate([pause, angry, pause, sad, pause])


def test_empty_and_silent_sound_have_no_segments(analyzer):
    assert list(analyzer.segments([])) == []
    assert list(analyzer.segments([np.zeros(0, dtype=np.float32)])) == []
    assert list(analyzer.segments([np.zeros(48000, dtype=np.float32)])) == []


def test_an_angry_voice_is_more_aroused_than_a_sad_one(analyzer, talk):
    angry, *sad = analyzer.segments([talk])
    assert angry.start_s == pytest.approx(1.0, abs=0.3)
    assert angry.arousal > 0.8
    assert angry.label == "anger"
    assert sad
    assert all(segment.arousal < -0.8 for segment in sad)
    for segment in (angry, *sad):
        assert segment.probabilities.sum() == pytest.approx(1)
        assert segment.end_s > segment.start_s


def test_level_does_not_change_the_prediction(analyzer, talk):
    (loud, *_), (quiet, *_) = (list(analyzer.segments([factor * talk])) for factor in (1.0, 0.2))
    assert np.allclose(loud.probabilities, quiet.probabilities, atol=0.02)
    assert loud.prosody.level_dbfs - quiet.prosody.level_dbfs == pytest.approx(14, abs=1)


def test_truncated_mp3_has_a_warning(tmp_path, analyzer):
    path = write_audio(tmp_path / "a.mp3", noise(6.0), codec="mp3")
    assert analyzer.analyze(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (warning,) = analyzer.analyze(path).warnings
    assert re.fullmatch(r"the sound ends at [23]\.\d s of 6\.\d s: the file is truncated", warning)


def test_result_of_a_file(tmp_path, analyzer, talk):
    seen = []
    path = write_audio(tmp_path / "talk.flac", talk, codec="flac")
    result = analyzer.analyze(path, on_progress=lambda done_s, total_s: seen.append((done_s, total_s)))
    assert result.duration_s == pytest.approx(len(talk) / SAMPLE_RATE_HZ)
    assert len(result.envelope) == pytest.approx(result.duration_s / 0.05, abs=1)
    assert result.envelope.max() == pytest.approx(np.abs(talk).max(), abs=1e-3)
    assert seen[-1][0] == pytest.approx(result.duration_s)
    record = result.to_dict()
    assert record["error"] is None
    assert len(record["segments"]) == len(result) == len(list(result))
    assert result[0].to_record().label == "anger"
    assert result[0].to_dict() == record["segments"][0]
    assert set(record["segments"][0]["probabilities"]) == set(analyzer.manifest.labels)


def test_warns_of_telephone_sound_and_clipping(tmp_path, analyzer, talk):
    phone = write_audio(tmp_path / "phone.wav", to_telephone(talk), codec="pcm_mulaw", rate_hz=8000)
    result = analyzer.analyze(phone)
    assert result[0].arousal > 0.5
    assert any("8000 Hz" in warning for warning in result.warnings)
    loud = write_audio(tmp_path / "loud.wav", np.clip(20 * talk, -1, 1))
    assert any("clipped" in warning for warning in analyzer.analyze(loud).warnings)


def test_music_has_no_segments(tmp_path, analyzer):
    result = analyzer.analyze(write_audio(tmp_path / "music.flac", music(5.0), codec="flac"))
    assert len(result) == 0
    assert result.warnings == ()


def test_classifier_rejects_sounds_out_of_range():
    classifier = VoiceClassifier(threads=1)
    for length in (0, 159, 8 * SAMPLE_RATE_HZ + 1):
        with pytest.raises(InputError, match="expected"):
            classifier.predict(np.zeros(length, dtype=np.float32))
    with pytest.raises(InputError, match="not finite"):
        classifier.predict(np.full(SAMPLE_RATE_HZ, np.nan, dtype=np.float32))
    assert np.isfinite(classifier.predict(np.zeros(160, dtype=np.float32)).embedding).all()
    assert np.isfinite(classifier.predict(np.zeros(8 * SAMPLE_RATE_HZ, dtype=np.float32)).arousal)


def test_rejects_other_models_and_threads():
    with pytest.raises(ModelError, match="expected one for voice-expression"):
        VoiceAnalyzer("voice-activity")
    with pytest.raises(UnknownModelError):
        VoiceAnalyzer("nothing")
    with pytest.raises(InputError, match="threads"):
        VoiceAnalyzer(threads=-1)


@pytest.mark.parametrize("message", ["out of memory\nat line 3", ""])
def test_failure_of_the_network_is_a_model_error(message, monkeypatch):
    break_networks(monkeypatch, "mien.voice.classifier", message)
    classifier = VoiceClassifier(threads=1)
    with pytest.raises(ModelError, match=rf"voice\.onnx: {message.partition(chr(10))[0] or 'RuntimeError'}$"):
        classifier.predict(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32))
