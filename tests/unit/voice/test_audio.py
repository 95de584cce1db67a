from __future__ import annotations

import io
import itertools
import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from mien.av_streams import first_frame_s
from mien.errors import AudioReadError, InputError
from mien.voice.audio import BLOCK_S, SAMPLE_RATE_HZ, AudioReader, read_audio
from support.clips import steady, write_clip
from support.sounds import RECORDINGS, noise, tone, write_audio


def write_wav(path: Path, samples: np.ndarray) -> Path:
    """Write samples (N, C) as 16-bit PCM; libav's own writer has layouts of few channels only."""
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_timed(path: Path, parts: list[tuple[float, np.ndarray]]) -> Path:
    """Write samples (N,) as 16-bit PCM, with the timestamp of each part in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono")
        for start_s, samples in parts:
            pcm = (samples * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, round(start_s * SAMPLE_RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_tracks(path: Path, tracks: list[np.ndarray], *, default: int | None = None) -> Path:
    """Write samples (N,) of each track as 16-bit PCM; one track is the default."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono") for _ in tracks]
        if default is not None:
            streams[default].disposition = Disposition.default
        for stream, samples in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


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


def test_values_beyond_full_scale_are_bounded(tmp_path):
    for scale in (32767, 1e38):
        decoded = read_audio(write_audio(tmp_path / "a.wav", tone(0.5) * np.float32(scale), codec="pcm_f32le"))
        assert np.abs(decoded).max() == 2.0


@pytest.mark.parametrize(
    "gains", [(1, -1), (0, 1, -1), (0.001, 1, -1)], ids=["opposite", "silent and opposite", "quiet and opposite"]
)
@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_channels_of_opposite_polarity_do_not_cancel_out(tmp_path, gains, offset):
    path = write_wav(tmp_path / "a.wav", np.stack([gain * tone(1.0) + offset for gain in gains], axis=1))
    assert np.allclose(read_audio(path), tone(1.0) + offset, atol=1e-3)


@pytest.mark.parametrize("channels", [3, 6, 8, 10, 24])
def test_any_number_of_channels_is_averaged(tmp_path, channels):
    path = write_wav(tmp_path / "a.wav", np.repeat(tone(1.0)[:, None], channels, axis=1))
    assert np.allclose(read_audio(path), tone(1.0), atol=1e-3)


def test_sound_that_cannot_be_converted_is_an_error(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((100, 65)))
    with pytest.raises(AudioReadError, match=r"a\.wav: its sound \(65 channels, 16000 Hz\) cannot be converted"):
        read_audio(path)


def test_gap_between_timestamps_is_silence(tmp_path):
    path = write_timed(tmp_path / "a.mka", [(0.0, tone(1.0)), (3.0, tone(1.0))])
    samples = read_audio(path)
    assert len(samples) == 4 * SAMPLE_RATE_HZ
    assert not samples[SAMPLE_RATE_HZ : 3 * SAMPLE_RATE_HZ].any()
    assert samples[3 * SAMPLE_RATE_HZ :].any()


def test_timestamps_slower_than_the_samples_are_followed(tmp_path):
    starts_s = np.arange(200) * 0.05
    path = write_timed(tmp_path / "a.mka", [(0.95 * start_s, np.full(800, start_s / 20)) for start_s in starts_s])
    samples = read_audio(path)
    for second in (2, 5, 9):
        assert samples[second * SAMPLE_RATE_HZ] == pytest.approx(second / 0.95 / 20, abs=0.15 / 20)


def test_new_clock_of_the_timestamps_keeps_all_samples(tmp_path, monkeypatch):
    path = write_timed(tmp_path / "a.mka", [(number * 0.05, tone(0.05)) for number in range(60)])
    expected = read_audio(path)
    frames = AudioReader._frames

    def reset_clock(reader):
        for number, frame in enumerate(frames(reader)):
            frame.pts -= round(1.2 / frame.time_base) if number >= 30 else 0
            yield frame

    monkeypatch.setattr(AudioReader, "_frames", reset_clock)
    assert np.array_equal(read_audio(path), expected)


