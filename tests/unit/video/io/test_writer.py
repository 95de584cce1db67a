"""Video writer: images, audio, segments, and resuming after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError, VideoReadError
from mien.video.io import segments
from mien.video.io import writer as writer_module
from mien.video.io.reader import VideoReader
from mien.video.io.segments import TIME_BASE, _all_packets, list_segments
from mien.video.io.writer import VideoWriter

av = pytest.importorskip("av")

from support.clips import numbered, read, steady, write_clip, write_sound  # noqa: E402

SIZE_HW = (48, 64)


def add_all(writer: VideoWriter, times_s: Iterable[float], first: int = 0) -> None:
    for index, time_s in enumerate(times_s, first):
        writer.add(numbered(index), time_s)


def write(path: Path, times_s: list[float], audio_from: Path | None = None) -> VideoWriter:
    with VideoWriter(path, size_hw=SIZE_HW, audio_from=audio_from) as writer:
        add_all(writer, times_s)
    return writer


def written_until_s(path: Path) -> float | None:
    """Return the time of the last image in the segments; None without any."""
    ticks = [packet.pts for packet in _all_packets(path)]
    return float(ticks[-1] * TIME_BASE) if ticks else None


def audio_start_s(path: Path) -> float:
    """Return the time of the first loud sample."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(float).reshape(-1, frame.samples)[0])
            loud = np.flatnonzero(loud > (0.05 if frame.format.name.startswith("flt") else 1600))
            if loud.size:
                return float(frame.pts * frame.time_base) + float(loud[0]) / frame.sample_rate
    raise AssertionError("no loud sample")


def audio_end_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return max(float((p.pts + p.duration) * p.time_base) for p in container.demux(audio=0) if p.size)


def assert_written(path: Path, times_s: list[float]) -> None:
    frames = read(path)
    assert [frame.timestamp_s for frame in frames] == pytest.approx(times_s, abs=1e-4)
    for frame in frames:
        assert np.abs(frame.image.astype(int) - numbered(frame.index)).mean() < 12


# --- images


def test_no_images_give_no_file(tmp_path: Path):
    write(tmp_path / "out.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_writes_images_at_their_times(tmp_path: Path):
    times_s = [0, 0.04, 0.05, 0.4, 1.0, 1.001, 3.5]
    writer = write(tmp_path / "out.mp4", times_s)
    assert writer.audio is None
    assert_written(tmp_path / "out.mp4", times_s)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_first_time_may_be_above_zero(tmp_path: Path):
    write(tmp_path / "out.mp4", [2.0, 2.5])
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [float(frame.time) for frame in container.decode(video=0)] == pytest.approx([2.0, 2.5])


def test_writes_bt709_colors(tmp_path: Path):
    write(tmp_path / "out.mp4", steady(2))
    image = read(tmp_path / "out.mp4")[0].image
    for row, column in ((12, 16), (12, 48), (36, 16), (36, 48)):
        assert np.abs(image[row, column].astype(int) - numbered(0)[row, column]).max() <= 8
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == ("h264", "yuv420p", 1, 1)


def test_pads_odd_sizes(tmp_path: Path):
    image = np.full((49, 63, 3), 90, dtype=np.uint8)
    with VideoWriter(tmp_path / "out.mp4", size_hw=(49, 63)) as writer:
        writer.add(image, 0.0)
    frame = read(tmp_path / "out.mp4")[0]
    assert frame.image.shape == (50, 64, 3)
    assert np.abs(frame.image.astype(int) - 90).max() <= 3


@pytest.mark.parametrize("encoder", ["mpeg4", "libopenh264"])
def test_fallback_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str):
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of libav has no {encoder}")
    monkeypatch.setattr(writer_module, "_ENCODERS", ("no such encoder", encoder))
    write(tmp_path / "out.mp4", steady(5))
    assert_written(tmp_path / "out.mp4", steady(5))


def test_rejects_build_without_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "_ENCODERS", ("no such encoder",))
    with pytest.raises(InputError, match="cannot write video"):
        VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW)


def test_rejects_invalid_arguments(tmp_path: Path):
    with pytest.raises(InputError, match=r"expected out\.mp4"):
        VideoWriter(tmp_path / "out.avi", size_hw=SIZE_HW)
    with pytest.raises(InputError, match="at least 2 x 2"):
        VideoWriter(tmp_path / "out.mp4", size_hw=(1, 64))
    with pytest.raises(VideoReadError, match="no such file"):
        VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW, audio_from=tmp_path / "missing.mp4")
    with VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW) as writer:
        with pytest.raises(InputError, match="expected images"):
            writer.add(numbered(0, (64, 48)), 0.0)
        writer.add(numbered(0), 1.0)
        with pytest.raises(InputError, match="not later"):
            writer.add(numbered(0), 1.0)
    with pytest.raises(InputError, match="is closed"):
        writer.add(numbered(0), 2.0)


