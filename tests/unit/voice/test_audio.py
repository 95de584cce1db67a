from __future__ import annotations

import io

import numpy as np
import pytest

from mien.errors import AudioReadError, InputError
from mien.voice.audio import BLOCK_S, SAMPLE_RATE_HZ, AudioReader, read_audio
from support.clips import steady, write_clip
from support.sounds import RECORDINGS, noise, tone, write_audio


def peak_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE_HZ / len(samples))


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("a.wav", "pcm_s16le", 16000, 1),
        ("a.wav", "pcm_u8", 8000, 2),
        ("a.wav", "pcm_mulaw", 8000, 1),
        ("a.wav", "pcm_f32le", 48000, 2),
        ("a.flac", "flac", 44100, 2),
        ("a.mp3", "mp3", 44100, 2),
        ("a.ogg", "libopus", 48000, 1),
        ("a.m4a", "aac", 22050, 2),
    ],
)
def test_decodes_to_mono_at_16_khz(tmp_path, name, codec, rate_hz, channels):
    path = write_audio(tmp_path / name, tone(2.0, 440.0), codec=codec, rate_hz=rate_hz, channels=channels)
    with AudioReader(path) as reader:
        assert (reader.info.sample_rate_hz, reader.info.channels) == (rate_hz, channels)
        samples = np.concatenate(list(reader))
    assert samples.dtype == np.float32
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert peak_hz(samples[SAMPLE_RATE_HZ // 2 : -SAMPLE_RATE_HZ // 2]) == pytest.approx(440, abs=3)
    # libav divides a mono sound among two channels of equal total power
    assert np.abs(samples).max() == pytest.approx(0.5 / np.sqrt(channels), abs=0.07)


def test_blocks_are_bounded(tmp_path):
    path = write_audio(tmp_path / "a.flac", noise(5.0), codec="flac")
    with AudioReader(path) as reader:
        lengths = [len(block) for block in reader]
    assert max(lengths) <= BLOCK_S * SAMPLE_RATE_HZ
    assert sum(lengths) == 5 * SAMPLE_RATE_HZ


def test_reads_bytes_and_open_files(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(0.5))
    expected = read_audio(path)
    assert np.array_equal(read_audio(path.read_bytes()), expected)
    with path.open("rb") as file:
        assert np.array_equal(read_audio(file), expected)
    assert np.array_equal(read_audio(io.BytesIO(path.read_bytes())), expected)


def test_reads_lossless_recording_exactly():
    samples = read_audio(RECORDINGS / "03a01Wa.flac")
    assert len(samples) == pytest.approx(1.898 * SAMPLE_RATE_HZ, rel=0.2)
    assert np.array_equal(samples * 32768, np.round(samples * 32768))


def test_values_that_are_not_finite_become_silence(tmp_path):
    samples = tone(0.5)
    samples[1000:1010] = np.nan
    samples[2000] = np.inf
    decoded = read_audio(write_audio(tmp_path / "a.wav", samples, codec="pcm_f32le"))
    assert np.isfinite(decoded).all()
    assert np.array_equal(decoded[:1000], samples[:1000])


def test_channels_of_opposite_polarity_do_not_cancel_out(tmp_path):
    import av

    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="stereo")
        pcm = (np.stack([tone(1.0), -tone(1.0)], axis=1).reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.allclose(read_audio(path), tone(1.0), atol=1e-3)


def test_gap_between_timestamps_is_silence(tmp_path):
    import av

    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono")
        for start in (0, 3):
            pcm = (tone(1.0) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start * SAMPLE_RATE_HZ
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples = read_audio(path)
    assert len(samples) == 4 * SAMPLE_RATE_HZ
    assert not samples[SAMPLE_RATE_HZ : 3 * SAMPLE_RATE_HZ].any()
    assert samples[3 * SAMPLE_RATE_HZ :].any()


def test_truncated_file_gives_the_sound_before_the_damage(tmp_path):
    path = write_audio(tmp_path / "a.mp3", noise(4.0), codec="mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(read_audio(path)) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.3)


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    path = write_audio(tmp_path / "a.aac", noise(6.0), codec="aac")
    data = bytearray(path.read_bytes())
    for start in range(len(data) // 3, 2 * len(data) // 3, 50):
        data[start : start + 20] = bytes(range(20))
    path.write_bytes(data)
    with AudioReader(path) as reader:
        samples = np.concatenate(list(reader))
        assert reader.broken > 0
    assert SAMPLE_RATE_HZ < len(samples) <= 6.1 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"is empty \(0 bytes\)"), (b"no sound at all\n" * 40, "is not a readable audio or video file")],
)
def test_names_the_problem_of_a_broken_file(tmp_path, content, message):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioReadError, match=rf"a\.wav {message}"):
        AudioReader(path)


def test_header_without_samples_is_an_error(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(1.0))
    path.write_bytes(path.read_bytes()[:100][:44])
    with pytest.raises(AudioReadError, match=r"a\.wav"):
        read_audio(path)


def test_video_without_sound_is_an_error(tmp_path):
    path = write_clip(tmp_path / "a.mp4", times_s=steady(3))
    with pytest.raises(AudioReadError, match="is a video without sound"):
        AudioReader(path)


def test_missing_file_and_folder_are_errors(tmp_path):
    with pytest.raises(AudioReadError, match="no such file"):
        AudioReader(tmp_path / "a.wav")
    with pytest.raises(AudioReadError, match="is not a file"):
        AudioReader(tmp_path)
    with pytest.raises(AudioReadError, match="addresses are not fetched"):
        AudioReader("https://example.org/a.wav")


@pytest.mark.parametrize("source", [3, None, io.StringIO("a")])
def test_rejects_other_types(source):
    with pytest.raises(InputError, match="is not audio"):
        AudioReader(source)
