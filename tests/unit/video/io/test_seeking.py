"""Seeking: continuing after a frame, and images at given times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.video.io.decoder import ContainerFrames
from mien.video.io.reader import VideoReader, frames_at

av = pytest.importorskip("av")

from support.clips import FRAGMENTED, INTRA, assert_same, numbered, orient, read, steady, write_clip  # noqa: E402


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", sound="aac")


# --- continuing after a frame


KINDS = {
    "h264 with B-frames, mp4": ("libx264", "mp4", {"g": "12", "bf": "3", "preset": "medium"}),
    "h264 with B-frames, mkv": ("libx264", "mkv", {"g": "12", "bf": "3"}),
    "h264 fragmented": ("libx264", "mp4", {"g": "12", "bf": "2"}),
    "mpeg4 with B-frames": ("mpeg4", "mp4", {"g": "12", "bf": "2"}),
    "mpeg4 in avi": ("mpeg4", "avi", {"g": "12"}),
    "vp8": ("libvpx", "webm", {"g": "12", "deadline": "realtime"}),
    "h264 in a transport stream": ("libx264", "ts", {"g": "12", "bf": "2"}),
    "raw h264": ("libx264", "h264", {"g": "12"}),
}


@pytest.mark.parametrize(("codec", "suffix", "options"), KINDS.values(), ids=KINDS.keys())
def test_skip_to_continues_like_an_uninterrupted_pass(
    tmp_path: Path, codec: str, suffix: str, options: dict[str, str], request: pytest.FixtureRequest
):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of libav has no {codec}")
    is_fragmented = "fragmented" in request.node.name
    path = write_clip(
        tmp_path / f"clip.{suffix}",
        codec,
        options=options,
        times_s=steady(40),
        container_options=FRAGMENTED if is_fragmented else {},
    )
    expected = read(path)
    assert len(expected) >= 38
    for place in (0, 11, 12, 13, 25, len(expected) - 1):
        with VideoReader(path) as reader:
            reader.skip_to(expected[place].index, round(expected[place].timestamp_s, 6))
            assert_same(list(reader), expected[place + 1 :])


def test_skip_to_does_not_decode_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_clip(tmp_path / "clip.mkv", times_s=steady(40))
    with VideoReader(path) as reader:
        monkeypatch.setattr(reader._frames, "_reopen", lambda: pytest.fail("decoded from the start"))
        reader.skip_to(35, 3.5)
        assert [frame.index for frame in reader] == [36, 37, 38, 39]


def test_skip_to_with_variable_times_and_orientation(tmp_path: Path):
    times_s = [0, 0.04, 0.05, 0.4, 1.0, 1.001, 1.2, 1.3, 2.9, 3.5]
    path = orient(write_clip(tmp_path / "clip.mp4", times_s=times_s, options={"g": "3"}), (0, 1, -1, 0))
    expected = read(path)
    with VideoReader(path) as reader:
        next(reader)
        reader.skip_to(5, expected[5].timestamp_s)
        assert_same(list(reader), expected[6:])


def test_skip_to_after_broken_frames(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mkv", "ffv1", times_s=steady(20), options=INTRA)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for place in (4, 12):
        at = data.index(bytes(packets[place]))
        data[at : at + packets[place].size] = b"\x55" * packets[place].size
    path.write_bytes(data)
    expected = read(path)
    assert [frame.index for frame in expected] == [i for i in range(20) if i not in (4, 12)]
    with VideoReader(path) as reader:
        reader.skip_to(expected[8].index, expected[8].timestamp_s)
        assert_same(list(reader), expected[9:])
        assert reader.broken == 1


def write_repeated(path: Path, repeated: int) -> Path:
    """Write bursts of frames at 25 per second; a frame has the timestamp of the one before."""
    ticks = [0, 60_000, 120_000, *(120_000 + 40 * number for number in range(1, 60))]
    intra = {"g": "5", "bf": "0", "tune": "zerolatency"}
    plain = write_clip(path.with_suffix(".mkv"), times_s=[tick / 1000 for tick in ticks], options=intra)
    ticks[repeated] = ticks[repeated - 1]
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = (packet for packet in source.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            packet.pts = ticks[number] + 100
            packet.dts = 40 * number - 60_000  # increases, unlike the timestamps
            packet.stream = stream
            target.mux(packet)
    return path


@pytest.mark.parametrize("repeated", [6, 21])
def test_repeated_timestamp_moves_one_frame(tmp_path: Path, repeated: int):
    path = write_repeated(tmp_path / "clip.mp4", repeated)
    expected = read(path)
    times_s = [0, 60, 120, *(120 + 0.04 * number for number in range(1, 60))]
    times_s[repeated] = times_s[repeated - 1] + 0.01
    assert [frame.timestamp_s for frame in expected] == pytest.approx(times_s)
    places = (3, repeated - 1, repeated, repeated + 1, 40)
    images = frames_at(path, [round(expected[place].timestamp_s, 6) for place in places])
    for (_, image), place in zip(images, places, strict=True):
        np.testing.assert_array_equal(image, expected[place].image)
    for place in places:
        with VideoReader(path) as reader:
            for _ in range(place + 1):
                next(reader)
            is_exact = reader.has_exact_times
            assert is_exact == (place < repeated)
            reader.skip_to(place, expected[place].timestamp_s, seek=is_exact)
            assert_same(list(reader), expected[place + 1 :])


def test_corrected_times_are_resumed_without_seeking(tmp_path: Path):
    # three frames share a tick: times of the file are those of other frames
    path = write_clip(tmp_path / "clip.mkv", times_s=[number // 3 / 1000 for number in range(90)], rate=3000)
    expected = read(path)
    assert len(expected) == 90
    with VideoReader(path) as reader:
        list(reader)
        assert not reader.has_exact_times
        for place in (40, 44, 60):
            reader.skip_to(place, expected[place].timestamp_s, seek=reader.has_exact_times)
            assert_same(list(reader), expected[place + 1 :])


def test_frames_at_seeks_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(60))
    monkeypatch.setattr(ContainerFrames, "_seek", lambda *_: pytest.fail("seeks"))
    assert len(list(frames_at(path, [0.0, 5.0], seek=False))) == 2


def test_skip_to_in_image_sequence(tmp_path: Path):
    for index in range(6):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index}.png")
    expected = read(tmp_path)
    with VideoReader(tmp_path) as reader:
        reader.skip_to(2, 2 / 25)
        assert_same(list(reader), expected[3:])


# --- images at given times


def test_frames_at_yields_the_image_on_screen(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", times_s=steady(60), options={"g": "10", "bf": "2"})
    expected = read(path)
    times_s = [4.0, 0.0, 0.05, 0.1, 0.39, 5.95, -1.0, 9.0]
    results = list(frames_at(path, times_s))
    assert [time_s for time_s, _ in results] == sorted(times_s)
    images = dict(results)
    for time_s, place in {0.0: 0, 0.05: 0, 0.1: 1, 0.39: 3, 4.0: 40, 5.95: 59}.items():
        np.testing.assert_array_equal(images[time_s], expected[place].image)
    assert images[-1.0] is None
    assert images[9.0] is None


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_frames_at_times_of_frames(tmp_path: Path, suffix: str):
    path = write_clip(tmp_path / f"clip.{suffix}", "mpeg4", times_s=steady(50))
    expected = read(path)
    for stride in (1, 17):
        frames = expected[::stride]
        results = list(frames_at(path, [frame.timestamp_s for frame in frames]))
        for (_, image), frame in zip(results, frames, strict=True):
            np.testing.assert_array_equal(image, frame.image)


def test_frames_at_without_times(clip: Path):
    assert list(frames_at(clip, [])) == []


@pytest.mark.parametrize("fps", [3, 24, 25, 30])
def test_frames_at_rounded_times_of_an_image_sequence(tmp_path: Path, fps: float):
    for index in range(12):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index}.png")
    results = frames_at(tmp_path, [round(index / fps, 6) for index in range(12)], fps=fps)
    for index, (_, image) in enumerate(results):
        np.testing.assert_array_equal(image, numbered(index))


def test_frames_at_of_image_sequence(tmp_path: Path):
    for index in range(3):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index}.png")
    results = list(frames_at(tmp_path, [0.0, 0.6, 1.5], fps=2))
    np.testing.assert_array_equal(results[1][1], numbered(1))
    assert results[2][1] is None
