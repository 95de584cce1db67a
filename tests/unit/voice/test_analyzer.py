from __future__ import annotations

import io
import re
import struct
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, ModelError, UnknownModelError
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.audio import SAMPLE_RATE_HZ, AudioReader, read_audio
from mien.voice.augmentation import to_telephone
from mien.voice.classifier import VoiceClassifier
from support.models import break_networks
from support.sounds import RECORDINGS, music, noise, write_audio


def write_timed(path, parts, *, codec, rate_hz):
    """Write consecutive parts (N,) of a sound, each as a packet or more."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=rate_hz, frame_size=stream.codec_context.frame_size
        )
        for part in parts:
            frame = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            for packed in resampler.resample(frame):
                container.mux(stream.encode(packed))
        for packed in resampler.resample(None):
            container.mux(stream.encode(packed))
        container.mux(stream.encode(None))
    return path


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


def test_truncated_mp3_with_a_cover_has_a_warning(tmp_path, analyzer):
    cover = io.BytesIO()
    Image.new("RGB", (16, 16)).save(cover, "JPEG")
    content = b"\0image/jpeg\0\x03\0" + cover.getvalue()
    frame = b"APIC" + struct.pack(">I", len(content)) + b"\0\0" + content
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    data = b"ID3\x03\0\0" + size + frame + write_audio(tmp_path / "a.mp3", noise(6.0), codec="mp3").read_bytes()
    assert analyzer.analyze(data).warnings == ()
    (warning,) = analyzer.analyze(data[: len(data) // 2]).warnings
    assert warning.endswith("the file is truncated")


def test_mp3_with_damaged_parts_is_not_called_truncated(tmp_path, analyzer):
    data = bytearray(write_audio(tmp_path / "a.mp3", noise(20.0), codec="mp3").read_bytes())
    start, stop = len(data) * 2 // 5, len(data) * 7 // 10
    data[start:stop] = np.random.default_rng(0).bytes(stop - start)
    (warning,) = analyzer.analyze(bytes(data)).warnings
    assert re.fullmatch(r"\d+ damaged parts? of the sound w(as|ere) left out", warning)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.wav", "pcm_s16le", 16000),
        ("a.wav", "pcm_mulaw", 8000),
        ("a.aiff", "pcm_s16be", 16000),
        ("a.mka", "pcm_s16le", 16000),
        ("a.webm", "libopus", 48000),
    ],
)
def test_truncated_sound_has_a_warning(tmp_path, analyzer, name, codec, rate_hz):
    # blocks of a second, so that half of the file has some
    with AudioReader(write_audio(tmp_path / "noise.wav", noise(6.0))) as reader:
        path = write_timed(tmp_path / name, list(reader), codec=codec, rate_hz=rate_hz)
    assert analyzer.analyze(path).warnings == ()
    data = path.read_bytes()[: path.stat().st_size // 2 + 1]
    path.write_bytes(data)
    for source in (path, data):
        truncated = [text for text in analyzer.analyze(source).warnings if "truncated" in text]
        assert len(truncated) == 1
        assert re.fullmatch(r"the sound ends at [23]\.\d s of 6\.0 s: the file is truncated", truncated[0])


def test_sound_that_ends_before_its_subtitles_has_no_warning(tmp_path, analyzer):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono")
        subtitles = container.add_stream("ass")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, 0
        container.mux(stream.encode(frame))
        packet = av.Packet(b"la la")
        packet.stream, packet.time_base = subtitles, Fraction(1, 1000)
        packet.pts = packet.dts = 5000
        packet.duration = 3000
        container.mux(packet)
    assert analyzer.analyze(path).warnings == ()


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_without_a_size_has_no_warning(tmp_path, analyzer, size):
    path = write_audio(tmp_path / "a.wav", noise(2.0))
    data = bytearray(path.read_bytes())
    start = data.index(b"data") + 4
    data[start : start + 4] = struct.pack("<I", size)
    result = analyzer.analyze(bytes(data))
    assert result.duration_s == pytest.approx(2.0, abs=0.01)
    assert result.warnings == ()


def test_warns_of_several_sound_tracks(tmp_path, analyzer):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono") for _ in range(2)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, 0
            container.mux(stream.encode(frame))
    assert analyzer.analyze(path).warnings == ("only track 1 of 2 sound tracks is analyzed",)


def test_clipping_of_one_channel_is_counted(tmp_path, analyzer, talk):
    loud = np.clip(20 * talk, -1, 1)
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((np.stack([loud, 0.5 * talk], axis=1) * 32767).astype("<i2").tobytes())
    result = analyzer.analyze(path)
    segments = list(analyzer.segments([loud]))
    assert segments[0].prosody.clipped > 0.1
    assert result[0].prosody.clipped == pytest.approx(segments[0].prosody.clipped, rel=0.1)
    assert f"{len(result)} of {len(result)} segments are clipped (too loud for the recording)" in result.warnings


def test_blocks_of_other_types_are_errors(analyzer, talk):
    double, single = (list(analyzer.segments([talk.astype(form)])) for form in (np.float64, np.float32))
    assert [segment.arousal for segment in double] == [segment.arousal for segment in single]
    for block in ((talk * 32767).astype(np.int16), talk[:, None], talk.tolist()):
        with pytest.raises(InputError, match=r"a block of samples is .*; expected an array \(N,\) of float32"):
            list(analyzer.segments([block]))


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
    for threads in (-1, 99999):
        with pytest.raises(InputError, match=rf"threads is {threads}; expected an integer, 0 to 1024"):
            VoiceAnalyzer(threads=threads)


@pytest.mark.parametrize("message", ["out of memory\nat line 3", ""])
def test_failure_of_the_network_is_a_model_error(message, monkeypatch):
    break_networks(monkeypatch, "mien.voice.classifier", message)
    classifier = VoiceClassifier(threads=1)
    with pytest.raises(ModelError, match=rf"voice\.onnx: {message.partition(chr(10))[0] or 'RuntimeError'}$"):
        classifier.predict(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32))