def test_undecodable_start_is_silence(tmp_path, monkeypatch):
    path = write_timed(tmp_path / "a.mka", [(number * 0.05, tone(0.05)) for number in range(10)])
    expected = read_audio(path)
    frames = AudioReader._frames

    def skip_first(reader):
        return itertools.islice(frames(reader), 1, None)

    monkeypatch.setattr(AudioReader, "_frames", skip_first)
    samples = read_audio(path)
    assert not samples[:800].any()
    assert np.array_equal(samples[800:], expected[800:])


@pytest.mark.parametrize(
    ("name", "sound"), [("a.mkv", "aac"), ("a.ts", "mp2"), ("a.mp4", "aac"), ("a.mov", "aac")], ids=lambda value: value
)
def test_sound_that_starts_after_the_video_has_no_silence_before_it(tmp_path, name, sound):
    path = write_clip(tmp_path / name, times_s=steady(130), sound=sound, sound_starts_s=10.0, sound_lasts_s=2.0)
    with AudioReader(path) as reader:
        samples = np.concatenate(list(reader))
        assert reader.info.offset_s == pytest.approx(10.0, abs=0.05)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert np.abs(samples[: SAMPLE_RATE_HZ // 10]).max() > 0.01


@pytest.mark.parametrize("default", [0, 1, 2])
def test_default_track_is_read(tmp_path, default):
    path = write_tracks(tmp_path / "a.mka", [tone(1.0, 200.0 * number) for number in (1, 2, 3)], default=default)
    with AudioReader(path) as reader:
        assert (reader.info.track, reader.info.tracks) == (default + 1, 3)
        assert peak_hz(np.concatenate(list(reader))) == pytest.approx(200 * (default + 1), abs=3)


def test_sample_is_clipped_where_any_channel_is(tmp_path):
    loud = np.clip(4 * tone(1.0), -1, 1)
    path = write_wav(tmp_path / "a.wav", np.stack([np.zeros_like(loud), loud, 0.1 * loud], axis=1))
    with AudioReader(path) as reader:
        blocks = list(reader.blocks())
    assert np.abs(np.concatenate([block.samples for block in blocks])).max() < 0.5
    is_clipped = np.concatenate([block.is_clipped for block in blocks])
    assert np.array_equal(is_clipped, np.abs(loud) >= 0.999)


def test_offset_counts_from_the_first_decodable_frame_of_the_video(tmp_path):
    path = write_clip(tmp_path / "a.ts", times_s=steady(30, fps=25), rate=25, sound="mp2")
    with AudioReader(path) as reader:
        assert reader.info.offset_s == pytest.approx(0, abs=0.06)
    # a cut within a group of pictures: the first frames have no keyframe
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 * 3 // 10 * 188 :])
    with av.open(str(path)) as container:
        first_s = first_frame_s(container)
    for source in (path, path.read_bytes()):
        with AudioReader(source) as reader:
            assert reader.info.offset_s == pytest.approx(reader.info.start_s - first_s)
            assert reader.info.offset_s < -0.3
            assert sum(map(len, reader)) > SAMPLE_RATE_HZ // 2


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


@pytest.mark.parametrize(("name", "content"), [("a.txt", "text"), ("a.wav", "an image")])
def test_names_the_content_of_other_files(tmp_path, examples, name, content):
    path = tmp_path / name
    path.write_bytes(b"no sound at all\n" * 40 if content == "text" else (examples / "obama.jpg").read_bytes())
    with pytest.raises(AudioReadError, match=rf"{name} is {content}; expected an audio file"):
        AudioReader(path)


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


def test_rejects_an_open_file_that_cannot_be_rewound(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(0.5))
    closed = path.open("rb")
    closed.close()
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        for file in (closed, pipe):
            with pytest.raises(InputError, match=r"cannot be read from its start: .*[^.]; pass a path"):
                AudioReader(file)


@pytest.mark.parametrize("source", [3, None, io.StringIO("a")])
def test_rejects_other_types(source):
    with pytest.raises(InputError, match="is not audio"):
        AudioReader(source)