def test_close_twice(tmp_path: Path):
    with VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW) as writer:
        writer.add(numbered(0), 0.0)
        writer.close()
    assert len(read(tmp_path / "out.mp4")) == 1


# --- audio


@pytest.mark.parametrize(
    ("codec", "suffix", "mode"),
    [
        ("aac", "mp4", "copied"),
        ("libmp3lame", "mkv", "copied"),
        ("ac3", "mkv", "copied"),
        ("libopus", "webm", "copied"),
        ("aac", "ts", "copied"),
        ("flac", "mkv", "encoded"),
        ("pcm_s16le", "mov", "encoded"),
    ],
)
def test_audio_is_included_in_sync(tmp_path: Path, codec: str, suffix: str, mode: str):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of libav has no {codec}")
    video = "libvpx" if suffix == "webm" else "mpeg4"
    source = write_clip(tmp_path / f"source.{suffix}", video, sound=codec, sound_starts_s=0.5, times_s=steady(20))
    frames = read(source)
    writer = write(tmp_path / "out.mp4", [frame.timestamp_s for frame in frames], source)
    assert writer.audio == mode
    assert_written(tmp_path / "out.mp4", steady(20))
    assert audio_start_s(tmp_path / "out.mp4") == pytest.approx(0.5, abs=0.03)
    assert audio_end_s(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.1)


def test_audio_is_in_sync_when_images_start_late(tmp_path: Path):
    times_s = [3 + time_s for time_s in steady(20)]
    source = write_clip(tmp_path / "source.mkv", sound="aac", times_s=times_s, sound_starts_s=3.5, sound_lasts_s=1.0)
    write(tmp_path / "out.mp4", steady(20), source)
    assert audio_start_s(tmp_path / "out.mp4") == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sound", ["aac", "flac"])
def test_leaves_out_audio_before_the_first_image(tmp_path: Path, sound: str):
    times_s = [1 + time_s for time_s in steady(20)]
    source = write_clip(tmp_path / "source.mkv", sound=sound, times_s=times_s, sound_starts_s=0.0, sound_lasts_s=3.0)
    write(tmp_path / "out.mp4", steady(20), source)
    assert_written(tmp_path / "out.mp4", steady(20))
    assert abs(audio_start_s(tmp_path / "out.mp4")) < 0.15
    assert audio_end_s(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.1)


def test_audio_of_a_file_without_images_starts_at_time_0(tmp_path: Path):
    source = write_sound(tmp_path / "source.m4a", "aac")
    assert write(tmp_path / "out.mp4", steady(20), source).audio == "copied"
    assert abs(audio_start_s(tmp_path / "out.mp4")) < 0.05
    assert audio_end_s(tmp_path / "out.mp4") == pytest.approx(1.0, abs=0.1)


def test_source_without_audio(tmp_path: Path):
    source = write_clip(tmp_path / "source.mp4", times_s=steady(3))
    assert write(tmp_path / "out.mp4", steady(3), source).audio is None
    assert_written(tmp_path / "out.mp4", steady(3))


# --- kill and resume


def test_exception_leaves_segments(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW) as writer:
        add_all(writer, (index / 10 if index < 10 else 1 / 0 for index in range(11)))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4.segment-0001.nut"]
    assert written_until_s(tmp_path / "out.mp4") == pytest.approx(0.9)
    assert len(read(tmp_path / "out.mp4.segment-0001.nut")) == 10


def test_new_writer_removes_old_segments(tmp_path: Path):
    writer = VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW)
    add_all(writer, steady(10))
    writer.suspend()
    write(tmp_path / "out.mp4", steady(3))
    assert_written(tmp_path / "out.mp4", steady(3))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_audio_without_a_decoder_is_left_out(tmp_path: Path):
    source = write_clip(tmp_path / "source.mkv", sound="aac", times_s=steady(5))
    source.write_bytes(source.read_bytes().replace(b"A_AAC", b"A_QQQ"))
    with VideoReader(source) as reader:
        assert not reader.info.has_audio
    assert write(tmp_path / "out.mp4", steady(5), source).audio is None
    assert_written(tmp_path / "out.mp4", steady(5))


@pytest.mark.parametrize("resumed_at", [(10,), (7,), (1,), (0,), (10, 15), (15, 4), (12, 12)])
def test_resumed_video_equals_uninterrupted_one(tmp_path: Path, resumed_at: tuple[int, ...]):
    times_s = [0.1 * index + 0.013 * (index % 3) for index in range(24)]
    source = write_clip(tmp_path / "source.mp4", times_s=times_s, sound="aac")
    out = tmp_path / "out.mp4"
    start, resume_at_s = 0, None
    for place in resumed_at:
        writer = VideoWriter(out, size_hw=SIZE_HW, resume_at_s=resume_at_s)
        add_all(writer, times_s[start : max(place, 16)], start)
        writer.suspend()
        start, resume_at_s = place, round(times_s[place], 6)
    with VideoWriter(out, size_hw=SIZE_HW, audio_from=source, resume_at_s=resume_at_s) as writer:
        add_all(writer, times_s[start:], start)
    assert writer.audio == "copied"
    assert_written(out, times_s)
    assert list_segments(out) == []
    uninterrupted = tmp_path / "uninterrupted.mp4"
    write(uninterrupted, times_s, source)
    assert [frame[:2] for frame in read(out)] == [frame[:2] for frame in read(uninterrupted)]


def test_resume_and_close_without_images(tmp_path: Path):
    writer = VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW)
    add_all(writer, steady(10))
    writer.suspend()
    VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW, resume_at_s=0.6).close()
    assert_written(tmp_path / "out.mp4", steady(6))


def test_rejects_segments_of_another_size(tmp_path: Path):
    writer = VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW)
    add_all(writer, steady(3))
    writer.suspend()
    with pytest.raises(InputError, match="holds images of 64 x 48, not 128 x 96"):
        VideoWriter(tmp_path / "out.mp4", size_hw=(96, 128), resume_at_s=0.2)
    assert len(list_segments(tmp_path / "out.mp4")) == 1


def test_resumes_from_segment_truncated_anywhere(tmp_path: Path):
    writer = VideoWriter(tmp_path / "complete.mp4", size_hw=SIZE_HW)
    add_all(writer, steady(30))
    writer.suspend()
    data = list_segments(tmp_path / "complete.mp4")[0].read_bytes()
    for number, size in enumerate(np.linspace(0, len(data), 7).astype(int)):
        out = tmp_path / f"cut{number}.mp4"
        (tmp_path / f"{out.name}.segment-0001.open.nut").write_bytes(data[:size])
        until_s = written_until_s(out)
        count = 0 if until_s is None else round(until_s * 10) + 1
        assert count <= 30
        resume_at_s = 0.0 if until_s is None else until_s + 0.05
        with VideoWriter(out, size_hw=SIZE_HW, resume_at_s=resume_at_s) as writer:
            add_all(writer, steady(32)[count:], count)
        assert_written(out, steady(32))


def test_segment_is_closed_before_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Windows does not replace a file that is open."""
    writer = VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW)
    add_all(writer, steady(10))
    writer.suspend()
    events = []
    original, replace = segments._packets, Path.replace

    def packets(segment: Path) -> Iterator[object]:
        try:
            yield from original(segment)
        finally:
            events.append("closed")

    monkeypatch.setattr(segments, "_packets", packets)
    monkeypatch.setattr(Path, "replace", lambda path, target: (events.append("replaced"), replace(path, target))[1])
    VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW, resume_at_s=0.45)
    # Closed first by the search for the place to cut, then by the cut.
    assert events == ["closed", "closed", "replaced"]


def test_open_segment_is_readable(tmp_path: Path):
    writer = VideoWriter(tmp_path / "out.mp4", size_hw=SIZE_HW, threads=1)
    add_all(writer, steady(60))
    shutil.copy(tmp_path / "out.mp4.segment-0001.open.nut", tmp_path / "copy.nut")
    assert 20 < len(read(tmp_path / "copy.nut")) <= 60
    writer.suspend()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_resumes_after_killed_process(tmp_path: Path):
    program = (
        "import sys, time, numpy\n"
        "from mien.video.io.writer import VideoWriter\n"
        "writer = VideoWriter(sys.argv[1], size_hw=(48, 64), threads=1)\n"
        "for index in range(60): writer.add(numpy.full((48, 64, 3), 4 * index, dtype='uint8'), index / 10)\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-c", program, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "src"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    until_s = written_until_s(out)
    assert until_s is not None
    assert 2 < until_s <= 5.9
    with VideoWriter(out, size_hw=SIZE_HW, resume_at_s=until_s) as writer:
        writer.add(numbered(0), 6.0)
    frames = read(out)
    assert [frame.timestamp_s for frame in frames] == pytest.approx([*steady(round(until_s * 10)), 6.0])
